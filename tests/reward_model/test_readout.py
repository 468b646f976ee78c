"""A read-out of the mean of all tokens' states, fitted and written into the last layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from rlaif.config.base import TYPED
from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import ModelError
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model.data import encode_pairs
from rlaif.reward_model.model import compute_rewards, make_reward_model
from rlaif.reward_model.readout import find_last_layer, fit_readout, pool_states
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import Listener, StepMetrics

LoadFamily = Callable[[str], LoadedModel]
READOUT = RewardModelConfig(train="readout")


@pytest.fixture
def train(
    base: LoadedModel, train_rows: list[PreferenceRow], test_rows: list[PreferenceRow]
) -> Callable[..., TrainedRewardModel]:
    def call(out_dir: Path, **options: Any) -> TrainedRewardModel:
        given: dict[str, Any] = {"base": base, "train_rows": train_rows, "test_rows": test_rows, "config": READOUT}
        return train_reward_model(out_dir=out_dir, seed=1, **{**given, **options})

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_learns_which_response_is_preferred_on_prompts_it_never_saw(
    train: Callable[..., TrainedRewardModel], train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    swapped = [row.model_copy(update={"chosen": row.rejected, "rejected": row.chosen}) for row in train_rows]
    straight, opposite = train(tmp_path / "straight"), train(tmp_path / "opposite", train_rows=swapped)
    assert straight.held_out.accuracy is not None
    assert opposite.held_out.accuracy is not None
    assert (straight.held_out.accuracy.mean, opposite.held_out.accuracy.mean) == (1.0, 0.0)
    assert straight.held_out.log_loss is not None
    assert straight.held_out.log_loss < 0.5


@pytest.mark.parametrize("family", ["llama2", "llama3", "gemma", "mistral", "chatml"])
def test_the_rewards_are_the_mean_state_times_the_fitted_direction(
    load_family: LoadFamily, train_rows: list[PreferenceRow], family: str
) -> None:
    base = load_family(family)
    model = make_reward_model(base, seed=1)
    pairs = encode_pairs(train_rows, encoder=base.encoder, max_length=512)
    pooled = pool_states(model, pairs.sequences, layer=find_last_layer(model))
    fitted = fit_readout(model, pairs, center_rewards_coefficient=0.01)
    wanted = pooled.means @ fitted.direction
    with torch.no_grad():
        found = compute_rewards(model, pairs.sequences).double()
    assert torch.corrcoef(torch.stack([wanted, found]))[0, 1] > 0.97
    spread = float((found - found.mean()).norm() / (wanted - wanted.mean()).norm())
    assert spread == pytest.approx(1.0, abs=0.1)


def test_only_the_last_layer_and_the_head_differ_from_the_base(
    train: Callable[..., TrainedRewardModel], base: LoadedModel, tmp_path: Path
) -> None:
    start, found = make_reward_model(base, seed=1).state_dict(), train(tmp_path / "model").loaded.model.state_dict()
    changed = {name for name, value in start.items() if not torch.equal(found[name], value)}
    top = f"model.layers.{base.model.config.num_hidden_layers - 1}."
    assert changed == {
        "score.weight",
        *(f"{top}self_attn.{part}_proj.weight" for part in "qvo"),
        f"{top}mlp.down_proj.weight",
    }


def test_the_folder_is_a_plain_classifier_that_transformers_loads(
    train: Callable[..., TrainedRewardModel], test_rows: list[PreferenceRow], base: LoadedModel, tmp_path: Path
) -> None:
    trained = train(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(trained.path)
    sequences = encode_pairs(test_rows, encoder=base.encoder, max_length=512).sequences
    with torch.no_grad():
        rewards = compute_rewards(trained.loaded.model, sequences).tolist()
        logits = [model(input_ids=torch.tensor([sequence])).logits.item() for sequence in sequences]
    assert logits == pytest.approx(rewards, abs=1e-4)
    assert "a linear read-out of the mean of all tokens' states" in (trained.path / "README.md").read_text()


def test_it_depends_on_no_seed_and_leaves_the_same_bytes_each_time(
    train: Callable[..., TrainedRewardModel], tmp_path: Path
) -> None:
    train(tmp_path / "first")
    train(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_it_reports_one_step_and_a_finished_one_is_not_fitted_again(
    train: Callable[..., TrainedRewardModel], tmp_path: Path
) -> None:
    steps: list[StepMetrics] = []
    begun: list[int] = []
    listener = Listener(on_begin=begun.append, on_metrics=steps.append)
    train(tmp_path / "model", listener=listener)
    train(tmp_path / "model", listener=listener, resume=True)
    assert begun == [1]
    assert [step.step for step in steps] == [1]
    assert set(steps[0].numbers) == {"loss", "penalty", "cross_validated_loss"}


def test_a_model_with_other_parts_is_refused(load_family: LoadFamily, tmp_path: Path) -> None:
    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
            self.config = self

        def get_text_config(self) -> Other:
            return self

        num_hidden_layers = 1

    other: Any = Other()
    with pytest.raises(ModelError, match="it has other parts than Llama's"):
        find_last_layer(other)


@pytest.mark.parametrize(
    "options", [{"batch_size": 8}, {"num_layers": 3}, {"weight_decay": 0.0}, {"cache_trunk": False}]
)
def test_options_of_steps_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="does nothing with train: readout"):
        RewardModelConfig.model_validate({"train": "readout", **options}, context=TYPED)


def test_smoothed_hard_labels_leave_what_soft_labels_leave(
    train: Callable[..., TrainedRewardModel], train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    hard, soft = ([row.model_copy(update={"label": label}) for row in train_rows] for label in (1.0, 0.875))
    smoothing = RewardModelConfig(train="readout", label_smoothing=0.25)
    smoothed = train(tmp_path / "smoothed", train_rows=hard, config=smoothing)
    given = train(tmp_path / "given", train_rows=soft)
    assert contents(smoothed.path)["model.safetensors"] == contents(given.path)["model.safetensors"]
