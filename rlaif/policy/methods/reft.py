"""ReFT: demonstrations and a verifier -> a policy that learns the first, and then PPO's on the same prompts.

Reinforced fine-tuning, Luong et al. 2024 (arXiv:2401.08967). The warm-up is `sft`; the policy that comes out of it is
where PPO (or RLOO, GRPO) begins and what its KL is measured against. The reward gives partial credit to a wrong answer.
A checkpoint after the warm-up, and PPO's own within it. Holds no PPO, and saves no finished model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, StageError
from rlaif.evaluation.verifier import Verifier, load_verifier
from rlaif.models.weights.context import context_tokens_of
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.descent import refuse_without_demonstrations
from rlaif.policy.methods.outer import all_tensors, copy_in_float32, count_on, digest_task, resume, write
from rlaif.policy.methods.sft import encode_demonstrations, train_sft
from rlaif.policy.ppo.checkpoint import drop_checkpoints, find_resume_step
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import WeightedReward
from rlaif.policy.rewards.verified import VerifierReward
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Demonstration, Prompt, Tally, digest_text

FIRST_STEP = 1
REWARD = "verifier"
"""Name of the reward in metrics and messages."""


class Questions(NamedTuple):
    """What PPO asks the policy, and how good the demonstrations are by the verifier."""

    prompts: list[Prompt]
    """The demonstrations' prompts, each once, with their known answers."""
    found: Counter[str]
    """Demonstrations that are `right`, `wrong`, give `no_answer`, or have `no_known_answer`."""
    num_long: int
    """Prompts that leave no room for a response."""

    def describe(self) -> str:
        words = [f"{number} {name.replace('_', ' ')}" for name, number in self.found.most_common()]
        long = f"; {self.num_long} prompts leave no room for ppo.response_length" if self.num_long else ""
        return f"by the verifier the demonstrations are {', '.join(words)}; PPO asks {len(self.prompts)} prompts{long}"


def check_reft(config: RunConfig, num_processes: int) -> None:
    """Refuse options without demonstrations or without a verifier, and more than one process."""
    refuse_without_demonstrations(config, num_processes, method="reft")
    if not config.verifier.is_given:
        raise ConfigError(
            "reft learns from answers that can be verified, and there is no verifier",
            where="verifier.answer",
            fix="name a function module:function of (prompt, response) that finds the answer in a response",
        )
    load_verifier(config.verifier)


def count_reft_steps(task: Task) -> int:
    """Steps if every demonstration fits; those that do not are dropped when training begins."""
    per_epoch = math.ceil(len(task.demonstrations) / task.config.sft.batch_size)
    return task.config.reft.warmup_epochs * per_epoch + task.config.ppo.num_steps


def train_reft_task(task: Task) -> TrainedPolicy:
    """Warm up a copy of the task's initial policy and train it by PPO, from the newest checkpoint in its folder."""
    config, ppo_folder = task.config, task.folder / "ppo"
    verifier = load_verifier(config.verifier)
    questions = find_questions(task.demonstrations, verifier, base=task.initial, ppo_length=config.ppo.response_length)
    task.listener.on_note(f"reft: {questions.describe()}")
    policy = copy_in_float32(task.initial.model)
    progress = resume(task.folder, {"policy": all_tensors(policy)}, digest=_digest(task, questions))
    if progress.outer == 0 and config.reft.warmup_epochs:
        warm = _warm_up(task)
        policy, numbers = warm.model, {f"warmup/{name}": value for name, value in warm.metrics.items()}
        progress = progress.model_copy(update={"outer": 1, "step": warm.steps, "numbers": numbers})
        write(task.folder, {"policy": all_tensors(policy)}, progress)
    else:
        task.listener.on_begin(FIRST_STEP + progress.step + find_resume_step(ppo_folder))
    trained = train_policy(
        policy=policy,
        encoder=task.initial.encoder,
        prompts=questions.prompts,
        reward=[WeightedReward(REWARD, VerifierReward(verifier, config.reft))],
        config=config.ppo,
        out_dir=ppo_folder,
        seed=int(digest_text(f"reft\n{task.seed}")[:7], 16),
        resume=True,
        listener=count_on(task.listener, by=FIRST_STEP + progress.step),
    )
    if trained.stop_reason != "stop_requested":
        drop_checkpoints(ppo_folder)
        with suppress(OSError):
            ppo_folder.rmdir()
    return trained._replace(
        steps=progress.step + trained.steps,
        metrics={**trained.metrics, **progress.numbers},
        tally=_count(task, questions),
    )


def find_questions(
    demonstrations: Sequence[tuple[Prompt, Demonstration]], verifier: Verifier, *, base: LoadedModel, ppo_length: int
) -> Questions:
    """The prompts with their known answers: their own, else the answer that the verifier finds in the demonstration.

    Raises StageError where nothing can be learnt by the verifier: it finds no demonstration right, or none of the
    prompts leaves room for `ppo_length` tokens. What the user's functions raise is a `FunctionError`.
    """
    prompts: dict[str, Prompt] = {}
    found = Counter[str]()
    for given, demonstration in demonstrations:
        prompt = with_known_answer(given, demonstration, verifier)
        if prompt.reference is None and verifier.correct is None:
            found["no_known_answer"] += 1
            continue
        checked = verifier.check(prompt, demonstration.response)
        found["right" if checked.is_right else "no_answer" if checked.answer is None else "wrong"] += 1
        prompts.setdefault(prompt.id, prompt)
    if not found["right"]:
        counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in found.items())
        raise StageError(
            f"the verifier finds none of {len(demonstrations)} demonstrations right ({counts})",
            where="verifier.answer",
            fix="let it find the answer that the demonstrations give, and compare it with their `reference`",
        )
    context = context_tokens_of(base.model)
    fitting = [
        prompt
        for prompt in prompts.values()
        if context is None or len(base.encoder.encode(prompt.as_segments())) + ppo_length <= context
    ]
    if not fitting:
        raise StageError(
            f"none of {len(prompts)} prompts leaves room for a response of {ppo_length} tokens",
            where="ppo.response_length",
            fix="lower it, or shorten the prompts",
        )
    return Questions(fitting, found, len(prompts) - len(fitting))


def with_known_answer(prompt: Prompt, demonstration: Demonstration, verifier: Verifier) -> Prompt:
    """The prompt with its own known answer, else with the one that its demonstration gives."""
    if prompt.reference is not None or verifier.correct is not None:
        return prompt
    return prompt.changed(reference=verifier.find_answer(prompt, demonstration.response))


def _warm_up(task: Task) -> TrainedPolicy:
    return train_sft(
        base=task.initial,
        demonstrations=task.demonstrations,
        config=_warmup_options(task.config),
        seed=task.seed,
        listener=task.listener,
    )


def _warmup_options(config: RunConfig) -> SftConfig:
    return config.sft.model_copy(update={"num_epochs": config.reft.warmup_epochs})


def _digest(task: Task, questions: Questions) -> str:
    config = task.config
    of_task = digest_task(task, options=[config.reft, config.verifier, _warmup_options(config), config.ppo])
    return digest_text("\n".join([of_task, *(f"{one.id} {one.reference}" for one in questions.prompts)]))


def _count(task: Task, questions: Questions) -> Tally:
    """The demonstrations: those of the warm-up, or without one those that PPO has a known answer to."""
    if not task.config.reft.warmup_epochs:
        unknown = questions.found["no_known_answer"]
        return Tally(num_in=len(task.demonstrations), dropped={"no_known_answer": unknown} if unknown else {})
    base, length = task.initial, task.config.sft.max_length
    limit = min(length, context_tokens_of(base.model) or length)
    return encode_demonstrations(task.demonstrations, encoder=base.encoder, max_length=limit).tally
