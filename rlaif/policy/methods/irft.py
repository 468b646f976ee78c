"""IRFT: demonstrations -> a policy that learnt to tell them from its own responses. SPIN is its special case.

Reward learning from demonstrations with an implicit reward, Li et al. 2024 (arXiv:2405.17888), algorithm 2. An outer
step draws a response to each prompt of a section of the demonstrations with the newest policy. Its inner loop minimises
-log sigmoid(beta [rho(y) - rho(y~)]), rho relative to the policy at the outer step's start, and ends when left-out
demonstrations become less likely. With one section to a pass it is SPIN. A checkpoint after each outer step; an
interrupted outer step is done again. Saves no finished model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.rft import IrftConfig
from rlaif.config.run import RunConfig
from rlaif.models.weights.context import NO_LIMIT, context_tokens_of
from rlaif.policy.methods.descent import (
    Descent,
    computing_of,
    cut_batch,
    encode_sequences,
    plan_batches,
    refuse_without_demonstrations,
)
from rlaif.policy.methods.learner import finish, make_learner
from rlaif.policy.methods.outer import Progress, digest_task, resume, trained_tensors, write
from rlaif.policy.methods.reward_loss import compute_implicit_losses
from rlaif.policy.ppo.batching import TokenSequence, pad_batch, permutation
from rlaif.policy.ppo.passes import PLAIN, Computing, compute_logprobs
from rlaif.policy.ppo.trajectories import EncodedPrompt, Encoder, sample_trajectories
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Prompt
from rlaif.training.listener import Listener, StepMetrics

FIRST_STEP = 1


class Demo(NamedTuple):
    """A demonstration and its prompt."""

    tokens: TokenSequence
    prompt: Prompt


class Pairs(NamedTuple):
    """What an inner loop learns from."""

    demos: list[TokenSequence]
    samples: list[TokenSequence]
    """A response of the policy at the loop's start to each demonstration's prompt."""
    demo_logprobs: Tensor
    """(num_pairs,) by the policy at the loop's start, and so are the samples'."""
    sample_logprobs: Tensor


class Looped(NamedTuple):
    """An inner loop that has ended."""

    steps: int
    nll: float | None
    """Of the left-out demonstrations per token, under the weights that were kept."""
    stopped: bool
    """Whether it ended early."""


def check_irft(config: RunConfig, num_processes: int) -> None:
    """Refuse options without demonstrations, and more than one process."""
    refuse_without_demonstrations(config, num_processes, method="irft")


def count_irft_steps(task: Task) -> int:
    """Steps if every demonstration fits and no inner loop ends early."""
    config = task.config.irft
    num_learnt = len(task.demonstrations) - count_left_out(len(task.demonstrations), config)
    sections = cut_sections(range(num_learnt), config.num_sections)
    per_pass = sum(math.ceil(len(section) / config.batch_size) * config.inner_epochs for section in sections)
    return config.num_epochs * per_pass


def count_left_out(num_demonstrations: int, config: IrftConfig) -> int:
    return int(num_demonstrations * config.validation_fraction)


def cut_sections(places: Sequence[int], num_sections: int) -> list[Sequence[int]]:
    """Sections of like size; fewer of them where there are fewer places."""
    number = min(num_sections, len(places))
    bounds = [len(places) * at // number for at in range(number + 1)]
    return [places[start:end] for start, end in pairwise(bounds)]


def train_irft_task(task: Task) -> TrainedPolicy:
    """Train a copy of the task's initial policy, in float32, from the newest checkpoint in the task's folder."""
    config, base = task.config.irft, task.initial
    sequences, prompts, tally = encode_sequences(
        task.demonstrations, base=base, max_length=config.max_length, options="irft"
    )
    demos = list(map(Demo, sequences, prompts))
    order = permutation(len(demos), key=(task.seed, "irft left out"))
    num_left_out = count_left_out(len(demos), config)
    left_out, learnt = (
        [demos[place] for place in order[:num_left_out]],
        [demos[place] for place in order[num_left_out:]],
    )
    learner = make_learner(base.model, config, seed=task.seed, options="irft")
    length = min(
        task.config.sampling.max_new_tokens,
        (context_tokens_of(base.model) or NO_LIMIT) - max(len(demo.tokens.prompt_ids) for demo in demos),
    )
    training = IrftTraining(learner, base.encoder, config, left_out=left_out, response_length=length, seed=task.seed)
    progress = resume(task.folder, {"policy": trained_tensors(learner)}, digest=digest_task(task, options=[config]))
    task.listener.on_begin(FIRST_STEP + progress.step)
    outer = 0
    for epoch in range(config.num_epochs):
        places = permutation(len(learnt), key=(task.seed, "irft", epoch))
        for section in cut_sections(places, config.num_sections):
            if outer >= progress.outer:
                progress = training.take_outer_step(
                    [learnt[place] for place in section], progress, listener=task.listener
                )
                write(task.folder, {"policy": trained_tensors(learner)}, progress)
            outer += 1
    metrics = {**progress.numbers, "num_steps": float(progress.step)}
    trained = finish(learner, metrics=metrics, steps=progress.step, tally=tally)
    stopped = int(progress.numbers["num_stopped"])
    note = f"{stopped} of {outer} inner loops ended early, as left-out demonstrations became less likely"
    return trained._replace(note=note if stopped else "")


class IrftTraining:
    """The learner, and what its outer steps need."""

    def __init__(
        self,
        learner: PreTrainedModel,
        encoder: Encoder,
        config: IrftConfig,
        *,
        left_out: Sequence[Demo],
        response_length: int,
        seed: int,
    ) -> None:
        self._learner, self._encoder, self._config = learner, encoder, config
        self._left_out = [demo.tokens for demo in left_out]
        self._response_length, self._seed = response_length, seed
        self._computing = computing_of(config)

    def take_outer_step(self, section: Sequence[Demo], progress: Progress, *, listener: Listener) -> Progress:
        """Draw responses with the newest policy, and learn to tell the demonstrations from them."""
        pairs = self._draw_pairs(section, outer=progress.outer)
        first_nll = progress.numbers.get("first_left_out_nll", self.measure())
        looped = self._loop(pairs, outer=progress.outer, before=progress.step, listener=listener)
        numbers = {"num_stopped": progress.numbers.get("num_stopped", 0.0) + looped.stopped}
        if looped.nll is not None and first_nll is not None:
            numbers |= {"first_left_out_nll": first_nll, "last_left_out_nll": looped.nll}
        change = {"outer": progress.outer + 1, "step": progress.step + looped.steps, "numbers": numbers}
        return progress.model_copy(update=change)

    @torch.no_grad()
    def measure(self) -> float | None:
        """-log-likelihood of the left-out demonstrations per token; None where there are none."""
        if not self._left_out:
            return None
        total = -sum(float(part.sum()) for part in self._sums(self._left_out))
        return total / sum(len(sequence.response_ids) for sequence in self._left_out)

    def _draw_pairs(self, section: Sequence[Demo], *, outer: int) -> Pairs:
        with PLAIN.applied(self._learner):
            drawn = sample_trajectories(
                self._learner,
                self._encoder,
                [EncodedPrompt(demo.prompt, demo.tokens.prompt_ids) for demo in section],
                num_samples=1,
                response_length=self._response_length,
                temperature=1.0,
                key=(self._seed, outer),
            )
        demos, samples = [demo.tokens for demo in section], [trajectory.tokens for trajectory in drawn]
        with torch.no_grad():
            return Pairs(demos, samples, torch.cat(list(self._sums(demos))), torch.cat(list(self._sums(samples))))

    def _sums(self, sequences: Sequence[TokenSequence]) -> Iterator[Tensor]:
        """Log-probabilities of whole responses, micro-batch by micro-batch."""
        size = self._config.micro_batch_size or self._config.batch_size
        for at in range(0, len(sequences), size):
            yield sum_logprobs(
                self._learner, sequences[at : at + size], pad_id=self._encoder.pad_token_id, computing=self._computing
            )

    def _loop(self, pairs: Pairs, *, outer: int, before: int, listener: Listener) -> Looped:
        """The inner loop; left-out demonstrations end it where there are some."""
        config, steps = self._config, 0
        per_pass = math.ceil(len(pairs.demos) / config.batch_size)
        num_steps = per_pass * config.inner_epochs
        descent = Descent(self._learner, config, num_steps=num_steps, options="irft")
        best = self.measure()
        kept = self._copy_weights()
        for epoch in range(config.inner_epochs):
            for batch in plan_batches(
                len(pairs.demos), batch_size=config.batch_size, key=(self._seed, "irft", outer, epoch)
            ):
                number = FIRST_STEP + before + steps
                numbers = self._step(descent, pairs, batch, number=number)
                steps += 1
                nll = self.measure() if steps % config.check_every == 0 or steps == num_steps else None
                measured = {} if nll is None else {"left_out_nll": nll}
                listener.on_metrics(StepMetrics(number, {**numbers, "outer_step": float(outer), **measured}))
                if nll is None or best is None:
                    continue
                if nll > best:
                    self._put_back(kept)
                    return Looped(steps, best, stopped=True)
                best, kept = nll, self._copy_weights()
        return Looped(steps, best, stopped=False)

    def _step(self, descent: Descent, pairs: Pairs, batch: Sequence[int], *, number: int) -> dict[str, float]:
        margins: list[Tensor] = []

        def parts() -> Iterator[Tensor]:
            for places in cut_batch(batch, self._config):
                demos, samples = self._ratios(pairs, places)
                margins.append((self._config.beta * (demos - samples)).detach())
                yield compute_implicit_losses(demos, samples, beta=self._config.beta).sum() / len(batch)

        numbers = descent.step(parts(), number=number)
        margin = torch.cat(margins)
        identical = sum(pairs.demos[place].response_ids == pairs.samples[place].response_ids for place in batch)
        return {
            **numbers,
            "margin": float(margin.mean()),
            "accuracy": float((margin > 0).float().mean()),
            "identical": identical / len(batch),
        }

    def _ratios(self, pairs: Pairs, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(num_places,) rho of the demonstrations and of the samples, by one pass over both."""
        sequences = [*(pairs.demos[place] for place in places), *(pairs.samples[place] for place in places)]
        sums = sum_logprobs(self._learner, sequences, pad_id=self._encoder.pad_token_id, computing=self._computing)
        index = torch.tensor(list(places), device=sums.device)
        demos, samples = sums[: len(places)], sums[len(places) :]
        return demos - pairs.demo_logprobs[index], samples - pairs.sample_logprobs[index]

    def _copy_weights(self) -> list[Tensor]:
        """Empty where no demonstration is left out, as nothing is put back then."""
        return [parameter.detach().clone() for parameter in self._trained()] if self._left_out else []

    @torch.no_grad()
    def _put_back(self, kept: Sequence[Tensor]) -> None:
        for parameter, saved in zip(self._trained(), kept, strict=True):
            parameter.copy_(saved)

    def _trained(self) -> Iterator[Tensor]:
        return (parameter for parameter in self._learner.parameters() if parameter.requires_grad)


def sum_logprobs(
    model: PreTrainedModel, sequences: Sequence[TokenSequence], *, pad_id: int, computing: Computing = PLAIN
) -> Tensor:
    """(num_sequences,) log-probability of each response after its prompt."""
    batch = pad_batch(sequences, pad_id=pad_id, device=model.device)
    return compute_logprobs(model, batch, temperature=1.0, computing=computing).sum(dim=1)
