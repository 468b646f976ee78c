"""The judge's labels, moved to where people's rows differ from the judge."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rlaif.config.reward_model import RewardModelConfig
from rlaif.config.run import RunConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import PreferenceRow
from rlaif.reward_model.correction import _fit, _Labelled, _slopes, correct_labels, find_correction
from rlaif.reward_model.data import Item, Pair
from rlaif.reward_model.human_weight import CORRECTED, choose_weight, correct_or_weigh
from rlaif.reward_model.train import train_reward_model
from rlaif.training.listener import Listener

TRUTH = torch.tensor([0.0, 1.0, 1.0, -1.0, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)


def draw(*, liked: float, num_judge: int = 300, num_human: int = 120) -> tuple[Tensor, list[Item]]:
    """A judge that likes the first feature by so many log-odds beside the truth, and people who choose by the truth."""
    generator = torch.Generator().manual_seed(0)
    num = num_judge + num_human
    features = torch.randn(2 * num, len(TRUTH), dtype=torch.float64, generator=generator)
    by_judge = TRUTH + torch.eye(len(TRUTH), dtype=torch.float64)[0] * liked
    pairs: list[Item] = []
    for place in range(num):
        is_human = place >= num_judge
        margin = float((features[2 * place] - features[2 * place + 1]) @ (TRUTH if is_human else by_judge))
        label = 1 / (1 + math.exp(-margin))
        if is_human:
            label = float(torch.rand(1, generator=generator) < label)
        source: Any = "human" if is_human else "judge"
        pairs.append(Pair(str(place), 2 * place, 2 * place + 1, label=label, weight=1.0, source=source))
    return features, pairs


def angle(direction: Tensor) -> float:
    """Between a direction and the truth, in radians."""
    return math.acos(float(direction @ TRUTH / (direction.norm() * TRUTH.norm())))


def test_a_leaning_of_the_judge_is_found_in_its_feature_and_taken_out_of_its_labels() -> None:
    features, pairs = draw(liked=1.5)
    found = find_correction(features, pairs, center_rewards_coefficient=0.0)
    assert found is not None
    assert found.num_leanings >= 1
    assert float(found.shift[0]) < -0.8
    assert float(found.shift.abs().argmax()) == 0
    judge = TRUTH + torch.eye(len(TRUTH), dtype=torch.float64)[0] * 1.5
    assert angle(judge + found.shift) < 0.5 * angle(judge)


def test_corrected_labels_are_taken_where_they_predict_people_better_than_every_weight() -> None:
    features, pairs = draw(liked=1.5)
    weight = choose_weight(features, pairs, center_rewards_coefficient=0.0)
    weighed = correct_or_weigh(features, pairs, found=weight, center_rewards_coefficient=0.0)
    chosen = weighed.human_weight
    assert chosen.num_leanings is not None
    assert chosen.log_loss_with == chosen.log_loss[CORRECTED] < min(weight.log_loss.values())
    assert {(item.source, item.weight) for item in weighed.items} == {("judge", 1.0), ("human", 5.0)}
    assert chosen.describe().startswith("the judge's labels are corrected by people's, who differ in ")


def test_with_a_judge_that_is_right_the_rows_keep_their_labels_and_get_a_weight() -> None:
    features, pairs = draw(liked=0.0)
    weight = choose_weight(features, pairs, center_rewards_coefficient=0.0)
    weighed = correct_or_weigh(features, pairs, found=weight, center_rewards_coefficient=0.0)
    assert weighed.human_weight.num_leanings is None
    assert weighed.human_weight.weight == weight.weight
    assert CORRECTED in weighed.human_weight.log_loss
    assert [item.label for item in weighed.items] == [item.label for item in pairs]  # type: ignore[union-attr]


def test_log_odds_move_by_the_shift_of_rewards_and_peoples_rows_stay() -> None:
    """The responses' rewards shift by 1 and 0; a label of one half becomes sigmoid(1), a sure one begins at .95."""
    features = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    rows: list[Item] = [
        Pair("a", 0, 1, label=0.5, weight=1.0, source="judge"),
        Pair("b", 1, 0, label=0.5, weight=1.0, source="judge"),
        Pair("c", 0, 1, label=1.0, weight=1.0, source="judge"),
        Pair("d", 0, 1, label=0.0, weight=1.0, source="human"),
    ]
    moved = correct_labels(features, rows, shift=torch.tensor([1.0], dtype=torch.float64))
    labels = [row.label for row in moved if isinstance(row, Pair)]
    assert labels == pytest.approx([0.731059, 0.268941, 1 / (1 + math.exp(-(math.log(19) + 1))), 0.0], abs=1e-6)
    assert labels[0] + labels[1] == 1.0


def test_the_fit_is_the_optimum_of_the_penalised_loss() -> None:
    """At the optimum the slope of the first number is 0, of others minus the penalty by their sign, else within it."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(80, 6, dtype=torch.float64, generator=generator)
    labels = (
        torch.rand(80, dtype=torch.float64, generator=generator) < torch.sigmoid(inputs[:, 0] - inputs[:, 1])
    ).double()
    labelled = _Labelled(inputs, labels, torch.rand(80, dtype=torch.float64, generator=generator) + 0.5)
    found = _fit(labelled, penalty=0.05, start=torch.zeros(6, dtype=torch.float64))
    slopes = _slopes(found, labelled)
    assert abs(float(slopes[0])) < 1e-6
    assert 0 < int((found[1:] != 0).sum()) < 5
    for value, slope in zip(found[1:].tolist(), slopes[1:].tolist(), strict=True):
        assert abs(slope) <= 0.05 + 1e-6
        if value:
            assert slope == pytest.approx(-math.copysign(0.05, value), abs=1e-6)


def test_without_peoples_or_without_the_judges_rows_there_is_nothing_to_correct() -> None:
    features, pairs = draw(liked=1.0, num_judge=20, num_human=20)
    for source in ("human", "judge"):
        alone = [pair for pair in pairs if pair.source == source]
        assert find_correction(features, alone, center_rewards_coefficient=0.0) is None


@pytest.mark.parametrize("way", [pytest.param("all", marks=pytest.mark.heavy), "readout"])
def test_a_training_tries_corrected_labels_and_says_what_it_took(
    way: Any, base: LoadedModel, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    rows = [
        row.model_copy(update={"source": "human" if n % 2 else "judge", "label": 0.95 if n % 2 else 0.3, "prompt": p})
        for n, row in enumerate(train_rows * 2)
        for message in [row.prompt.messages[0]]
        for p in [row.prompt.changed(messages=(message.model_copy(update={"content": f"{message.content} ({n})"}),))]
    ]  # fmt: skip
    notes: list[str] = []
    shared: dict[str, Any] = {} if way == "readout" else {"num_epochs": 1, "learning_rate": 1e-3}
    trained = train_reward_model(
        base=base, train_rows=rows, test_rows=[], out_dir=tmp_path / "model", seed=1,
        config=RewardModelConfig(train=way, human_weight="corrected", **shared),
        listener=Listener(on_note=notes.append),
    )  # fmt: skip
    [said] = notes
    assert f"{CORRECTED}: " in said
    assert said in (trained.path / "README.md").read_text()
    assert trained.card.metrics["human_log_loss_with"] <= trained.card.metrics["human_log_loss_without"] + 1e-9


def test_a_correction_that_cannot_be_is_refused_before_work_starts() -> None:
    with pytest.raises(ValidationError, match="human_weight is corrected and there are no rows of people"):
        RunConfig.model_validate({"reward_model": {"human_weight": "corrected"}})
    with pytest.raises(ValidationError, match="say one of them"):
        RewardModelConfig(human_weight="corrected", length_bias="judge_rows")
