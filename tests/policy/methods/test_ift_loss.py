"""The arithmetic of intuitive fine-tuning, in float64, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from rlaif.policy.methods.ift_loss import (
    Propagation,
    compute_ift_loss_sum,
    mix_embeddings,
    weigh_by_later_losses,
    weigh_by_position,
)

LOSSES = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
ALL = torch.ones(1, 3, dtype=torch.bool)
RAGGED = torch.tensor([[True, True, True, True, True], [True, True, False, False, False], [True] + [False] * 4])


@pytest.fixture(autouse=True)
def _in_float64() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_papers_weights_of_three_tokens_by_hand() -> None:
    """gamma = 1: 1, 2, 3 of 6, times 3. gamma = 1/2: 1, 3/2, 7/4 of 17/4, times 3."""
    torch.testing.assert_close(weigh_by_position(ALL, gamma=1.0), torch.tensor([[0.5, 1.0, 1.5]]))
    torch.testing.assert_close(weigh_by_position(ALL, gamma=0.5), torch.tensor([[12.0, 18.0, 21.0]]) / 17)


def test_the_papers_weights_count_each_loss_once_for_every_position_up_to_it() -> None:
    """eq. 21 as a double sum, decayed by the distance from the token back to n, divided by what scales it."""
    for gamma in (1.0, 0.95, 0.3):
        double_sum = sum(gamma ** (i - n) * float(LOSSES[0, i]) for n in range(3) for i in range(n, 3))
        scale = sum(gamma ** (i - n) for n in range(3) for i in range(n, 3)) / 3
        found = compute_ift_loss_sum(LOSSES, ALL, gamma=gamma, propagation="paper")
        assert float(found) == pytest.approx(double_sum / scale, abs=1e-12)


def test_the_repositorys_weights_of_three_tokens_by_hand() -> None:
    """Losses 1, 2, 4 and gamma = 1/2: c = 1 + (2 + 4/2)/2, 2 + 4/2, 4 = 3, 4, 4; w = c * 3/11; w . loss = 27 * 3/11."""
    weights = weigh_by_later_losses(LOSSES, ALL, gamma=0.5)
    torch.testing.assert_close(weights, torch.tensor([[9.0, 12.0, 12.0]]) / 11)
    found = compute_ift_loss_sum(LOSSES, ALL, gamma=0.5, propagation="repository")
    assert float(found) == pytest.approx(81 / 11, abs=1e-12)


def test_the_repositorys_gradient_flows_through_the_weights() -> None:
    """d/dl of T (c . l) / sum(c) by a difference quotient, which detached weights would miss."""
    losses = LOSSES.clone().requires_grad_()
    compute_ift_loss_sum(losses, ALL, gamma=0.5, propagation="repository").backward()
    for place in range(3):
        moved = torch.zeros_like(LOSSES)
        moved[0, place] = 1e-6
        up, down = (
            float(compute_ift_loss_sum(LOSSES + sign * moved, ALL, gamma=0.5, propagation="repository"))
            for sign in (1, -1)
        )
        assert float(losses.grad[0, place]) == pytest.approx((up - down) / 2e-6, abs=1e-7)
    detached = weigh_by_later_losses(LOSSES, ALL, gamma=0.5)
    assert float((losses.grad - detached).abs().max()) > 0.1


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
def test_the_weights_of_a_response_add_up_to_its_length(gamma: float) -> None:
    losses = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    for weights in (
        weigh_by_position(RAGGED, gamma=gamma),
        weigh_by_later_losses(losses, RAGGED, gamma=gamma),
    ):
        torch.testing.assert_close(weights.sum(dim=1), torch.tensor([5.0, 2.0, 1.0]), atol=1e-12, rtol=0)
        assert not weights[~RAGGED].any()


def test_the_papers_weights_grow_with_the_position_and_the_repositorys_fall_with_it() -> None:
    equal = torch.ones(1, 3)
    assert (weigh_by_position(ALL, gamma=0.95).diff() > 0).all()
    assert (weigh_by_later_losses(equal, ALL, gamma=0.95).diff() < 0).all()


@pytest.mark.parametrize("propagation", ["paper", "repository"])
def test_without_propagation_the_loss_is_the_sum_of_the_losses_to_the_bit(propagation: Propagation) -> None:
    losses = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    found = compute_ift_loss_sum(losses, RAGGED, gamma=0.0, propagation=propagation)
    assert torch.equal(found, (losses * RAGGED).sum())


def test_embeddings_are_mixed_at_the_masks_places_and_nowhere_else() -> None:
    gold, guessed = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    mask = torch.tensor([[False, True, True]])
    mixed = mix_embeddings(gold, guessed, mask, lam=0.25)
    assert mixed.tolist() == [[[0.0, 0.0], [0.25, 0.25], [0.25, 0.25]]]
    assert torch.equal(mix_embeddings(gold, guessed, mask, lam=0.0), gold)
