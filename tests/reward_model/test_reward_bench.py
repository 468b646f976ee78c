"""A reward model on rows of RewardBench's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import DataError
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model.reward_bench import measure_bench, read_bench
from rlaif.reward_model.train import train_reward_model


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number: int, *, chosen: Any, rejected: Any, subset: str) -> dict[str, Any]:
    return {"prompt": f"Question {number}?", "chosen": chosen, "rejected": rejected, "subset": subset}


def test_accuracy_by_subset_and_section_with_ties_as_half(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        row(1, chosen="5", rejected="3", subset="hep-go"),
        row(2, chosen="3", rejected="5", subset="hep-go"),
        row(3, chosen="4", rejected="4", subset="math-prm"),
        row(4, chosen=["9"], rejected=["1", "2", "3"], subset="Focus"),
        row(5, chosen=["2"], rejected=["1", "2", "2"], subset="Focus"),
        row(6, chosen="x", rejected="1", subset="Focus"),
    )
    found = measure_bench(
        read_bench(path), lambda asked: [float(text) if text != "x" else "over_length" for _, text in asked]
    )
    shares = {part.name: (part.accuracy.mean, part.num_rows) for part in found.subsets if part.accuracy}
    assert shares == {"Focus": (pytest.approx(2 / 3), 2), "hep-go": (0.5, 2), "math-prm": (0.5, 1)}
    [section] = found.sections
    assert section.accuracy is not None
    assert (section.name, section.accuracy.mean, section.num_rows) == ("Reasoning", 0.5, 3)
    assert found.all_rows.accuracy is not None
    assert found.all_rows.accuracy.mean == pytest.approx((1 + 0 + 0.5 + 1 + 1 / 3) / 5)
    assert section.accuracy.low < 0.5 < section.accuracy.high
    assert found.num_unscored == 1


@pytest.mark.parametrize(
    ("change", "words"), [({"chosen": [1]}, '"chosen" holds no text'), ({"prompt": ""}, '"prompt" is empty')]
)
def test_a_row_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, change: Any, words: str) -> None:
    path = write(tmp_path / "rows.jsonl", row(1, chosen="a", rejected="b", subset="s") | change)
    with pytest.raises(DataError) as error:
        read_bench(path)
    assert words in error.value.sentence
    assert str(path) in error.value.sentence


def test_the_command_prints_a_line_for_each_part(
    base: LoadedModel, train_rows: list[PreferenceRow], test_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    config = RewardModelConfig(batch_size=6, num_epochs=3, learning_rate=5e-3)
    trained = train_reward_model(
        base=base, train_rows=train_rows, test_rows=[], config=config, out_dir=tmp_path / "model", seed=1
    )
    rows = [
        {"prompt": one.prompt.messages[0].content, "chosen": one.chosen, "rejected": one.rejected, "subset": "manners"}
        for one in test_rows
    ]
    path = write(tmp_path / "rows.jsonl", *rows)
    done = CliRunner().invoke(app, ["reward-bench", str(path), "--model", str(trained.path), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "manners: 100.0%, 95 % interval" in said
    assert "all rows: 100.0%" in said
    as_json = CliRunner().invoke(
        app, ["reward-bench", str(path), "--model", str(trained.path), "--device", "cpu", "--json"]
    )
    assert json.loads(as_json.stdout)["all_rows"]["num_rows"] == 9
