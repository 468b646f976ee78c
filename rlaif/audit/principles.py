"""What the ledger knows of each principle: its wordings, how much was decided under it, and what people say of that.

Counts come from the index of the lists, so that no decision is read. Computes no agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from rlaif.audit.disputes import count_disputed
from rlaif.calibration.edit_outcomes import describe_tested, find_tested
from rlaif.ledger.listing import count_listed
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Constitution, EditTest, FailedJudgement


class Wording(NamedTuple):
    """A text under which a principle stood in some file."""

    text: str
    opposite: str
    constitutions: tuple[str, ...]
    """Name and weight in each file that has it."""


class PrincipleRow(NamedTuple):
    """A principle, by its id."""

    id: str
    num_decisions: int
    num_flipped: int
    """Decisions that changed with the order."""
    num_failed: int
    """Answers that could not be used."""
    num_wrong: int
    """Decisions that somebody disputes as wrong."""
    num_disputed: int
    wordings: tuple[Wording, ...]


class TestedEdit(NamedTuple):
    """A test of an edited file, and what people said of it."""

    old: str
    new: str
    run: str
    outcome: str


def find_principles(ledger: Ledger, *, run: str | None = None) -> list[PrincipleRow]:
    """The principles under which the ledger, or one run, has a decision; the most often decided first."""
    decided: Counter[str] = Counter()
    flipped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for group, count in count_listed(ledger.rows, run=run):
        for name in group.principles.split("\n"):
            if group.record_table == Comparison.table:
                decided[name] += count
                flipped[name] += count * (group.flipped == 1)
            elif group.record_table == FailedJudgement.table:
                failed[name] += count
    disputed = count_disputed(ledger)
    wordings = _find_wordings(ledger)
    names = sorted({*decided, *failed} - {""}, key=lambda name: (-decided[name], name))
    return [
        PrincipleRow(
            id=name,
            num_decisions=decided[name],
            num_flipped=flipped[name],
            num_failed=failed[name],
            num_wrong=disputed.get(name, Counter())["wrong"],
            num_disputed=disputed.get(name, Counter()).total(),
            wordings=tuple(wordings.get(name, ())),
        )
        for name in names
    ]


def find_tested_edits(ledger: Ledger) -> list[TestedEdit]:
    """The tests of edited files, the newest first."""
    rows = []
    for test in reversed(list_records(ledger, EditTest)):
        tested = None if test.new_run else find_tested(ledger, new=test.new_digest, old=test.old_digest, run=test.run)
        if tested is not None:
            rows.append(TestedEdit(test.old_digest[:12], test.new_digest[:12], test.run, describe_tested(tested)))
    return rows


def _find_wordings(ledger: Ledger) -> dict[str, list[Wording]]:
    found: dict[str, dict[tuple[str, str], dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for constitution in list_records(ledger, Constitution):
        for principle in constitution.principles:
            where = f"{constitution.name}, weight {principle.weight:g}, file {constitution.file_digest[:12]}"
            found[principle.id][principle.text, principle.opposite][where] = None
    return {
        name: [Wording(text, opposite, tuple(files)) for (text, opposite), files in texts.items()]
        for name, texts in found.items()
    }
