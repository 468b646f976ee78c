"""The clipped losses: signs, sides and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from rlaif.policy.ppo.loss import compute_policy_loss, compute_value_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.1, 2.0, -2.2, False),
        (1.5, 2.0, -2.4, True),  # raised enough already
        (0.5, 2.0, -1.0, False),  # went the wrong way: the gradient stays
        (1.5, -2.0, 3.0, False),  # went the wrong way: the gradient stays
        (0.5, -2.0, 1.6, True),  # lowered enough already
        (0.9, -2.0, 1.8, False),
    ],
)
def test_policy_loss_is_clipped_only_where_the_ratio_has_gone_far_enough(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    logprobs = torch.tensor([math.log(ratio) - 1.0], requires_grad=True)
    result = compute_policy_loss(logprobs, torch.tensor([-1.0]), torch.tensor([advantage]), cliprange=0.2)
    assert float(result.loss.detach()) == pytest.approx(loss, abs=1e-6)
    assert bool(result.clipped) is clipped
    result.loss.sum().backward()
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(0.0 if clipped else -advantage * ratio, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "clipped"),
    [
        (1.0, 1.0, 2.0, 0.5, False),
        (1.1, 1.0, 2.0, 0.405, False),
        (1.5, 1.0, 2.0, 0.32, True),  # moved past 1.2 towards 2: counted as 1.2
        (1.5, 1.0, 0.0, 1.125, False),  # moved away from the target: counted in full
    ],
)
def test_values_are_clipped_around_their_old_values(
    value: float, old: float, target: float, loss: float, clipped: bool
) -> None:
    result = compute_value_loss(torch.tensor([value]), torch.tensor([old]), torch.tensor([target]), cliprange_value=0.2)
    assert float(result.loss) == pytest.approx(loss, abs=1e-6)
    assert bool(result.clipped) is clipped


def test_the_first_gradient_is_the_policy_gradient() -> None:
    logprobs = torch.tensor([-0.5, -2.0, -1.0], requires_grad=True)
    advantages = torch.tensor([1.0, -3.0, 0.5])
    compute_policy_loss(logprobs, logprobs.detach(), advantages, cliprange=0.2).loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [-1.0, 3.0, -0.5]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (2.0, -2.0, 4.0, False),  # below the bound
        (5.0, -2.0, 6.0, True),  # three times the advantage at most
        (0.5, -2.0, 1.6, True),  # the other bound still holds
        (5.0, 2.0, -2.4, True),  # no second bound for what is to become likelier
    ],
)
def test_a_dual_clip_bounds_the_loss_of_tokens_that_should_become_rarer(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    logprobs = torch.tensor([math.log(ratio)], requires_grad=True)
    result = compute_policy_loss(logprobs, torch.zeros(1), torch.tensor([advantage]), cliprange=0.2, dual_clip=3.0)
    assert float(result.loss.detach()) == pytest.approx(loss, abs=1e-5)
    assert bool(result.clipped) is clipped
    result.loss.sum().backward()
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(0.0 if clipped else -advantage * ratio, abs=1e-5)
