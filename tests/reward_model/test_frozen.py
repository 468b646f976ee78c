"""Training of the upper layers alone, on the frozen layers' output that is computed once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rlaif.config.base import TYPED
from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import ConfigError
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model import optimise
from rlaif.reward_model.frozen import compute_trunk_states, freeze_lower_layers, size_of_states
from rlaif.reward_model.model import compute_rewards, make_reward_model
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import Listener, StepMetrics

LoadFamily = Callable[[str], LoadedModel]
SEQUENCES = [(1, 2, 3), (4, 5, 6, 7, 8), (9, 10), (4, 5, 6, 7)]


@pytest.fixture
def upper(config: RewardModelConfig) -> RewardModelConfig:
    return config.model_copy(update={"train": "last_layers", "num_layers": 1})


@pytest.fixture
def train(
    base: LoadedModel, train_rows: list[PreferenceRow], test_rows: list[PreferenceRow]
) -> Callable[..., TrainedRewardModel]:
    def call(out_dir: Path, **options: Any) -> TrainedRewardModel:
        return train_reward_model(
            out_dir=out_dir, base=base, train_rows=train_rows, test_rows=test_rows, seed=1, **options
        )

    return call


def weights(trained: TrainedRewardModel) -> dict[str, Tensor]:
    found: dict[str, Tensor] = trained.loaded.model.state_dict()
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("family", ["llama3", "gemma", "mistral"])
def test_rewards_from_kept_states_are_those_of_the_whole_model(
    load_family: LoadFamily, upper: RewardModelConfig, family: str
) -> None:
    model = make_reward_model(load_family(family), seed=1)
    freeze_lower_layers(model, upper)
    trunk = compute_trunk_states(model, SEQUENCES, max_gb=1, note=pytest.fail)
    assert trunk is not None
    assert [len(states) for states in trunk.states] == [3, 5, 2, 4]
    places = [3, 0, 1]
    found = compute_rewards(model, [SEQUENCES[place] for place in places], entry=trunk.entry_of(places))
    expected = compute_rewards(model, [SEQUENCES[place] for place in places])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_kept_states_leave_the_weights_that_computing_each_time_leaves(
    train: Callable[..., TrainedRewardModel], upper: RewardModelConfig, tmp_path: Path
) -> None:
    kept = weights(train(tmp_path / "kept", config=upper))
    each_time = weights(train(tmp_path / "each", config=upper.model_copy(update={"cache_trunk": False})))
    for name, value in kept.items():
        torch.testing.assert_close(each_time[name], value, atol=2e-4, rtol=0)


def test_frozen_layers_keep_their_bits_and_upper_ones_learn(
    train: Callable[..., TrainedRewardModel], base: LoadedModel, upper: RewardModelConfig, tmp_path: Path
) -> None:
    trained = train(tmp_path / "model", config=upper)
    start, found = make_reward_model(base, seed=1).state_dict(), weights(trained)
    changed = {name for name, value in start.items() if not torch.equal(found[name], value)}
    top = f"layers.{base.model.config.num_hidden_layers - 1}."
    assert changed
    assert all(top in name or name in ("score.weight", "model.norm.weight") for name in changed)
    assert trained.held_out.accuracy is not None
    assert trained.held_out.accuracy.mean == 1.0


def test_upper_layers_killed_and_resumed_end_with_the_same_bytes(
    train: Callable[..., TrainedRewardModel], upper: RewardModelConfig, tmp_path: Path
) -> None:
    train(tmp_path / "unbroken", config=upper)
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)

        def watch(done: StepMetrics) -> None:
            if done.step == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        train(tmp_path / "killed", config=upper, listener=Listener(on_metrics=watch))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    begun: list[int] = []
    train(tmp_path / "killed", config=upper, resume=True, listener=Listener(on_begin=begun.append))
    assert begun == [4]
    assert contents(tmp_path / "killed") == contents(tmp_path / "unbroken")


def test_a_checkpoint_holds_no_frozen_weight(
    train: Callable[..., TrainedRewardModel], upper: RewardModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import safe_open

    names: list[set[str]] = []
    write = optimise.write_checkpoint

    def write_and_read(folder: Path, *, step: int, **rest: Any) -> None:
        write(folder, step=step, **rest)
        with safe_open(folder / f"step_{step:08d}" / "model.safetensors", "pt") as file:
            names.append(set(file.keys()))

    monkeypatch.setattr(optimise, "write_checkpoint", write_and_read)
    train(tmp_path / "model", config=upper)
    assert names
    assert not any("embed_tokens" in name or "layers.0." in name for name in names[0])
    assert "score.weight" in names[0]


def test_states_over_the_bound_are_not_kept_and_a_sentence_says_so(base: LoadedModel, upper: RewardModelConfig) -> None:
    model = make_reward_model(base, seed=1)
    freeze_lower_layers(model, upper)
    size = size_of_states(model, SEQUENCES)
    assert size == 14 * base.model.config.hidden_size * 4
    said: list[str] = []
    assert compute_trunk_states(model, SEQUENCES, max_gb=size / 1e9, note=said.append) is not None
    assert said == []
    assert compute_trunk_states(model, SEQUENCES, max_gb=(size - 1) / 1e9, note=said.append) is None
    assert "more than reward_model.max_cache_gb" in said[0]
    assert "they are computed in each step" in said[0]


def test_where_all_weights_are_trained_nothing_is_kept(base: LoadedModel, config: RewardModelConfig) -> None:
    model = make_reward_model(base, seed=1)
    freeze_lower_layers(model, config)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert compute_trunk_states(model, SEQUENCES, max_gb=1, note=pytest.fail) is None


def test_more_layers_than_the_model_has_are_refused(
    train: Callable[..., TrainedRewardModel], upper: RewardModelConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the last 99 are to be trained") as caught:
        train(tmp_path / "model", config=upper.model_copy(update={"num_layers": 99}))
    assert caught.value.where == "reward_model.num_layers"


@pytest.mark.parametrize(
    "options",
    [{"num_layers": 3}, {"cache_trunk": False}, {"train": "last_layers", "cache_trunk": False, "max_cache_gb": 1.0}],
)
def test_an_option_that_would_do_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="does nothing"):
        RewardModelConfig.model_validate(options, context=TYPED)
