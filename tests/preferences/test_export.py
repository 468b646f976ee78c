from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import pytest
import yaml

from rlaif.errors import StageError
from rlaif.preferences.export import ExportedPreferences, digest_preferences, export_preferences
from rlaif.records import Constitution, Preference, Prompt, Sample, Tally, split_of

Export = Callable[..., ExportedPreferences]
TEST_FRACTION = 0.25


@pytest.fixture
def preferences(prompts: list[Prompt], samples: list[Sample], constitution: Constitution) -> list[Preference]:
    """One per prompt; the labels run from 0 to 1, one half among them."""
    return [
        Preference(
            prompt_id=prompt.id,
            sample_ids=tuple(sorted(sample.id for sample in samples if sample.prompt_id == prompt.id)),
            label=number / 40 if number < 39 else 1.0,
            evidence_ids=("comparison",),
            judge_id="judge",
            constitution_id=constitution.id,
        )
        for number, prompt in enumerate(prompts)
    ]


@pytest.fixture
def export(prompts: list[Prompt], samples: list[Sample], constitution: Constitution, tmp_path: Path) -> Export:
    def run(
        preferences: list[Preference],
        *,
        folder: str = "out",
        test_fraction: float = TEST_FRACTION,
        notes: Sequence[str] = (),
    ) -> ExportedPreferences:
        return export_preferences(
            preferences,
            prompts={prompt.id: prompt for prompt in prompts},
            samples={sample.id: sample for sample in samples},
            judge_name="front desk | judge",
            constitution=constitution,
            out_dir=tmp_path / folder,
            test_fraction=test_fraction,
            tally=Tally(num_in=50, dropped={"tie": 10}),
            notes=notes,
        )

    return run


def test_datasets_loads_the_folder_in_two_splits_by_prompt(
    export: Export, preferences: list[Preference], tmp_path: Path
) -> None:
    from datasets import load_dataset

    exported = export(preferences)
    loaded = load_dataset(str(exported.path), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {
        "train": exported.num_train,
        "test": exported.num_test,
    }
    assert exported.num_train + exported.num_test == 40
    for name, split in loaded.items():
        assert {split_of(row["prompt_id"], test_fraction=TEST_FRACTION) for row in split} == {name}
    assert "margin" not in loaded["train"].column_names


def test_a_row_holds_the_conversation_and_the_likelier_response_as_chosen(
    export: Export, preferences: list[Preference], samples: list[Sample], prompts: list[Prompt]
) -> None:
    import pyarrow.parquet as pq

    exported = export(preferences, test_fraction=0.0)
    rows = {row["id"]: row for row in pq.read_table(next(exported.path.rglob("train*.parquet"))).to_pylist()}
    by_id = {sample.id: sample for sample in samples}
    for preference in preferences:
        row = rows[preference.id]
        first, second = preference.sample_ids
        assert (row["chosen_id"], row["rejected_id"]) == (
            (first, second) if preference.label >= 0.5 else (second, first)
        )
        assert row["chosen"] == [{"role": "assistant", "content": by_id[row["chosen_id"]].text}]
        assert row["rejected"] == [{"role": "assistant", "content": by_id[row["rejected_id"]].text}]
        assert row["prompt"] == next(p for p in prompts if p.id == preference.prompt_id).as_chat()
        assert row["label"] == max(preference.label, 1 - preference.label)
        if row["label"] < 1:
            assert row["score_margin"] == pytest.approx(math.log(row["label"] / (1 - row["label"])))
        else:
            assert row["score_margin"] is None
        assert (row["weight"], row["source"], row["judge"]) == (1.0, "judge", "front desk | judge")


def test_a_row_that_people_decided_names_no_judge_and_the_card_says_what_they_did(
    export: Export, preferences: list[Preference]
) -> None:
    import pyarrow.parquet as pq

    labelled = [
        p.changed(source="human", weight=5.0, judge_id=None) if n < 20 else p for n, p in enumerate(preferences)
    ]
    exported = export(labelled, notes=["people's rows: 20 pairs, weight 5"])
    rows = [row for path in exported.path.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {(row["source"], row["judge"], row["weight"]) for row in rows} == {
        ("human", "", 5.0), ("judge", "front desk | judge", 1.0)
    }  # fmt: skip
    assert "- people's rows: 20 pairs, weight 5" in (exported.path.parent / "README.md").read_text()


def test_trl_reads_the_rows_as_conversational_preferences(export: Export, preferences: list[Preference]) -> None:
    import pyarrow.parquet as pq
    from trl.data_utils import is_conversational

    exported = export(preferences)
    row = pq.read_table(next(exported.path.rglob("train*.parquet"))).to_pylist()[0]
    assert is_conversational({name: row[name] for name in ("prompt", "chosen", "rejected")})
    # What RewardTrainer and DPOTrainer tokenise: the prompt's messages followed by one assistant message.
    whole = row["prompt"] + row["chosen"]
    assert [message["role"] for message in whole] == ["system", "user", "assistant"]


def test_the_same_preferences_in_another_order_give_the_same_bytes(
    export: Export, preferences: list[Preference]
) -> None:
    first = export(preferences, folder="first")
    shuffled = random.Random(0).sample(preferences, len(preferences))
    second = export(shuffled, folder="second")
    assert _contents(first.path) == _contents(second.path)
    assert first.digest == second.digest == digest_preferences(second.path)


def test_without_training_rows_nothing_is_written(export: Export, preferences: list[Preference]) -> None:
    held_out = [p for p in preferences if split_of(p.prompt_id, test_fraction=TEST_FRACTION) == "test"]
    with pytest.raises(StageError, match="no preference to train on"):
        export(held_out)
    with pytest.raises(StageError):
        export([])


def test_an_empty_test_split_is_left_out_of_the_card(export: Export, preferences: list[Preference]) -> None:
    exported = export(preferences, test_fraction=0.0)
    card = (exported.path.parent / "README.md").read_text()
    (file,) = exported.path.rglob("*.parquet")
    assert file.name.startswith("train-00000-of-00001-")
    assert yaml.safe_load(card.split("---\n")[1])["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": f"{exported.path.name}/data/{file.name}"}]}
    ]


def test_two_folders_of_one_name_load_as_their_own_data(
    export: Export, preferences: list[Preference], tmp_path: Path
) -> None:
    loaded = []
    for number, chosen in enumerate((preferences, preferences[: len(preferences) // 2])):
        target = tmp_path / str(number) / "dataset"
        target.parent.mkdir()
        export(chosen, test_fraction=0.0).path.rename(target)
        loaded.append(datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))["train"].num_rows)
    assert loaded == [len(preferences), len(preferences) // 2]


def test_the_card_names_judge_principles_and_drops_and_no_text_of_theirs_is_markup(
    export: Export, preferences: list[Preference], constitution: Constitution
) -> None:
    card = (export(preferences).path.parent / "README.md").read_text()
    assert "`front desk judge`" in card
    assert "in 50, kept 40, dropped 10 (tie 10)" in card
    assert "Prefer the more courteous reply." in card
    # The constitution's own fence is shorter than the one around it.
    assert f"````yaml\n{constitution.source.strip()}\n````" in card


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_lines_for_pandas_in_the_card_read_every_split(export: Export, preferences: list[Preference]) -> None:
    exported = export(preferences)
    card = (exported.path.parent / "README.md").read_text()
    (lines,) = [block for block in card.split("```") if "import pandas" in block]
    code = lines.removeprefix("python").replace("path/to/this/folder", str(exported.path.parent))
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(len(pairs_train), len(pairs_test))"], capture_output=True, text=True
    )
    assert shown.stdout.split() == [str(exported.num_train), str(exported.num_test)]


def test_the_folder_of_rows_is_read_by_whatever_reads_parquet_and_the_one_above_by_its_card(
    export: Export, preferences: list[Preference], tmp_path: Path
) -> None:
    import pandas
    import pyarrow.parquet as pq

    exported = export(preferences, folder="stage/dataset")
    total = exported.num_train + exported.num_test
    assert {path.suffix for path in exported.path.rglob("*") if path.is_file()} == {".parquet"}
    assert len(pandas.read_parquet(exported.path)) == pq.read_table(exported.path).num_rows == total
    for place in (exported.path, exported.path.parent):
        loaded = datasets.load_dataset(str(place), cache_dir=str(tmp_path / "cache"))
        sizes = {split: len(rows) for split, rows in loaded.items()}
        assert sizes == {"train": exported.num_train, "test": exported.num_test}
