"""Cells as chat messages: every writing of a conversation is understood or refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rlaif.errors import DataError
from rlaif.files.messages import read_messages, read_response

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
