"""An annotator's answers: appended, resumed, undone, and refused where they are not answers to this sheet."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sheets import make_test_sheet

from rlaif.calibration.answer_file import AnswerFile, check_annotator, open_answers, read_all_answers
from rlaif.calibration.answers import find_next
from rlaif.errors import DataError, RlaifError

SHEET = make_test_sheet(4)


def open_as(folder: Path, name: str = "ann", **options: object):  # type: ignore[no-untyped-def]
    return open_answers(SHEET, folder, annotator=name, rng=random.Random(0), **options)  # type: ignore[arg-type]


def choose(answers: AnswerFile, choice: str = "first") -> str:
    item = answers.next_item()
    assert item is not None
    answers.show(item)
    if choice == "skip":
        answers.skip(item)
    else:
        answers.answer(item, choice, seconds=1.5)  # type: ignore[arg-type]
    return item.id


def lines(folder: Path, name: str = "ann") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_items_come_in_the_sheets_order_and_the_next_sitting_continues(tmp_path: Path) -> None:
    with open_as(tmp_path) as answers:
        assert [choose(answers), choose(answers, "tie")] == ["item0000", "item0001"]
    with open_as(tmp_path) as answers:
        assert [choose(answers, "unclear"), choose(answers)] == ["item0002", "item0003"]
        assert answers.next_item() is None
        state = answers.state
    assert [answer.choice for answer in state.answers.values()] == ["first", "tie", "unclear", "first"]
    assert state.answers["item0002"].verdict is None
    assert state.answers["item0000"].guideline == SHEET.guideline_digest


def test_a_choice_that_is_undone_after_a_new_start_leaves_one_label_and_both_choices_in_the_file(
    tmp_path: Path,
) -> None:
    with open_as(tmp_path) as answers:
        choose(answers, "first")
        choose(answers, "first")
    with open_as(tmp_path) as answers:
        assert answers.undo() == "item0001"
        assert choose(answers, "second") == "item0001"
        assert answers.state.answers["item0001"].choice == "second"
        assert answers.state.answers["item0001"].is_override
        assert not answers.state.answers["item0000"].is_override
    assert [line["event"] for line in lines(tmp_path)] == [
        "begin", "shown", "answer", "shown", "answer", "undo", "answer",
    ]  # fmt: skip


def test_undo_steps_back_over_several_items_and_at_the_start_does_nothing(tmp_path: Path) -> None:
    with open_as(tmp_path) as answers:
        assert answers.undo() is None
        choose(answers)
        choose(answers, "skip")
        assert (answers.undo(), answers.undo(), answers.undo()) == ("item0001", "item0000", None)
        assert choose(answers) == "item0000"


def test_a_skipped_item_comes_back_after_the_others_and_the_oldest_skip_first(tmp_path: Path) -> None:
    with open_as(tmp_path) as answers:
        shown = [choose(answers, choice) for choice in ("skip", "first", "skip", "first", "skip", "first", "first")]
        assert shown == [
            "item0000", "item0001", "item0002", "item0003", "item0000", "item0002", "item0000",
        ]  # fmt: skip
        assert find_next(SHEET.items, answers.state) is None


def test_each_annotator_sees_an_order_of_their_own_and_keeps_it(tmp_path: Path) -> None:
    sheet = make_test_sheet(200)
    orders: dict[str, list[str]] = {}
    for name in ("ann", "bob"):
        with open_answers(sheet, tmp_path, annotator=name) as answers:
            orders[name] = [answers.show(item)[0] for item in sheet.items]
        assert 65 <= orders[name].count("ab") <= 135
    assert orders["ann"] != orders["bob"]
    with open_answers(sheet, tmp_path, annotator="ann") as answers:
        assert [answers.show(item)[0] for item in sheet.items] == orders["ann"]
        for item in sheet.items:
            order, first, second = answers.show(item)
            assert (first, second) == ((item.a, item.b) if order == "ab" else (item.b, item.a))


def test_notes_stand_in_the_answer_that_follows(tmp_path: Path) -> None:
    with open_as(tmp_path) as answers:
        item = answers.next_item()
        assert item is not None
        answers.note(item, "hm")
        answers.note(item, "x" * 3000)
        choose(answers)
        assert answers.state.answers[item.id].note == "x" * 2000


def test_a_line_cut_off_by_a_kill_is_no_answer_and_the_rest_stays(tmp_path: Path) -> None:
    with open_as(tmp_path) as answers:
        choose(answers)
    path = tmp_path / "ann.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"answer","item":"item0001"')
    assert [state.annotator for state in read_all_answers(SHEET, tmp_path)] == ["ann"]
    with open_as(tmp_path) as answers:
        assert choose(answers) == "item0001"
    assert path.read_bytes().startswith(whole)
    assert len(lines(tmp_path)) == 5


def test_two_processes_cannot_label_under_one_name_and_can_under_two(tmp_path: Path) -> None:
    with open_as(tmp_path):
        with pytest.raises(DataError, match="somebody is labelling this sheet as ann now"), open_as(tmp_path):
            pass
        with open_as(tmp_path, "bob") as answers:
            choose(answers)
    assert sorted(state.annotator for state in read_all_answers(SHEET, tmp_path)) == ["ann", "bob"]


def test_an_answer_is_on_the_disk_when_the_call_returns(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, test_answers as t\n"
        f"with t.open_as(pathlib.Path({str(tmp_path)!r})) as answers:\n"
        "    t.choose(answers); os._exit(9)"
    )
    environ = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[1]}"}
    assert subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode == 9
    assert [line["event"] for line in lines(tmp_path)] == ["begin", "shown", "answer"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-x", "x" * 41, "a\x1b[31m", "a\u202eb"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot name an annotator"):
        check_annotator(name)


ANSWER = {"event": "answer", "at": "t", "item": "item0000", "order": "ab", "choice": "first"}
GIVEN = {**ANSWER, "guideline": SHEET.guideline_digest}
UNDO = {"event": "undo", "at": "t", "item": "item0000"}


@pytest.mark.parametrize(
    ("added", "sentence"),
    [
        ([GIVEN, GIVEN], "ann labelled item item0000 twice without undoing the first label"),
        ([{**GIVEN, "guideline": "0" * 64}], "given under another guideline"),
        ([{**GIVEN, "item": "elsewhere"}], "nobody drew an item elsewhere"),
        ([{**GIVEN, "choice": None}], "no choice or no order"),
        ([{**GIVEN, "choice": "third"}], "the file of answers is damaged"),
        ([{**GIVEN, "extra": 1}], "the file of answers is damaged"),
    ],
)
def test_answers_that_cannot_be_are_refused(tmp_path: Path, added: list[dict[str, object]], sentence: str) -> None:
    with open_as(tmp_path):
        pass
    with (tmp_path / "ann.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in added)
    with pytest.raises(RlaifError, match=sentence):
        read_all_answers(SHEET, tmp_path)


def test_a_second_answer_after_an_undo_is_an_override(tmp_path: Path) -> None:
    with open_as(tmp_path):
        pass
    with (tmp_path / "ann.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in (GIVEN, UNDO, GIVEN))
    (state,) = read_all_answers(SHEET, tmp_path)
    assert state.answers["item0000"].is_override


def test_answers_to_another_sheet_or_of_another_annotator_are_refused(tmp_path: Path) -> None:
    with open_as(tmp_path):
        pass
    other = make_test_sheet(4, guideline="Another.")
    with pytest.raises(DataError, match="these are answers to another sheet"):
        read_all_answers(other, tmp_path)
    with (
        pytest.raises(DataError, match="these are answers to another sheet"),
        open_answers(other, tmp_path, annotator="ann"),
    ):
        pass
    (tmp_path / "ann.jsonl").rename(tmp_path / "bob.jsonl")
    with pytest.raises(DataError, match="these are not the answers of bob"):
        read_all_answers(SHEET, tmp_path)
