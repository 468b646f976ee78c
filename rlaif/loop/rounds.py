"""Finished rounds -> a row for each round, the gates that closed, rounds.json, and a table for people.

Reads what the stages left in the ledger, so that a resumed run shows the same. Runs no stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rlaif.errors import ConfigError, StageError
from rlaif.evaluation.policy import Change
from rlaif.files.atomic import write_atomically
from rlaif.loop.gates import ClosedGate, RoundFigures, find_closed_gates
from rlaif.records import (
    CalibrationCard,
    Comparison,
    Constitution,
    Estimate,
    EvaluationReport,
    PolicyCard,
    RewardModelCard,
    Tally,
)
from rlaif.records.base import Value
from rlaif.report.moved import list_moved
from rlaif.run.book import Book
from rlaif.run.chain import last_link
from rlaif.run.finished import read_stage
from rlaif.run.folder import newest_round
from rlaif.run.round import Round
from rlaif.run.stage_gates import FIX
from rlaif.run.stages import EVALUATION, JUDGEMENTS, POLICY, PREFERENCES, REWARD_MODEL, SAMPLES

FORMAT = 1


class RoundRow(Value):
    """What one round ended with."""

    round: int
    evaluation: EvaluationReport
    """Against the policy that the run started from, on the same held-out prompts in every round."""
    figures: RoundFigures
    num_pairs: int
    """Preferences of all rounds so far that the reward model was fitted to."""
    closed_gates: tuple[ClosedGate, ...]
    policy_path: str
    """Path of the trained policy in the run's folder."""

    @property
    def proxy_reward(self) -> float | None:
        return self.evaluation.proxy_reward


class Rounds(Value):
    """What a run of several rounds ended with."""

    run: str
    asked_for: int
    rows: tuple[RoundRow, ...]
    stopped_inside: ClosedGate | None = None
    """The gate that closed inside the round after these, before its next stage."""

    @property
    def stopped_by(self) -> tuple[ClosedGate, ...]:
        """The gates that ended the loop before its time; none where all rounds were done."""
        if self.stopped_inside is not None:
            return (self.stopped_inside,)
        return self.rows[-1].closed_gates if len(self.rows) < self.asked_for else ()

    @property
    def last_good(self) -> RoundRow | None:
        """The last round that passed its gates."""
        return next((row for row in reversed(self.rows) if not row.closed_gates), None)


def refuse_fewer_rounds(round: Round) -> None:
    """A run that has begun its third round is not a run of two."""
    begun = newest_round(round.run, stage=SAMPLES) + 1
    if round.config.rounds < begun:
        raise ConfigError(
            f"{begun} rounds of this run were begun and {round.config.rounds} asked for",
            where="rounds",
            fix=f"ask for {begun} or more, or start a new run",
        )


def collect_round(round: Round, book: Book) -> RoundRow:
    """The row of a finished round."""
    (evaluation,) = book.used(EVALUATION, EvaluationReport, round=round.number)
    (policy,) = book.used(POLICY, PolicyCard, round=round.number)
    reward_model = next(iter(book.used(REWARD_MODEL, RewardModelCard, round=round.number)), None)
    calibrated = [] if reward_model is None else book.used(PREFERENCES, CalibrationCard, round=round.number)
    judged = read_stage(round.find_folder(JUDGEMENTS))
    asked = Tally(num_in=0) if judged is None else judged.tally
    comparisons = book.used(JUDGEMENTS, Comparison, round=round.number)
    both_orders = [comparison for comparison in comparisons if comparison.flipped is not None]
    figures = RoundFigures(
        stopped=policy.stopped,
        win_rate=evaluation.win_rate,
        accuracy=None if reward_model is None else reward_model.accuracy,
        num_questions=asked.num_in,
        num_failed=asked.num_dropped,
        num_compared=len(both_orders),
        num_flipped=sum(bool(comparison.flipped) for comparison in both_orders),
        ended_before=evaluation.figures.get("ended_before"),
        ended_after=evaluation.figures.get("ended_after"),
        transport=next((card.transport for card in calibrated), None),
    )
    trained = last_link(round.config, POLICY)
    return RoundRow(
        round=round.number,
        evaluation=evaluation,
        figures=figures,
        num_pairs=0 if reward_model is None else int(reward_model.metrics["num_pairs"]),
        closed_gates=tuple(find_closed_gates(figures, config=round.config.gates)),
        policy_path=(trained.find_dir(round.run, round=round.number) / "model").relative_to(round.run.path).as_posix(),
    )


def write_rounds(rounds: Rounds, run_dir: Path) -> Path:
    """rounds.json in the run's folder: every number of the table, and why the loop ended where it did."""
    path = run_dir / "rounds.json"
    last_good = rounds.last_good
    data = {
        "format": FORMAT,
        "run": rounds.run,
        "asked_for": rounds.asked_for,
        "stopped_by": [gate.model_dump() for gate in rounds.stopped_by],
        "last_good_round": None if last_good is None else last_good.round,
        "rounds": [
            {**row.model_dump(), "evaluation_id": row.evaluation.id, "proxy_reward": row.proxy_reward}
            for row in rounds.rows
        ],
    }
    write_atomically(path, json.dumps(data, indent=1) + "\n")
    return path


def describe_rounds(rounds: Rounds, *, constitution: Constitution) -> Iterator[str]:
    """The table over the rounds, for people."""
    named, others = _order_measures(rounds.rows[-1].evaluation, constitution=constitution)
    measures = [*named, *others]
    heads = ["round", "reward", "win rate", "KL", "accuracy", "pairs", *named, *(f"({name})" for name in others)]
    first = rounds.rows[0].evaluation
    lines = [["start", *[""] * 5, *(_format_mean(first.measures_before.get(name)) for name in measures)]]
    for row in rounds.rows:
        reward = row.proxy_reward
        lines.append(
            [
                str(row.round),
                "unknown" if reward is None else f"{reward:+.2f}",
                _format_share(row.evaluation.win_rate),
                _format_kl(row.evaluation.figures),
                _format_share(row.figures.accuracy),
                str(row.num_pairs),
                *(_format_mean(row.evaluation.measures_after.get(name)) for name in measures),
            ]
        )
    yield from _align([heads, *lines])
    yield (
        "reward: of the trained policy above the start's, by the round's own reward model; win rate: against the "
        "start, by the judge; KL: to the start, in nats per response, on prompts held out of training, "
        "or without an interval before the last update; accuracy: of the reward model on held-out pairs; pairs: it was "
        "fitted to" + ("; in brackets: what no principle names" if others else "")
    )


def describe_outcome(rounds: Rounds) -> str:
    """How the loop ended, and which policy is the last good one."""
    done, good = len(rounds.rows), rounds.last_good
    if rounds.stopped_by:
        ended = f"stopped after {done} of {rounds.asked_for} rounds"
    else:
        ended = f"{done} round{'' if done == 1 else 's'} done"
    if good is None:
        return f"{ended}; no round passed its gates"
    return f"{ended}; the last round that passed its gates is {good.round}: {good.policy_path}"


def require_good_round(rounds: Rounds) -> None:
    """A loop that a gate stopped is a result; one that leaves no good policy behind is a failed run."""
    if rounds.stopped_by and rounds.last_good is None:
        raise StageError(
            f"no round passed its gates: {rounds.stopped_by[0].sentence}",
            where=rounds.stopped_by[0].name,
            fix="look at the round's report, or go on all the same: change the gate, --resume" if rounds.rows else FIX,
        )


def _align(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _format_mean(estimate: Estimate | None) -> str:
    return "unknown" if estimate is None else f"{estimate.mean:.1f}"


def _format_kl(figures: Mapping[str, float]) -> str:
    if "kl" not in figures:
        return "unknown"
    if "kl_low" not in figures:
        return f"{figures['kl']:.2f}"
    return f"{figures['kl']:.2f} ({figures['kl_low']:.2f} to {figures['kl_high']:.2f})"


def _format_share(share: Estimate | None) -> str:
    return "unknown" if share is None else f"{share.mean:.3f} ({share.low:.3f} to {share.high:.3f})"


def _order_measures(last: EvaluationReport, *, constitution: Constitution) -> tuple[list[str], list[str]]:
    """The measures that the constitution names, then the others; of two opposite poles one."""
    changes = {
        name: Change(
            before=last.measures_before[name],
            after=last.measures_after[name],
            change=change,
            mean_before=last.measures_before[name].mean,
            mean_after=last.measures_after[name].mean,
        )
        for name, change in last.measures_change.items()
        if name in last.measures_before and name in last.measures_after
    }
    moved = list_moved(changes, constitution=constitution)
    return [row.name for row in moved.named], [row.name for row in moved.unnamed]
