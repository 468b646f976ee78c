from __future__ import annotations

import copy
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import RunFolderError, StageError, TrainingError
from rlaif.ledger.sign_offs import StatedHead
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model.checkpoint import find_checkpoints
from rlaif.reward_model.optimise import compute_schedule
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import Listener, StepMetrics

NUM_STEPS = 12
"""21 pairs in batches of 6, four an epoch, three epochs."""


class Training:
    """Everything but the folder and what a test changes."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __call__(self, out_dir: Path, **changes: Any) -> TrainedRewardModel:
        return train_reward_model(out_dir=out_dir, **{**self._options, **changes})


@pytest.fixture
def train(
    base: LoadedModel,
    train_rows: list[PreferenceRow],
    test_rows: list[PreferenceRow],
    config: RewardModelConfig,
) -> Training:
    return Training(base=base, train_rows=train_rows, test_rows=test_rows, config=config, seed=1)


def swapped(rows: list[PreferenceRow]) -> list[PreferenceRow]:
    return [row.model_copy(update={"chosen": row.rejected, "rejected": row.chosen}) for row in rows]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_learns_which_response_is_preferred_on_prompts_it_never_saw(train: Training, tmp_path: Path) -> None:
    trained = train(tmp_path / "model")
    assert trained.held_out.accuracy is not None
    assert trained.held_out.accuracy.mean == 1.0
    assert (trained.held_out.accuracy.n, trained.held_out.num_pairs) == (3, 9)
    assert trained.held_out.log_loss is not None
    # A coin has .693; the floor for labels of .95 is .199.
    assert trained.held_out.log_loss < 0.4


def test_with_chosen_and_rejected_swapped_it_learns_the_opposite(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    trained = train(tmp_path / "model", train_rows=swapped(train_rows))
    assert trained.held_out.accuracy is not None
    assert trained.held_out.accuracy.mean == 0.0


def test_a_label_below_one_half_prefers_rejected(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    rows = [row.model_copy(update={"label": 0.05}) for row in train_rows]
    straight = [row.model_copy(update={"label": 0.95}) for row in swapped(train_rows)]
    by_label = train(tmp_path / "by_label", train_rows=rows)
    by_place = train(tmp_path / "by_place", train_rows=straight)
    assert by_label.held_out.log_loss == pytest.approx(by_place.held_out.log_loss, abs=1e-4)


def test_a_row_of_weight_zero_is_as_good_as_absent(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    noise = [row.model_copy(update={"weight": 0.0}) for row in swapped(train_rows)]
    train(tmp_path / "with", train_rows=[*train_rows, *noise])
    train(tmp_path / "without")
    assert contents(tmp_path / "with")["model.safetensors"] == contents(tmp_path / "without")["model.safetensors"]


def test_of_two_contradicting_rows_the_heavier_one_is_learnt(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    def weighted_principles(rows: list[PreferenceRow], weight: float) -> list[PreferenceRow]:
        return [row.model_copy(update={"weight": weight}) for row in rows]

    for straight, against, expected in ((3.0, 1.0, 1.0), (1.0, 3.0, 0.0)):
        rows = [*weighted_principles(train_rows, straight), *weighted_principles(swapped(train_rows), against)]
        trained = train(tmp_path / f"{straight}", train_rows=rows)
        assert trained.held_out.accuracy is not None
        assert trained.held_out.accuracy.mean == expected


def test_transformers_loads_the_folder_and_gives_the_same_rewards(
    train: Training, test_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    trained = train(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(trained.path)
    tokenizer = AutoTokenizer.from_pretrained(trained.path)
    rewards = RewardModelScorer(trained.loaded).score([(row.prompt, row.chosen) for row in test_rows])
    for row, reward in zip(test_rows, rewards, strict=True):
        chat = [*row.prompt.as_chat(), {"role": "assistant", "content": row.chosen}]
        inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
        assert model(**inputs).logits.item() == pytest.approx(reward, abs=1e-5)
    assert model.config.num_labels == 1
    assert tokenizer.pad_token_id == model.config.pad_token_id
    assert {path.suffix for path in trained.path.iterdir()} == {".safetensors", ".json", ".jinja", ".md"}


def test_the_config_keeps_mean_and_deviation_of_the_rewards_on_the_policys_responses(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    scorer = RewardModelScorer(train(tmp_path / "model").loaded)
    # Only 18 held-out responses: too few, so all 42 training responses serve.
    responses = {(row.prompt.id, text): (row.prompt, text) for row in train_rows for text in (row.chosen, row.rejected)}
    rewards = torch.tensor(scorer.score(list(responses.values())), dtype=torch.float64)
    assert scorer.mean == pytest.approx(rewards.mean().item(), abs=1e-5)
    assert scorer.std == pytest.approx(rewards.std(correction=0).item(), abs=1e-5)


def test_the_card_names_figures_data_base_and_ledger(train: Training, base: LoadedModel, tmp_path: Path) -> None:
    trained = train(tmp_path / "model", dataset_digest="d" * 64, ledger_head=StatedHead(7, "e" * 64))
    card = (trained.path / "README.md").read_text()
    assert "1.000 (95 % interval 0.139 to 1.000; 9 pairs of 3 prompts)" in card
    for fact in ("d" * 64, "`" + "e" * 64 + "`, row 7", base.fingerprint.id, "in 21, kept 21, dropped 0"):
        assert fact in card
    assert trained.card.base_model_id == base.fingerprint.id
    assert trained.card.model_id == trained.loaded.fingerprint.id
    assert trained.card.metrics["accuracy"] == 1.0


def test_the_same_training_gives_the_same_bytes(train: Training, tmp_path: Path) -> None:
    train(tmp_path / "first")
    train(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_killed_at_any_step_and_resumed_it_ends_with_the_same_bytes(train: Training, tmp_path: Path) -> None:
    _in_child(train, tmp_path / "unbroken")
    for kill_at in (1, 3, 4, 8, NUM_STEPS):
        out_dir = tmp_path / f"killed_at_{kill_at}"
        assert _in_child(train, out_dir, kill_at=kill_at) == -signal.SIGKILL
        assert not out_dir.exists()
        assert _in_child(train, out_dir, resume=True) == 0
        assert contents(out_dir) == contents(tmp_path / "unbroken")


def test_killed_twice_it_goes_on_from_the_newest_checkpoint(train: Training, tmp_path: Path) -> None:
    out_dir = tmp_path / "model"
    for kill_at in (5, 8):
        _in_child(train, out_dir, kill_at=kill_at, resume=True)
    heard: list[int] = []
    steps: list[int] = []
    train(
        out_dir, resume=True, listener=Listener(on_begin=heard.append, on_metrics=lambda done: steps.append(done.step))
    )
    assert heard == [7]
    assert steps == list(range(7, NUM_STEPS + 1))


def test_killed_at_any_moment_it_ends_with_the_same_bytes(train: Training, tmp_path: Path) -> None:
    _in_child(train, tmp_path / "unbroken")
    rng = random.Random(0)
    out_dir = tmp_path / "killed"
    kills = 0
    while _in_child(train, out_dir, resume=True, kill_after_s=rng.uniform(0.02, 0.3) + 0.02 * kills) != 0:
        kills += 1
    assert contents(out_dir) == contents(tmp_path / "unbroken")


def _in_child(
    train: Training,
    out_dir: Path,
    *,
    kill_at: int | None = None,
    kill_after_s: float | None = None,
    resume: bool = False,
) -> int:
    """Train in a forked process, killed at a step or a time; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)

        def watch(done: StepMetrics) -> None:
            if done.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        train(out_dir, resume=resume, listener=Listener(on_metrics=watch))
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_finished_training_is_not_done_again(train: Training, tmp_path: Path) -> None:
    first = train(tmp_path / "model")
    steps: list[int] = []
    again = train(tmp_path / "model", resume=True, listener=Listener(on_metrics=lambda done: steps.append(done.step)))
    assert steps == []
    assert again.card == first.card


def test_resuming_with_other_data_is_refused(
    train: Training, train_rows: list[PreferenceRow], config: RewardModelConfig, tmp_path: Path
) -> None:
    train(tmp_path / "model")
    with pytest.raises(RunFolderError, match="other data or options"):
        train(tmp_path / "model", resume=True, train_rows=train_rows[:-1])
    _in_child(train, tmp_path / "killed", kill_at=5)
    with pytest.raises(RunFolderError, match="other data or options"):
        train(tmp_path / "killed", resume=True, config=config.model_copy(update={"learning_rate": 1e-4}))
    assert len(find_checkpoints(tmp_path / "killed_checkpoints")) == 1


def test_a_finished_training_removes_its_checkpoints_and_nothing_else(train: Training, tmp_path: Path) -> None:
    _in_child(train, tmp_path / "killed", kill_at=5)
    (tmp_path / "killed_checkpoints" / "notes.txt").write_text("mine")
    train(tmp_path / "killed", resume=True)
    assert [path.name for path in (tmp_path / "killed_checkpoints").iterdir()] == ["notes.txt"]


def test_micro_batches_learn_the_same(train: Training, config: RewardModelConfig, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", seed=2)
    cut = train(tmp_path / "cut", seed=2, config=config.model_copy(update={"micro_batch_size": 2}))
    for name, value in whole.loaded.model.state_dict().items():
        torch.testing.assert_close(cut.loaded.model.state_dict()[name], value, atol=2e-3, rtol=0)


def test_every_step_reports_its_figures(train: Training, tmp_path: Path) -> None:
    rows: list[tuple[int, Mapping[str, float]]] = []
    train(tmp_path / "model", listener=Listener(on_metrics=lambda done: rows.append((done.step, done.numbers))))
    assert [step for step, _ in rows] == list(range(1, NUM_STEPS + 1))
    assert set(rows[0][1]) == {"loss", "accuracy", "reward_margin", "grad_norm", "learning_rate", "epoch"}
    assert rows[-1][1]["loss"] < rows[0][1]["loss"]


def test_ties_prefer_nothing_and_weights_count_in_the_accuracy_of_a_batch(
    train: Training, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    def batches(name: str, *rows: PreferenceRow) -> list[Mapping[str, float]]:
        seen: list[Mapping[str, float]] = []
        listener = Listener(on_metrics=lambda done: seen.append(done.numbers))
        train(tmp_path / name, train_rows=list(rows), listener=listener)
        return seen

    row = train_rows[0]
    tie, other_way = row.model_copy(update={"label": 0.5}), row.model_copy(update={"label": 0.0, "weight": 3.0})
    assert all("accuracy" not in figures and "reward_margin" not in figures for figures in batches("ties", tie))
    first = batches("mixed", row, tie, other_way)[0]
    assert first["accuracy"] in (0.25, 0.75), "one of the two contradicting rows is right, and they weigh 1 and 3"


def test_broken_weights_stop_the_training_at_the_named_step(
    train: Training, load_broken: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="loss is not finite") as caught:
        train(tmp_path / "model", base=load_broken)
    assert "step 1" in caught.value.sentence
    assert not (tmp_path / "model").exists()


@pytest.fixture
def load_broken(base: LoadedModel) -> LoadedModel:
    model = copy.deepcopy(base.model)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    return base._replace(model=model)


def test_without_a_pair_that_fits_there_is_no_training(
    train: Training, config: RewardModelConfig, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="over_length 21"):
        train(tmp_path / "model", config=config.model_copy(update={"max_length": 5}))


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_nearly_zero() -> None:
    shares = [compute_schedule(step, num_steps=10, warmup_fraction=0.2) for step in range(10)]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
