"""RFT: demonstrations -> a reward model that puts them above the policy's responses, and a policy that maximises it.

Reward learning from demonstrations with an explicit reward, Li et al. 2024 (arXiv:2405.17888), algorithm 1. An
alternation draws a response to each demonstration's prompt, lets the reward model take its steps on demonstration above
response, and then lets PPO (or RLOO) take some on that reward, with the KL to the starting policy. The reward model
begins at zero and is carried on: it seeks ppo.kl_coef times the log-ratio of demonstrations and starting policy.
A checkpoint after each alternation, and PPO's own within it. The reward model is left in the method's folder. Holds no
PPO, and saves no finished policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.run import RunConfig
from rlaif.errors import StageError
from rlaif.models.weights.context import context_tokens_of
from rlaif.policy.methods.descent import (
    Descent,
    computing_of,
    count_steps,
    cut_batch,
    encode_sequences,
    plan_batches,
    refuse_without_demonstrations,
)
from rlaif.policy.methods.outer import all_tensors, copy_in_float32, count_on, digest_task, resume, write
from rlaif.policy.methods.reward_loss import bound_rewards, compute_reward_losses
from rlaif.policy.methods.rft_reward import save_reward
from rlaif.policy.ppo.checkpoint import drop_checkpoints, find_resume_step
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import encode_prompts, sample_trajectories
from rlaif.policy.rewards.episodes import Episode, WeightedReward
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Prompt, Tally, digest_text
from rlaif.reward_model.data import encode_example
from rlaif.reward_model.model import compute_rewards, make_reward_model
from rlaif.training.listener import StepMetrics

FIRST_STEP = 1


def check_rft(config: RunConfig, num_processes: int) -> None:
    """Refuse options without demonstrations, and more than one process."""
    refuse_without_demonstrations(config, num_processes, method="rft")


def count_rft_steps(task: Task) -> int:
    """A row of metrics for the reward model's part of each alternation, and one for each of PPO's steps."""
    return task.config.rft.num_alternations * (1 + task.config.rft.policy_steps)


def train_rft_task(task: Task) -> TrainedPolicy:
    """Train a copy of the task's initial policy, from the newest checkpoint in the task's folder."""
    config = task.config.rft
    policy = copy_in_float32(task.initial.model)
    training = RftTraining(task)
    tensors = {"policy": all_tensors(policy), "reward_model": all_tensors(training.reward_model)}
    progress = resume(task.folder, tensors, digest=digest_task(task, options=[config, task.config.ppo]))
    training.begin(progress.outer)
    metrics, weights = dict(progress.numbers), None
    while progress.outer < config.num_alternations:
        outer = progress.outer
        numbers = training.take_reward_steps(policy, outer=outer)
        trained = training.take_policy_steps(policy, outer=outer)
        metrics, weights = {**trained.metrics, **numbers}, trained.weights
        if trained.stop_reason != "done":
            steps = training.first_step(outer) + trained.steps
            reward_model = training.save(metrics) if trained.stop_reason == "alarm" else None
            return trained._replace(metrics=metrics, steps=steps, tally=training.tally, reward_model=reward_model)
        policy = trained.model
        tensors = {"policy": all_tensors(policy), "reward_model": all_tensors(training.reward_model)}
        progress = progress.model_copy(update={"outer": outer + 1, "numbers": metrics})
        write(task.folder, tensors, progress)
        drop_checkpoints(training.folder(outer))
        with suppress(OSError):
            training.folder(outer).rmdir()
    return TrainedPolicy(
        model=policy,
        steps=count_rft_steps(task),
        metrics=metrics,
        tally=training.tally,
        weights=weights,
        reward_model=training.save(metrics),
    )


class RftTraining:
    """The reward model, and what an alternation needs beside the policy."""

    def __init__(self, task: Task) -> None:
        config, ppo, encoder = task.config.rft, task.config.ppo, task.initial.encoder
        sequences, prompts, tally = encode_sequences(
            task.demonstrations, base=task.initial, max_length=config.max_length, options="rft"
        )
        fitting = [len(one.response_ids) <= ppo.response_length for one in sequences]
        self._task, self.tally = task, _with_too_long(tally, number=fitting.count(False))
        self._demos = [
            (prompt, encoder.decode(one.response_ids[:-1]))
            for prompt, one, fits in zip(prompts, sequences, fitting, strict=True)
            if fits
        ]
        if not self._demos:
            raise StageError(
                f"no demonstration is short enough for the policy to write: {self.tally}",
                where="ppo.response_length",
                fix="raise it to the length of the demonstrations, in tokens",
            )
        context = context_tokens_of(task.initial.model)
        self._encoded = encode_prompts(
            [prompt for prompt, _ in self._demos],
            encoder,
            response_length=ppo.response_length,
            context_tokens=None if context is None else context - 1,  # a cut response gets an end token
        )
        self.reward_model = make_reward_model(task.initial, seed=task.seed, is_flat=True)

    def folder(self, outer: int) -> Path:
        """Where PPO keeps its checkpoints while an alternation runs."""
        return self._task.folder / f"alternation_{outer:03d}"

    def first_step(self, outer: int) -> int:
        """The number of an alternation's first row of metrics."""
        return FIRST_STEP + outer * (1 + self._task.config.rft.policy_steps)

    def begin(self, outer: int) -> None:
        """Tell the listener where training begins: within an alternation where PPO has checkpoints of it."""
        taken = find_resume_step(self.folder(outer))
        self._task.listener.on_begin(self.first_step(outer) + (1 + taken if taken else 0))

    def take_reward_steps(self, policy: PreTrainedModel, *, outer: int) -> dict[str, float]:
        """Draw a response to each prompt, and move the demonstrations' rewards above the responses'."""
        task, config = self._task, self._task.config.rft
        demos = [self._encode(prompt, response) for prompt, response in self._demos]
        samples = self._draw(policy, key=(task.seed, outer))
        descent = Descent(self.reward_model, config, num_steps=count_steps(len(demos), config), options="rft")
        rows: list[dict[str, float]] = []
        for epoch in range(config.num_epochs):
            for batch in plan_batches(len(demos), batch_size=config.batch_size, key=(task.seed, "rft", outer, epoch)):
                rows.append(self._step(descent, demos, samples, batch=batch, number=self.first_step(outer)))
        numbers = {f"reward/{name}": sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        if not find_resume_step(self.folder(outer)):  # else an earlier attempt reported it
            task.listener.on_metrics(StepMetrics(self.first_step(outer), numbers))
        return numbers

    def save(self, metrics: Mapping[str, float]) -> Path:
        """Leave the reward model in the method's folder, with what it gives the starting policy's responses."""
        task = self._task
        samples = self._draw(task.start.model, key=(task.seed, task.config.rft.num_alternations))
        with torch.no_grad():
            rewards = compute_rewards(self.reward_model, samples).tolist()
        return save_reward(
            self.reward_model,
            base=task.initial,
            folder=task.folder,
            config=task.config.rft,
            metrics={name: value for name, value in metrics.items() if name.startswith("reward/")},
            start_rewards=rewards,
        )

    def _draw(self, policy: PreTrainedModel, *, key: tuple[int, ...]) -> list[tuple[int, ...]]:
        """A response to each demonstration's prompt, with its prompt as token ids."""
        ppo = self._task.config.ppo
        drawn = sample_trajectories(
            policy,
            self._task.initial.encoder,
            self._encoded,
            num_samples=1,
            response_length=ppo.response_length,
            temperature=ppo.temperature,
            key=key,
        )
        return [self._encode(one.prompt, one.response) for one in drawn]

    def _step(
        self,
        descent: Descent,
        demos: Sequence[Sequence[int]],
        samples: Sequence[Sequence[int]],
        *,
        batch: Sequence[int],
        number: int,
    ) -> dict[str, float]:
        config = self._task.config.rft
        margins: list[Tensor] = []

        def parts() -> Iterator[Tensor]:
            for places in cut_batch(batch, config):
                with computing_of(config).applied(self.reward_model):
                    rewards = self._rewards([*(demos[at] for at in places), *(samples[at] for at in places)])
                of_demos, of_samples = rewards[: len(places)], rewards[len(places) :]
                margins.append((of_demos - of_samples).detach())
                yield compute_reward_losses(of_demos, of_samples, kind=config.reward_loss).sum() / len(batch)

        taken = descent.step(parts(), number=number)
        margin = torch.cat(margins)
        return {
            "loss": taken["loss"],
            "grad_norm": taken["grad_norm"],
            "margin": float(margin.mean()),
            "accuracy": float((margin > 0).float().mean()),
        }

    def take_policy_steps(self, policy: PreTrainedModel, *, outer: int) -> TrainedPolicy:
        """PPO's steps on the reward as it now is, resumed where it has checkpoints of this alternation."""
        task, config = self._task, self._task.config.rft
        ppo = task.config.ppo.model_copy(update={"num_steps": config.policy_steps})
        return train_policy(
            policy=policy,
            reference=task.start.model,
            encoder=task.initial.encoder,
            prompts=[prompt for prompt, _ in self._demos],
            reward=[WeightedReward("demonstrations", self._score)],
            config=ppo,
            out_dir=self.folder(outer),
            seed=int(digest_text(f"rft\n{task.seed}\n{outer}")[:7], 16),
            resume=True,
            listener=count_on(task.listener, by=self.first_step(outer) + 1),
        )

    @torch.no_grad()
    def _score(self, episodes: Sequence[Episode]) -> list[float]:
        rewards = self._rewards([self._encode(episode.prompt, episode.response) for episode in episodes])
        return [float(reward) for reward in rewards]

    def _rewards(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        raw = compute_rewards(self.reward_model, sequences)
        return bound_rewards(raw, reward_range=self._task.config.rft.reward_range)

    def _encode(self, prompt: Prompt, response: str) -> tuple[int, ...]:
        return encode_example(prompt, response, encoder=self._task.initial.encoder)


def _with_too_long(tally: Tally, *, number: int) -> Tally:
    """The tally, with demonstrations that are longer than ppo.response_length dropped too."""
    dropped = Counter(tally.dropped)
    dropped["over_response_length"] += number
    return Tally(num_in=tally.num_in, dropped={name: count for name, count in dropped.items() if count})
