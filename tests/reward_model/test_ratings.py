"""Ratings and thumbs of single responses, beside pairs and choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, PreferenceRow, Prompt, RatedRow, TrainingRow
from rlaif.reward_model.data import Item, Pair, Rated, digest_pairs, encode_pairs
from rlaif.reward_model.held_out import measure_held_out
from rlaif.reward_model.loss import compute_pair_losses, compute_rated_loss_sum
from rlaif.reward_model.pair_fit import fit_direction
from rlaif.reward_model.ratings import Scale, find_scales
from rlaif.reward_model.save import RESULTS
from rlaif.reward_model.train import train_reward_model

PROMPT = Prompt(messages=(Message(role="user", content="Where is the museum?"),))


def rating(value: float, *, annotator: str = "ann", response: str = "There.") -> RatedRow:
    return RatedRow(prompt=PROMPT, response=response, kind="rating", value=value, annotator=annotator)


def test_each_annotators_offset_and_scale_are_taken_out_and_one_who_never_differs_has_none() -> None:
    rows = [rating(1), rating(3), rating(70, annotator="bo"), rating(90, annotator="bo"), rating(5, annotator="cy")]
    scales = find_scales(rows)
    assert scales == {"ann": Scale(2.0, 1.0), "bo": Scale(80.0, 10.0)}
    assert (scales["ann"].standardise(3), scales["bo"].standardise(75)) == (1.0, -0.5)


def test_a_thumb_is_a_pair_with_a_response_of_reward_zero_and_a_rating_has_half_the_square() -> None:
    rewards, targets = torch.tensor([0.7, -1.2, 2.0]), torch.tensor([1.0, 0.25, 0.5])
    is_thumb, weights = torch.tensor([True, True, False]), torch.tensor([1.0, 2.0, 3.0])
    found = compute_rated_loss_sum(rewards, targets=targets, is_thumb=is_thumb, weights=weights)
    of_pairs = compute_pair_losses(rewards[:2], torch.zeros(2), targets[:2])
    assert float(found) == pytest.approx(float(of_pairs[0] + 2 * of_pairs[1]) + 3 * 1.5**2 / 2)


class Toy:
    """Responses of six numbers, whose worth is linear in them."""

    def __init__(self, num: int) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(num, 6, dtype=torch.float64, generator=self.generator)
        self.worth = self.features @ torch.tensor([1.0, -0.5, 0.8, 0.0, 0.3, -1.0], dtype=torch.float64)

    def correlation(self, items: Sequence[Item]) -> float:
        fitted = fit_direction(self.features, items, center_rewards_coefficient=0.0)
        return float(torch.corrcoef(torch.stack([self.features @ fitted.direction, self.worth]))[0, 1])

    def normal(self, num: int) -> Tensor:
        return torch.randn(num, dtype=torch.float64, generator=self.generator)

    def rated(self) -> list[Rated]:
        """Ratings by five annotators, each with a scale and an offset, and with noise."""
        noisy = (self.worth + self.normal(len(self.worth))).tolist()
        rows = [
            rating((1 + place % 5) * value + 10 * (place % 5), annotator=str(place % 5))
            for place, value in enumerate(noisy)
        ]
        scales = find_scales(rows)
        return [
            Rated(str(place), place, "rating", scales[row.annotator].standardise(row.value), 1.0)
            for place, row in enumerate(rows)
        ]

    def thumbs(self) -> list[Rated]:
        draws = torch.rand(len(self.worth), dtype=torch.float64, generator=self.generator)
        ups = (draws < torch.sigmoid(self.worth)).double().tolist()
        return [Rated(str(place), place, "thumb", up, 1.0) for place, up in enumerate(ups)]


@pytest.mark.parametrize("kind", ["rated", "thumbs"])
def test_planted_utilities_are_recovered_from_ratings_and_from_thumbs_alone(kind: str) -> None:
    toy = Toy(4000)
    assert toy.correlation(getattr(toy, kind)()) > 0.995


def test_ratings_read_without_their_scales_recover_less() -> None:
    toy = Toy(1000)
    rated = toy.rated()
    raw = [item._replace(target=(1 + place % 5) * item.target + 10 * (place % 5)) for place, item in enumerate(rated)]
    assert toy.correlation(raw) < toy.correlation(rated)


def test_pairs_and_thumbs_together_fit_what_both_say() -> None:
    toy = Toy(600)
    pairs = [
        Pair(f"pair {n}", 2 * n, 2 * n + 1, float(torch.sigmoid(toy.worth[2 * n] - toy.worth[2 * n + 1])), 1.0)
        for n in range(300)
    ]
    assert toy.correlation([*pairs, *toy.thumbs()]) > 0.99


def made(place: str, *, polite: bool, kind: Any, value: float, annotator: str = "") -> RatedRow:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    text = "Well, this way please" if polite else "Well, find it yourself"
    return RatedRow(prompt=prompt, response=text, kind=kind, value=value, annotator=annotator)


def rows_of(places: Sequence[str]) -> list[TrainingRow]:
    """A thumb or a rating of a polite and a rude reply to each; two people rate, on scales of their own."""
    rows: list[TrainingRow] = []
    for number, place in enumerate(places):
        name, scale = ("ann", 1.0) if number % 4 else ("bo", 20.0)
        for polite in (True, False):
            if number % 2:
                rows.append(made(place, polite=polite, kind="thumb", value=float(polite)))
            else:
                rows.append(made(place, polite=polite, kind="rating", value=scale * (2 + polite), annotator=name))
    return rows


PLACES = ("museum", "library", "garden", "tower", "market", "harbour", "station", "theatre", "castle", "school")


@pytest.mark.parametrize("way", ["all", "readout"])
def test_a_reward_model_learns_from_ratings_and_thumbs_beside_pairs(
    way: Any, base: LoadedModel, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    options: dict[str, Any] = {} if way == "readout" else {"num_epochs": 6, "learning_rate": 5e-3, "batch_size": 6}
    trained = train_reward_model(
        base=base, train_rows=[*rows_of(PLACES[:7]), *train_rows[:3]], test_rows=rows_of(PLACES[7:]),
        config=RewardModelConfig(train=way, **options), out_dir=tmp_path / "model", seed=1,
    )  # fmt: skip
    assert trained.held_out.rated is not None
    assert trained.held_out.rated.correlation is not None
    assert trained.held_out.rated.correlation > 0.8
    assert trained.card.metrics["rated_correlation"] == trained.held_out.rated.correlation
    assert str(trained.train_tally) == "in 17, kept 17, dropped 0"
    assert "held-out ratings and thumbs" in (trained.path / "README.md").read_text()
    assert '"rated"' in (trained.path / RESULTS).read_text()


def test_ratings_without_a_scale_are_dropped_and_counted_and_targets_are_in_the_digest(base: LoadedModel) -> None:
    rows = [rating(1), rating(3, response="Here."), rating(4, annotator="cy")]
    encoded = encode_pairs(rows, encoder=base.encoder, max_length=512)
    assert [item.target for item in encoded.pairs if isinstance(item, Rated)] == [-1.0, 1.0]
    assert encoded.tally.dropped == {"unscaled": 1}
    swapped = encode_pairs([rating(3), rating(1, response="Here.")], encoder=base.encoder, max_length=512)
    assert digest_pairs(encoded) != digest_pairs(swapped)


def test_held_out_ratings_are_a_correlation_and_no_pairs() -> None:
    items = [Rated("a", 0, "rating", -1.0, 1.0), Rated("b", 1, "rating", 1.0, 1.0)]
    found = measure_held_out(items, [0.0, 2.0])
    assert (found.accuracy, found.log_loss, found.num_pairs) == (None, None, 0)
    assert found.rated is not None
    assert (found.rated.num, found.rated.correlation) == (2, pytest.approx(1.0))
    alone = measure_held_out(items[:1], [0.0]).rated
    assert alone is not None
    assert alone.correlation is None
    assert measure_held_out([Pair("a", 0, 1, 1.0, 1.0)], [1.0, 0.0]).rated is None


def test_a_thumb_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValidationError, match="a thumb is 1 for up, 0 for down"):
        RatedRow(prompt=PROMPT, response="There.", kind="thumb", value=math.pi)
