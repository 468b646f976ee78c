"""Two rounds, of two runs or of one -> where they differ: constitution, settings, decisions, measures.

Reads the ledger and both run folders; what a folder no longer there would have said is left out and named. Asks no
judge and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rlaif.audit.runs import RoundRow, find_round
from rlaif.audit.two_decisions import RoundOfRun, TwoDecided, compare_decided
from rlaif.calibration.edit_outcomes import describe_tested, find_tested
from rlaif.constitution.diff import Edit, find_edits
from rlaif.errors import InputError, RunFolderError, describe_names
from rlaif.evaluation.measures import find_wanted
from rlaif.ledger.lineage import list_rounds
from rlaif.ledger.listing import find_run_names
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.store import Ledger
from rlaif.records import Constitution, Estimate, EvaluationReport, PolicyCard, RewardModelCard
from rlaif.run.folder import open_run
from rlaif.run.options import find_changes
from rlaif.run.stages import EVALUATION, JUDGEMENTS, POLICY, REWARD_MODEL

T = TypeVar("T")
ACCURACY = "accuracy of the reward model on held-out pairs"
WIN_RATE, AT_EQUAL_LENGTH = "win rate over the start", "win rate at equal length"
SHARES = frozenset({ACCURACY, WIN_RATE, AT_EQUAL_LENGTH})


class Side(NamedTuple):
    """One of the two rounds."""

    place: RoundOfRun
    rounds: tuple[int, ...]
    """All rounds of its run."""
    constitution: Constitution | None
    row: RoundRow | None
    """Its stages, as its folder tells them; None where the folder is not there."""
    reward_model: RewardModelCard | None
    policy: PolicyCard | None
    evaluation: EvaluationReport | None


class Measured(NamedTuple):
    """One number of both rounds. An estimate has its interval, a plain number has none."""

    name: str
    is_share: bool
    values: tuple[Estimate | float | None, Estimate | float | None]
    changes: tuple[Estimate | None, Estimate | None] = (None, None)
    """For a measure of the trained policies: how far each moved from its start."""


class TwoRounds(NamedTuple):
    """Two rounds beside each other."""

    sides: tuple[Side, Side]
    edits: tuple[Edit, ...]
    """Principles that differ; none where a constitution is missing."""
    tested: str
    """What people's labels said of this edit; empty where nobody tested it."""
    settings: tuple[tuple[str, str], ...] | None
    """Options and inputs that differ, each with both values in words; None where a run's folder is not there."""
    decided: TwoDecided
    measures: tuple[Measured, ...]


def compare_rounds(
    ledger: Ledger, runs_dir: Path, *, one: str, other: str, rounds: tuple[int | None, int | None], after: int = 0
) -> TwoRounds:
    """Two rounds; of a run whose round is None, the newest.

    Raises `InputError` where the ledger knows no such run or round.
    """
    sides = (
        _find_side(ledger, runs_dir, run=one, number=rounds[0]),
        _find_side(ledger, runs_dir, run=other, number=rounds[1]),
    )
    first, second = sides
    edits: list[Edit] = []
    tested = None
    if first.constitution is not None and second.constitution is not None:
        edits = find_edits(first.constitution, second.constitution)
        tested = find_tested(ledger, old=first.constitution.file_digest, new=second.constitution.file_digest)
    return TwoRounds(
        sides=sides,
        edits=tuple(edits),
        tested="" if tested is None else describe_tested(tested),
        settings=_compare_settings(runs_dir, one, other),
        decided=compare_decided(ledger, first.place, second.place, after=after),
        measures=tuple(_measure(sides)),
    )


def _find_side(ledger: Ledger, runs_dir: Path, *, run: str, number: int | None) -> Side:
    known = find_run_names(ledger.rows)
    if run not in known:
        raise InputError(
            f'no run "{run[:80]}" used a decision in this ledger', fix=describe_names(run, known, noun="the runs")
        )
    rounds = list_rounds(ledger, run)
    chosen = rounds[-1] if number is None else number
    if chosen not in rounds:
        raise InputError(f"run {run} has no round {chosen}", fix=f"its rounds are {', '.join(map(str, rounds))}")

    return Side(
        place=RoundOfRun(run, chosen),
        rounds=tuple(rounds),
        constitution=find_constitution(ledger, run=run, round=chosen, stage=JUDGEMENTS.folder),
        row=_find_row(runs_dir, run, chosen),
        reward_model=_last(ledger.used(run, chosen, REWARD_MODEL.folder, RewardModelCard)),
        policy=_last(ledger.used(run, chosen, POLICY.folder, PolicyCard)),
        evaluation=_last(ledger.used(run, chosen, EVALUATION.folder, EvaluationReport)),
    )


def _last(records: Sequence[T]) -> T | None:
    return records[-1] if records else None


def _find_row(runs_dir: Path, run: str, number: int) -> RoundRow | None:
    try:
        return find_round(runs_dir, run, number)
    except RunFolderError:
        return None


def _compare_settings(runs_dir: Path, one: str, other: str) -> tuple[tuple[str, str], ...] | None:
    """Name -> both values, for options and digests of inputs."""
    try:
        first, second = (open_run(runs_dir, name).config for name in (one, other))
    except RunFolderError:
        return None
    words = (str(change).partition(": ") for change in find_changes(first, second))
    return tuple((name, values) for name, _, values in words)


def _measure(sides: tuple[Side, Side]) -> Iterator[Measured]:
    """What both rounds measured, and what only one of them did: measures that a principle names before the others."""
    first, second = (dict(_list_figures(side)) for side in sides)
    for name in {**first, **second}:
        values = (first.get(name), second.get(name))
        if values != (None, None):
            yield Measured(name, name in SHARES, values)
    reports = (sides[0].evaluation, sides[1].evaluation)
    names = dict.fromkeys(name for report in reports if report is not None for name in report.measures_after)
    tags = [tag for side in sides if side.constitution for one in side.constitution.principles for tag in one.tags]
    named = dict.fromkeys(wanted.name for tag in tags if (wanted := find_wanted(tag, names)) is not None)
    for name in {**named, **names}:
        one, other = (_find_measured(report, name) for report in reports)
        yield Measured(f"{name}, trained policy", is_share=False, values=(one[0], other[0]), changes=(one[1], other[1]))


def _find_measured(report: EvaluationReport | None, name: str) -> tuple[Estimate | None, Estimate | None]:
    """A measure of the trained policy, and its change."""
    return (None, None) if report is None else (report.measures_after.get(name), report.measures_change.get(name))


def _list_figures(side: Side) -> Iterator[tuple[str, Estimate | float | None]]:
    if side.reward_model is not None:
        yield ACCURACY, side.reward_model.accuracy
    if side.evaluation is not None:
        yield WIN_RATE, side.evaluation.win_rate
        yield AT_EQUAL_LENGTH, side.evaluation.win_rate_at_equal_length
        yield "KL to the start, nats per response", side.evaluation.figures.get("kl")
