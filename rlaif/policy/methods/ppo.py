"""PPO as a training method: a task -> the call of policy/ppo, which holds the algorithm."""

from __future__ import annotations

from rlaif.config.run import RunConfig
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.task import Task, TrainedPolicy


def check_ppo(config: RunConfig, num_processes: int) -> None:
    """PPO takes every valid configuration, in any number of processes."""


def count_ppo_steps(task: Task) -> int:
    return task.config.ppo.num_steps


def train_ppo_task(task: Task) -> TrainedPolicy:
    """Train from the newest checkpoint in the task's folder, or from the start."""
    return train_policy(
        policy=task.initial.model,
        reference=task.start.model,
        encoder=task.start.encoder,
        prompts=task.prompts,
        reward=task.rewards,
        config=task.config.ppo,
        out_dir=task.folder,
        seed=task.seed,
        resume=True,
        listener=task.listener,
        checks=task.checks,
        value_start=task.value_start,
        team=task.team,
    )
