"""Preference rows -> a trained reward model's folder: our own trainer on the ecosystem's conventions.

Labels are soft and rows have weights. Pairs that do not fit are counted, never cut. A training that was killed anywhere
and resumed ends with the bits of the unbroken one. Does not read preference files and does not evaluate policies.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import StageError
from rlaif.ledger.sign_offs import StatedHead
from rlaif.models.weights.context import context_tokens_of, describe_length_bound
from rlaif.models.weights.loading import LoadedModel, load_causal_lm, load_reward_model
from rlaif.records import RewardModelCard, Tally, TrainingRow, digest_text
from rlaif.reward_model.checkpoint import drop_checkpoints
from rlaif.reward_model.data import Pairs, digest_pairs, encode_pairs, smooth_labels
from rlaif.reward_model.early_stop import Kept, leave_out
from rlaif.reward_model.frozen import freeze_lower_layers
from rlaif.reward_model.held_out import HeldOut, measure_held_out
from rlaif.reward_model.human_weight import HumanWeight, Weighed, weigh_rows, why_not_chosen
from rlaif.reward_model.length_bias import Lengths, describe_leaning, find_lengths
from rlaif.reward_model.model import compute_rewards, make_reward_model
from rlaif.reward_model.optimise import Optimisation
from rlaif.reward_model.ratings import find_scales
from rlaif.reward_model.readout import fit_readout
from rlaif.reward_model.save import Results, read_results, save_reward_model
from rlaif.training.listener import NOBODY, Listener, StepMetrics
from rlaif.training.team import ALONE, Team

MIN_REFERENCE = 32
"""With fewer held-out responses the rewards' mean and deviation are taken over the training responses."""


_ADDED = (
    "train", "num_layers", "cache_trunk", "max_cache_gb", "human_weight", "label_smoothing", "keep",
    "validation_fraction", "num_validations", "length_bias", "num_members", "bootstrap",
)  # fmt: skip
"""Options that came later: at their defaults they are in no digest, so that an older training can be resumed."""


class TrainedRewardModel(NamedTuple):
    path: Path
    loaded: LoadedModel
    card: RewardModelCard
    held_out: HeldOut
    train_tally: Tally
    test_tally: Tally


def train_reward_model(
    *,
    base: LoadedModel | str | Path,
    train_rows: Sequence[TrainingRow],
    test_rows: Sequence[TrainingRow],
    config: RewardModelConfig,
    out_dir: Path,
    seed: int,
    resume: bool = False,
    dataset_digest: str = "",
    ledger_head: StatedHead | None = None,
    listener: Listener = NOBODY,
    team: Team = ALONE,
) -> TrainedRewardModel:
    """Train on `train_rows`, measure on `test_rows`, and write the model's folder `out_dir` as a whole.

    Checkpoints stand beside it, in `<out_dir>_checkpoints`, until it is written. With `resume` a training that was
    killed continues from the newest one, and one that had finished is not done again. dataset_digest, ledger_head: for
    the model card. All processes of a team call this, and the first one measures and writes; the others need no
    `test_rows`.
    """
    if not isinstance(base, LoadedModel):
        base = load_causal_lm(str(base))
    context = context_tokens_of(base.model) or config.max_length
    limit = min(config.max_length, context)
    scales = find_scales(train_rows)
    train = encode_pairs(train_rows, encoder=base.encoder, max_length=limit, scales=scales)
    test = encode_pairs(test_rows, encoder=base.encoder, max_length=limit, scales=scales)
    if not train.pairs:
        raise StageError(
            f"there is no pair to train a reward model on: {train.tally}",
            where=str(out_dir),
            fix=describe_length_bound("reward_model.max_length", max_length=config.max_length, context=context)
            if train.tally.dropped.get("over_length")
            else "make more preferences",
        )
    digest = team.ask_first(lambda: _digest_training(base, train=train, test=test, config=config, seed=seed))
    checkpoints = out_dir.with_name(f"{out_dir.name}_checkpoints")
    results = team.ask_first(lambda: read_results(out_dir, digest=digest) if resume else None)
    if results is None:
        if not resume and team.is_first:
            drop_checkpoints(checkpoints)
        model = make_reward_model(base, seed=seed, is_flat=config.length_bias != "kept")
        making = _make(
            model, train, config=config, seed=seed, checkpoints=checkpoints, digest=digest, team=team, listener=listener
        )

        def measure_and_save() -> Results:
            results = _measure(model, train=train, test=test, digest=digest)
            results = results.model_copy(update=making._asdict())
            save_reward_model(
                model,
                base=base,
                out_dir=out_dir,
                results=results,
                config=config,
                tally=train.tally,
                dataset_digest=dataset_digest,
                ledger_head=ledger_head,
            )
            return results

        results = team.ask_first(measure_and_save)
    if team.is_first:
        drop_checkpoints(checkpoints)
    loaded = load_reward_model(str(out_dir))
    card = RewardModelCard(
        model_id=loaded.fingerprint.id,
        base_model_id=base.fingerprint.id,
        dataset_digest=dataset_digest,
        config=config.model_dump(mode="json"),
        metrics=results.metrics,
        accuracy=results.held_out.accuracy,
    )
    return TrainedRewardModel(
        path=out_dir,
        loaded=loaded,
        card=card,
        held_out=results.held_out,
        train_tally=train.tally,
        test_tally=test.tally,
    )


class _Making(NamedTuple):
    """What was chosen while a model was made."""

    num_pairs: int
    """Rows trained on."""
    human_weight: HumanWeight | None
    kept: Kept | None = None
    length_leaning: str | None = None
    """In words, where it was fitted."""


def _make(
    model: PreTrainedModel,
    train: Pairs,
    *,
    config: RewardModelConfig,
    seed: int,
    checkpoints: Path,
    digest: str,
    team: Team,
    listener: Listener,
) -> _Making:
    """Train the model, by steps or by a fit."""
    items, validation = train.pairs, None
    if config.keep == "best" and config.train != "readout":
        items, validation, why_none = leave_out(items, fraction=config.validation_fraction)
        if why_none and team.is_first:
            listener.on_note(why_none)
    train = train._replace(pairs=items)
    lengths = find_lengths(train, config)
    weigh = partial(_weigh_rows, model, train, config=config, lengths=lengths, listener=listener)
    weighed, human_weight = team.ask_first(weigh), None
    if weighed is not None:
        items, human_weight = weighed
    if config.label_smoothing:
        items = smooth_labels(items, share=config.label_smoothing)
    train = train._replace(pairs=items)
    if config.train == "readout":
        fit = partial(_fit_readout, model, train, config=config, lengths=lengths, listener=listener)
        return _Making(len(items), human_weight, length_leaning=team.ask_first(fit))
    freeze_lower_layers(model, config)
    made = Optimisation(
        model,
        train,
        config=config,
        seed=seed,
        folder=checkpoints,
        digest=digest,
        team=team,
        validation=validation,
        lengths=lengths,
    ).run(listener)
    length_leaning = describe_leaning(made.leaning, lengths=lengths)
    if team.is_first:
        for note in [*([made.kept.describe()] if made.kept else []), *([length_leaning] if length_leaning else [])]:
            listener.on_note(note)
    return _Making(len(items), human_weight, made.kept, length_leaning)


def _weigh_rows(
    model: PreTrainedModel, train: Pairs, *, config: RewardModelConfig, lengths: Lengths | None, listener: Listener
) -> Weighed | None:
    """The rows with people's weight, where it is to be chosen and can be."""
    if config.human_weight == "as_given":
        return None
    if why_not := why_not_chosen(train.pairs):
        listener.on_note(why_not)
        return None
    weighed = weigh_rows(
        model,
        train,
        center_rewards_coefficient=config.center_rewards_coefficient,
        lengths=lengths,
        may_correct=config.human_weight == "corrected",
    )
    listener.on_note(weighed.human_weight.describe())
    return weighed


def _fit_readout(
    model: PreTrainedModel, train: Pairs, *, config: RewardModelConfig, lengths: Lengths | None, listener: Listener
) -> str | None:
    """Fit in what the log shows as one step; the labels' leaning to length in words, where it is left out."""
    listener.on_begin(1)
    fitted = fit_readout(model, train, center_rewards_coefficient=config.center_rewards_coefficient, lengths=lengths)
    listener.on_metrics(StepMetrics(1, fitted.numbers))
    leaning = describe_leaning(fitted.leaning, lengths=lengths)
    if leaning is not None:
        listener.on_note(leaning)
    return leaning


def _digest_training(base: LoadedModel, *, train: Pairs, test: Pairs, config: RewardModelConfig, seed: int) -> str:
    """The digest of everything that fixes the result; how often a checkpoint is written does not."""
    kept = config.model_dump(exclude_defaults=True)
    unused = {name for name in _ADDED if name not in kept}
    options = config.model_dump_json(exclude={"preferences", "split", "checkpoint_every", *unused})
    sees_sources = config.human_weight != "as_given" or config.keep == "best" or config.length_bias == "judge_rows"
    of_train = digest_pairs(train, with_sources=sees_sources)
    return digest_text("\n".join([options, str(seed), base.fingerprint.id, of_train, digest_pairs(test)]))


def _measure(model: PreTrainedModel, *, train: Pairs, test: Pairs, digest: str) -> Results:
    """Held-out figures, and the rewards' mean and standard deviation on the policy's own responses.

    Held-out responses serve for both where there are enough: on its training responses a reward model's rewards are
    further apart than on the responses that PPO will draw.
    """
    with torch.no_grad():
        rewards = compute_rewards(model, test.sequences).tolist()
        reference = rewards
        if len(rewards) < MIN_REFERENCE:
            reference = compute_rewards(model, train.sequences).tolist()
    return Results(
        digest=digest,
        held_out=measure_held_out(test.pairs, rewards),
        reward_mean=statistics.fmean(reference),
        reward_std=statistics.pstdev(reference),
        num_pairs=len(train.pairs),
    )
