from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlaif.reward_model.loss import compute_centering_losses, compute_loss_sum, compute_pair_losses


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equal_rewards_lose_ln_2_whatever_the_label() -> None:
    losses = compute_pair_losses(doubles(1.5, 1.5), doubles(1.5, 1.5), doubles(1.0, 0.3))
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)


def test_a_hard_label_and_a_margin_of_two_match_the_hand_computation() -> None:
    # -log sigmoid(2) = log(1 + e^-2)
    assert compute_pair_losses(doubles(3.0), doubles(1.0), doubles(1.0)).item() == pytest.approx(0.12692801)


def test_a_soft_label_matches_the_hand_computation() -> None:
    # -0.75 log sigmoid(1) - 0.25 log sigmoid(-1) = 0.75 * 0.31326169 + 0.25 * 1.31326169
    assert compute_pair_losses(doubles(1.0), doubles(0.0), doubles(0.75)).item() == pytest.approx(0.56326169)


def test_the_loss_is_least_where_the_margin_is_the_logit_of_the_label() -> None:
    for label in (0.5, 0.75, 0.99):
        margin = torch.tensor([math.log(label / (1 - label))], dtype=torch.float64, requires_grad=True)
        compute_pair_losses(margin, doubles(0.0), doubles(label)).sum().backward()
        assert margin.grad is not None
        assert margin.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_a_hard_label_pushes_chosen_up_and_rejected_down() -> None:
    chosen, rejected = doubles(0.0).requires_grad_(), doubles(0.0).requires_grad_()
    compute_pair_losses(chosen, rejected, doubles(1.0)).sum().backward()
    assert (chosen.grad.item(), rejected.grad.item()) == (-0.5, 0.5)  # type: ignore[union-attr]


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 1))
def test_swapping_the_pair_and_its_label_changes_nothing(a: float, b: float, label: float) -> None:
    there = compute_pair_losses(doubles(a), doubles(b), doubles(label)).item()
    back = compute_pair_losses(doubles(b), doubles(a), doubles(1 - label)).item()
    assert there == pytest.approx(back, abs=1e-9)


def test_huge_margins_stay_finite() -> None:
    losses = compute_pair_losses(doubles(1e6, -1e6), doubles(0.0, 0.0), doubles(1.0, 1.0))
    assert losses.tolist() == [0.0, 1e6]


def test_centering_is_the_squared_sum_of_the_rewards() -> None:
    assert compute_centering_losses(doubles(2.0, 1.0), doubles(1.0, -1.0)).tolist() == [9.0, 0.0]


def test_the_sum_weighs_each_pair_and_a_batch_is_the_sum_of_its_parts() -> None:
    chosen, rejected = doubles(1.0, 0.0, -1.0), doubles(0.0, 0.0, 2.0)
    labels, weights = doubles(1.0, 0.5, 0.2), doubles(1.0, 2.0, 0.5)

    def loss(rows: slice) -> float:
        return compute_loss_sum(
            chosen[rows],
            rejected[rows],
            labels=labels[rows],
            weights=weights[rows],
            center_rewards_coefficient=0.1,
        ).item()

    pairs = compute_pair_losses(chosen, rejected, labels)
    # Squared sums of the rewards: 1, 0, 1.
    by_hand = 1.0 * (pairs[0] + 0.1) + 2.0 * pairs[1] + 0.5 * (pairs[2] + 0.1)
    assert loss(slice(0, 3)) == pytest.approx(by_hand.item())
    assert loss(slice(0, 1)) + loss(slice(1, 3)) == pytest.approx(loss(slice(0, 3)))
