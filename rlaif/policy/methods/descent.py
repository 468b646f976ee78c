"""The steps of a method that trains by demonstrations: its sequences, its batches, and AdamW.

Every batch is a function of (seed, name, epoch), and nothing else is random. Knows no loss and keeps no checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from rlaif.config.learner import StepsConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.context import context_tokens_of, describe_length_bound
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.sft import IGNORED, encode_demonstrations
from rlaif.policy.ppo.batching import TokenSequence, permutation
from rlaif.policy.ppo.passes import Computing
from rlaif.records import Demonstration, Prompt, Tally


def refuse_without_demonstrations(config: RunConfig, num_processes: int, *, method: str) -> None:
    """Raise ConfigError where a method that learns from demonstrations has none, or more than one process."""
    if config.sft.demonstrations is None:
        raise ConfigError(
            f"{method} learns from demonstrations and there are none",
            where="sft.demonstrations",
            fix="name a file of prompts with written responses",
        )
    if num_processes > 1:
        raise ConfigError(
            f"{method} trains in one process",
            where="methods",
            fix=f"run `rlaif train --method {method}` without the launcher first",
        )


def encode_sequences(
    demonstrations: Sequence[tuple[Prompt, Demonstration]], *, base: LoadedModel, max_length: int, options: str
) -> tuple[list[TokenSequence], list[Prompt], Tally]:
    """The demonstrations that fit as token ids, with their prompts. StageError where none fits.

    options: where the method's options stand, such as `ift`, for messages.
    """
    context = context_tokens_of(base.model) or max_length
    limit = min(max_length, context)
    sequences: list[TokenSequence] = []
    examples = encode_demonstrations(demonstrations, encoder=base.encoder, max_length=limit)
    for token_ids, labels in zip(examples.token_ids, examples.labels, strict=True):
        start = next(place for place, label in enumerate(labels) if label != IGNORED)
        sequences.append(TokenSequence(token_ids[:start], token_ids[start:]))
    prompts = [demonstrations[place][0] for place in examples.places]
    if not sequences:
        raise StageError(
            f"there is no demonstration to learn from: {examples.tally}",
            where="sft.demonstrations",
            fix=describe_length_bound(f"{options}.max_length", max_length=max_length, context=context)
            if examples.tally.dropped.get("over_length")
            else "give demonstrations with responses",
        )
    return sequences, prompts, examples.tally


def computing_of(config: StepsConfig) -> Computing:
    return Computing(checkpointing=config.gradient_checkpointing)


def count_steps(num_items: int, config: StepsConfig) -> int:
    return math.ceil(num_items / config.batch_size) * config.num_epochs


def plan_batches(num_items: int, *, batch_size: int, key: tuple[int | str, ...]) -> list[list[int]]:
    """One pass over the items in an order that the key alone fixes; the last batch may be smaller."""
    order = permutation(num_items, key=key)
    return [order[at : at + batch_size] for at in range(0, num_items, batch_size)]


def cut_batch(places: Sequence[int], config: StepsConfig) -> Iterator[Sequence[int]]:
    """A batch as micro-batches."""
    size = config.micro_batch_size or len(places)
    for at in range(0, len(places), size):
        yield places[at : at + size]


class Descent:
    """AdamW over a model's trained weights. The rate rises over the first steps, then falls linearly to zero."""

    def __init__(self, model: PreTrainedModel, config: StepsConfig, *, num_steps: int, options: str) -> None:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
        ]
        self._trained, self._options, self._max_grad_norm = trained, options, config.max_grad_norm
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)
        warmup = int(num_steps * config.warmup_fraction)
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, warmup, num_steps)  # type: ignore[no-untyped-call]

    def step(self, losses: Iterable[Tensor], *, number: int) -> dict[str, float]:
        """One step on the sum of the scalars, each of which is differentiated as it comes.

        Raises TrainingError where the sum is not finite; nothing is changed then. Returns `loss`, `grad_norm`,
        `learning_rate`.
        """
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self._max_grad_norm)
        if not (math.isfinite(total) and math.isfinite(float(norm))):
            raise TrainingError(
                "the loss is not finite" if not math.isfinite(total) else "the gradient is not finite",
                where=f"{self._options}, step {number}",
                fix=f"lower {self._options}.learning_rate, or look for broken weights in the model it starts from",
            )
        [rate, *_] = self._schedule.get_last_lr()
        self._optimizer.step()
        self._schedule.step()
        return {"loss": total, "grad_norm": float(norm), "learning_rate": float(rate)}
