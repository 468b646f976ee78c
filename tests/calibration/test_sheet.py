"""The sheet an annotator is given: what is in it, and that any change of it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sheets import make_test_sheet

from rlaif.calibration.sheet import read_sheet, write_sheet
from rlaif.errors import DataError


def test_a_sheet_that_is_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_sheet(make_test_sheet(), tmp_path / "new" / "sheet.json")
    assert read_sheet(tmp_path / "new" / "sheet.json") == make_test_sheet()


def test_a_sheet_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sheet.json"
    path.write_text("mine")
    with pytest.raises(DataError, match="there is a file of this name already"):
        write_sheet(make_test_sheet(), path)
    assert path.read_text() == "mine"


def test_a_sheet_holds_texts_ids_and_the_guideline_alone(tmp_path: Path) -> None:
    write_sheet(make_test_sheet(1), tmp_path / "sheet.json")
    found = json.loads((tmp_path / "sheet.json").read_text())
    assert found.keys() == {"format", "version", "id", "guideline", "guideline_digest", "items"}
    assert found["items"][0].keys() == {"id", "question", "messages", "a", "b"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda found: found.update(guideline="Another."), "labels under two guidelines are no one set"),
        (lambda found: found["items"][0].update(a="Better"), "the sheet was changed after it was drawn"),
        (lambda found: found["items"].reverse(), "the sheet was changed after it was drawn"),
        (lambda found: found["items"][0].pop("b"), "the sheet is damaged at items.0.b"),
        (lambda found: found.update(verdict="first"), "the sheet is damaged at verdict"),
        (lambda found: found.update(version=2), "the sheet has version 2, and this rlaif reads version 1"),
        (lambda found: found.update(format="other"), "this is not a sheet"),
    ],
)
def test_a_changed_sheet_is_refused(tmp_path: Path, change, sentence: str) -> None:
    path = tmp_path / "sheet.json"
    write_sheet(make_test_sheet(), path)
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(DataError, match=sentence):
        read_sheet(path)


def test_what_is_no_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such sheet"):
        read_sheet(tmp_path / "none.json")
    for text, sentence in (("[1]", "this is not a sheet"), ("{", "damaged"), ("\udcff", "damaged")):
        (tmp_path / "odd.json").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(DataError, match=sentence):
            read_sheet(tmp_path / "odd.json")
