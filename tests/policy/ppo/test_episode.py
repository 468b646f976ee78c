"""Whole episodes by hand: where the score and the KL stand, and what a response that ran out of tokens counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import TokenNumbers, Trajectory
from rlaif.policy.rewards.episodes import Episode
from rlaif.training.listener import Listener

MakeWorld = Callable[..., Any]
STOP = 3
LN2 = math.log(2)


def prepare_by_hand(make_world: MakeWorld, *, finished: bool = True, **options: Any) -> TrainingBatch:
    """Three tokens to which the policy gave 1/2, 1/4 and 1/2; the reference gives each of its four tokens 1/4.

    The values of the states before them are .1, .2 and .3, the score is 2, and the KL's coefficient .1.
    """
    world = make_world(seed=0, stop_id=STOP)
    world.start.table.data.zero_()
    numbers = TokenNumbers([-LN2, -2 * LN2, -LN2], [0.1, 0.2, 0.3], [1.0, 1.0, 1.0])
    trajectory = Trajectory(
        prompt=world.prompt,
        tokens=TokenSequence([0], [1, 2, STOP if finished else 1]),
        finished=finished,
        response="bc",
        numbers=numbers,
    )
    learner = PolicyWithValue(world.start)
    learner.value_head.bias.data.fill_(5.0)  # what it would say of the state behind the last token
    return prepare_batch(
        learner,
        world.start,
        [trajectory],
        scores=[2.0],
        kl_coef=0.1,
        config=PpoConfig(whiten_advantages=False, **options),
        pad_id=world.pad_token_id,
    )


def test_an_episode_of_three_tokens_matches_the_hand_computation(make_world: MakeWorld) -> None:
    batch = prepare_by_hand(make_world, lam=0.5)
    # log-ratios ln 2, 0, ln 2, so rewards -.1 ln 2, 0 and 2 - .1 ln 2: the stop token has the score
    assert batch.kl[0].tolist() == pytest.approx([LN2, 0.0, LN2], abs=1e-6)
    last = 2 - 0.1 * LN2 - 0.3
    middle = (0.3 - 0.2) + 0.5 * last
    first = (-0.1 * LN2 + 0.2 - 0.1) + 0.5 * middle
    assert batch.advantages[0].tolist() == pytest.approx([first, middle, last], abs=1e-6)
    assert batch.returns[0].tolist() == pytest.approx([first + 0.1, middle + 0.2, last + 0.3], abs=1e-6)


def test_with_lambda_one_the_first_return_is_the_score_less_the_whole_penalty(make_world: MakeWorld) -> None:
    batch = prepare_by_hand(make_world, lam=1.0)
    assert batch.returns[0].tolist() == pytest.approx([2 - 0.2 * LN2, 2 - 0.1 * LN2, 2 - 0.1 * LN2], abs=1e-6)


@pytest.mark.parametrize("truncated", ["penalise", "replace", "bootstrap", "mask"])
def test_an_episode_that_ended_is_the_same_whatever_becomes_of_truncated_ones(
    make_world: MakeWorld, truncated: Any
) -> None:
    plain, other = prepare_by_hand(make_world), prepare_by_hand(make_world, truncated=truncated)
    assert torch.equal(plain.advantages, other.advantages)
    assert torch.equal(plain.returns, other.returns)


class Recording:
    """A world whose every response scores 2, and what it was asked about; half of its responses run out of tokens."""

    def __init__(self, make_world: MakeWorld, *, stop_ids: tuple[int, ...] = (STOP,)) -> None:
        self.world = make_world(seed=0, stop_id=STOP)
        self.world.stop_token_ids = stop_ids
        self.texts: list[str] = []
        self.metrics: list[dict[str, float]] = []

    def __call__(self, episodes: Sequence[Episode]) -> list[float]:
        self.texts += [episode.response for episode in episodes]
        return [2.0] * len(episodes)

    def step(self, out_dir: Path, **options: Any) -> dict[str, float]:
        train_policy(
            policy=self.world.start,
            encoder=self.world,
            prompts=[self.world.prompt],
            reward=self,
            config=PpoConfig(
                num_steps=1, num_prompts_per_step=1, num_samples_per_prompt=64, response_length=self.world.depth,
                learning_rate=0.0, **options,
            ),
            out_dir=out_dir,
            seed=1,
            resume=False,
            listener=Listener(on_metrics=lambda done: self.metrics.append(done.numbers)),
        )  # fmt: skip
        return self.metrics[-1]

    @property
    def share_ended(self) -> float:
        """The stop token is no part of the text, so one that has all its letters never stopped."""
        return sum(len(text) < self.world.depth for text in self.texts) / len(self.texts)


@pytest.mark.parametrize(
    ("truncated", "counts"), [("penalise", 2.0 - 0.75), ("replace", -0.75), ("bootstrap", 2.0), ("mask", 2.0)]
)
def test_a_missing_end_is_subtracted_or_set_as_the_option_says(
    make_world: MakeWorld, tmp_path: Path, truncated: str, counts: float
) -> None:
    run = Recording(make_world)
    metrics = run.step(tmp_path, truncated=truncated, missing_eos_penalty=0.75)
    assert 0.2 < run.share_ended < 0.8
    assert metrics["val/eos_rate"] == run.share_ended
    # at rate zero there is no KL, so the mean of what was maximised is the mean of the shaped scores
    expected = 2.0 * run.share_ended + counts * (1 - run.share_ended)
    assert metrics["objective/rlhf_reward"] == pytest.approx(expected, abs=1e-5)
    assert metrics["objective/scores"] == 2.0


def test_any_of_the_configured_stop_tokens_ends_a_response(make_world: MakeWorld, tmp_path: Path) -> None:
    one, two = Recording(make_world), Recording(make_world, stop_ids=(2, STOP))
    assert two.step(tmp_path / "two")["val/eos_rate"] == two.share_ended
    assert one.step(tmp_path / "one")["val/eos_rate"] == one.share_ended < two.share_ended
    letters = {letter for text in two.texts for letter in text}
    assert letters == {"a", "b"}, "neither stop token is text, and nothing follows one"
