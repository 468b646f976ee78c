"""The weights that predict people's choices best on prompts left out of the training."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from rlaif.config.base import TYPED
from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, PreferenceRow, Prompt, Source
from rlaif.reward_model.data import Item, Pair, Rated, encode_pairs
from rlaif.reward_model.early_stop import leave_out, measure_log_loss, steps_to_measure
from rlaif.reward_model.save import RESULTS
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import Listener, StepMetrics

PLACES = [f"{kind} {number}" for kind in ("museum", "tower", "market") for number in range(10)]


def row(place: str, *, source: Source, polite: bool) -> PreferenceRow:
    kind, rude = "There, this way please", "There, find it yourself"
    return PreferenceRow(
        prompt=Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),)),
        chosen=kind if polite else rude, rejected=rude if polite else kind, label=1.0, source=source,
    )  # fmt: skip


@pytest.fixture
def rows() -> list[PreferenceRow]:
    """People want politeness; a judge that wants rudeness has labelled more prompts."""
    people = [row(place, source="human", polite=True) for place in PLACES[:20]]
    return people + [row(f"{place} {n}", source="judge", polite=False) for place in PLACES for n in range(2)]


def train(base: LoadedModel, rows: list[PreferenceRow], out_dir: Path, **options: Any) -> TrainedRewardModel:
    given = {"keep": "best", "validation_fraction": 0.5, "num_epochs": 3, "batch_size": 8, "learning_rate": 3e-3}
    listener = options.pop("listener", Listener())
    return train_reward_model(
        base=base, train_rows=rows, test_rows=[], out_dir=out_dir, seed=1, listener=listener,
        resume=options.pop("resume", False), config=RewardModelConfig(**{**given, **options}),
    )  # fmt: skip


def test_the_step_that_predicts_people_best_is_kept_and_not_the_last_one(
    base: LoadedModel, rows: list[PreferenceRow], tmp_path: Path
) -> None:
    seen: dict[int, float] = {}
    notes: list[str] = []

    def hear(done: StepMetrics) -> None:
        if "validation_log_loss" in done.numbers:
            seen[done.step] = done.numbers["validation_log_loss"]

    trained = train(
        base, rows, tmp_path / "best", num_validations=15, listener=Listener(on_metrics=hear, on_note=notes.append)
    )
    last = train(base, rows, tmp_path / "last", num_validations=1)
    kept = trained.card.metrics["kept_step"]
    assert seen[int(kept)] == min(seen.values())
    assert kept < max(seen) == last.card.metrics["kept_step"]
    assert seen[max(seen)] > min(seen.values()) + 0.2, "the judge's rows teach rudeness"
    [said] = notes
    assert f"the weights after step {kept:g} of 15 are kept: they predict people's choices best" in said
    assert "(10 rows of 10 prompts)" in said
    assert said in (trained.path / "README.md").read_text()
    assert '"kept"' in (trained.path / RESULTS).read_text()


def test_the_weights_are_those_that_were_measured(base: LoadedModel, rows: list[PreferenceRow], tmp_path: Path) -> None:
    """A model that is kept after step 5 of 15 predicts the rows left out as it did then."""
    trained = train(base, rows, tmp_path / "best", num_validations=15, num_epochs=3)
    encoded = _left_out_loss(trained, rows)
    losses = trained_losses(trained)
    assert encoded == pytest.approx(min(losses.values()), abs=1e-5)


def trained_losses(trained: TrainedRewardModel) -> dict[str, float]:
    found: dict[str, float] = json.loads((trained.path / RESULTS).read_text())["kept"]["log_loss"]
    return found


def _left_out_loss(trained: TrainedRewardModel, rows: list[PreferenceRow]) -> float:
    encoded = encode_pairs(rows, encoder=trained.loaded.encoder, max_length=512)
    validation = leave_out(encoded.pairs, fraction=0.5).validation
    assert validation is not None
    return measure_log_loss(trained.loaded.model, validation, sequences=encoded.sequences)


def test_killed_at_any_step_and_resumed_it_keeps_the_same_weights(
    base: LoadedModel, rows: list[PreferenceRow], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"num_validations": 5, "checkpoint_every": 2, "num_epochs": 2}
    unbroken = train(base, rows, tmp_path / "unbroken", **options)
    for kill_at in (2, 7):
        out_dir = tmp_path / f"killed_at_{kill_at}"
        assert _in_child(base, rows, out_dir, kill_at=kill_at, **options) == -signal.SIGKILL
        train(base, rows, out_dir, resume=True, **options)
        for name in ("model.safetensors", RESULTS, "README.md"):
            assert (out_dir / name).read_bytes() == (unbroken.path / name).read_bytes()


def _in_child(base: LoadedModel, rows: list[PreferenceRow], out_dir: Path, *, kill_at: int, **options: Any) -> int:
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)

        def watch(done: StepMetrics) -> None:
            if done.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        train(base, rows, out_dir, listener=Listener(on_metrics=watch), **options)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def pairs_on(num: int, *, source: Source | None, prefix: str) -> list[Item]:
    return [Pair(f"{prefix} {n}", 2 * n, 2 * n + 1, label=1.0, weight=1.0, source=source) for n in range(num)]


def test_of_peoples_prompts_as_large_a_share_is_left_out_as_of_the_others_and_only_theirs_count() -> None:
    items = [*pairs_on(100, source="human", prefix="h"), *pairs_on(400, source="judge", prefix="j")]
    train, validation, why_none = leave_out(items, fraction=0.1)
    assert validation is not None
    assert (len(train), why_none, validation.of_people) == (450, "", True)
    assert (len(validation.items), validation.num_prompts) == (10, 10)
    assert {item.prompt_id for item in train}.isdisjoint(item.prompt_id for item in validation.items)


def test_with_people_on_few_prompts_all_rows_that_are_left_out_count() -> None:
    items = [*pairs_on(50, source="human", prefix="h"), *pairs_on(400, source="judge", prefix="j")]
    validation = leave_out(items, fraction=0.1).validation
    assert validation is not None
    assert (len(validation.items), validation.of_people) == (45, False)


def test_ratings_on_prompts_left_out_are_neither_trained_on_nor_counted() -> None:
    items = [*pairs_on(20, source="human", prefix="h"), *[Rated(f"h {n}", 0, "rating", 1.0, 1.0) for n in range(20)]]
    train, validation, _ = leave_out(items, fraction=0.5)
    assert validation is not None
    assert len(train) == 20
    assert all(isinstance(item, Pair) for item in validation.items)


def test_with_few_prompts_none_is_left_out_and_a_line_says_so(
    base: LoadedModel, rows: list[PreferenceRow], tmp_path: Path
) -> None:
    notes: list[str] = []
    short: dict[str, Any] = {"num_epochs": 1, "listener": Listener(on_note=notes.append)}
    trained = train(base, rows[:12], tmp_path / "few", **short)
    assert notes == [
        "6 of 12 prompts would be left out of the training to choose its weights by, and that takes 10: none is, and "
        "the weights after the last step are kept"
    ]
    as_usual = train(base, rows[:12], tmp_path / "last", **short, keep="last")
    assert (trained.path / "model.safetensors").read_bytes() == (as_usual.path / "model.safetensors").read_bytes()
    assert "kept_step" not in trained.card.metrics


def test_the_last_step_is_measured_and_the_others_at_even_distances() -> None:
    assert steps_to_measure(RewardModelConfig(keep="best", num_validations=4), num_steps=20) == {5, 10, 15, 20}
    assert steps_to_measure(RewardModelConfig(keep="best"), num_steps=3) == {1, 2, 3}


def test_its_options_are_refused_where_the_last_weights_are_kept_and_where_nothing_takes_steps() -> None:
    with pytest.raises(ValidationError, match="num_validations does nothing with keep: last"):
        RewardModelConfig.model_validate({"num_validations": 3}, context=TYPED)
    with pytest.raises(ValidationError, match="keep does nothing with train: readout"):
        RewardModelConfig.model_validate({"keep": "best", "train": "readout"}, context=TYPED)
