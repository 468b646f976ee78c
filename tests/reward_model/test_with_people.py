"""Held-out pairs of people and of the judge, ordered with people's rows and without them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from rlaif.records import Estimate
from rlaif.reward_model.data import Item, Pair
from rlaif.reward_model.human_weight import HumanWeight, choose_weight, compare_sources, weigh_people
from rlaif.reward_model.source_trials import SourceTrial, read_trials
from rlaif.reward_model.with_people import compare_with_and_without


def draw(num_judge: int, num_human: int, *, judge_errs: bool) -> tuple[Tensor, list[Pair]]:
    """A judge that likes the first feature beside the truth where it errs; people who choose by the truth."""
    generator = torch.Generator().manual_seed(0)
    num = num_judge + num_human
    features = torch.randn(2 * num, 6, dtype=torch.float64, generator=generator)
    truth = torch.tensor([0.0, 1.0, 1.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    liked = truth + (torch.tensor([2.0, 0, 0, 0, 0, 0]) if judge_errs else 0.0)
    pairs = []
    for place in range(num):
        source: Any = "human" if place >= num_judge else "judge"
        margin = float((features[2 * place] - features[2 * place + 1]) @ (truth if source == "human" else liked))
        label = 1 / (1 + math.exp(-margin))
        if source == "human":
            label = float(torch.rand(1, generator=generator) < label)
        pairs.append(Pair(str(place), 2 * place, 2 * place + 1, label=label, weight=1.0, source=source))
    return features, pairs


def compare(pairs: Sequence[Pair], features: Tensor) -> dict[str, SourceTrial]:
    found = choose_weight(features, pairs, center_rewards_coefficient=0.0)
    trials = compare_sources(features, pairs, chosen=found, center_rewards_coefficient=0.0)
    return {trial.source: trial for trial in trials}


def test_beside_a_judge_that_errs_people_s_rows_help_on_people_s_pairs_and_not_on_the_judge_s() -> None:
    features, pairs = draw(300, 120, judge_errs=True)
    found = compare(pairs, features)
    assert found["human"].gain.mean > 0.03
    assert found["human"].gain.mean == pytest.approx(
        found["human"].accuracy_with.mean - found["human"].accuracy_without.mean
    )
    assert found["human"].num_pairs == found["human"].gain.n == 120
    assert found["judge"].accuracy_without.mean > 0.93
    assert found["judge"].gain.mean < 0


def test_beside_a_judge_that_is_right_people_s_rows_change_little() -> None:
    features, pairs = draw(300, 60, judge_errs=False)
    found = compare(pairs, features)
    assert abs(found["human"].gain.mean) < 0.04
    assert abs(found["judge"].gain.mean) < 0.03


def test_no_fit_sees_the_prompts_that_it_is_measured_on() -> None:
    """Labels that follow nothing are ordered as by a coin, where a fit that saw them would know most of them."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(120, 40, dtype=torch.float64, generator=generator)
    coins = (torch.rand(60, generator=generator) < 0.5).double().tolist()
    pairs = [
        Pair(str(k), 2 * k, 2 * k + 1, label=coins[k], weight=1.0, source="human" if k < 40 else "judge")
        for k in range(60)
    ]
    seen: list[set[str]] = []

    def prepare(items: Sequence[Item]) -> Sequence[Item]:
        seen.append({item.prompt_id for item in items})
        return weigh_people(items, weight=5.0)

    trials = compare_with_and_without(features, pairs, prepare=prepare, center_rewards_coefficient=0.0)
    assert 0.25 < trials[0].accuracy_with.mean < 0.75
    assert all(len(prompts) == 48 for prompts in seen)


def test_corrected_labels_are_corrected_again_without_the_rows_that_are_measured() -> None:
    features, pairs = draw(300, 120, judge_errs=True)
    chosen = HumanWeight(weight=5.0, log_loss={}, num_rows=120, num_prompts=120, num_leanings=1)
    (human, judge) = compare_sources(features, pairs, chosen=chosen, center_rewards_coefficient=0.0)
    assert human.gain.mean > 0.03
    assert judge.gain.mean < 0


def test_figures_come_back_from_a_card_as_they_were() -> None:
    trials = tuple(
        SourceTrial(
            source=source, num_pairs=50, accuracy_with=Estimate(mean=0.9, low=0.8, high=0.95, n=40),
            accuracy_without=Estimate(mean=0.7, low=0.6, high=0.8, n=40),
            gain=Estimate(mean=0.2, low=0.1, high=0.3, n=40),
        )
        for source in ("human", "judge")
    )  # fmt: skip
    metrics = {name: value for trial in trials for name, value in trial.metrics.items()}
    assert read_trials(metrics) == trials
    assert read_trials({"accuracy": 0.7}) == ()
