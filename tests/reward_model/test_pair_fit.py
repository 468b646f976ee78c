from __future__ import annotations

import math

import pytest
import torch

from rlaif.reward_model.data import Choice, Pair
from rlaif.reward_model.pair_fit import PENALTIES, fit_direction


def test_two_responses_and_a_soft_label_give_the_penalised_optimum() -> None:
    features = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # deviation 1
    fitted = fit_direction(features, [Pair("a", 0, 1, 0.8, 1.0)], center_rewards_coefficient=0.0)
    [w] = fitted.direction.tolist()
    # d/dw [cross-entropy(0.8, 2 w) + w^2 / 2] = 2 (sigmoid(2 w) - 0.8) + w = 0
    assert fitted.penalty == 1.0
    assert 2 * (1 / (1 + math.exp(-2 * w)) - 0.8) + w == pytest.approx(0, abs=1e-5)


def test_features_in_another_unit_give_the_same_rewards() -> None:
    features = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = [
        Pair(str(n), 2 * n, 2 * n + 1, 0.9 if features[2 * n, 0] > features[2 * n + 1, 0] else 0.1, 1.0)
        for n in range(20)
    ]
    one = fit_direction(features, pairs, center_rewards_coefficient=0.01)
    other = fit_direction(features * 1000, pairs, center_rewards_coefficient=0.01)
    torch.testing.assert_close(features * 1000 @ other.direction, features @ one.direction, atol=1e-4, rtol=1e-4)
    assert one.direction[0] > 3 * one.direction[1:].abs().max()


def test_noise_gets_the_largest_penalty_and_a_clear_order_a_small_one() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(120, 30, dtype=torch.float64, generator=generator)
    sides = torch.rand(60, generator=generator)
    noise = [Pair(str(n), 2 * n, 2 * n + 1, float(sides[n] > 0.5), 1.0) for n in range(60)]
    clear = [Pair(str(n), 2 * n, 2 * n + 1, float(features[2 * n, 0] > features[2 * n + 1, 0]), 1.0) for n in range(60)]
    assert fit_direction(features, noise, center_rewards_coefficient=0.0).penalty >= 1
    assert fit_direction(features, clear, center_rewards_coefficient=0.0).penalty < 0.3


def test_a_choice_of_two_is_a_pair() -> None:
    features = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pairs = [Pair(str(n), 2 * n, 2 * n + 1, 0.7, 1.0 + n) for n in range(6)]
    choices = [Choice(str(n), (2 * n, 2 * n + 1), (0.7, 0.3), 1.0 + n) for n in range(6)]
    as_pairs = fit_direction(features, pairs, center_rewards_coefficient=0.01)
    as_choices = fit_direction(features, choices, center_rewards_coefficient=0.01)
    torch.testing.assert_close(as_choices.direction, as_pairs.direction, atol=1e-4, rtol=1e-4)


def test_the_penalty_is_one_of_those_that_are_tried_and_the_loss_that_of_the_rows() -> None:
    features = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    pairs = [Pair(str(n), 2 * n, 2 * n + 1, 0.6, 1.0) for n in range(20)]
    fitted = fit_direction(features, pairs, center_rewards_coefficient=0.0)
    margins = (features[0::2] - features[1::2]) @ fitted.direction
    expected = torch.nn.functional.binary_cross_entropy_with_logits(margins, torch.full_like(margins, 0.6))
    assert fitted.penalty in PENALTIES
    assert fitted.loss == pytest.approx(expected.item())
    assert fitted.held_out_loss is not None
