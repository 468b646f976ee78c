"""Prompts and demonstrations from files and data sets, with everything dropped counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.config.generate import PromptsConfig
from rlaif.errors import DataError
from rlaif.records import Message, Prompt
from rlaif.sampling.prompts import PromptRead, drop_over_length, read_demonstrations, read_prompts

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path | str, **options: Any) -> PromptRead:
    return read_prompts(PromptsConfig(path=str(path), **options))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_plain_text_becomes_a_users_turn_in_the_order_of_the_file(tmp_path: Path, suffix: str) -> None:
    found = read(write(tmp_path / f"a{suffix}", {"prompt": "two"}, {"prompt": "one"}))
    assert [prompt.as_chat() for prompt in found.prompts] == [
        [{"role": "user", "content": "two"}],
        [{"role": "user", "content": "one"}],
    ]
    assert str(found.tally) == "in 2, kept 2, dropped 0"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_chat_messages_keep_their_turns(tmp_path: Path, suffix: str) -> None:
    assert read(write(tmp_path / f"a{suffix}", {"prompt": CHAT})).prompts[0].as_chat() == CHAT


def test_reference_and_metadata_are_kept_and_other_columns_left_out(tmp_path: Path) -> None:
    row = {"prompt": "1+1", "reference": "2", "metadata": {"level": 1, "tags": ["sum"]}, "answer_length": 9}
    (prompt,) = read(write(tmp_path / "a.jsonl", row)).prompts
    assert (prompt.reference, prompt.metadata) == ("2", {"level": 1, "tags": ["sum"]})
    assert prompt.source == "a.jsonl:1"


def test_a_missing_number_in_metadata_is_null(tmp_path: Path) -> None:
    (prompt,) = read(write(tmp_path / "a.parquet", {"prompt": "x", "metadata": {"level": float("nan")}})).prompts
    assert prompt.metadata == {"level": None}


def test_empty_and_repeated_prompts_are_dropped_and_counted(tmp_path: Path) -> None:
    blank = [{"role": "user", "content": " "}]
    values: list[Any] = ["a", "", None, " \n", [], blank, "a", [{"role": "user", "content": "a"}], "b"]
    found = read(write(tmp_path / "a.jsonl", *({"prompt": value} for value in values)))
    assert [prompt.messages[-1].content for prompt in found.prompts] == ["a", "b"]
    assert found.tally.dropped == {"empty": 5, "duplicate": 2}


def test_num_prompts_counts_different_prompts(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.jsonl", *({"prompt": p} for p in "aabcd")), num_prompts=2)
    assert [prompt.messages[0].content for prompt in found.prompts] == ["a", "b"]
    assert found.tally.dropped == {"duplicate": 1, "over_num_prompts": 2}


def test_a_prompts_id_does_not_depend_on_where_it_stands(tmp_path: Path) -> None:
    one = read(write(tmp_path / "a.jsonl", {"prompt": "x"})).prompts[0]
    other = read(write(tmp_path / "b.jsonl", {"prompt": "y"}, {"prompt": [{"role": "user", "content": "x"}]}))
    assert one.id == other.prompts[1].id


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"prompt": 3},
            r'"prompt" holds the number 3 \(.*a.jsonl:2\): give plain text or a list of chat messages',
        ),
        ({"prompt": {"role": "user"}}, '"prompt" holds an object'),
        ({"prompt": ["hi"]}, 'message 1 of "prompt" has no role and content'),
        ({"prompt": [{"from": "observation", "value": "hi"}]}, 'message 1 of "prompt" has the role "observation"'),
        (
            {"prompt": [{"role": "tool", "content": "hi"}]},
            'has the role "tool" .*use one of system, user, assistant',
        ),
        ({"prompt": [{"role": "user", "content": None}]}, 'message 1 of "prompt" has null as its content'),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, 'has a part of type "image"'),
        (
            {"prompt": [*CHAT, {"role": "assistant", "content": "x"}]},
            r"ends with the assistant's turn \(.*:2\): end it",
        ),
        ({"prompt": CHAT[:1]}, "ends with the system's turn"),
        ({"prompt": CHAT[1:] + CHAT[:1] + CHAT[1:2]}, "message 4 .* is a system turn in mid-conversation"),
        (
            {"prompt": [{"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}, *CHAT[1:]]},
            "message 1 .* calls a tool",
        ),
        ({"promt": "x"}, r'no column "prompt"; the columns are: promt .*did you mean "promt"\?'),
        ({"prompt": "x", "reference": 3}, '"reference" holds the number 3 where text belongs'),
        ({"prompt": "x", "metadata": "y"}, '"metadata" holds "y"'),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_named(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read(write(tmp_path / "a.jsonl", {"prompt": "fine"}, row))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no prompt in it"),
        ('{"prompt": ""}\n{"prompt": " "}\n', "all 2 prompts are empty"),
        ('{"prompt": "a"}\nnonsense\n', r"not valid JSON: .*a.jsonl:2\)"),
    ],
)
def test_a_file_without_prompts_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("path", ["nowhere/prompts.jsonl", "/nowhere/at/all", "./folder", "a b", "x/y/z"])
def test_a_path_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read(path)


@pytest.fixture
def data_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps converted folders in the home folder; a test keeps them in its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("data_cache")
def test_a_folder_of_parquet_files_is_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.parquet", {"prompt": CHAT, "other": 1}, {"prompt": CHAT, "other": 2})
    found = read(folder)
    assert [prompt.as_chat() for prompt in found.prompts] == [CHAT]
    assert found.tally.dropped == {"duplicate": 1}


def test_a_saved_data_set_is_read_by_split(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    saved = DatasetDict(
        {"train": Dataset.from_dict({"question": ["a"]}), "test": Dataset.from_dict({"question": ["b"]})}
    )
    saved.save_to_disk(tmp_path / "saved")
    found = read(tmp_path / "saved", split="test", column="question")
    assert [prompt.messages[0].content for prompt in found.prompts] == ["b"]
    with pytest.raises(DataError, match=r'no part "tst"; the parts are: test, train .*by prompts.split'):
        read(tmp_path / "saved", split="tst", column="question")
    with pytest.raises(DataError, match=r'no column "prompt"; the columns are: question .*test/data-.* row 1'):
        read(tmp_path / "saved", split="test")


@pytest.mark.usefixtures("data_cache")
def test_a_data_set_that_cannot_be_loaded_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file of rows in this folder: it is empty"):
        read(tmp_path / "empty")
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("raise SystemExit")
    with pytest.raises(DataError, match=r"no file of rows in this folder: it holds script.py"):
        read(tmp_path / "script")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train.parquet", {"prompt": "a"})
    with pytest.raises(DataError, match='no part "tst"; the parts are: train'):
        read(tmp_path / "data", split="tst")


@pytest.mark.usefixtures("data_cache")
def test_splits_of_prompts_and_demonstrations_are_named_or_refused(tmp_path: Path) -> None:
    for name in ("train_prefs", "train_sft", "test_sft"):
        write(tmp_path / f"{name}-00000-of-00001.jsonl", {"prompt": name, "response": "Yes."})
    with pytest.raises(DataError, match=r"train_prefs, train_sft .*: name one by prompts\.split=train_prefs"):
        read(tmp_path)
    [prompt] = read(tmp_path, split="train_sft").prompts
    assert prompt.messages[0].content == "train_sft"
    with pytest.raises(DataError, match=r"name one by sft\.split=train_prefs"):
        read_demonstrations(str(tmp_path))
    assert len(read_demonstrations(str(tmp_path), split="train_prefs+train_sft").demonstrations) == 2
    with pytest.raises(DataError, match=r"a file has no parts.*leave sft\.split out"):
        read_demonstrations(str(tmp_path / "test_sft-00000-of-00001.jsonl"), split="test")


@pytest.mark.usefixtures("data_cache")
def test_subfolders_of_prompts_are_not_read_as_one(tmp_path: Path) -> None:
    for name in ("harmless", "helpful"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "train.jsonl", {"prompt": name})
    with pytest.raises(DataError, match="harmless/train, helpful/train"):
        read(tmp_path)
    assert len(read(tmp_path, split="helpful/train").prompts) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "response": "Hello"},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": CHAT[1:2], "completion": CHAT[2:3]},
        {"messages": CHAT[1:3]},
    ],
)
def test_demonstrations_are_read_in_each_of_trls_forms(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read_demonstrations(str(write(tmp_path / "a.jsonl", row)))
    ((prompt, demonstration),) = found.demonstrations
    assert prompt.as_chat() == CHAT[1:2]
    assert (demonstration.prompt_id, demonstration.response) == (prompt.id, "Hello")


def test_empty_and_repeated_demonstrations_are_dropped_and_counted(tmp_path: Path) -> None:
    pairs = [("a", "b"), ("a", "c"), ("a", "b"), ("", "b"), ("a", " "), ("a", None)]
    path = write(tmp_path / "a.jsonl", *({"prompt": p, "response": r} for p, r in pairs))
    found = read_demonstrations(str(path))
    assert [demonstration.response for _, demonstration in found.demonstrations] == ["b", "c"]
    assert found.tally.dropped == {"duplicate": 1, "empty_prompt": 1, "empty_response": 2}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "a"}, 'no column "response"; the columns are: prompt'),
        ({"response": "a"}, 'no column "prompt"; the columns are: response'),
        ({"messages": CHAT}, '"messages" ends with the user\'s turn'),
        ({"messages": [*CHAT[:3], CHAT[2]]}, '"messages" ends with the assistant\'s turn'),
        ({"prompt": "a", "completion": CHAT[:2]}, '"completion" is not one message of the assistant'),
        ({"prompt": "a", "response": 3}, '"response" holds the number 3'),
    ],
)
def test_a_demonstration_that_cannot_be_read_is_refused(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_demonstrations(str(write(tmp_path / "a.jsonl", row)))


def prompt_of(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), source="a.jsonl:1")


def count_words(prompt: Prompt) -> int:
    return len(prompt.messages[-1].content.split())


def test_prompts_longer_than_the_context_are_dropped_and_counted() -> None:
    prompts = [prompt_of(text) for text in ("one two", "one two three", "one")]
    found = drop_over_length(prompts, count_tokens=count_words, max_tokens=2)
    assert found.prompts == [prompts[0], prompts[2]]
    assert str(found.tally) == "in 3, kept 2, dropped 1 (over_length 1)"


def test_prompts_that_are_all_longer_than_the_context_are_refused() -> None:
    with pytest.raises(DataError, match=r"all 1 prompts are longer than the 2 tokens .*\(a.jsonl:1\)"):
        drop_over_length([prompt_of("one two three")], count_tokens=count_words, max_tokens=2)


def test_a_demonstration_brings_the_known_answer_of_its_prompt_where_the_column_exists(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Two and two?", "response": "It is 4.", "reference": "4", "gold": "four"},
        {"prompt": "Two and three?", "response": "It is 5."},
    ]
    path = tmp_path / "demonstrations.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [prompt.reference for prompt, _ in read_demonstrations(str(path)).demonstrations]
    assert found == ["4", None]
    named = [prompt.reference for prompt, _ in read_demonstrations(str(path), reference="gold").demonstrations]
    assert named == ["four", None]
