"""Refusals of a test of an edit: before it begins, and when its answers are taken in.

Each refusal is a sentence that says what to do. Reads and writes nothing but the guideline's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.answers import Answered
from rlaif.calibration.sheet import Sheet
from rlaif.constitution.diff import find_edits
from rlaif.constitution.selection import prepare_constitution, weighted_principles
from rlaif.errors import DataError, InputError, StageError
from rlaif.judging.stage import JudgedRound
from rlaif.loop.spot_draw import read_guideline
from rlaif.preferences.edit_diff import Diff
from rlaif.preferences.edit_plan import Plan
from rlaif.records import Constitution, EditTest, HumanLabel, Principle, digest_text


class Fixed(NamedTuple):
    """Settings of a test, fixed before the first label. None: the default, or what a test that has begun was given."""

    seed: int | None = None
    alpha: float | None = None
    budget: int | None = None
    guideline: Path | None = None


def refuse_left_out(before: Iterable[HumanLabel], states: Sequence[Answered], *, where: Path) -> None:
    """Refuse answers that lack those of somebody who answered: whoever leaves out what does not suit certifies it."""
    missing = {label.annotator for label in before} - {state.annotator for state in states}
    if missing:
        raise DataError(
            f"answers of {', '.join(sorted(missing))} were taken in before, and are not there now",
            where=str(where),
            fix="put the file back; a test counts everybody who answered",
        )


def refuse_circular(guideline: str, old: Constitution, new: Constitution) -> None:
    text = _flatten(guideline)
    for edit in find_edits(old, new):
        for principle in (edit.old, edit.new):
            if principle is not None and _flatten(principle.text) in text:
                raise InputError(
                    f'the guideline has the words of principle "{principle.id}", which the edit changes: people would '
                    "say how well it is kept, and not which reply is better",
                    where="--guideline",
                    fix="write what makes a reply better in words of both files' common aim",
                )


def _flatten(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def refuse_unjudged(judged: JudgedRound, old: Constitution) -> None:
    known = {comparison.principle.wording for comparison in judged.comparisons}
    by_wording: Mapping[tuple[str, str], Principle | bool] = dict.fromkeys(known, True)
    for principle in weighted_principles(prepare_constitution(old, mode=judged.config.judge.principles)):
        if principle.find_in(by_wording) is None:
            raise StageError(
                f'the run has no judgements under principle "{principle.id}" of the old file',
                where=str(judged.path),
                fix=f"name the file that the run was judged by ({judged.constitution.name}), or another run by --run",
            )


def refuse_no_flips(plan: Plan, done: Diff, *, where: str) -> None:
    if plan.flips:
        return
    left_out = sum(plan.left_out.values())
    outside = f", {left_out} pairs aside: {_describe_counts(plan.left_out)}" if left_out else ""
    edits = () if done.result is None else done.result.preferences.edits
    what = "the edit flips none of" if edits else "no principle that counts has another text or weight: of"
    rest = "decisions" if edits else "decisions none flips"
    raise StageError(
        f"{what} {len(plan.rest)} {rest}{outside}; there is nothing to ask people",
        where=where,
        fix="`rlaif constitution diff` shows by how much labels move; test the edit on a run with more pairs",
    )


def _describe_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def refuse_otherwise(test: EditTest, fixed: Fixed) -> None:
    """Refuse options that contradict what the test fixed before its first label."""
    given = {"--seed": (fixed.seed, test.seed), "--alpha": (fixed.alpha, test.alpha)}
    most = len(test.flips) + len(test.rest)
    given["--labels"] = (None if fixed.budget is None else min(fixed.budget, most), test.budget)
    for name, (wanted, has) in given.items():
        if wanted not in (None, has):
            raise InputError(
                f"{name} is {has} in this test, and was fixed before its first label",
                where=f"{name} {wanted}",
                fix=f"leave {name} out",
            )
    if fixed.guideline is not None and digest_text(read_guideline(fixed.guideline)) != test.guideline_digest:
        raise DataError(
            "the test was begun under another guideline, and labels under two guidelines are no one set",
            where=str(fixed.guideline),
            fix="leave --guideline out",
        )


def refuse_other_sheet(test: EditTest, sheet: Sheet, path: Path) -> None:
    if sheet.id != test.sheet_id:
        raise DataError(
            f"this is the sheet of another test ({sheet.id[:12]}); this test's is {test.sheet_id[:12]}",
            where=str(path),
            fix="name the sheet of this test by --sheet",
        )
