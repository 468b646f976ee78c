"""Prompts that a training by steps leaves out, and the weights that predict people's choices on them best.

A training that runs too long learns a judge's leanings and the noise of single labels. All steps are made all the same,
since the learning rate is planned for them. Writes no file and decides no step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.reward_model import RewardModelConfig
from rlaif.records import Value, digest_text
from rlaif.reward_model.data import Item, Rated, places_of
from rlaif.reward_model.held_out import measure_held_out
from rlaif.reward_model.model import compute_rewards

MIN_PROMPTS = 10
"""With people's rows on fewer of the prompts that are left out, the judge's rows there count too; with fewer prompts in
all, none is left out."""


class Validation(NamedTuple):
    """Rows that are not trained on, by which weights are chosen."""

    items: Sequence[Item]
    """Pairs and choices, with places in the training's sequences."""
    of_people: bool
    """Whether all of them are people's."""

    @property
    def num_prompts(self) -> int:
        return len({item.prompt_id for item in self.items})


class Kept(Value):
    """The step whose weights were kept, and what it was chosen by."""

    step: int
    num_steps: int
    log_loss: dict[str, float]
    """Steps done -> mean log loss of the rows left out, in nats, by their weights."""
    of_people: bool
    """Whether the rows left out that counted are people's alone."""
    num_rows: int
    num_prompts: int

    def describe(self) -> str:
        """The choice in a sentence."""
        whose = "people's choices" if self.of_people else "the labels"
        return (
            f"the weights after step {self.step} of {self.num_steps} are kept: they predict {whose} best on prompts "
            f"left out ({self.num_rows} rows of {self.num_prompts} prompts): log loss "
            f"{self.log_loss[str(self.step)]:.4f}, after the last step {self.log_loss[str(self.num_steps)]:.4f}"
        )


class LeftOut(NamedTuple):
    train: list[Item]
    validation: Validation | None
    """None where there are too few prompts."""
    why_none: str = ""


def leave_out(items: Sequence[Item], *, fraction: float) -> LeftOut:
    """Leave a share of the prompts out: of those with people's rows as large a share as of the others.

    Which prompts these are follows from the prompts alone. Ratings and thumbs on them are neither trained on nor
    counted.
    """
    human = {item.prompt_id for item in items if item.source == "human"}
    others = {item.prompt_id for item in items} - human
    chosen: set[str] = set()
    for prompts in (human, others):
        order = sorted(prompts, key=lambda prompt_id: digest_text(f"validation\n{prompt_id}"))
        chosen.update(order[: round(fraction * len(order))])
    inside = [item for item in items if item.prompt_id in chosen and not isinstance(item, Rated)]
    of_people = [item for item in inside if item.source == "human"]
    validation = Validation(of_people, of_people=True)
    if validation.num_prompts < MIN_PROMPTS:
        validation = Validation(inside, of_people=False)
    if validation.num_prompts < MIN_PROMPTS:
        return LeftOut(list(items), None, why_none=_too_few(validation.num_prompts, of=len(human | others)))
    return LeftOut([item for item in items if item.prompt_id not in chosen], validation)


def _too_few(num: int, *, of: int) -> str:
    return (
        f"{num} of {of} prompts would be left out of the training to choose its weights by, and that takes "
        f"{MIN_PROMPTS}: none is, and the weights after the last step are kept"
    )


@torch.no_grad()
def measure_log_loss(model: PreTrainedModel, validation: Validation, *, sequences: Sequence[Sequence[int]]) -> float:
    """The mean log loss of the rows left out."""
    places = list(dict.fromkeys(place for item in validation.items for place in places_of(item)))
    found = compute_rewards(model, [sequences[place] for place in places]).tolist()
    rewards = [math.nan] * len(sequences)
    for place, reward in zip(places, found, strict=True):
        rewards[place] = reward
    log_loss = measure_held_out(validation.items, rewards).log_loss
    return math.inf if log_loss is None or math.isnan(log_loss) else log_loss


class BestWeights:
    """The trained weights that had the least log loss so far, and the losses of all steps that were measured."""

    def __init__(self, model: PreTrainedModel, validation: Validation, *, sequences: Sequence[Sequence[int]]) -> None:
        self.validation = validation
        self.losses: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}
        self._model, self._sequences = model, sequences

    @property
    def step(self) -> int:
        """The earliest of the steps with the least loss."""
        return int(min(self.losses, key=lambda step: (self.losses[step], int(step))))

    def measure(self) -> float:
        return measure_log_loss(self._model, self.validation, sequences=self._sequences)

    def add(self, step: int, log_loss: float) -> None:
        """Keep the weights as they are now where none before had so small a loss."""
        self.losses[str(step)] = log_loss
        if self.step == step:
            self.weights = {name: value.detach().cpu().clone() for name, value in self._trained().items()}

    def put_in_place(self) -> None:
        """Give the model the weights that were kept."""
        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(self.weights[name])

    def kept(self, *, num_steps: int) -> Kept:
        return Kept(
            step=self.step, num_steps=num_steps, log_loss=self.losses, of_people=self.validation.of_people,
            num_rows=len(self.validation.items), num_prompts=self.validation.num_prompts,
        )  # fmt: skip

    def _trained(self) -> dict[str, Tensor]:
        return {name: value for name, value in self._model.named_parameters() if value.requires_grad}


def steps_to_measure(config: RewardModelConfig, *, num_steps: int) -> set[int]:
    """Steps, counted from 1, after which the rows left out are measured: at even distances, the last one among them."""
    return {max(1, round(num_steps * n / config.num_validations)) for n in range(1, config.num_validations + 1)}
