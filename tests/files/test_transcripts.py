"""Dialogues in one text, as HH-RLHF has them: what is one, and which turns it has."""

from __future__ import annotations

import pytest

from rlaif.files.messages import read_messages, read_prompt_messages
from rlaif.files.transcripts import is_transcript, read_transcript


def turns(text: str) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_transcript(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\nHuman: When?\n\nAssistant: At nine.", [("user", "When?"), ("assistant", "At nine.")]),
        ("\n\nHuman:When?", [("user", "When?")]),
        ("\n\nHuman:  two spaces\n\nAssistant:", [("user", " two spaces"), ("assistant", "")]),
        ("\n\nHuman: a\n\nb\n\nAssistant: c\nHuman: d", [("user", "a\n\nb"), ("assistant", "c\nHuman: d")]),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: d",
            [("user", "a"), ("assistant", "b\n\nc"), ("user", "d")],
        ),
    ],
)
def test_a_transcript_is_read_turn_by_turn(text: str, expected: list[tuple[str, str]]) -> None:
    assert is_transcript(text)
    assert turns(text) == expected


@pytest.mark.parametrize("value", ["Human: When?", "\nHuman: When?", "\n\nAssistant: x", "\n\nhuman: x", "", None, 3])
def test_other_values_are_no_transcripts(value: object) -> None:
    assert not is_transcript(value)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", ["a", "b", "c"]),
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", ["a", "b", "c"]),
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c", ["a", "b", "c"]),
        ("\n\nHuman: \n\nAssistant: b", []),
        ("Human: a\n\nAssistant: b", ["Human: a\n\nAssistant: b"]),
    ],
)
def test_as_a_prompt_a_transcript_ends_with_its_last_users_turn(text: str, prompt: list[str]) -> None:
    assert [m.content for m in read_prompt_messages(text, where="a.jsonl:1", column="prompt")] == prompt


def test_a_transcript_and_its_list_of_messages_are_the_same_prompt() -> None:
    text = "\n\nHuman: a\n\nAssistant: b"
    listed = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert read_messages(text, where="", column="") == read_messages(listed, where="", column="")
