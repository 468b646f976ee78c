"""Two runs whose judges judged the same pairs -> a test by people of which judge is better.

The judge of one run is the old one and that of the other the new one; everything else is as in a test of an edit. Asks
no judge: both have stored their answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.audit.edit_refusals import Fixed
from rlaif.audit.edit_tests import (
    GUIDELINE,
    Status,
    find_unfit,
    fix_test,
    store_test,
    take_in_test,
)
from rlaif.calibration.edit_outcomes import find_judge_test
from rlaif.calibration.sheet import refuse_taken
from rlaif.errors import InputError, RunFolderError, StageError
from rlaif.judging.bench import Bench
from rlaif.judging.panel import find_judge_ids, find_panel
from rlaif.judging.stage import JudgedRound, open_judged
from rlaif.preferences.diff import PairLabels, label_pairs
from rlaif.preferences.edit_plan import plan_test
from rlaif.records import EditTest, Sample
from rlaif.run.folder import open_run
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.stats.logits import canonical_pair


class Begun(NamedTuple):
    """A test of two judges that was begun now."""

    test: EditTest
    sheet_path: Path


def compare_judges(
    *, run: str | None, against: str, sheet: Path | None, answers: Path | None, runs_dir: Path
) -> Begun | Status:
    """Is the judge of `against` better than that of `run`? Begin the test, or take its answers in where it is begun."""
    old, new = open_run(runs_dir, run), open_run(runs_dir, against)
    if old.name == new.name:
        raise InputError("a judge is compared with itself", where=f"--against {against}", fix="name another run")
    path = sheet or Path(f"judges-{old.name}-{new.name}.json")
    ledgers = [ledger_path_of(one.config, runs_dir=runs_dir) for one in (old, new)]
    if ledgers[0].resolve() != ledgers[1].resolve():
        raise RunFolderError(
            f"the runs {old.name} and {new.name} have different ledgers, and a test stands in one",
            where=str(runs_dir),
            fix="name runs of one folder",
        )
    with open_ledger(old, ledgers[0]) as ledger:
        test = find_judge_test(ledger, old_run=old.name, new_run=new.name)
        if test is not None:
            return take_in_test(ledger, test, path=path, answers=answers, dry_run=False)
    return _begin(old.name, new.name, path=path, runs_dir=runs_dir)


def _begin(old: str, new: str, *, path: Path, runs_dir: Path) -> Begun:
    refuse_taken(path)
    with (
        open_judged(runs_dir, new, read_only=True) as (other, other_bench),
        open_judged(runs_dir, old) as (judged, bench),
    ):
        if judged.constitution.file_digest != other.constitution.file_digest:
            raise InputError(
                f'the runs were judged by different files, "{judged.constitution.name}" and '
                f'"{other.constitution.name}": people could not say which of the two makes the difference',
                where=f"--against {new}",
                fix="judge the same responses by one file with both judges",
            )
        shared = _find_shared(judged, other, where=f"--against {new}")
        before, after = (_label(one, lent, shared) for one, lent in ((judged, bench), (other, other_bench)))
        labels = PairLabels(before.prompts, before.old, after.old)
        samples = {sample.id: sample for pair in shared for sample in pair}
        plan = plan_test(labels, changes=(), samples=samples, reasons=find_unfit(judged), seed=0)
        if not plan.flips:
            raise StageError(
                f"the judges name the same winner in all {len(plan.rest)} pairs; there is nothing to ask people",
                where=str(judged.path),
                fix="compare them on runs with more pairs",
            )
        file = judged.constitution
        test, sheet = fix_test(judged, plan, old=file, new=file, guideline=GUIDELINE, fixed=Fixed())
        test = test.changed(new_run=other.run, new_judge_ids=tuple(find_judge_ids(other.questions)))
        store_test(judged.ledger, test, sheet, path=path, files=(file,))
    return Begun(test, path)


def _find_shared(judged: JudgedRound, other: JudgedRound, *, where: str) -> list[tuple[Sample, Sample]]:
    there = {canonical_pair(a.id, b.id) for a, b in other.pairs}
    shared = [(a, b) for a, b in judged.pairs if canonical_pair(a.id, b.id) in there]
    if not shared:
        raise InputError(
            f"the judges of {judged.run} and {other.run} judged none of the same pairs",
            where=where,
            fix="judge the same responses with both: the same seed, policy and prompts, or the same recorded samples",
        )
    return shared


def _label(judged: JudgedRound, bench: Bench, pairs: Sequence[tuple[Sample, Sample]]) -> PairLabels:
    panel = find_panel(
        bench.judges, questions=judged.questions, comparisons=judged.comparisons, is_recorded=judged.is_recorded
    )
    return label_pairs(
        judged.comparisons, old=judged.constitution, new=judged.constitution, pairs=pairs,
        config=judged.config.preferences, draw_seed=judged.draw_seed, seed=judged.seed, panel=panel,
    )  # fmt: skip
