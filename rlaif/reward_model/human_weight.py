"""Rows of a judge and of people -> how much a row of people counts, chosen by how well people are predicted.

Each weight is tried on a linear read-out of the base model, fitted without some prompts; the loss is that of people's
choices on those prompts. Where it is asked for, labels of the judge that are corrected by people's rows are tried
beside the weights. Trains nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from rlaif.records import Value
from rlaif.reward_model.correction import Correction, correct_labels, find_correction
from rlaif.reward_model.data import Item, Pairs
from rlaif.reward_model.length_bias import Lengths, without_length
from rlaif.reward_model.model import CPU_TOKENS, DEVICE_TOKENS, batches_of_like_length, pad_tokens
from rlaif.reward_model.pair_fit import cross_validate, deviations
from rlaif.reward_model.source_trials import SourceTrial
from rlaif.reward_model.with_people import compare_with_and_without

CANDIDATES = (1.0, 5.0, 20.0)
"""Weights that are tried; a row of the judge counts as its own weight says, usually 1."""
WITHOUT = 1e-9
"""A weight so small that people's rows have no part in a fit, and are measured all the same."""
CORRECTED = "corrected"
"""Name of the way in which the judge's labels are corrected and people's rows count CORRECTED_WEIGHT each."""
CORRECTED_WEIGHT = 5.0
"""People's labels are in the corrected ones already, so that more would count them twice; fewer would lose what the
correction does not find where a judge has many leanings."""
MIN_PROMPTS = 10
"""With people's choices on fewer prompts no weight is chosen, and the rows keep theirs."""


class HumanWeight(Value):
    """The chosen weight, and what it was chosen by."""

    weight: float
    log_loss: dict[str, float]
    """Weight -> cross-validated mean log loss of people's choices, in nats."""
    log_loss_without: float | None = None
    """The same where only the judge's rows are fitted to; None in models that were trained before it was measured."""
    num_rows: int
    """People's rows."""
    num_prompts: int
    """Prompts of people's rows."""
    num_leanings: int | None = Field(None, exclude_if=lambda number: number is None)
    """Where the judge's labels are corrected: coordinates of the base's states in which people differ from it."""
    by_source: tuple[SourceTrial, ...] = Field((), exclude_if=lambda trials: not trials)
    """Held-out rows of people and of the judge, by a fit with people's rows and by one without them."""

    @property
    def log_loss_with(self) -> float:
        """That of the way that was chosen."""
        return self.log_loss[CORRECTED if self.num_leanings is not None else f"{self.weight:g}"]

    def describe(self) -> str:
        """The choice in a sentence."""
        losses = ", ".join(f"{weight}: {loss:.4f}" for weight, loss in self.log_loss.items())
        if self.log_loss_without is not None:
            losses += f"; without them: {self.log_loss_without:.4f}"
        rows = f"{self.num_rows} rows of {self.num_prompts} prompts"
        said = (
            f"people's rows count {self.weight:g} each ({rows}); cross-validated log loss of people's choices by "
            f"weight: {losses}"
        )
        if self.num_leanings is None:
            return said
        return (
            f"the judge's labels are corrected by people's, who differ in {self.num_leanings} coordinates of its "
            f"states; {said}"
        )


def why_not_chosen(pairs: Sequence[Item]) -> str:
    """Why no weight can be chosen, in a sentence; empty where one can."""
    human = [pair for pair in pairs if pair.source == "human"]
    num_prompts = len({pair.prompt_id for pair in human})
    if num_prompts < MIN_PROMPTS:
        return (
            f"people labelled pairs of {num_prompts} prompts that are trained on, and the choice of their weight takes "
            f"{MIN_PROMPTS}: the rows' own weights count"
        )
    return "" if len(human) < len(pairs) else "all rows are people's, so their weight changes nothing"


class Weighed(NamedTuple):
    """Rows as they are trained on, and how their weights came about."""

    items: list[Item]
    human_weight: HumanWeight


def weigh_rows(
    model: PreTrainedModel,
    train: Pairs,
    *,
    center_rewards_coefficient: float,
    lengths: Lengths | None = None,
    may_correct: bool = False,
) -> Weighed:
    """The rows with people's weight, and the judge's labels where they may be corrected, by the least cross-validated
    log loss of people's choices, by a read-out of the model's states."""
    features = mean_states(model, train.sequences)
    center = center_rewards_coefficient
    found = choose_weight(features, train.pairs, center_rewards_coefficient=center, lengths=lengths)
    weighed = Weighed(weigh_people(train.pairs, weight=found.weight), found)
    if may_correct:
        weighed = correct_or_weigh(features, train.pairs, found=found, center_rewards_coefficient=center)
    by_source = compare_sources(
        features, train.pairs, chosen=weighed.human_weight, center_rewards_coefficient=center, lengths=lengths
    )
    return weighed._replace(human_weight=weighed.human_weight.model_copy(update={"by_source": by_source}))


def compare_sources(
    features: Tensor,
    pairs: Sequence[Item],
    *,
    chosen: HumanWeight,
    center_rewards_coefficient: float,
    lengths: Lengths | None = None,
) -> tuple[SourceTrial, ...]:
    """How well held-out rows are ordered with people's rows, as they were chosen to count, and without them.

    Where the judge's labels are corrected, they are corrected again without the rows that are measured.
    """
    scaled = features / deviations(features)

    def prepare(items: Sequence[Item]) -> Sequence[Item]:
        if all(item.source != "human" for item in items):
            return items
        weighed = weigh_people(items, weight=chosen.weight)
        if chosen.num_leanings is None:
            return weighed
        found = find_correction(scaled, items, center_rewards_coefficient=center_rewards_coefficient)
        return weighed if found is None else correct_labels(scaled, weighed, shift=found.shift)

    return compare_with_and_without(
        without_length(scaled, pairs, lengths=lengths), pairs, prepare=prepare,
        center_rewards_coefficient=center_rewards_coefficient, lengths=lengths,
    )  # fmt: skip


def correct_or_weigh(
    features: Tensor, pairs: Sequence[Item], *, found: HumanWeight, center_rewards_coefficient: float
) -> Weighed:
    """The rows with the judge's labels corrected and people's rows counting CORRECTED_WEIGHT, where the correction
    predicts people's choices better than every weight does; else with the weight that was found."""
    scaled = features / deviations(features)
    correction = find_correction(scaled, pairs, center_rewards_coefficient=center_rewards_coefficient)
    if correction is not None:
        found = found.model_copy(update={"log_loss": {**found.log_loss, CORRECTED: correction.log_loss}})
    if correction is None or not _is_better(correction, found):
        return Weighed(weigh_people(pairs, weight=found.weight), found)
    items = weigh_people(correct_labels(scaled, pairs, shift=correction.shift), weight=CORRECTED_WEIGHT)
    updated = {"weight": CORRECTED_WEIGHT, "num_leanings": correction.num_leanings}
    return Weighed(items, found.model_copy(update=updated))


def _is_better(correction: Correction, found: HumanWeight) -> bool:
    weights = [loss for name, loss in found.log_loss.items() if name != CORRECTED]
    return correction.num_leanings > 0 and correction.log_loss < min(weights)


def choose_weight(
    features: Tensor, pairs: Sequence[Item], *, center_rewards_coefficient: float, lengths: Lengths | None = None
) -> HumanWeight:
    """The same for any features: (num_responses, num_features), float64; the pairs point at their rows.

    The ridge penalty is chosen for each weight by the same loss. The smaller of two equally good weights is taken.
    """
    scaled = without_length(features / deviations(features), pairs, lengths=lengths)
    losses = {}
    for weight in (WITHOUT, *CANDIDATES):
        by_penalty = cross_validate(
            scaled,
            weigh_people(pairs, weight=weight),
            center_rewards_coefficient=center_rewards_coefficient,
            only_human=True,
            lengths=lengths,
        )
        losses[weight] = min(by_penalty.values())
    without = losses.pop(WITHOUT)
    human = [pair for pair in pairs if pair.source == "human"]
    return HumanWeight(
        weight=min(losses, key=lambda weight: (losses[weight], weight)),
        log_loss={f"{weight:g}": loss for weight, loss in losses.items()},
        log_loss_without=without,
        num_rows=len(human),
        num_prompts=len({pair.prompt_id for pair in human}),
    )


def weigh_people(pairs: Sequence[Item], *, weight: float) -> list[Item]:
    """The rows with people's weights scaled so that their mean is `weight`; the judge's rows as they are."""
    own = statistics.fmean(pair.weight for pair in pairs if pair.source == "human")
    return [pair._replace(weight=pair.weight * weight / own) if pair.source == "human" else pair for pair in pairs]


@torch.no_grad()
def mean_states(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> Tensor:
    """The mean over its tokens of the trunk's output for each sequence: (num_sequences, hidden_size), float64."""
    device = next(model.parameters()).device
    max_tokens = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    means: dict[int, Tensor] = {}
    for batch in batches_of_like_length(order, sequences, max_tokens=max_tokens):
        token_ids, lengths = pad_tokens([sequences[place] for place in batch])
        hidden = model.base_model(input_ids=token_ids.to(device), use_cache=False).last_hidden_state
        for row, (place, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
            means[place] = hidden[row, :length].double().mean(dim=0).cpu()
    return torch.stack([means[place] for place in range(len(sequences))])
