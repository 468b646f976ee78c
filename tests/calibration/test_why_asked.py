"""Why items were asked about: told once everything is answered, and final from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sheets import make_test_sheet

from rlaif.calibration.answer_file import open_answers, read_all_answers
from rlaif.calibration.sheet import write_sheet
from rlaif.calibration.why_asked import FROM_ALL, read_why, why_path, write_why
from rlaif.errors import DataError

SHEET = make_test_sheet(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_sheet(SHEET, tmp_path / "sheet.json")
    write_why(tmp_path / "sheet.json", SHEET, {"item0001": "the judge was unsure"})
    return tmp_path / "sheet.json"


def test_every_item_has_a_reason_and_an_item_of_no_queue_was_drawn_from_all_pairs(path: Path) -> None:
    assert why_path(path).name == "sheet.why.json"
    assert read_why(path, SHEET) == {"item0000": FROM_ALL, "item0001": "the judge was unsure"}


@pytest.mark.parametrize(
    "change", [{"sheet": "0" * 32}, {"format": "rlaif-sheet"}, {"version": 2}, {"reasons": {"item0000": 1}}]
)
def test_a_file_of_another_sheet_or_kind_is_refused(path: Path, change: dict[str, object]) -> None:
    found = json.loads(why_path(path).read_text()) | change
    why_path(path).write_text(json.dumps(found))
    with pytest.raises(DataError, match="the file is damaged"):
        read_why(path, SHEET)


def test_the_reasons_can_be_seen_once_every_item_is_answered_and_no_answer_changes_after_that(path: Path) -> None:
    folder = path.parent / "sheet.answers"
    with open_answers(SHEET, folder, annotator="ann") as answers:
        with pytest.raises(DataError, match="not every item has an answer yet"):
            answers.reveal()
        for item in SHEET.items:
            answers.show(item)
            answers.answer(item, "tie")
        answers.undo()
        with pytest.raises(DataError, match="not every item has an answer yet"):
            answers.reveal()
        answers.answer(SHEET.items[1], "first")
        answers.reveal()
        answers.reveal()
        assert answers.undo() is None
    (state,) = read_all_answers(SHEET, folder)
    assert state.is_revealed
    assert [answer.choice for answer in state.answers.values()] == ["tie", "first"]
    assert (folder / "ann.jsonl").read_text().count("reveal") == 1


def test_a_file_in_which_somebody_answered_after_that_is_refused(path: Path) -> None:
    folder = path.parent / "sheet.answers"
    with open_answers(SHEET, folder, annotator="ann") as answers:
        for item in SHEET.items:
            answers.show(item)
            answers.answer(item, "tie")
        answers.reveal()
    lines = (folder / "ann.jsonl").read_text().splitlines(keepends=True)
    undone = json.dumps({"event": "undo", "at": "2026-01-01T00:00:00Z", "item": "item0001"})
    (folder / "ann.jsonl").write_text("".join(lines) + undone + "\n")
    with pytest.raises(DataError, match="answered after it was shown why the items were asked about"):
        read_all_answers(SHEET, folder)
