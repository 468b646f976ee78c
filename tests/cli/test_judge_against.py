"""`rlaif judge-check --against`: people decide between two judges of the same pairs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from edit_runs import in_ledger, refusal, say, write_answers

from rlaif.calibration.edit_outcomes import describe_training, find_tested
from rlaif.calibration.sheet import read_sheet
from rlaif.constitution.principles import load_constitution
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import EditTest

RUNS = ("--run", "001", "--against", "002")


def test_people_label_where_two_judges_differ_and_certify_the_better_one(edited: Path) -> None:
    said = say(*RUNS, "--sheet", "sheet.json", name="judge-check")
    test, _ = in_ledger()
    sheet = read_sheet(Path("sheet.json"))
    assert f"the judge of run 002 decides otherwise in {len(test.flips)} of 50 decisions" in said
    assert len(test.flips) > 10
    assert test.judge_ids != test.new_judge_ids
    assert test.old_digest == test.new_digest
    write_answers(test, sheet, says="new", only=12)
    said = say(*RUNS, "--sheet", "sheet.json", name="judge-check")
    assert "better: people's labels certify that the judge of run 002 is better" in said
    assert "judge edit_judges:by_text, edit_judges:by_end" in said
    assert in_ledger()[1][-1].decision == "better"


def test_a_test_of_judges_is_no_test_of_an_edit(edited: Path) -> None:
    say(*RUNS, name="judge-check")
    assert Path("judges-001-002.json").is_file()
    file = load_constitution("old.yaml")
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert find_tested(ledger, new=file.file_digest) is None
        assert describe_training(ledger, file) == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run", "001", "--against", "001"], "a judge is compared with itself"),
        (["--run", "001", "--against", "003"], "the runs are 001, 002"),
        ([*RUNS, "--sentinels"], "--against asks no judge"),
        (["--run", "001", "--sheet", "x.json"], "add --against NAME"),
        ([*RUNS, "--pairs", "x.jsonl"], "--pairs compares judges before any run"),
        ([*RUNS, "--sheet", "old.yaml"], "there is a file of this name already"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_written(
    edited: Path, arguments: list[str], sentence: str
) -> None:
    assert sentence in refusal(*arguments, name="judge-check")
    assert not list(Path().glob("*.json"))
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, EditTest) == []


def test_runs_without_shared_pairs_are_refused(judged: Path) -> None:
    assert "the judges of 001 and 002 judged none of the same pairs" in refusal(*RUNS, name="judge-check")
    shutil.rmtree("runs/002")
    assert "the runs are 001" in refusal(*RUNS, name="judge-check")
