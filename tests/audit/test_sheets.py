"""The sheets of a ledger as their owner sees them: answers as they come, or what was taken in last."""

from __future__ import annotations

from pathlib import Path

from spot_checks import answer, draw, say

from rlaif.audit.sheets import SheetView, find_sheets
from rlaif.calibration.sheet import Sheet
from rlaif.ledger.store import Ledger


def find(*named: Path) -> list[SheetView]:
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        return find_sheets(ledger, runs_dir=Path("runs"), named=named)


def test_a_ledger_without_a_draw_has_no_sheets(judged: Path) -> None:
    assert find() == []


def test_answers_count_as_they_come_and_are_not_taken_in(judged: Path) -> None:
    sheet = draw("--items", "20")
    (row,) = find()
    assert (row.path, row.bar, row.annotators, row.num_waiting) == (Path("sheet.json"), None, ("nobody has begun",), 0)
    answer(sheet, choices="1" * 8 + "uu")
    (row,) = find()
    assert row.annotators == ("ann: 10 answered, 2 of them unclear",)
    assert row.num_waiting == 8
    assert row.bar is not None
    assert not row.bar.is_final
    assert 0 <= row.bar.low <= row.bar.mean <= row.bar.high <= 1
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert ledger.rows("SELECT count(*) FROM human_labels") == [(0,)]


def test_it_says_what_the_command_line_says(judged: Path) -> None:
    answer(draw("--items", "20"), choices="12" * 6)
    said = say("status", "sheet.json", "--run", "001")
    (row,) = find()
    assert row.num_waiting == 0
    for sentence in (*row.annotators, *row.sentences):
        assert " ".join(sentence.split()) in said
    assert any("certain by now" in sentence for sentence in row.sentences)


def test_a_finished_sheet_has_an_interval(judged: Path) -> None:
    answer(draw("--items", "20"), choices="12" * 10)
    (row,) = find()
    assert row.bar is not None
    assert row.bar.is_final


def test_without_the_sheets_file_the_labels_count_that_were_taken_in_last(labelled: Sheet) -> None:
    answer(labelled, name="bob", choices="1")
    Path("elsewhere").mkdir()
    for name in ("sheet.json", "sheet.answers"):
        Path(name).rename(Path("elsewhere") / name)
    (row,) = find()
    assert (row.path, row.annotators, row.num_waiting) == (None, ("ann: 20 answered",), 0)
    (row,) = find(Path("elsewhere/sheet.json"))
    assert row.annotators == ("ann: 20 answered", "bob: 1 answered")
    assert row.num_waiting == 1


def test_a_sheet_that_was_changed_is_named_and_the_labels_in_the_ledger_still_count(labelled: Sheet) -> None:
    text = Path("sheet.json").read_text()
    Path("sheet.json").write_text(text.replace("There, ", "Here, ", 1))
    (row,) = find()
    assert "the sheet was changed after it was drawn" in row.problem
    assert row.so_far.num_labelled == 20


def test_files_beside_the_runs_that_are_no_sheets_are_passed_over(labelled: Sheet) -> None:
    Path("a.json").write_text("{}")
    Path("b.json").write_bytes(b"\xff\xfe")
    Path("c.json").symlink_to("nowhere")
    (row,) = find(Path("none.json"))
    assert row.path == Path("sheet.json")
