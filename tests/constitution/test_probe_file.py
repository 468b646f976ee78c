"""Probe files: what is read from them, and what is refused with its line."""

import json
from pathlib import Path

import pytest

from rlaif.constitution.probe_file import MIN_PROBES, find_probes, load_probes
from rlaif.errors import DataError


def row(number: int, **changes) -> dict:
    fields = {"prompt": f"Question {number}?", "first": "Yes, gladly.", "second": "No.", **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def write(folder: Path, *rows) -> Path:
    path = folder / "probes.jsonl"
    path.write_text("".join(r + "\n" if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


def rows_with(odd) -> list:
    """The odd row stands on line 3."""
    return [row(0), row(1), odd, *(row(number) for number in range(3, MIN_PROBES))]


def test_a_row_gives_the_conversation_both_replies_the_expected_winners_and_whom_it_is_for(tmp_path):
    chat = [{"role": "system", "content": "Desk."}, {"role": "user", "content": "When?"}]
    odd = row(2, prompt=chat, expected={"polite": "first", "curt": "second"}, only=["polite", "curt"])
    probe = load_probes(write(tmp_path, *rows_with(odd)))[2]
    assert [message.content for message in probe.messages] == ["Desk.", "When?"]
    assert (probe.first, probe.second) == ("Yes, gladly.", "No.")
    assert probe.expected == {"polite": "first", "curt": "second"}
    assert probe.only == ("polite", "curt")


def test_a_plain_expected_winner_holds_for_every_principle(tmp_path):
    assert load_probes(write(tmp_path, *rows_with(row(2, expected="second"))))[2].expected == {"*": "second"}


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ("{", ("not valid JSON",)),
        ("[1]", ("not a JSON object",)),
        (row(2, first=...), ('no column "first"',)),
        (row(2, prompt=...), ('no column "prompt"',)),
        (row(2, prompt=""), ("the prompt is empty",)),
        (row(2, prompt=7), ('"prompt" holds the number 7',)),
        (row(2, second="  "), ("the second reply is empty",)),
        (row(2, second=None), ("the second reply is empty",)),
        (row(2, second="Yes, gladly."), ("both replies are the same",)),
        (row(2, expects="first"), ('no column "expects"', 'did you mean "expected"?')),
        (row(2, expected="A"), ('"expected" holds "A"', 'write "first" or "second"')),
        (row(2, expected={"polite": "tie"}), ('"expected" holds "tie"',)),
        (row(2, expected=[1]), ('"expected" holds a list',)),
        (row(2, only=[1]), ('"only" holds a list where names belong',)),
        (row(2, only={"a": 1}), ('"only" holds an object where names belong',)),
        (row(1), ("this pair stands twice", "probes.jsonl:2")),
        (row(1, first="No.", second="Yes, gladly."), ("this pair stands twice", "probes.jsonl:2")),
    ],
)  # fmt: skip
def test_a_malformed_row_is_refused_in_one_sentence_with_its_line(odd, words, tmp_path):
    path = write(tmp_path, *rows_with(odd))
    with pytest.raises(DataError) as caught:
        load_probes(path)
    assert caught.value.exit_code == 2
    assert all(word in caught.value.sentence for word in (*words, f"{path}:3")), caught.value.sentence


def test_too_few_pairs_to_speak_of_a_share_are_refused(tmp_path):
    path = write(tmp_path, *(row(number) for number in range(MIN_PROBES - 1)))
    with pytest.raises(DataError, match="7 probe pairs say little.*at least 8"):
        load_probes(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_probes(tmp_path / "probes.jsonl")


def test_a_judges_folder_brings_its_probes_or_none(tmp_path):
    assert find_probes(tmp_path) is None
    path = write(tmp_path, row(0))
    assert find_probes(tmp_path) == path
