"""Cells as chat messages: every writing of a conversation is understood or refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rlaif.errors import DataError
from rlaif.files.messages import read_messages, read_response, read_sides

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    "value",
    [
        TALK,
        [{"role": turn["role"], "content": [part(turn["content"])]} for turn in TALK],
        [{"role": "user", "content": [part("H"), {**part("i"), "image_url": None}]}, TALK[1]],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [{"role": "User", "content": part("Hi")}, {"role": "model", "parts": [{"text": "Hello"}]}],
        {"role": ["user", "assistant"], "content": ["Hi", "Hello"]},
        {"role": np.array(["user", "assistant"]), "content": np.array(["Hi", "Hello"])},
        np.array(TALK, dtype=object),
        {"messages": TALK},
        json.dumps(TALK),
        json.dumps({"conversations": TALK}, indent=1),
    ],
)
def test_a_conversation_is_understood_in_each_of_its_writings(value: Any) -> None:
    assert [turn.model_dump() for turn in read_messages(value, where="a:1", column="c")] == TALK


@pytest.mark.parametrize("value", ["Hi", [part("H"), part("i")], part("Hi"), json.dumps([part("Hi")])])
def test_text_parts_are_one_text(value: Any) -> None:
    (message,) = read_messages(value, where="a:1", column="c")
    assert (message.role, message.content, read_response(value, where="a:1", column="c")) == ("user", "Hi", "Hi")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([{"role": "user", "content": [part("a"), {"type": "image_url", "image_url": {}}]}], 'type "image_url"'),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], 'type "input_audio"'),
        ([{"role": "user", "content": [{"type": "tool_use", "text": "x"}]}], 'type "tool_use"'),
        ([{"role": "user", "content": []}], "an empty list as its content"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], "calls a tool"),
        ([{"from": "observation", "value": "x"}], 'the role "observation"'),
        ({"role": ["user"], "content": ["a", "b"]}, "1 roles and 2 contents"),
        (str(TALK), "written out as text"),
        (str(np.array(TALK, dtype=object)), "written out as text"),
        (repr(np.array(TALK, dtype=object)), "written out as text"),
        (str(TALK[0]), "written out as text"),
        (str([part("Hi")]), "written out as text"),
        (json.dumps(TALK)[:40], "written out as text"),
        ([{"role": "user", "content": str([part("Hi")])}], "written out as its content"),
    ],
)
def test_what_is_no_conversation_is_refused_by_name(value: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_messages(value, where="a:1", column="c")


@pytest.mark.parametrize("text", ['{"name": "Ada", "age": 3}', "[1, 2] sorted?", f"{json.dumps(TALK)} Is this JSON?"])
def test_a_text_that_only_holds_brackets_is_what_somebody_said(text: str) -> None:
    assert read_messages(text, where="a:1", column="c")[0].content == text


HH = "\n\nHuman: Hi\n\nAssistant: "


@pytest.mark.parametrize(
    ("first", "second"),
    [(TALK, [TALK[0], {"role": "assistant", "content": "Go."}]), (f"{HH}Hello", f"{HH}Go."), (json.dumps(TALK), TALK)],
)
def test_the_common_start_of_two_conversations_is_the_prompt(first: Any, second: Any) -> None:
    sides = read_sides({"a": first, "b": second}, ("a", "b"), prompt="a", where="x:1")
    assert sides is not None
    assert ([turn.content for turn in sides.prompt], sides.responses[0]) == (["Hi"], "Hello")


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ([{"role": "user", "content": "Bye"}, TALK[1]], "differ before their last answers"),
        ([*TALK, TALK[0]], "ends with the user's turn"),
    ],
)
def test_two_conversations_that_are_not_one_with_two_answers_are_refused(second: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_sides({"a": TALK, "b": second}, ("a", "b"), prompt="a", where="x:1")


def test_beside_a_prompt_of_its_own_a_text_is_a_response() -> None:
    assert read_sides({"p": "Hi", "a": f"{HH}x", "b": f"{HH}y"}, ("a", "b"), prompt="p", where="x:1") is None
    with pytest.raises(DataError, match="another conversation than the prompt"):
        read_sides({"p": "Bye", "a": TALK, "b": TALK}, ("a", "b"), prompt="p", where="x:1")
