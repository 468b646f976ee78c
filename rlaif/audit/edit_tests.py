"""An edited principle file -> a test of it by people: the sheet, the ledger's row, and what the answers come to.

The flips are found as `rlaif constitution diff` finds them. The row with all that a test fixes stands in the ledger
before anybody has the sheet; answers are taken in as often as wanted, and what they come to is appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.audit.edit_refusals import (
    Fixed,
    refuse_circular,
    refuse_left_out,
    refuse_no_flips,
    refuse_other_sheet,
    refuse_otherwise,
    refuse_unjudged,
)
from rlaif.calibration.answer_file import answers_folder, read_all_answers
from rlaif.calibration.answers import Answered
from rlaif.calibration.edit_outcomes import find_outcomes, find_tested
from rlaif.calibration.edit_test import FLIPS_TO_ONE, Standing, asked_items, interleave, stand
from rlaif.calibration.sheet import (
    Sheet,
    SheetItem,
    describe_question,
    make_sheet,
    read_sheet,
    refuse_taken,
    write_sheet,
)
from rlaif.calibration.taken_in import TakenIn, take_in_items
from rlaif.constitution.principles import load_constitution
from rlaif.errors import InputError, StageError
from rlaif.files.atomic import utc_now
from rlaif.judging.panel import find_judge_ids
from rlaif.judging.stage import JudgedRound, open_judged
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.loop.spot_draw import read_guideline
from rlaif.loop.spot_labels import store_labels
from rlaif.preferences.diff import Key
from rlaif.preferences.edit_diff import Diff, diff_judged
from rlaif.preferences.edit_plan import Plan, plan_test
from rlaif.records import (
    Constitution,
    EditOutcome,
    EditTest,
    HumanLabel,
    Model,
    Observed,
    Sample,
    Use,
)
from rlaif.records.base import REDACTED
from rlaif.run.folder import open_run
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.stats.logits import canonical_pair

GUIDELINE = (
    "Say which of the two replies is better as a whole: the one that you would rather have, had you written the "
    "message.\nChoose a tie where neither is better, and unclear where you cannot decide. A reply is not better for "
    "being longer, nor for being the first or the second."
)
"""The same for both files, and it names no principle: asked by the edit's own words, people would only repeat it."""


class Made(NamedTuple):
    """A test that was begun now, or could be."""

    test: EditTest | None
    """None where it was only counted what the judge would be asked."""
    diff: Diff
    sheet_path: Path
    num_others: int
    """Other tests of edits on pairs of this run."""


class Status(NamedTuple):
    """A test as its owner sees it."""

    test: EditTest
    standing: Standing
    taken_in: TakenIn
    states: Sequence[Answered]
    judges: tuple[str, ...]
    head: str
    """Head of the ledger's chain after the answers were taken in."""


def load_edit(old: str, new: str) -> tuple[Constitution, Constitution]:
    """The two principle files, refused where they are one."""
    before, after = load_constitution(old), load_constitution(new)
    if before.file_digest == after.file_digest:
        raise InputError(
            f"{old} and {new} are the same text (sha256 {before.file_digest[:12]}), and there is no edit to test",
            fix="name the file before the edit, then the file after it",
        )
    return before, after


def sheet_of(old: Constitution, new: Constitution) -> Path:
    """The name of a test's sheet, unless another is given."""
    return Path(f"edit-{old.file_digest[:8]}-{new.file_digest[:8]}.json")


def is_begun(old: Constitution, new: Constitution, *, run: str | None, runs_dir: Path) -> bool:
    """Whether the run's ledger has a test of this edit."""
    folder = open_run(runs_dir, run)
    with open_ledger(folder, ledger_path_of(folder.config, runs_dir=runs_dir), read_only=True) as ledger:
        return find_tested(ledger, old=old.file_digest, new=new.file_digest, run=folder.name) is not None


def make_test(
    old: Constitution, new: Constitution, *, path: Path, run: str | None, runs_dir: Path, fixed: Fixed, dry_run: bool
) -> Made:
    """Judge the run's pairs by the new file, fix the test in the ledger and write its sheet.

    dry_run: only count what the judge would be asked.
    """
    refuse_taken(path)
    guideline = GUIDELINE if fixed.guideline is None else read_guideline(fixed.guideline)
    refuse_circular(guideline, old, new)
    with open_judged(runs_dir, run, read_only=dry_run) as (judged, bench):
        refuse_unjudged(judged, old)
        others = [test for test in list_records(judged.ledger, EditTest) if test.run == judged.run and not test.new_run]
        done = diff_judged(judged, bench, old=old, new=new, count_only=dry_run)
        if done.result is None or done.labels is None:
            return Made(None, done, path, len(others))
        plan = plan_test(
            done.labels,
            changes=done.result.preferences.flips,
            samples={sample.id: sample for sample in judged.samples},
            reasons=find_unfit(judged),
            seed=fixed.seed or 0,
        )
        refuse_no_flips(plan, done, where=str(judged.path))
        test, sheet = fix_test(judged, plan, old=old, new=new, guideline=guideline, fixed=fixed)
        store_test(judged.ledger, test, sheet, path=path, files=(old, new))
    return Made(test, done, path, len(others))


def check_test(
    old: Constitution,
    new: Constitution,
    *,
    path: Path,
    answers: Path | None,
    run: str | None,
    runs_dir: Path,
    fixed: Fixed,
    dry_run: bool,
) -> Status:
    """Take the answers to a test's sheet into the ledger, unless `dry_run`, and say where the test stands."""
    folder = open_run(runs_dir, run)
    with open_ledger(folder, ledger_path_of(folder.config, runs_dir=runs_dir), read_only=dry_run) as ledger:
        tested = find_tested(ledger, old=old.file_digest, new=new.file_digest, run=folder.name)
        if tested is None:
            raise StageError(
                "no test of this edit was begun in this run",
                where=str(folder.path),
                fix="leave out --status to begin one, or name its run by --run",
            )
        refuse_otherwise(tested.test, fixed)
        return take_in_test(ledger, tested.test, path=path, answers=answers, dry_run=dry_run)


def take_in_test(ledger: Ledger, test: EditTest, *, path: Path, answers: Path | None, dry_run: bool) -> Status:
    """The answers to a test's sheet, stored unless `dry_run`, and where the test stands."""
    sheet = read_sheet(path)
    refuse_other_sheet(test, sheet, path)
    states = read_all_answers(sheet, answers or answers_folder(path))
    before = ledger.used(test.run, 0, test.stage, HumanLabel)
    refuse_left_out(before, states, where=answers or answers_folder(path))
    taken = take_in_items({item.item_id: item for item in asked_items(test)}, states, before=before)
    standing = stand(test, states)
    if not dry_run:
        store_labels(ledger, (test.run,), test.stage, labels=taken.labels, before=before)
        _store_outcome(ledger, test, standing, labels=taken.labels)
    names = [_name_model(ledger, judge_id) for judge_id in (*test.judge_ids, *test.new_judge_ids)]
    return Status(
        test=test, standing=standing, taken_in=taken, states=states, judges=tuple(names), head=ledger.head().hex
    )


def _name_model(ledger: Ledger, model_id: str) -> str:
    model = ledger.get(Model, model_id)
    return model_id[:12] if model is None or not model.observed.name else model.observed.name


def fix_test(
    judged: JudgedRound, plan: Plan, *, old: Constitution, new: Constitution, guideline: str, fixed: Fixed
) -> tuple[EditTest, Sheet]:
    order = interleave(plan.flips, plan.rest)
    usual = len(plan.flips) + min(len(plan.rest), len(plan.flips) // FLIPS_TO_ONE)
    budget = min(len(order), fixed.budget or usual)
    texts = {sample.id: sample.text for sample in judged.samples}
    items = tuple(
        SheetItem(
            id=item.item_id,
            question=describe_question(None),
            messages=judged.prompts[item.prompt_id].messages,
            a=texts[item.sample_ids[0]],
            b=texts[item.sample_ids[1]],
        )
        for item in order[:budget]
    )
    sheet = make_sheet(items, guideline=guideline)
    templates = dict.fromkeys(question.template_digest for question in judged.questions)
    test = EditTest(
        sheet_id=sheet.id, run=judged.run, round=judged.number, old_constitution_id=old.id, new_constitution_id=new.id,
        old_digest=old.file_digest, new_digest=new.file_digest, judge_ids=tuple(find_judge_ids(judged.questions)),
        template_digests=tuple(one for one in templates if one), guideline_digest=sheet.guideline_digest,
        seed=fixed.seed or 0, alpha=fixed.alpha or 0.05, directions=("better", "worse"), budget=budget,
        flips=plan.flips, rest=plan.rest, left_out=plan.left_out, failed_old=plan.failed_old,
        failed_new=plan.failed_new, observed=Observed(at=utc_now()),
    )  # fmt: skip
    return test, sheet


def store_test(ledger: Ledger, test: EditTest, sheet: Sheet, *, path: Path, files: Sequence[Constitution]) -> None:
    """Sheet and row, both or neither: the row is there before this command ends, and so before the first label."""
    use = Use(run=test.run, round=0, stage=test.stage, record_table=test.table, record_id=test.id)
    write_sheet(sheet, path)
    try:
        ledger.put_texts([sheet.guideline])
        ledger.append([*files, test, use])
    except BaseException:
        path.unlink()  # written a moment ago, by this process
        raise


def _store_outcome(ledger: Ledger, test: EditTest, standing: Standing, *, labels: Sequence[HumanLabel]) -> None:
    """Append what the labels come to, where it is not what they came to before."""
    before = find_outcomes(ledger, test)
    outcome = EditOutcome(
        test_id=test.id, number=len(before), decision=standing.decision, num_labelled=standing.num_labelled,
        num_flips=len(test.flips), capital_better=standing.capital_better, capital_worse=standing.capital_worse,
        theta=standing.theta, delta=standing.delta, label_ids=tuple(sorted(label.id for label in labels)),
        observed=Observed(at=utc_now()),
    )  # fmt: skip
    if before and before[-1].changed(number=outcome.number, observed=outcome.observed) == outcome:
        return
    if before or standing.num_answers:
        ledger.append([outcome])


def find_unfit(judged: JudgedRound) -> dict[Key, str]:
    """Pairs that are outside a test: nothing to compare, or labelled already, maybe before the edit was written."""
    labelled = {canonical_pair(*label.sample_ids) for label in _find_labels(judged) if len(label.sample_ids) == 2}
    reasons: dict[Key, str] = {}
    for one, other in judged.pairs:
        key = canonical_pair(one.id, other.id)
        if REDACTED in _texts(judged, one, other):
            reasons[key] = "redacted"
        elif one.text.strip() == other.text.strip():
            reasons[key] = "identical"
        elif key in labelled:
            reasons[key] = "labelled_before"
    return reasons


def _texts(judged: JudgedRound, one: Sample, other: Sample) -> Iterable[str]:
    messages = judged.prompts[one.prompt_id].messages
    return (one.text, other.text, *(message.content for message in messages))


def _find_labels(judged: JudgedRound) -> list[HumanLabel]:
    return [*judged.labels, *list_records(judged.ledger, HumanLabel)]
