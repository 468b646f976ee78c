"""Choices of the best among several responses: their loss, their figures, and a reward model that learns from them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import ChoiceRow, PreferenceRow, Prompt
from rlaif.reward_model.data import Choice, Pair, digest_pairs, encode_pairs
from rlaif.reward_model.held_out import measure_held_out
from rlaif.reward_model.loss import (
    compute_choice_loss_sum,
    compute_choice_losses,
    compute_loss_sum,
    compute_pair_losses,
)
from rlaif.reward_model.train import train_reward_model


def whole(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def test_the_k_way_loss_is_minus_the_log_of_the_softmax_of_the_best() -> None:
    rewards = torch.tensor([[1.0, 2.0, 0.0, 0.0]], dtype=torch.float64)
    shares = torch.tensor([[0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = -math.log(math.e**2 / (math.e + math.e**2 + 2))
    assert compute_choice_losses(rewards, shares, whole(1, 4)).item() == pytest.approx(expected)
    equal = compute_choice_losses(torch.zeros(1, 4, dtype=torch.float64), shares, whole(1, 4))
    assert equal.item() == pytest.approx(math.log(4))


def test_a_response_that_is_not_there_has_no_part_in_the_loss_or_its_gradient() -> None:
    rewards = torch.tensor([[1.0, 0.0, 9.0]], dtype=torch.float64, requires_grad=True)
    shares = torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False]])
    loss = compute_choice_loss_sum(
        rewards,
        shares=shares,
        mask=mask,
        weights=torch.tensor([2.0], dtype=torch.float64),
        center_rewards_coefficient=0.1,
    )
    loss.backward()
    assert rewards.grad is not None
    # 2 (sigmoid(1) - .7) of the choice, and 2 * .1 * 2 (r_1 + r_2) of the centring.
    gradient = 2 * (1 / (1 + math.exp(-1)) - 0.7)
    assert rewards.grad[0].tolist() == pytest.approx([gradient + 0.4, -gradient + 0.4, 0.0])


numbers = st.floats(-20, 20)


@given(numbers, numbers, st.floats(0, 1), st.floats(0, 3))
def test_with_two_responses_it_is_bradley_terry(first: float, second: float, label: float, center: float) -> None:
    one, other = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (first, second))
    labels, weights = torch.tensor([label], dtype=torch.float64), torch.tensor([1.5], dtype=torch.float64)
    pair = compute_loss_sum(one, other, labels=labels, weights=weights, center_rewards_coefficient=center)
    both = torch.stack([one, other], dim=1)
    shares = torch.stack([labels, 1 - labels], dim=1)
    choice = compute_choice_loss_sum(
        both, shares=shares, mask=whole(1, 2), weights=weights, center_rewards_coefficient=center
    )
    assert choice.item() == pytest.approx(pair.item(), rel=1e-12, abs=1e-12)
    for x in (one, other):
        [a], [b] = torch.autograd.grad(pair, x, retain_graph=True), torch.autograd.grad(choice, x, retain_graph=True)
        assert a.item() == pytest.approx(b.item(), rel=1e-9, abs=1e-9)
    plain = compute_choice_losses(both, shares, whole(1, 2))
    assert plain.item() == pytest.approx(compute_pair_losses(one, other, labels).item(), rel=1e-12, abs=1e-12)


def test_held_out_choices_count_the_likeliest_best_and_their_entropy() -> None:
    choices = [Choice("p", (0, 1, 2), (0.1, 0.7, 0.2), 1.0), Choice("q", (0, 2, 3), (0.6, 0.2, 0.2), 1.0)]
    tie = Choice("r", (0, 1), (0.5, 0.5), 1.0)
    found = measure_held_out([*choices, tie], [0.0, 1.0, 0.5, 2.0])
    assert found.accuracy is not None
    assert (found.accuracy.mean, found.num_pairs, found.num_ties) == (0.5, 2, 1)
    pair, as_choice = Pair("p", 0, 1, 0.3, 1.0), Choice("p", (0, 1), (0.3, 0.7), 1.0)
    one, other = (measure_held_out([item], [0.4, 1.1]) for item in (pair, as_choice))
    assert (one.log_loss, one.log_loss_floor) == pytest.approx((other.log_loss, other.log_loss_floor))


def make_rows(prompts: list[Prompt]) -> list[ChoiceRow]:
    """The reply that says please is the best of three, wherever it stands."""
    rows = []
    for number, prompt in enumerate(prompts):
        texts = ["Please go in.", "Go in.", "Go in now."]
        texts = texts[number % 3 :] + texts[: number % 3]
        shares = tuple(0.9 if "Please" in text else 0.05 for text in texts)
        rows.append(ChoiceRow(prompt=prompt, responses=tuple(texts), shares=shares))
    return rows


@pytest.fixture
def prompts() -> list[Prompt]:
    return [Prompt.from_chat([{"role": "user", "content": f"May I enter room {n}?"}]) for n in range(24)]


def test_choices_are_encoded_once_per_response_and_dropped_with_a_reason(
    base: LoadedModel, prompts: list[Prompt]
) -> None:
    rows = make_rows(prompts[:2])
    twin = rows[0].model_copy(update={"responses": ("same", "same", "other")})
    weightless = rows[1].model_copy(update={"weight": 0.0})
    encoded = encode_pairs([*rows, twin, weightless], encoder=base.encoder, max_length=512)
    assert (len(encoded.pairs), len(encoded.sequences)) == (2, 6)
    assert encoded.tally.dropped == {"identical": 1, "weightless": 1}
    other = encode_pairs(
        [rows[0], rows[1].model_copy(update={"shares": (0.2, 0.2, 0.6)})], encoder=base.encoder, max_length=512
    )
    assert digest_pairs(encoded) != digest_pairs(other)


def test_a_reward_model_learns_from_choices_beside_pairs(
    base: LoadedModel, prompts: list[Prompt], tmp_path: Path
) -> None:
    rows = make_rows(prompts)
    pairs = [PreferenceRow(prompt=prompts[0], chosen="Please do.", rejected="Do.")]
    config = RewardModelConfig(num_epochs=8, learning_rate=3e-3, batch_size=8, micro_batch_size=3)
    trained = train_reward_model(
        base=base,
        train_rows=[*rows[:18], *pairs],
        test_rows=rows[18:],
        config=config,
        out_dir=tmp_path / "model",
        seed=0,
    )
    assert trained.held_out.accuracy is not None
    assert trained.held_out.accuracy.mean == 1.0
    assert trained.held_out.log_loss is not None
    assert trained.held_out.log_loss < math.log(3)
    assert str(trained.train_tally) == "in 19, kept 19, dropped 0"
