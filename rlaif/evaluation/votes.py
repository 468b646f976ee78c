"""Several responses of a policy to each prompt, verified -> how often one of them is right, the answer that most give,
and the response that a reward model ranks highest.

Majority vote as in self-consistency, Wang et al. 2023 (arXiv:2203.11171); ReFT (arXiv:2401.08967) is measured by both.
Draws nothing, scores nothing and verifies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rlaif.evaluation.best_of_n import pick_best
from rlaif.evaluation.policy import Change
from rlaif.evaluation.verifier import Checked
from rlaif.records.base import Value
from rlaif.stats.intervals import mean_interval, share_interval

IsSame = Callable[[str, str], bool]
"""Whether two answers are the same."""


class Answered(NamedTuple):
    """One policy's responses to a prompt, in the order in which they were drawn."""

    prompt_id: str
    checked: Sequence[Checked]
    rewards: Sequence[float | None] | None = None
    """A reward model's, None for a response that it could not score; None where no reward model is asked."""


class VerifiedAnswers(Value):
    """Shares of held-out prompts, before and after training, each prompt counted once."""

    num_samples: int
    """Responses of each policy to each prompt."""
    num_prompts: int
    num_unknown: int
    """Held-out prompts that are not in it, because no answer to them is known."""
    single: Change
    """One response is right: the mean over a prompt's responses."""
    voted: Change | None
    """The answer that most of a prompt's responses give is right; None with one response."""
    reranked: Change | None
    """The response with the highest reward is right; None with one response, or without a reward model."""
    no_answer: Change
    """Responses that give no answer."""

    @property
    def rows(self) -> dict[str, Change]:
        """Each figure by its name."""
        named = {
            "one response": self.single,
            f"majority of {self.num_samples}": self.voted,
            f"best of {self.num_samples} by the reward model": self.reranked,
            "no answer": self.no_answer,
        }
        return {name: change for name, change in named.items() if change is not None}

    @property
    def figures(self) -> dict[str, float]:
        """The means for the ledger's record of the evaluation, by short names."""
        named = {"right": self.single, "right_by_vote": self.voted, "right_by_reward": self.reranked}
        return {
            f"{name}_{when}": mean
            for name, change in named.items()
            if change is not None
            for when, mean in (("before", change.mean_before), ("after", change.mean_after))
        }


def vote(checked: Sequence[Checked], *, is_same: IsSame) -> Checked | None:
    """The first response that gives the answer which most give, of equally frequent ones the answer that came first.

    Responses without an answer have no vote. None where no response gives one.
    """
    groups: list[list[Checked]] = []
    for one in checked:
        if one.answer is None:
            continue
        group = next((group for group in groups if is_same(group[0].answer or "", one.answer)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return max(groups, key=len)[0] if groups else None


def compare_answers(
    before: Sequence[Answered], after: Sequence[Answered], *, is_same: IsSame, num_unknown: int = 0
) -> VerifiedAnswers | None:
    """Both policies on the same prompts, as often sampled; None without a prompt.

    A prompt of which a reward model scored no response is not in `reranked`.
    """
    if [one.prompt_id for one in before] != [one.prompt_id for one in after]:
        raise ValueError("both policies answer the same prompts, in the same order")
    sizes = {len(one.checked) for one in (*before, *after)}
    if not before:
        return None
    if len(sizes) > 1:
        raise ValueError("both policies answer every prompt equally often")
    [num_samples] = sizes
    sides = list(zip(before, after, strict=True))
    ranked = [(_rerank(first), _rerank(second)) for first, second in sides]
    return VerifiedAnswers(
        num_samples=num_samples,
        num_prompts=len(before),
        num_unknown=num_unknown,
        single=_compare([(_share_right(first), _share_right(second)) for first, second in sides]),
        voted=_compare([(_voted(first, is_same), _voted(second, is_same)) for first, second in sides])
        if num_samples > 1
        else None,
        reranked=_compare(found)
        if num_samples > 1 and (found := [(a, b) for a, b in ranked if a is not None and b is not None])
        else None,
        no_answer=_compare([(_share_silent(first), _share_silent(second)) for first, second in sides]),
    )


def _share_right(one: Answered) -> float:
    return sum(checked.is_right for checked in one.checked) / len(one.checked)


def _share_silent(one: Answered) -> float:
    return sum(checked.answer is None for checked in one.checked) / len(one.checked)


def _voted(one: Answered, is_same: IsSame) -> float:
    winner = vote(one.checked, is_same=is_same)
    return float(winner is not None and winner.is_right)


def _rerank(one: Answered) -> float | None:
    place = None if one.rewards is None else pick_best(one.rewards)
    return None if place is None else float(one.checked[place].is_right)


def _compare(rows: Sequence[tuple[float, float]]) -> Change:
    """Shares of one prompt each."""
    before, after = [first for first, _ in rows], [second for _, second in rows]
    return Change(
        before=share_interval(before),
        after=share_interval(after),
        change=mean_interval([second - first for first, second in rows]),
        mean_before=sum(before) / len(rows),
        mean_after=sum(after) / len(rows),
    )
