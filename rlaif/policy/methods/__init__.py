"""Training methods of the policy: one table, a row for each.

A method is a module with three functions and a row here. Its functions take values and know neither run nor ledger:
policy/stage.py gathers the task, and saves the policy that comes back.

    sft  demonstrations -> policy, by TRL's SFTTrainer
    ppo  prompts and rewards -> policy, by policy/ppo
    held_out  the loss on demonstrations that nothing was trained on
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from rlaif.config.run import RunConfig
from rlaif.policy.methods.ppo import check_ppo, count_ppo_steps, train_ppo_task
from rlaif.policy.methods.sft import FIRST_STEP, check_sft, count_sft_steps, train_sft_task
from rlaif.policy.task import Task, TrainedPolicy

MethodName = Literal["sft", "ppo"]


class Method(NamedTuple):
    """How a policy is trained."""

    name: MethodName
    metrics: str
    """Name of its rows in metrics.jsonl."""
    first_step: int
    """Number of a new training's first step."""
    check: Callable[[RunConfig, int], None]
    """(configuration, number of processes): raises what can be refused before anything is loaded."""
    count_steps: Callable[[Task], int]
    train: Callable[[Task], TrainedPolicy]


METHODS: dict[MethodName, Method] = {
    method.name: method
    for method in (
        Method(
            name="sft",
            metrics="sft",
            first_step=FIRST_STEP,
            check=check_sft,
            count_steps=count_sft_steps,
            train=train_sft_task,
        ),
        Method(
            name="ppo",
            metrics="policy",
            first_step=0,
            check=check_ppo,
            count_steps=count_ppo_steps,
            train=train_ppo_task,
        ),
    )
}
