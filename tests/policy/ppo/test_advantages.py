"""GAE and whitening against hand values and slow independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.policy.ppo.advantages import (
    compute_gae,
    compute_grpo,
    compute_rloo,
    explained_variance,
    scale_about_mean,
    standardise,
)


def test_gae_of_a_two_step_response_matches_the_hand_computation() -> None:
    # delta_1 = 2 - .4 = 1.6; delta_0 = 1 + .5 * .4 - .2 = 1.0; A_0 = 1.0 + .5 * .5 * 1.6 = 1.4
    gae = compute_gae(
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[0.2, 0.4]]),
        torch.ones(1, 2, dtype=torch.bool),
        gamma=0.5,
        lam=0.5,
    )
    torch.testing.assert_close(gae.advantages, torch.tensor([[1.4, 1.6]]))
    torch.testing.assert_close(gae.returns, torch.tensor([[1.6, 2.0]]))


def test_the_value_after_the_last_token_is_zero_whatever_stands_there() -> None:
    mask = torch.tensor([[True, True, False, False]])
    rewards = torch.tensor([[0.0, 3.0, 9.0, 9.0]])
    values = torch.tensor([[1.0, 2.0, 100.0, 100.0]])
    gae = compute_gae(rewards, values, mask, gamma=1.0, lam=0.0)
    # one-step TD: 0 + 2 - 1 and 3 + 0 - 2
    assert gae.advantages.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert gae.returns.tolist() == [[2.0, 3.0, 0.0, 0.0]]


def slow_gae(rewards: list[float], values: list[float], *, gamma: float, lam: float) -> tuple[list[float], list[float]]:
    """Equation 16 as it is written: a sum over all later temporal-difference errors."""
    values = [*values, 0.0]
    deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(len(rewards))]
    advantages = [
        sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, len(deltas))) for t in range(len(deltas))
    ]
    return advantages, [a + v for a, v in zip(advantages, values, strict=False)]


@settings(max_examples=examples(40), deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    gamma=st.sampled_from([1.0, 0.99, 0.5]),
    lam=st.sampled_from([1.0, 0.95, 0.0]),
    seed=st.integers(0, 10_000),
)
def test_gae_is_the_sum_of_equation_16_on_ragged_batches(
    lengths: list[int], gamma: float, lam: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    width = max(lengths)
    rewards, values = (torch.from_numpy(rng.normal(size=(len(lengths), width))) for _ in range(2))
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    gae = compute_gae(rewards, values, mask, gamma=gamma, lam=lam)
    for row, length in enumerate(lengths):
        advantages, returns = slow_gae(
            rewards[row, :length].tolist(), values[row, :length].tolist(), gamma=gamma, lam=lam
        )
        assert gae.advantages[row].tolist() == pytest.approx(advantages + [0.0] * (width - length), abs=1e-9)
        assert gae.returns[row].tolist() == pytest.approx(returns + [0.0] * (width - length), abs=1e-9)


def test_with_gamma_and_lambda_one_the_return_is_the_sum_of_rewards_to_come() -> None:
    rewards = torch.tensor([[1.0, -2.0, 4.0]])
    gae = compute_gae(rewards, torch.randn(1, 3), torch.ones(1, 3, dtype=torch.bool), gamma=1.0, lam=1.0)
    torch.testing.assert_close(gae.returns, torch.tensor([[3.0, 2.0, 4.0]]))


def test_standardising_is_numpys_population_z_score_of_the_valid_tokens() -> None:
    x = torch.tensor([[1.0, 5.0, 77.0], [3.0, 77.0, 77.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    valid = np.array([1.0, 5.0, 3.0])
    expected = (valid - valid.mean()) / valid.std()
    result = standardise(x, mask)
    assert result[mask].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert result[~mask].tolist() == [0.0, 0.0, 0.0]


def test_scaling_about_the_mean_keeps_the_mean() -> None:
    x = torch.tensor([[1.0, 5.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    # sd of 1, 5, 3 is sqrt(8/3) = 1.63299; 3 +- 2 / 1.63299
    assert scale_about_mean(x, mask)[0].tolist() == pytest.approx([1.775255, 4.224745, 3.0], abs=1e-5)


def test_equal_values_are_standardised_to_zero_and_stay_finite() -> None:
    x = torch.full((2, 3), 4.0)
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert standardise(x, mask).tolist() == [[0.0] * 3] * 2
    assert scale_about_mean(x, mask).tolist() == [[4.0] * 3] * 2


def test_a_single_token_is_standardised_to_zero_and_not_to_nan() -> None:
    x, mask = torch.tensor([[4.0, 77.0]]), torch.tensor([[True, False]])
    assert standardise(x, mask).tolist() == [[0.0, 0.0]]
    assert scale_about_mean(x, mask).tolist() == [[4.0, 0.0]]


def test_explained_variance_is_one_for_perfect_values_and_zero_for_constant_ones() -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(torch.zeros(1, 3), returns, mask) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(returns, torch.ones(1, 3), mask) == 0.0


def test_a_value_after_the_last_token_is_bootstrapped_from() -> None:
    """Three ways to end a response of two tokens, with V = 1, 2 and rewards 0, 3; gamma = 1."""
    mask = torch.tensor([[True, True, False]])
    rewards, values = torch.tensor([[0.0, 3.0, 9.0]]), torch.tensor([[1.0, 2.0, 100.0]])
    for after, lam, advantages in (
        (0.0, 0.0, [1.0, 1.0]),
        (5.0, 0.0, [1.0, 6.0]),  # the last delta is 3 + 5 - 2
        (5.0, 1.0, [7.0, 6.0]),  # 0 + 3 + 5 - 1
    ):
        gae = compute_gae(rewards, values, mask, gamma=1.0, lam=lam, values_after=torch.tensor([after]))
        assert gae.advantages.tolist() == [[*advantages, 0.0]]


def test_returns_may_have_a_lambda_of_their_own() -> None:
    rewards, values = torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    gae = compute_gae(rewards, values, mask, gamma=1.0, lam=0.0, value_lam=1.0)
    assert gae.advantages.tolist() == [[1.0, 1.0, 1.0]]
    assert gae.returns.tolist() == [[4.0, 4.0, 4.0]]


def test_leave_one_out_compares_with_the_other_responses_to_the_prompt() -> None:
    rewards = torch.tensor([[1.0, 2.0], [0.0, 7.0], [6.0, 0.0], [4.0, 0.0]])
    mask = torch.tensor([[True, True], [True, False], [True, False], [True, True]])
    found = compute_rloo(rewards, mask, prompts=["p", "p", "p", "alone"])
    # returns 3, 0, 6, 4; the others' means are 3, 4.5, 1.5
    assert found.advantages.tolist() == [[0.0, 0.0], [-4.5, 0.0], [4.5, 0.0], [0.0, 0.0]]
    assert found.returns.tolist() == [[3.0, 3.0], [0.0, 0.0], [6.0, 0.0], [4.0, 4.0]]


def test_grpo_divides_by_the_deviation_of_the_returns_to_the_prompt() -> None:
    rewards = torch.tensor([[1.0, 2.0], [0.0, 7.0], [6.0, 0.0], [4.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    mask = torch.tensor([[True, True], [True, False], [True, False], [True, True], [True, True], [True, True]])
    found = compute_grpo(rewards, mask, prompts=["p", "p", "p", "alone", "even", "even"])
    # returns 3, 0, 6: mean 3 and, over n - 1, standard deviation 3; equal returns are no advantage
    expected = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(found.advantages, expected, atol=1e-4, rtol=0)
    assert found.returns.tolist() == [[3.0, 3.0], [0.0, 0.0], [6.0, 0.0], [4.0, 4.0], [2.0, 2.0], [2.0, 2.0]]


def test_grpo_does_not_change_with_the_scale_of_the_returns_and_leave_one_out_does() -> None:
    rewards, mask = torch.tensor([[1.0], [4.0], [-2.0], [0.5]]), torch.ones(4, 1, dtype=torch.bool)
    once, tenfold = (compute_grpo(factor * rewards, mask, prompts=["p"] * 4).advantages for factor in (1, 10))
    torch.testing.assert_close(once, tenfold, atol=1e-3, rtol=0)
    leave_one_out = compute_rloo(rewards, mask, prompts=["p"] * 4).advantages
    torch.testing.assert_close(leave_one_out, 4 / 3 * (rewards - rewards.mean()))
    torch.testing.assert_close(once * rewards.std(), rewards - rewards.mean(), atol=1e-3, rtol=0)
