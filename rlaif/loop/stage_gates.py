"""Gates between the stages of a round: a finished stage's figure beside the limit that the configuration sets.

Each reads what the stage left, so that a resumed run, or one with another limit, is asked the same again. The gate on
what cleaning dropped stands inside the stages that clean. Without limits nothing is read and nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rlaif.policy.methods.held_out import read_held_out
from rlaif.records import RewardModelCard
from rlaif.records.gate import GateResult
from rlaif.run.book import Book
from rlaif.run.finished import read_stage
from rlaif.run.round import Round
from rlaif.run.stage_gates import pass_gate
from rlaif.run.stages import JUDGEMENTS, REWARD_MODEL, SFT, Stage
from rlaif.stats.ranks import is_above

Figure = tuple[str, bool]
"""A sentence with the figure and the limit, and whether the gate is closed."""


def pass_stage_gates(round: Round, book: Book, *, after: Stage) -> None:
    """Look at the gate that stands after a stage. Raises `GateClosed` where the next stage may not begin."""
    name, find = _GATES[after]
    limit = getattr(round.config.gates, name)
    if limit is not None and book.is_done(after, round=round.number):
        sentence, is_closed = find(round, book, limit)
        pass_gate(round, GateResult(name=f"gates.{name}", stage=after.name, sentence=sentence, is_closed=is_closed))


def _find_sft_loss(round: Round, book: Book, limit: float) -> Figure:
    loss = read_held_out(round.find_folder(SFT))
    if loss is None or loss.before is None or loss.after is None:
        return "there is no loss of held-out demonstrations: none was held out, or none is short enough", True
    return (
        f"the loss on {loss.num_demonstrations} held-out demonstrations is {loss.after:.3f} nats per token "
        f"(before fine-tuning {loss.before:.3f}), and may be at most {limit:g}",
        is_above(loss.after, limit),
    )


def _find_answered(round: Round, book: Book, limit: float) -> Figure:
    judged = read_stage(round.find_folder(JUDGEMENTS))
    if judged is None or not judged.tally.num_in:
        return "there is no share of answered questions: the judge was asked none", True
    tally = judged.tally
    return (
        f"the judge's answer could be read for {tally.kept} of {tally.num_in} questions "
        f"({tally.kept / tally.num_in:.1%}), and must be for a share of at least {limit:g}",
        is_above(limit * tally.num_in, tally.kept),
    )


def _find_accuracy(round: Round, book: Book, limit: float) -> Figure:
    card = next(iter(book.used(REWARD_MODEL, RewardModelCard, round=round.number)), None)
    accuracy = None if card is None else card.accuracy
    if accuracy is None:
        return "there is no accuracy of the reward model on held-out preferences: none are held out", True
    return (
        f"the reward model's held-out accuracy is {accuracy.mean:.3f} (95 % interval {accuracy.low:.3f} to "
        f"{accuracy.high:.3f}, n {accuracy.n}), and its interval must lie above {limit:g}",
        accuracy.low <= limit,
    )


_GATES: Mapping[Stage, tuple[str, Callable[[Round, Book, float], Figure]]] = {
    SFT: ("max_sft_loss", _find_sft_loss),
    JUDGEMENTS: ("min_answered", _find_answered),
    REWARD_MODEL: ("min_accuracy_before_policy", _find_accuracy),
}
