from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import DataError
from rlaif.preferences.export import export_preferences
from rlaif.preferences.read import read_preferences
from rlaif.records import Constitution, Preference, PreferenceRow, Prompt, RatedRow, Sample

USER = {"role": "user", "content": "When?"}
GOOD = {"role": "assistant", "content": "At nine."}
BAD = {"role": "assistant", "content": "Dunno."}


def write(folder: Path, *rows: dict[str, Any], name: str = "train.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_an_exported_folder_reads_back_as_it_was(
    prompts: list[Prompt], samples: list[Sample], constitution: Constitution, tmp_path: Path
) -> None:
    preference = Preference(
        prompt_id=prompts[0].id,
        sample_ids=(samples[0].id, samples[1].id),
        label=0.3,
        weight=2.0,
        evidence_ids=(),
    )
    export_preferences(
        [preference],
        prompts={prompts[0].id: prompts[0]},
        samples={sample.id: sample for sample in samples},
        judge_name="judge",
        constitution=constitution,
        out_dir=tmp_path / "out",
        test_fraction=0.0,
    )
    assert read_preferences(tmp_path / "out") == [
        PreferenceRow(
            prompt=prompts[0], chosen=samples[1].text, rejected=samples[0].text, label=0.7, weight=2.0, source="judge"
        )
    ]
    assert read_preferences(tmp_path / "out", split="test") == []


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "When?", "chosen": "At nine.", "rejected": "Dunno."},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD], "label": None, "other": 3},
        {
            "chosen": "\n\nHuman: When?\n\nAssistant: At nine.",
            "rejected": "\n\nHuman: When?\n\nAssistant: Dunno.",
        },
        {"prompt": "\n\nHuman: When?\n\nAssistant:", "chosen": "At nine.", "rejected": "Dunno."},
    ],
)
def test_trl_style_rows_become_hard_labels(row: dict[str, Any], tmp_path: Path) -> None:
    [read] = read_preferences(write(tmp_path / "data", row))
    assert read.prompt.as_chat() == [USER]
    assert (read.chosen, read.rejected, read.label, read.weight) == ("At nine.", "Dunno.", 1.0, 1.0)


def test_a_response_that_a_model_began_as_a_transcript_stays_a_response_beside_its_prompt(tmp_path: Path) -> None:
    odd = "\n\nHuman: And you?\n\nAssistant: Me too."
    [read] = read_preferences(write(tmp_path / "data", {"prompt": "When?", "chosen": "At nine.", "rejected": odd}))
    assert (read.prompt.as_chat(), read.rejected) == ([USER], odd)


def test_labels_and_weights_of_a_csv_file_are_read_from_their_text(tmp_path: Path) -> None:
    path = tmp_path / "preferences.csv"
    path.write_text("prompt,chosen,rejected,label,weight\nWhen?,At nine.,Dunno.,0.75,\nWho?,Ann.,Bo.,,2\n")
    assert [(row.chosen, row.label, row.weight) for row in read_preferences(path)] == [
        ("At nine.", 0.75, 1.0),
        ("Ann.", 1.0, 2.0),
    ]


def test_splits_are_told_by_file_name_and_a_lone_file_is_for_training(tmp_path: Path) -> None:
    row = {"prompt": "When?", "chosen": "At nine.", "rejected": "Dunno."}
    both = write(write(tmp_path / "both", row, row), row, name="test.jsonl")
    assert (len(read_preferences(both)), len(read_preferences(both, split="test"))) == (2, 1)
    lone = write(tmp_path / "lone", row, name="preferences.jsonl")
    assert (len(read_preferences(lone)), len(read_preferences(lone, split="test"))) == (1, 0)
    assert len(read_preferences(lone / "preferences.jsonl")) == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "When?", "chosen": "At nine."}, 'no column "rejected"'),
        ({"chosen": "At nine.", "rejected": "Dunno."}, 'no column "prompt"'),
        ({"prompt": [USER], "chosen": [USER], "rejected": [BAD]}, "does not end with an assistant"),
        ({"chosen": [USER, GOOD], "rejected": [USER, USER, BAD]}, "another conversation"),
        (
            {"chosen": "\n\nHuman: When?\n\nAssistant: At nine.", "rejected": "Dunno."},
            '"chosen" and "rejected" is a transcript',
        ),
        (
            {
                "chosen": "\n\nHuman: When?\n\nAssistant: At nine.",
                "rejected": "\n\nHuman: Where?\n\nAssistant: At nine.",
            },
            "another conversation",
        ),
        (
            {"chosen": "\n\nHuman: When?", "rejected": "\n\nHuman: When?\n\nAssistant: At nine."},
            '"chosen" does not end with an assistant',
        ),
        ({"prompt": "When?", "chosen": "a", "rejected": "b", "label": "inf"}, '"label" holds'),
        ({"prompt": "When?", "chosen": "a", "rejected": "b", "weight": "nan"}, '"weight" holds'),
        ({"prompt": "When?", "chosen": "a", "rejected": "b", "label": 1.5}, '"label" holds the number 1.5'),
        ({"prompt": "When?", "chosen": "a", "rejected": "b", "label": "good"}, '"label" holds "good"'),
        ({"prompt": "When?", "chosen": "a", "rejected": "b", "weight": -1}, '"weight" holds the number -1'),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_that_names_its_line(
    row: dict[str, Any], says: str, tmp_path: Path
) -> None:
    good = {"prompt": "When?", "chosen": "At nine.", "rejected": "Dunno."}
    with pytest.raises(DataError, match=says) as caught:
        read_preferences(write(tmp_path / "data", good, row))
    assert "train.jsonl:2" in caught.value.sentence


def test_an_empty_folder_has_nothing_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no preference to train on"):
        read_preferences(tmp_path / "empty")


def test_a_path_where_nothing_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_preferences(tmp_path / "nowhere")


def split_folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("train_prefs", "train_sft", "test_prefs", "test_sft")):
        row = {"prompt": name, "chosen": "At nine.", "rejected": "Dunno."}
        write(tmp_path / "data", *[row] * (number + 1), name=f"{name}-00000-of-00001.jsonl")
    return tmp_path / "data"


def test_splits_with_longer_names_are_never_read_as_one(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    with pytest.raises(DataError, match=r"train_prefs, train_sft .*: name one by reward_model\.split=train_prefs"):
        read_preferences(folder)
    assert len(read_preferences(folder, part="train_sft")) == 2
    held_out = read_preferences(folder, part="train_sft", split="test")
    assert [row.prompt.messages[0].content for row in held_out] == ["test_sft"] * 4
    assert len(read_preferences(folder, part="train_prefs+train_sft", split="test")) == 3 + 4


def test_a_file_has_no_parts_to_name(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    with pytest.raises(DataError, match="a file has no parts.*leave reward_model.split out"):
        read_preferences(folder / "train_sft-00000-of-00001.jsonl", part="train_sft")


class Hub:
    """What `datasets` gives of a hub data set, which these tests cannot reach."""

    def __init__(self, *splits: str) -> None:
        self.splits = splits
        self.subsets: list[str] = []

    def load_dataset(self, path: str, subset: str = "") -> dict[str, list[dict[str, str]]]:
        self.subsets.append(subset)
        return {name: [{"prompt": name, "chosen": "a", "rejected": "b"}] for name in self.splits}


def test_the_splits_of_a_hub_data_set_are_named_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub("train_prefs", "train_sft", "test_prefs")
    monkeypatch.setattr("datasets.load_dataset", hub.load_dataset)
    with pytest.raises(DataError, match=r"train_prefs, train_sft \(org/name\): name one by reward_model\.split"):
        read_preferences("org/name")
    [row] = read_preferences("org/name", part="train_prefs")
    [held_out] = read_preferences("org/name", part="helpful/train_prefs", split="test")
    assert (row.prompt.messages[0].content, held_out.prompt.messages[0].content) == ("train_prefs", "test_prefs")
    assert hub.subsets == ["", "", "helpful"]


def test_a_hub_data_set_without_a_training_split_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", Hub("test").load_dataset)
    with pytest.raises(DataError, match="no split for training; the parts are: test"):
        read_preferences("org/name")


def test_a_source_says_who_preferred_by_our_names_and_anything_else_is_another_matter(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": "Hello?", "chosen": "Yes", "rejected": "No", "source": name} for name in ("human", "web", None)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row.source for row in read_preferences(file)] == ["human", None, None]


def test_ratings_and_thumbs_are_read_ours_and_trls(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "Hello?", "response": "Yes", "rating": 7, "annotator": "ann"},
        {"prompt": "Hello?", "response": "Yes", "thumb": False},
        {"prompt": "Hello?", "completion": [{"role": "assistant", "content": "Yes"}], "label": True},
        {"prompt": "Hello?", "completion": "Yes", "label": "false", "source": "judge", "weight": 2},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_preferences(file)
    assert [(row.kind, row.value, row.annotator, row.source) for row in found if isinstance(row, RatedRow)] == [
        ("rating", 7.0, "ann", "human"), ("thumb", 0.0, "", "human"), ("thumb", 1.0, "", "human"),
        ("thumb", 0.0, "", "judge"),
    ]  # fmt: skip
    assert [row.response for row in found if isinstance(row, RatedRow)] == ["Yes"] * 4
    assert found[3].weight == 2


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"response": "Yes", "rating": "good"}, '"rating" holds'),
        ({"response": "Yes", "rating": True}, '"rating" holds'),
        ({"response": "Yes", "thumb": 3}, '"thumb" holds'),
        ({"response": "Yes", "rating": None}, "neither a rating nor a thumb"),
        ({"response": "Yes"}, 'no column "chosen"'),
    ],
)
def test_a_rating_or_thumb_that_cannot_be_read_is_named(cells: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "Hello?", **cells}) + "\n")
    with pytest.raises(DataError, match=said):
        read_preferences(file)
