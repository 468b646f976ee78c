"""A round's figures -> the gates that it does not pass, each with a sentence that says why.

A gate stops the loop between rounds: training on from a policy that went wrong would only spend more on
it. Pure arithmetic; reads no ledger, measures nothing and stops nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import Field

from rlaif.config.gates import GatesConfig
from rlaif.records import Estimate, TransportCheck
from rlaif.records.base import Value
from rlaif.stats.ranks import is_above


class RoundFigures(Value):
    """The figures that the gates compare with their limits."""

    stopped: str = ""
    """Why an alarm ended the policy's training; empty where none did."""
    win_rate: Estimate | None
    """Win rate of the trained policy over the starting one; None where every comparison failed."""
    accuracy: Estimate | None
    """Accuracy of the reward model on held-out preferences; None where nothing is held out."""
    num_questions: int
    """Asked about the round's samples."""
    num_failed: int
    num_compared: int
    """Comparisons for which both orders were asked."""
    num_flipped: int
    ended_before: float | None
    """Share of responses that the starting policy ended itself; None where it is not known."""
    ended_after: float | None
    transport: TransportCheck | None = Field(None, exclude_if=lambda check: check is None)
    """The calibration of the rounds before on the labels that people gave in this round; None where there are none."""


class ClosedGate(Value):
    """A gate that the round does not pass."""

    name: str
    """The option that closed it."""
    sentence: str


def find_closed_gates(figures: RoundFigures, *, config: GatesConfig) -> list[ClosedGate]:
    """Every gate that the round does not pass, in the order of the options; none: the loop may go on.

    A figure that was not measured closes no gate, but a win rate that nothing is left of does.
    """
    return [ClosedGate(name=f"gates.{name}", sentence=sentence) for name, sentence in _findings(figures, config)]


def describe_transport(check: TransportCheck) -> str:
    """How the calibration of earlier rounds did on a round's fresh labels, in a sentence."""
    points, low, high = (100 * number for number in (check.residual.mean, check.residual.low, check.residual.high))
    verdict = {
        "holds": "it holds",
        "does not hold": "it does not hold for this policy's responses",
        "undecided": "so few labels do not tell whether it holds",
    }[check.outcome]
    return (
        f"the calibration by earlier rounds' labels, on {check.num_pairs} pairs that people labelled in this round: "
        f"people take the judge's side {abs(points):.1f} points {'less' if points < 0 else 'more'} often than it "
        f"predicts (95 % interval {low:+.1f} to {high:+.1f}, {check.residual.n} prompts): {verdict}"
    )


def _findings(figures: RoundFigures, config: GatesConfig) -> Iterator[tuple[str, str]]:
    if config.alarm and figures.stopped:
        yield "alarm", f"policy training broke off at an alarm: {figures.stopped}"
    if config.transport and figures.transport is not None and figures.transport.outcome == "does not hold":
        yield "transport", describe_transport(figures.transport)
    if config.min_win_rate is not None:
        if figures.win_rate is None:
            yield "min_win_rate", "there is no win rate: every comparison with the starting policy failed"
        elif figures.win_rate.low <= config.min_win_rate:
            yield (
                "min_win_rate",
                f"the judge's win rate over the starting policy, {_format_share(figures.win_rate)}, "
                f"is not clearly above {config.min_win_rate:g}",
            )
    if config.min_accuracy is not None and figures.accuracy and figures.accuracy.low <= config.min_accuracy:
        yield (
            "min_accuracy",
            f"the reward model's held-out accuracy, {_format_share(figures.accuracy)}, "
            f"is not clearly above {config.min_accuracy:g}",
        )
    if config.max_failed is not None and is_above(figures.num_failed, config.max_failed * figures.num_questions):
        yield (
            "max_failed",
            f"{figures.num_failed} of {figures.num_questions} questions to the judge failed, "
            f"more than a share of {config.max_failed:g}",
        )
    if config.max_flipped is not None and is_above(figures.num_flipped, config.max_flipped * figures.num_compared):
        yield (
            "max_flipped",
            f"{figures.num_flipped} of {figures.num_compared} comparisons changed with the order shown, "
            f"more than a share of {config.max_flipped:g}",
        )
    before, after, drop = figures.ended_before, figures.ended_after, config.max_eos_drop
    if before is not None and after is not None and drop is not None and _is_fall(figures, before, after, most=drop):
        yield (
            "max_eos_drop",
            f"the policy ends {after:.1%} of its responses itself and the starting policy {before:.1%}, "
            f"a fall of more than {drop:g}",
        )


def _is_fall(figures: RoundFigures, before: float, after: float, *, most: float) -> bool:
    """Whether a share fell by more than `most`, and by more than two standard errors where the prompts are counted."""
    if figures.win_rate is None:
        return is_above(before - after, most)
    error = math.sqrt((before * (1 - before) + after * (1 - after)) / figures.win_rate.n)
    return is_above(before - after, max(most, 2 * error))


def _format_share(share: Estimate) -> str:
    return f"{share.mean:.3f} (95 % interval {share.low:.3f} to {share.high:.3f}, n {share.n})"
