"""Training methods of the policy: one table, a row for each.

A method is a module with three functions and a row here. Its functions take values and know neither run nor ledger:
policy/stage.py gathers the task, and saves the policy that comes back. What a method learns from is in
config/methods.py, which is read before torch is imported.

    sft             demonstrations -> policy, by TRL's SFTTrainer
    ift             demonstrations -> policy, which reads its own guesses among their words
    rft             demonstrations -> reward model and policy in turn
    irft            demonstrations -> policy, which learns to tell them from its responses; SPIN too
    reft            demonstrations, then PPO on their prompts against a verifier -> policy
    seft            prompts, a reviser and the judge -> policy, which learns its own responses improved
    dpo             pairs -> policy, by TRL's DPOTrainer
    kto             thumbs -> policy, by TRL's KTOTrainer
    ppo             prompts and rewards -> policy, by policy/ppo; rloo and grpo too
    by_preferences  what DPO and KTO share
    trl             TRL's border
    ift_loss        the arithmetic of IFT
    reward_loss     the arithmetic of RFT and IRFT
    rft_reward      the reward model that RFT leaves, and its card
    learner         the copy that is trained, and the plain policy it ends as
    descent         the steps of IFT, IRFT and SEFT, and of RFT's reward model
    outer           what RFT, IRFT, ReFT and SEFT share: checkpoints of their phases, and how steps are counted
    reviser         responses -> their revisions, by a trained reviser or by a prompted model
    revision_examples  preferences -> what a reviser learns
    revision_record    every revision with its tag, its scores, and whether it was kept
    stage           what SEFT is given by the run: prompts without responses, and the judge
    held_out        the loss on demonstrations that nothing was trained on
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rlaif.config.methods import BY_REWARDS, MethodName
from rlaif.config.run import RunConfig
from rlaif.policy.methods.dpo import check_dpo, count_dpo_steps, train_dpo_task
from rlaif.policy.methods.ift import check_ift, count_ift_steps, train_ift_task
from rlaif.policy.methods.irft import check_irft, count_irft_steps, train_irft_task
from rlaif.policy.methods.kto import check_kto, count_kto_steps, train_kto_task
from rlaif.policy.methods.ppo import check_ppo, count_ppo_steps, train_ppo_task
from rlaif.policy.methods.reft import check_reft, count_reft_steps, train_reft_task
from rlaif.policy.methods.rft import check_rft, count_rft_steps, train_rft_task
from rlaif.policy.methods.seft import check_seft, count_seft_steps, train_seft_task
from rlaif.policy.methods.sft import check_sft, count_sft_steps, train_sft_task
from rlaif.policy.methods.trl import FIRST_STEP
from rlaif.policy.task import Task, TrainedPolicy


class Method(NamedTuple):
    """How a policy is trained."""

    name: MethodName
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
            first_step=FIRST_STEP,
            check=check_sft,
            count_steps=count_sft_steps,
            train=train_sft_task,
        ),
        Method(
            name="ift",
            first_step=FIRST_STEP,
            check=check_ift,
            count_steps=count_ift_steps,
            train=train_ift_task,
        ),
        Method(
            name="rft",
            first_step=FIRST_STEP,
            check=check_rft,
            count_steps=count_rft_steps,
            train=train_rft_task,
        ),
        Method(
            name="irft",
            first_step=FIRST_STEP,
            check=check_irft,
            count_steps=count_irft_steps,
            train=train_irft_task,
        ),
        Method(
            name="reft",
            first_step=FIRST_STEP,
            check=check_reft,
            count_steps=count_reft_steps,
            train=train_reft_task,
        ),
        Method(
            name="seft",
            first_step=FIRST_STEP,
            check=check_seft,
            count_steps=count_seft_steps,
            train=train_seft_task,
        ),
        Method(
            name="dpo",
            first_step=FIRST_STEP,
            check=check_dpo,
            count_steps=count_dpo_steps,
            train=train_dpo_task,
        ),
        Method(
            name="kto",
            first_step=FIRST_STEP,
            check=check_kto,
            count_steps=count_kto_steps,
            train=train_kto_task,
        ),
        *(
            Method(
                name=name,
                first_step=0,
                check=check_ppo,
                count_steps=count_ppo_steps,
                train=train_ppo_task,
            )
            for name in BY_REWARDS
        ),
    )
}
