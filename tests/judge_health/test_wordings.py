"""Paraphrases: three fixed frames, or those of a file; all else of a principle and a conversation stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import DataError
from rlaif.judge_health.labelled_pairs import make_principle
from rlaif.judge_health.wordings import AS_GIVEN, FRAMES, load_wordings
from rlaif.records import Constitution, Message, Principle

WARM = make_principle("Be warm.", "Be cold.")
ROW = {"text": "Be warm.", "one": "Be kind.", "two": "Be friendly.", "three": "Show warmth."}


def write_rows(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "paraphrases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_frames_say_the_principle_and_its_opposite_in_the_same_way() -> None:
    reworded = [wording.reword_principle(WARM) for wording in FRAMES]
    assert [(one.text, one.opposite) for one in reworded] == [
        ("What counts is this: Be warm.", "What counts is this: Be cold."),
        ("Above everything else: Be warm.", "Above everything else: Be cold."),
        ("Be warm. Nothing matters more than this.", "Be cold. Nothing matters more than this."),
    ]
    assert len({one.digest for one in [WARM, *reworded]}) == 4


def test_a_frame_stands_round_the_last_turn_alone_and_braces_in_it_stay() -> None:
    turns = [Message(role=role, content=text) for role, text in (("user", "a"), ("assistant", "b"), ("user", "{x}"))]
    said = [wording.reword_messages(turns) for wording in FRAMES]
    assert [one[-1].content for one in said] == [
        "Hello! {x}",
        "{x}\n\nThanks in advance.",
        "Here is my message.\n\n{x}",
    ]
    assert all(one[:-1] == tuple(turns[:-1]) for one in said)


def test_the_given_wording_changes_no_id() -> None:
    constitution = Constitution(name="c", principles=(Principle(id="a", text="One.", weight=2.0), WARM), source="x")
    assert AS_GIVEN.reword_constitution(constitution).id == constitution.id


def test_a_file_gives_paraphrases_and_what_it_does_not_list_keeps_its_words(tmp_path: Path) -> None:
    hello = {"text": "Hi", "one": "Hello", "two": "Hey", "three": "Good day"}
    first, _, third = load_wordings(write_rows(tmp_path, ROW, hello), principles=[WARM])
    assert (first.reword_principle(WARM).text, first.reword_principle(WARM).opposite) == ("Be kind.", "Be cold.")
    assert third.reword_messages([Message(role="user", content="Hi")])[0].content == "Good day"
    assert third.reword_messages([Message(role="user", content="Why?")])[0].content == "Why?"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{**ROW, "text": "Be brief."}], 'the principle "Be warm." has no paraphrases'),
        ([{**ROW, "two": "Be warm."}], "are not four different texts"),
        ([{**ROW, "two": ""}], "are not four different texts"),
        ([ROW, ROW], "this text is paraphrased above already"),
        ([{**ROW, "four": "x"}], 'a paraphrase has no column "four"'),
        ([{"text": "Be warm.", "one": "Be kind."}], 'there is no column "two"'),
    ],
)
def test_an_unfit_file_is_refused(tmp_path: Path, rows: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence.replace(".", r"\.")):
        load_wordings(write_rows(tmp_path, *rows), principles=[WARM])
