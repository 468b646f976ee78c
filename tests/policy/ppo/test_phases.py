"""What a step's time goes into, as a listener hears it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.metrics import PHASES, PhaseClock
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Prompt
from rlaif.training.listener import Listener, StepMetrics

PAUSE = 0.02


def slow_reward(episodes: Sequence[Episode]) -> list[float]:
    time.sleep(PAUSE)
    return [float(episode.response.count("a")) for episode in episodes]


def test_the_phases_of_a_step_add_up_to_its_time(
    make_llama: Callable[..., LlamaForCausalLM], letter_encoder: Any, letter_prompts: list[Prompt], tmp_path: Path
) -> None:
    rows: list[StepMetrics] = []
    marks: list[float] = []

    def hear(done: StepMetrics) -> None:
        marks.append(time.monotonic())
        rows.append(done)

    train_policy(
        policy=make_llama(), encoder=letter_encoder, prompts=letter_prompts[4:], reward=slow_reward, out_dir=tmp_path,
        config=PpoConfig(
            num_steps=5, num_prompts_per_step=4, num_samples_per_prompt=2, response_length=6, checkpoint_every=2,
            num_reference_samples=8, guards={"evaluate_every": 3},
        ),
        seed=1, resume=False, checks=Checks(letter_prompts[:4]), listener=Listener(on_metrics=hear),
    )  # fmt: skip
    assert all(tuple(done.seconds) == PHASES for done in rows)
    for (begin, end), done in zip(itertools.pairwise(marks), rows[1:], strict=True):
        assert sum(done.seconds.values()) == pytest.approx(end - begin, rel=0.2), done
    assert all(done.seconds[phase] > 0 for done in rows for phase in ("rollout", "preparation", "update"))
    assert all(done.seconds["rewards"] >= PAUSE for done in rows)
    assert [done.step for done in rows if done.seconds["checkpoint"]] == [0, 2, 4], "written after 0, 2 and 4 steps"
    assert [done.step for done in rows if done.seconds["evaluation"]] == [0, 3], "made after 0 and 3 steps"


def test_seconds_that_were_taken_are_not_counted_again() -> None:
    clock = PhaseClock()
    with clock.phase("update"):
        time.sleep(PAUSE)
    assert clock.take()["update"] >= PAUSE
    assert set(clock.take().values()) == {0.0}
