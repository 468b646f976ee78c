"""Whole rankings of several responses, by Plackett-Luce."""

from __future__ import annotations

import math

import pytest
import torch

from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, Prompt, RankingRow
from rlaif.reward_model.data import Choice, Item, choices_of_ranking, encode_pairs
from rlaif.reward_model.loss import compute_choice_losses
from rlaif.reward_model.pair_fit import fit_direction

PROMPT = Prompt(messages=(Message(role="user", content="Where is the museum?"),))


def ranking(*responses: str) -> RankingRow:
    return RankingRow(prompt=PROMPT, responses=responses, weight=2.0, source="human")


def test_the_losses_of_a_rankings_choices_add_up_to_plackett_luce() -> None:
    rewards = [0.3, 1.1, -0.7, 0.2]
    order = (2, 0, 3, 1)
    by_hand = sum(math.log(sum(math.exp(rewards[place]) for place in order[k:])) - rewards[order[k]] for k in range(4))
    total = 0.0
    for choice in choices_of_ranking(ranking("a", "b", "c", "d"), order):
        own = torch.tensor([[rewards[place] for place in choice.places]], dtype=torch.float64)
        shares = torch.tensor([choice.shares], dtype=torch.float64)
        total += float(compute_choice_losses(own, shares, torch.ones_like(own, dtype=torch.bool)))
    assert total == pytest.approx(by_hand)


def test_a_ranking_of_three_is_encoded_as_the_best_of_three_and_the_better_of_two(base: LoadedModel) -> None:
    encoded = encode_pairs([ranking("There.", "Here.", "No.")], encoder=base.encoder, max_length=512)
    assert encoded.pairs == [
        Choice(PROMPT.id, (0, 1, 2), (1.0, 0.0, 0.0), 2.0, "human"),
        Choice(PROMPT.id, (1, 2), (1.0, 0.0), 2.0, "human"),
    ]
    assert str(encoded.tally) == "in 1, kept 1, dropped 0"


def test_rankings_recover_planted_utilities() -> None:
    """1,000 rankings of four responses of six numbers, drawn by Plackett-Luce from a worth that is linear in them."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 6, dtype=torch.float64, generator=generator)
    worth = features @ torch.tensor([1.0, -0.5, 0.8, 0.0, 0.3, -1.0], dtype=torch.float64)
    uniform = torch.rand(4000, dtype=torch.float64, generator=generator)
    drawn = worth - torch.log(-torch.log(uniform))  # the order of sums with Gumbel's noise is a draw of Plackett-Luce
    items: list[Item] = []
    for first in range(0, 4000, 4):
        places = tuple(sorted(range(first, first + 4), key=lambda place: -float(drawn[place])))
        row = RankingRow(
            prompt=Prompt(messages=(Message(role="user", content=str(first)),)), responses=("a", "b", "c", "d")
        )
        items += choices_of_ranking(row, places)
    fitted = fit_direction(features, items, center_rewards_coefficient=0.0)
    found = features @ fitted.direction
    assert float(torch.corrcoef(torch.stack([found, worth]))[0, 1]) > 0.995
    slope = float((found @ worth) / (worth @ worth))
    assert 0.9 < slope < 1.1, "and in the units of log-odds"


def test_every_two_responses_of_a_ranking_are_a_pair_for_the_report() -> None:
    pairs = ranking("a", "b", "c").as_pairs()
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {(pair.label, pair.weight, pair.source) for pair in pairs} == {(1.0, 2.0, "human")}
