"""The arithmetic of reward learning from demonstrations, on distributions that are known exactly, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rlaif.policy.methods.reward_loss import (
    RewardLoss,
    bound_rewards,
    compute_implicit_losses,
    compute_reward_losses,
)

NUM_OUTCOMES = 12
BETA = 0.5


def draw(seed: int, *, spread: float = 0.7) -> Tensor:
    """(NUM_OUTCOMES,) log-probabilities."""
    logits = spread * torch.randn(NUM_OUTCOMES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.log_softmax(dim=0)


DATA, REFERENCE = draw(0), draw(1)


def expect(losses: Callable[[Tensor, Tensor], Tensor], values: Tensor, *, other: Tensor) -> Tensor:
    """The mean loss over demonstrations of DATA and responses drawn from `other`, by their values; a scalar."""
    demos, samples = values[:, None].expand(-1, len(values)), values[None, :].expand(len(values), -1)
    weights = DATA.exp()[:, None] * other.exp()[None, :]
    return (weights * losses(demos.flatten(), samples.flatten()).view_as(weights)).sum()


def kl(one: Tensor, other: Tensor) -> float:
    return float((one.exp() * (one - other)).sum())


def optimal_policy(rewards: Tensor) -> Tensor:
    """(NUM_OUTCOMES,) log of pi_ref exp(r / beta) / Z."""
    return (REFERENCE + rewards / BETA).log_softmax(dim=0)


def alternate(kind: RewardLoss, *, num_steps: int = 2000, rate: float = 1.0) -> Tensor:
    """Rewards after small reward steps, each against the policy that is best for the rewards before it."""
    rewards = torch.zeros(NUM_OUTCOMES, dtype=torch.float64, requires_grad=True)
    for _ in range(num_steps):
        policy = optimal_policy(rewards.detach())
        loss = expect(lambda d, s: compute_reward_losses(d, s, kind=kind), rewards, other=policy)
        [gradient] = torch.autograd.grad(loss, rewards)
        with torch.no_grad():
            rewards -= rate * gradient
    return rewards.detach()


def test_the_likelihood_losss_gradient_is_that_of_the_demonstrations_likelihood() -> None:
    """d/dr E_D[log pi_r] = (1/beta) (E_D[dr] - E_pi[dr]), with pi_r the best policy for r."""
    rewards = draw(2).clone().requires_grad_()
    likelihood = (DATA.exp() * optimal_policy(rewards)).sum()
    [expected] = torch.autograd.grad(likelihood, rewards)
    loss = expect(
        lambda d, s: compute_reward_losses(d, s, kind="likelihood"), rewards, other=optimal_policy(rewards.detach())
    )
    [found] = torch.autograd.grad(loss, rewards)
    torch.testing.assert_close(-found / BETA, expected, atol=1e-12, rtol=0)


def test_rft_rests_at_the_demonstrations_with_the_log_ratio_as_reward() -> None:
    rewards = alternate("likelihood")
    assert kl(DATA, optimal_policy(rewards)) < 1e-5
    constant = rewards - BETA * (DATA - REFERENCE)
    assert float(constant.max() - constant.min()) < 1e-4


def test_the_pairwise_loss_of_the_papers_code_rests_between_the_start_and_the_demonstrations() -> None:
    """At rest r = log(p / pi) + c and pi = pi_ref exp(r / beta), so (1 + beta) log pi = beta log pi_ref + log p + c."""
    policy = optimal_policy(alternate("pairwise"))
    between = ((BETA * REFERENCE + DATA) / (1 + BETA)).log_softmax(dim=0)
    torch.testing.assert_close(policy, between, atol=1e-4, rtol=0)
    assert kl(DATA, policy) > 0.01


def test_with_a_bounded_reward_one_demonstration_does_not_take_all_mass() -> None:
    """Three equal actions, one demonstration, rewards at most 1 apart, beta 1: (e, 1, 1) / (e + 2). SFT: (1, 0, 0)."""
    raw = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    imitation = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([raw, imitation], lr=0.1)
    for _ in range(1000):
        rewards = bound_rewards(raw, reward_range=1.0)
        policy = rewards.detach().softmax(dim=0)
        loss = (policy * compute_reward_losses(rewards[:1].expand(3), rewards, kind="likelihood")).sum()
        optimizer.zero_grad()
        (loss - imitation.log_softmax(dim=0)[0]).backward()
        optimizer.step()
    e = torch.e
    expected = torch.tensor([e, 1.0, 1.0], dtype=torch.float64) / (e + 2)
    torch.testing.assert_close(
        bound_rewards(raw, reward_range=1.0).softmax(dim=0).detach(), expected, atol=1e-3, rtol=0
    )
    assert float(imitation.softmax(dim=0)[0].detach()) > 0.999


def test_bounded_rewards_are_the_raw_ones_where_these_are_small() -> None:
    raw = torch.tensor([-1e9, -0.01, 0.0, 0.01, 1e9], dtype=torch.float64)
    assert bound_rewards(raw, reward_range=4.0).tolist() == pytest.approx([-2.0, -0.01, 0.0, 0.01, 2.0], abs=1e-6)


def converge(start: Tensor, *, beta: float) -> Tensor:
    """The policy at the end of an inner loop that runs until nothing changes."""
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], lr=1.0, max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        ratios = logits.log_softmax(dim=0) - start
        loss = expect(lambda d, s: compute_implicit_losses(d, s, beta=beta), ratios, other=start)
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().log_softmax(dim=0)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_a_whole_inner_loop_ends_at_its_closed_form(beta: float) -> None:
    """pi ~ pi_t (p / pi_t)^(1 / beta)."""
    expected = (REFERENCE + (DATA - REFERENCE) / beta).log_softmax(dim=0)
    torch.testing.assert_close(converge(REFERENCE, beta=beta), expected, atol=1e-4, rtol=0)


def test_outer_steps_with_beta_one_or_more_arrive_at_the_demonstrations_and_stay() -> None:
    policy = REFERENCE
    for _ in range(8):
        policy = converge(policy, beta=2.0)
    assert kl(DATA, policy) < 1e-4
    logits = DATA.clone().requires_grad_()
    ratios = logits.log_softmax(dim=0) - DATA
    loss = expect(lambda d, s: compute_implicit_losses(d, s, beta=0.1), ratios, other=DATA)
    [gradient] = torch.autograd.grad(loss, logits)
    assert float(gradient.abs().max()) < 1e-12


def test_a_whole_inner_loop_with_a_small_beta_goes_far_beyond_the_demonstrations() -> None:
    beyond = (REFERENCE + (DATA - REFERENCE) / 0.1).log_softmax(dim=0)
    assert kl(DATA, beyond) > 3 * kl(DATA, REFERENCE)


def test_the_implicit_loss_is_log_two_where_the_policy_has_not_moved() -> None:
    zeros = torch.zeros(3, dtype=torch.float64)
    assert compute_implicit_losses(zeros, zeros, beta=0.1).tolist() == pytest.approx([0.6931471805599453] * 3)
    found = compute_implicit_losses(torch.tensor([2.0]), torch.tensor([-1.0]), beta=0.5)
    assert float(found) == pytest.approx(0.2014132779827524)  # log(1 + exp(-1.5))
