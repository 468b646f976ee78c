"""What a reward model trains on: the preferences of all rounds so far, or the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlaif.preferences.export import digest_preferences
from rlaif.preferences.pool import digest_pool, read_pool, split_rows
from rlaif.records import ChoiceRow, PreferenceRow, Prompt, digest_bytes, digest_text, split_of


def write(folder: Path, *prompts: str, name: str = "train.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [json.dumps({"prompt": prompt, "chosen": "At nine.", "rejected": "Dunno."}) for prompt in prompts]
    (folder / name).write_text("\n".join(rows) + "\n")
    return folder


def asked(rows: list[PreferenceRow | ChoiceRow]) -> list[str]:
    return [row.prompt.messages[-1].content for row in rows]


def test_rows_without_a_test_split_are_held_out_by_prompt(prompts: list[Prompt]) -> None:
    rows = [PreferenceRow(prompt=prompt, chosen="a", rejected=text) for prompt in prompts for text in "bc"]
    train, test = split_rows(rows, test_fraction=0.25)[:2]
    assert len(train) + len(test) == len(rows)
    assert {split_of(row.prompt.id, test_fraction=0.25) for row in test} == {"test"}
    assert {row.prompt.id for row in test}.isdisjoint(row.prompt.id for row in train)


def test_the_folders_of_all_rounds_make_one_pool_in_their_order(tmp_path: Path) -> None:
    first, second = write(tmp_path / "0", "When?", "Where?"), write(tmp_path / "1", "Who?")
    write(second, "Why?", name="test.jsonl")
    train, test = read_pool([first, second], test_fraction=0.5)[:2]
    assert (asked(train), asked(test)) == (["When?", "Where?", "Who?"], ["Why?"])
    assert digest_pool([first]) == digest_preferences(first)
    assert digest_pool([first, second]) == digest_text(f"{digest_preferences(first)}\n{digest_preferences(second)}")


def test_a_users_own_preferences_take_the_place_of_the_rounds(tmp_path: Path) -> None:
    made = write(tmp_path / "0", "When?")
    own = write(tmp_path / "own", "Who?", name="train_prefs.jsonl")
    write(own, "Why?", name="train_sft.jsonl")
    train, test = read_pool([made], given=str(own), part="train_prefs", test_fraction=0.0)[:2]
    assert (asked(train), test) == (["Who?"], [])
    assert digest_pool([made], given=str(own)) == digest_preferences(own)


@pytest.mark.parametrize("text", ["one\n", "two\n"])
def test_a_users_file_is_known_by_its_bytes_and_a_data_set_of_the_hub_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    assert digest_pool([], given=str(file)) == digest_bytes(text.encode())
    assert digest_pool([], given="someone/pairs") == digest_text("someone/pairs")
