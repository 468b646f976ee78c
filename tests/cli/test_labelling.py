"""`rlaif spot-check label` as an annotator meets it: on a real terminal, over a pipe, interrupted and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from sheets import make_test_sheet
from terminal import on_terminal

from rlaif.calibration.answer_file import read_all_answers
from rlaif.calibration.sheet import Sheet, SheetItem, make_sheet, read_sheet, write_sheet
from rlaif.cli.label_page import make_page
from rlaif.records import Message

COMMAND = [sys.executable, "-m", "rlaif", "spot-check", "label", "sheet.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sheet(make_test_sheet(4), tmp_path / "sheet.json")
    return tmp_path


def choices(folder: Path) -> dict[str, dict[str, str]]:
    """Annotator -> item -> choice."""
    found = read_all_answers(read_sheet(folder / "sheet.json"), folder / "sheet.answers")
    return {state.annotator: {item: answer.choice for item, answer in state.answers.items()} for state in found}


def pipe(folder: Path, said: str | bytes, *, name: str = "ann") -> subprocess.CompletedProcess[bytes]:
    data = said.encode() if isinstance(said, str) else said
    return subprocess.run([*COMMAND, "--as", name], input=data, capture_output=True, cwd=folder, check=False)


def make_one_item(first: str, second: str = "short", *, guideline: str = "Decide.") -> Sheet:
    item = SheetItem(id="only", question="Which?", messages=(Message(role="user", content="Hello"),), a=first, b=second)
    return make_sheet((item,), guideline=guideline)


def test_a_sitting_on_a_terminal_by_single_keys(folder: Path) -> None:
    with on_terminal([*COMMAND, "--as", "ann"], cwd=folder) as terminal:
        screen = terminal.wait_for("0 of 4 done")
        assert screen.index("Say which is kinder.") < screen.index("Hello 0") < screen.index("1 FIRST REPLY")
        assert "Go away 0" in screen
        terminal.choose("1", then="1 of 4 done")
        terminal.choose("s", then="1 skipped for later")
        terminal.choose("n", then="note:")
        terminal.press("a note\n")
        terminal.wait_for("1 of 4 done")
        terminal.choose("0", then="2 of 4 done")
        terminal.choose("z", then="1 of 4 done")
        terminal.choose("u", then="2 of 4 done")
        terminal.choose("q", then="saved in sheet.answers")
        assert terminal.finish() == 0
        assert terminal.written.count("\x1b[?1049h") == terminal.written.count("\x1b[?1049l") == 1
    assert choices(folder) == {"ann": {"item0000": "first", "item0002": "unclear"}}
    (state,) = read_all_answers(read_sheet(folder / "sheet.json"), folder / "sheet.answers")
    assert state.answers["item0002"].note == "a note"
    assert (state.answers["item0000"].seconds or 0) >= 0.3


def test_a_key_pressed_twice_labels_one_item_and_one_in_a_note_labels_none(folder: Path) -> None:
    with on_terminal([*COMMAND, "--as", "ann"], cwd=folder) as terminal:
        terminal.wait_for("0 of 4 done")
        terminal.choose("n", then="note:")
        terminal.press("1 is short\n")
        terminal.wait_for("0 of 4 done")
        terminal.choose("2", then="1 of 4 done")
        terminal.press("2")
        terminal.press("2")
        terminal.wait_for("1 of 4 done")
        terminal.choose("\x03", then="1 of 4 items have an answer")
        assert terminal.finish() == 0
    assert choices(folder) == {"ann": {"item0000": "second"}}


def test_a_long_reply_is_paged_and_no_side_is_chosen_before_its_end_was_seen(tmp_path: Path) -> None:
    text = " ".join(f"word{i}" for i in range(600))
    write_sheet(make_one_item(text, text + " end"), tmp_path / "sheet.json")
    with on_terminal([*COMMAND, "--as", "ann"], cwd=tmp_path, columns=40, lines=20) as terminal:
        screen = terminal.wait_for("more lines: space")
        assert "how to decide" in screen
        assert max(map(cell_len, screen.splitlines())) <= 40
        assert len(screen.splitlines()) <= 20
        terminal.choose("1", then="read to the end first")
        seen = ""
        for _ in range(40):
            seen += terminal.redraw("\x1b[6~", end="? help")
            if "more lines" not in terminal.screen:
                break
        assert all(f"word{i}" in seen.replace("\n", " ").split() for i in range(600))
        terminal.choose("2", then="Every item has an answer")
        terminal.choose("z", then="0 of 1 done")
    assert choices(tmp_path) == {"ann": {}}


def test_without_a_terminal_each_line_is_a_choice(folder: Path) -> None:
    done = pipe(folder, "1\nwhat\nn kinder by far\n2\nz\n0\nu\ns\n")
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode()
    assert "1: the first reply is better." in out
    assert "\x1b" not in out
    assert "3 of 4 items have an answer, all saved in sheet.answers; run the same command again" in out
    assert choices(folder) == {"ann": {"item0000": "first", "item0001": "tie", "item0002": "unclear"}}
    assert pipe(folder, b"\xff\n2\n").returncode == 0
    assert choices(folder)["ann"]["item0003"] == "second"


def test_a_terminal_that_cannot_clear_its_screen_gets_lines(folder: Path) -> None:
    with on_terminal([*COMMAND, "--as", "ann"], cwd=folder, term="dumb") as terminal:
        terminal.wait_for("0 of 4 done")
        terminal.press("1\n")
        terminal.wait_for("1 of 4 done")
        terminal.press("q\n")
        assert terminal.finish() == 0
        assert "\x1b" not in terminal.written


def test_a_later_sitting_and_another_annotator_continue_where_they_are_and_see_nothing_of_each_other(
    folder: Path,
) -> None:
    pipe(folder, "1\n1\n")
    assert b"[0 of 4 done]" in pipe(folder, "2\n", name="bob").stdout
    again = pipe(folder, "2\n").stdout
    assert b"[2 of 4 done]" in again
    assert b"bob" not in again
    assert choices(folder) == {
        "ann": {"item0000": "first", "item0001": "first", "item0002": "second"},
        "bob": {"item0000": "second"},
    }


def test_labelling_opens_no_ledger(folder: Path) -> None:
    """With a ledger that cannot be opened beside the sheet, and with nothing of the ledger's code loaded."""
    (folder / "runs").mkdir()
    (folder / "runs" / "ledger.sqlite").write_text("no ledger")
    (folder / "runs" / "ledger.sqlite").chmod(0)
    code = (
        "import sys\n"
        "from rlaif.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    wrong = [n for n in sys.modules if n.startswith(('rlaif.ledger', 'rlaif.run', 'apsw', 'torch'))]\n"
        "    print('loaded', wrong)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "spot-check", "label", "sheet.json", "--as", "ann"],
        input=b"1\n", capture_output=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"loaded []" in done.stdout
    assert choices(folder) == {"ann": {"item0000": "first"}}


def test_what_cannot_be_labelled_is_refused_in_a_sentence(folder: Path) -> None:
    for arguments, sentence in (
        (["none.json", "--as", "ann"], "there is no such sheet"),
        (["sheet.json", "--as", "../ann"], '"../ann" cannot name an annotator'),
    ):
        done = subprocess.run([*COMMAND[:-1], *arguments], capture_output=True, cwd=folder, check=False)
        assert done.returncode == 2
        assert sentence.encode() in done.stderr
    sheet = json.loads((folder / "sheet.json").read_text())
    (folder / "sheet.json").write_text(json.dumps({**sheet, "guideline": "Other."}))
    done = pipe(folder, "1\n")
    assert (done.returncode, b"labels under two guidelines" in done.stderr) == (2, True)
    assert not (folder / "sheet.answers").exists() or not os.listdir(folder / "sheet.answers")


def test_control_characters_in_a_text_are_shown_and_not_executed(tmp_path: Path) -> None:
    write_sheet(make_one_item("\x1b[2J\x07 [red]boo[/red] \u202eevil", "\x9b31m"), tmp_path / "sheet.json")
    with on_terminal([*COMMAND, "--as", "ann"], cwd=tmp_path) as terminal:
        screen = terminal.wait_for("0 of 1 done")
        assert "<U+001B>[2J<U+0007> [red]boo[/red] <U+202E>evil" in screen
        assert "<U+009B>31m" in screen


@pytest.mark.parametrize("width", [20, 33, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    first = " ".join(f"漢字{i}" for i in range(50)) + " x" * 40 + " " + "y" * 300
    sheet = make_one_item(first, "a\tb\n\nc", guideline="Think. " * 40)
    item = sheet.items[0]
    page = make_page(sheet, item, replies=(item.a, item.b), width=width, height=None, whole=True)
    assert max(line.cell_len for line in page.lines) <= width
    shown = "".join(line.plain.partition(" | ")[0] if width >= 100 else line.plain for line in page.lines)
    assert "".join(first.split()) in "".join(shown.split())


def test_a_long_guideline_is_folded_and_unfolds_on_a_key(tmp_path: Path) -> None:
    sheet = make_one_item("a", guideline="\n".join(f"Rule {i}." for i in range(30)))
    folded = make_page(sheet, sheet.items[0], replies=("a", "b"), width=80, height=24, whole=False)
    assert [line.plain for line in folded.lines[:3]] == ["how to decide", "Rule 0.", "Rule 1."]
    assert any("g shows the whole guideline" in line.plain for line in folded.lines)
    whole = make_page(sheet, sheet.items[0], replies=("a", "b"), width=80, height=24, whole=True)
    assert any("Rule 29." in line.plain for line in whole.lines)
