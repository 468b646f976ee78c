"""Labels that lean to longer responses, and rewards that do not."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import StageError
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, PreferenceRow, Prompt, Tally
from rlaif.reward_model.data import Choice, Item, Pair, Pairs
from rlaif.reward_model.length_bias import LengthLeaning, Lengths, find_lengths
from rlaif.reward_model.pair_fit import fit_direction
from rlaif.reward_model.save import RESULTS
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.stats.logits import sigmoid
from rlaif.training.listener import Listener, StepMetrics

ALL = RewardModelConfig(length_bias="all_rows")
FILLER = " and so on"


def pairs_of(sequences: list[tuple[int, ...]], items: list[Item]) -> Pairs:
    return Pairs(sequences, items, Tally(num_in=len(items), dropped={}))


def test_two_responses_differ_by_one_unit_of_length_in_the_root_mean_square() -> None:
    sequences: list[tuple[int, ...]] = [(1,) * 3, (1,) * 6, (1,) * 10, (1,) * 6]
    lengths = find_lengths(pairs_of(sequences, [Pair("a", 0, 1, 1.0, 1.0), Pair("b", 2, 3, 1.0, 1.0)]), ALL)
    assert lengths is not None
    assert lengths.unit == pytest.approx(math.sqrt((9 + 16) / 2))
    assert find_lengths(pairs_of(sequences, [Pair("a", 1, 3, 1.0, 1.0)]), ALL) is None, "no two differ in length"
    assert find_lengths(pairs_of(sequences, [Pair("a", 0, 1, 1.0, 1.0)]), RewardModelConfig()) is None


def test_a_choice_of_two_pushes_the_leaning_as_the_pair_does() -> None:
    lengths = Lengths(torch.tensor([0.5, 2.0], dtype=torch.float64), unit=1.0, of="all_rows")
    leaning = LengthLeaning(lengths)
    leaning.value = 0.3
    rewards, weight = torch.tensor([[0.2, -0.4]]), torch.tensor([2.0])
    of_pair = leaning.of_pairs(
        [Pair("a", 0, 1, 0.7, 2.0)], rewards[:, 0] - rewards[:, 1], labels=torch.tensor([0.7]), weights=weight
    ).push
    of_choice = leaning.of_choices(
        [Choice("a", (0, 1), (0.7, 0.3), 2.0)],
        rewards,
        shares=torch.tensor([[0.7, 0.3]]),
        mask=torch.ones(1, 2, dtype=torch.bool),
        weights=weight,
    ).push
    p = sigmoid(0.6 - 0.3 * 1.5)
    for push in (of_pair, of_choice):
        assert (push.slope, push.curvature) == pytest.approx((2 * (p - 0.7) * -1.5, 2 * p * (1 - p) * 1.5**2))
        assert push.covariance / push.variance == pytest.approx(0.6 * -1.5 / 1.5**2)


class Toy:
    """Responses of six numbers; the first is the length, of which people value `worth` and the judge one more."""

    def __init__(self, num: int, *, worth: float) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(2 * num, 6, dtype=torch.float64, generator=generator)
        self.truth = torch.tensor([worth, -0.5, 0.8, 0.0, 0.3, -1.0], dtype=torch.float64)
        liked = self.truth + torch.tensor([1.0, 0, 0, 0, 0, 0])
        self.pairs: list[Item] = []
        for n in range(num):
            is_human = n % 4 == 0
            margin = float((self.features[2 * n] - self.features[2 * n + 1]) @ (self.truth if is_human else liked))
            source: Any = "human" if is_human else "judge"
            self.pairs.append(Pair(str(n), 2 * n, 2 * n + 1, sigmoid(margin), weight=1.0, source=source))

    def fit(self, of: Any) -> tuple[Tensor, float | None]:
        lengths = None if of == "kept" else Lengths(self.features[:, 0], unit=1.0, of=of)
        fitted = fit_direction(self.features, self.pairs, center_rewards_coefficient=0.0, lengths=lengths)
        return fitted.direction, fitted.leaning


def test_what_is_liked_of_length_is_in_the_leaning_and_in_no_reward() -> None:
    toy = Toy(400, worth=0.0)
    kept, none = toy.fit("kept")
    freed, leaning = toy.fit("all_rows")
    assert none is None
    assert float(kept[0]) > 0.6
    assert abs(float(freed[0])) < 0.1
    assert leaning is not None
    assert 0.5 < leaning < 1, "three in four rows like it by one"
    assert float(torch.corrcoef(torch.stack([freed, toy.truth]))[0, 1]) > 0.995


def test_peoples_rows_say_what_length_is_worth_where_only_the_judges_lean() -> None:
    toy = Toy(400, worth=0.5)
    direction, leaning = toy.fit("judge_rows")
    assert float(direction[0]) == pytest.approx(0.5, abs=0.05)
    assert leaning == pytest.approx(1.0, abs=0.1)
    assert abs(float(toy.fit("all_rows")[0][0])) < 0.1, "else what it is worth goes with the leaning"


def row(place: str, *, sides: tuple[str, str], margin: float) -> PreferenceRow:
    prompt = Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),))
    return PreferenceRow(prompt=prompt, chosen=sides[0], rejected=sides[1], label=sigmoid(margin))


def reply(polite: bool, num: int) -> str:
    return ("There, pleased" if polite else "There, nowhere") + FILLER * num  # as many tokens


def planted(places: tuple[str, ...]) -> list[PreferenceRow]:
    """Politeness is worth 2; each filler, worth nothing, adds 1 to the labels' log-odds."""
    draw = random.Random(0)
    rows = []
    for place in places:
        sides = draw.sample([(polite, num) for polite in (True, False) for num in range(5)], 8)
        rows += [
            row(place, sides=(reply(*one), reply(*other)), margin=2.0 * (one[0] - other[0]) + one[1] - other[1])
            for one, other in zip(sides[::2], sides[1::2], strict=True)
        ]
    return rows


PLACES = tuple(f"{kind} {number}" for kind in ("museum", "tower") for number in range(8))


def train(base: LoadedModel, out_dir: Path, **options: Any) -> TrainedRewardModel:
    given: dict[str, Any] = {"num_epochs": 5, "batch_size": 8, "learning_rate": 3e-3}
    if options.get("train") == "readout":
        given = {}
    listener, resume = options.pop("listener", Listener()), options.pop("resume", False)
    return train_reward_model(
        base=base, train_rows=planted(PLACES), test_rows=[], out_dir=out_dir, seed=1, listener=listener, resume=resume,
        config=RewardModelConfig(**{**given, **options}),
    )  # fmt: skip


def measure(trained: TrainedRewardModel) -> tuple[float, float]:
    """Reward per filler at equal politeness, and for politeness at equal length, on prompts that are new."""
    prompts = [Prompt(messages=(Message(role="user", content=f"Where is the {p}?"),)) for p in ("school", "garden")]
    asked = [(prompt, reply(polite, num)) for prompt in prompts for polite in (True, False) for num in (0, 1, 2, 3)]
    rewards = torch.tensor(RewardModelScorer(trained.loaded).score(asked), dtype=torch.float64).view(2, 2, 4)
    return float((rewards[:, :, 3] - rewards[:, :, 0]).mean() / 3), float((rewards[:, 0] - rewards[:, 1]).mean())


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["all", "readout"])
def test_a_reward_model_rises_with_length_at_equal_worth_unless_the_leaning_is_left_out(
    way: Any, base: LoadedModel, tmp_path: Path
) -> None:
    notes: list[str] = []
    kept, _ = measure(train(base, tmp_path / "kept", train=way))
    trained = train(base, tmp_path / "free", train=way, length_bias="all_rows", listener=Listener(on_note=notes.append))
    freed, politeness = measure(trained)
    assert kept > 0.5
    assert abs(freed) < 0.1 * kept
    assert politeness > 1.0
    [said] = notes
    assert said.startswith("the labels lean to longer responses by +")
    assert said in (trained.path / "README.md").read_text()
    assert '"length_leaning"' in (trained.path / RESULTS).read_text()


def test_a_training_that_stopped_continues_with_the_leaning_that_it_had(base: LoadedModel, tmp_path: Path) -> None:
    options: dict[str, Any] = {"length_bias": "all_rows", "num_epochs": 1, "checkpoint_every": 3}
    unbroken = train(base, tmp_path / "unbroken", **options)

    def stop(done: StepMetrics) -> None:
        if done.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "stopped", listener=Listener(on_metrics=stop), **options)
    resumed = train(base, tmp_path / "stopped", resume=True, **options)
    for name in ("model.safetensors", RESULTS):
        assert (resumed.path / name).read_bytes() == (unbroken.path / name).read_bytes()


def test_without_people_nobody_can_say_what_length_is_worth(base: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="length_bias is judge_rows and no row that is trained on is a person's"):
        train(base, tmp_path / "model", length_bias="judge_rows")
