"""Rewards that anyone can solve are solved, by the trainer that users run, on several seeds.

The third toy, whose best policy is known exactly, stands in test_exact_optimum.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode
from rlaif.training.listener import Listener

LONGEST, WANTED = 6, 3
GUARDS_OFF = {"kl_ceiling": None, "max_eos_drop": None, "max_repetition_rise": None}
"""Saying one letter to the end is what is wanted here."""


def share_of_a(episode: Episode) -> float:
    """1 for nothing but a to the last token."""
    return episode.response.count("a") / LONGEST


def nearness_in_length(episode: Episode) -> float:
    """0 for a response of exactly the wanted length, which only stopping in time can give."""
    return -abs(len(episode.response) - WANTED) / WANTED


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("reward", "best"), [(share_of_a, 1.0), (nearness_in_length, 0.0)], ids=["count", "length"])
def test_a_reward_that_anyone_can_solve_is_solved(
    make_llama: Callable[..., LlamaForCausalLM],
    letter_encoder: Any,
    letter_prompts: Any,
    tmp_path: Path,
    reward: Callable[[Episode], float],
    best: float,
    seed: int,
) -> None:
    scores: list[float] = []

    def score(episodes: Sequence[Episode]) -> list[float]:
        return [reward(episode) for episode in episodes]

    train_policy(
        policy=make_llama(seed=seed, sharpness=5.0),
        encoder=letter_encoder,
        prompts=letter_prompts,
        reward=score,
        config=PpoConfig(
            num_steps=36, num_prompts_per_step=8, num_samples_per_prompt=4, response_length=LONGEST,
            learning_rate=1e-2, kl_coef=0.0, guards=GUARDS_OFF, value_warmup_steps=0, missing_eos_penalty=0.0,
            checkpoint_every=1000, sample_every=1000,
        ),
        out_dir=tmp_path,
        seed=seed,
        resume=False,
        listener=Listener(on_metrics=lambda done: scores.append(done.numbers["objective/scores"])),
    )  # fmt: skip
    start, end = statistics.fmean(scores[:2]), statistics.fmean(scores[-3:])
    assert start < best - 0.4
    assert end > best - 0.1
