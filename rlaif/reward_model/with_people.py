"""Rows of a judge and of people -> what is known of held-out rows with people's rows and without them, by source.

Two read-outs of the base model's states are fitted without some prompts, one to all rows as they are trained on, one to
the judge's rows alone; both are measured on those prompts, people's rows and the judge's apart. Runs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from rlaif.records import Source
from rlaif.reward_model.data import Item, Pair
from rlaif.reward_model.length_bias import Lengths
from rlaif.reward_model.pair_fit import assign_folds, cross_validate, fit_left_out
from rlaif.reward_model.source_trials import SourceTrial
from rlaif.stats.intervals import mean_interval, share_interval
from rlaif.stats.ranks import is_same

Prepare = Callable[[Sequence[Item]], Sequence[Item]]
"""Rows -> the rows as they are trained on. It sees no row that is measured."""


def compare_with_and_without(
    features: Tensor,
    pairs: Sequence[Item],
    *,
    prepare: Prepare,
    center_rewards_coefficient: float,
    lengths: Lengths | None = None,
) -> tuple[SourceTrial, ...]:
    """features: (num_responses, num_features), float64, each of deviation 1; the pairs point at their rows.

    Each arm's ridge penalty is the one with the least cross-validated loss of people's choices. A source without two
    prompts that have a preferred side has no trial.
    """
    measured = [item for item in pairs if isinstance(item, Pair) and not is_same(item.label, 0.5)]
    fold_of = assign_folds(pairs, only_human=True)
    arms: tuple[Prepare, ...] = (_once(prepare), _judge_alone)
    rights = []
    for arm in arms:
        penalty = _choose_penalty(features, pairs, arm=arm, center=center_rewards_coefficient, lengths=lengths)
        by_fold = {
            fold: features @ fit_left_out(
                features, arm([item for item in pairs if fold_of[item.prompt_id] != fold]),
                penalty=penalty, center_rewards_coefficient=center_rewards_coefficient, lengths=lengths,
            )
            for fold in sorted(set(fold_of.values()))
        }  # fmt: skip
        rights.append([_is_right(pair, by_fold[fold_of[pair.prompt_id]]) for pair in measured])
    sources: tuple[Source, ...] = ("human", "judge")
    found = (_try_source(measured, rights, source=source) for source in sources)
    return tuple(trial for trial in found if trial is not None)


def _once(prepare: Prepare) -> Prepare:
    """Rows prepared once, for the penalty and for the fit; they are known by themselves, and all of them stay alive."""
    known: dict[tuple[int, ...], Sequence[Item]] = {}

    def find(items: Sequence[Item]) -> Sequence[Item]:
        key = tuple(map(id, items))
        if key not in known:
            known[key] = prepare(items)
        return known[key]

    return find


def _judge_alone(items: Sequence[Item]) -> Sequence[Item]:
    return [item for item in items if item.source != "human"]


def _choose_penalty(
    features: Tensor, pairs: Sequence[Item], *, arm: Prepare, center: float, lengths: Lengths | None
) -> float:
    losses = cross_validate(
        features, pairs, center_rewards_coefficient=center, only_human=True, lengths=lengths, fitted_as=arm
    )
    return min(losses, key=lambda penalty: losses[penalty])


def _is_right(pair: Pair, rewards: Tensor) -> float:
    ahead = float(rewards[pair.chosen] - rewards[pair.rejected])
    return 0.5 if is_same(ahead, 0.0) else float((ahead > 0) == (pair.label > 0.5))


def _try_source(pairs: Sequence[Pair], rights: Sequence[Sequence[float]], *, source: Source) -> SourceTrial | None:
    at = [place for place, pair in enumerate(pairs) if pair.source == source]
    clusters = [pairs[place].prompt_id for place in at]
    with_people, without = ([right[place] for place in at] for right in rights)
    accuracies = [share_interval(right, clusters=clusters) for right in (with_people, without)]
    gain = mean_interval([a - b for a, b in zip(with_people, without, strict=True)], clusters=clusters)
    if gain is None or accuracies[0] is None or accuracies[1] is None:
        return None
    return SourceTrial(
        source=source, num_pairs=len(at), accuracy_with=accuracies[0], accuracy_without=accuracies[1], gain=gain
    )
