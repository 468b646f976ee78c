"""The optimisation loop: a model and encoded pairs in, the same model trained.

The data order follows from (seed, epoch), dropout is off, and nothing else is random, so a checkpoint needs only the
weights, AdamW's moments and the step. Does not save the finished model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import TrainingError
from rlaif.reward_model.checkpoint import find_checkpoints, read_checkpoint, write_checkpoint
from rlaif.reward_model.data import Choice, Item, Pair, Pairs, Rated, cut_batch, places_of, plan_epoch
from rlaif.reward_model.early_stop import BestWeights, Kept, Validation, steps_to_measure
from rlaif.reward_model.frozen import TrunkStates, compute_trunk_states
from rlaif.reward_model.length_bias import LengthLeaning, Lengths, Push
from rlaif.reward_model.loss import compute_choice_loss_sum, compute_loss_sum, compute_rated_loss_sum
from rlaif.reward_model.model import Entry, compute_rewards
from rlaif.training.listener import Listener, StepMetrics
from rlaif.training.team import ALONE, Team, adding_up


class _Batch(NamedTuple):
    epoch: int
    pairs: list[Item]


class _Part(NamedTuple):
    """The pairs, or the choices, of a micro-batch; `right` and `margin_sum` are about the decided rows alone."""

    sum: Tensor
    """Sum of the weighted losses; a scalar."""
    decided: float
    """Weight of the rows whose label prefers a response."""
    right: float
    """Weight of the rows that the rewards order as the label says."""
    margin_sum: float
    """Weighted sum of the margins; a choice's margin is the best response's reward above the highest other one."""
    push: Push | None = None
    """What the rows say of the leaning to length, where it is fitted."""


class _BatchLoss(NamedTuple):
    loss: float
    decided: float
    right: float
    margin_sum: float
    pushes: tuple[Push, ...]


class _State(TypedDict):
    """What a checkpoint holds, beside the step."""

    digest: str
    model: PreTrainedModel
    optimizer: torch.optim.AdamW
    best: BestWeights | None
    leaning: LengthLeaning | None


class Made(NamedTuple):
    """What a training chose and found, beside the weights."""

    kept: Kept | None
    """The step whose weights the model has, where it was chosen."""
    leaning: float | None
    """The labels' leaning to length, in log-odds per unit, where it was fitted."""


class _Rewarding(nn.Module):
    """A module that gives sequences their rewards, as DDP wraps modules."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, sequences: Sequence[Sequence[int]], entry: Entry | None) -> Tensor:
        return compute_rewards(self.model, sequences, entry=entry)


class Optimisation:
    """One training; `folder` holds its checkpoints, `digest` names everything that fixes its result.

    Weights without gradients stay as they are. Each process of a team computes its share of every batch, and all end
    with the same weights.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pairs: Pairs,
        *,
        config: RewardModelConfig,
        seed: int,
        folder: Path,
        digest: str,
        team: Team = ALONE,
        validation: Validation | None = None,
        lengths: Lengths | None = None,
    ) -> None:
        """validation: rows by which the weights to keep are chosen; None: the last ones are kept.

        lengths: those of the responses, where the labels' leaning to them is left out of the rewards.
        """
        self.model, self._team = model, team
        self._called = team.wrap(_Rewarding(model))
        self._sequences, self._config, self._folder, self._digest = pairs.sequences, config, folder, digest
        self._plan = [
            _Batch(epoch, [pairs.pairs[place] for place in places])
            for epoch in range(config.num_epochs)
            for places in plan_epoch(pairs.pairs, batch_size=config.batch_size, seed=seed, epoch=epoch)
        ]
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._trunk: TrunkStates | None = None
        self._best = None if validation is None else BestWeights(model, validation, sequences=pairs.sequences)
        self._leaning = None if lengths is None else LengthLeaning(lengths)
        self._measured = steps_to_measure(config, num_steps=len(self._plan))

    def run(self, listener: Listener) -> Made:
        """Train from the newest checkpoint, or the start, to the end of the plan. Steps are numbered from 1."""
        newest = self._team.ask_first(lambda: find_checkpoints(self._folder)[-1:])
        state: _State = {
            "digest": self._digest, "model": self.model, "optimizer": self._optimizer, "best": self._best,
            "leaning": self._leaning,
        }  # fmt: skip
        done = read_checkpoint(newest, **state)
        listener.on_begin(done + 1)
        if done < len(self._plan):
            self._trunk = self._compute_trunk(listener)
        for step in range(done, len(self._plan)):
            figures = self._step(step)
            if self._best is not None and step + 1 in self._measured:
                figures["validation_log_loss"] = self._team.ask_first(self._best.measure)
                self._best.add(step + 1, figures["validation_log_loss"])
            listener.on_metrics(StepMetrics(step + 1, figures))
            is_due = (step + 1) % self._config.checkpoint_every == 0 and step + 1 < len(self._plan)
            if is_due and self._team.is_first:
                write_checkpoint(self._folder, step=step + 1, **state)
        self._trunk = None
        leaning = None if self._leaning is None else self._leaning.value
        if self._best is None:
            return Made(None, leaning)
        self._best.put_in_place()
        return Made(self._best.kept(num_steps=len(self._plan)), leaning)

    def _compute_trunk(self, listener: Listener) -> TrunkStates | None:
        """The frozen layers' output for all sequences, where it is to be kept and there is room for it.

        A process of a team would need all of it, for other sequences are its share in every epoch.
        """
        if not self._config.cache_trunk or self._team.size > 1:
            return None
        return compute_trunk_states(
            self.model, self._sequences, max_gb=self._config.max_cache_gb, note=listener.on_note
        )

    def _step(self, step: int) -> dict[str, float]:
        batch = self._plan[step]
        learning_rate = self._config.learning_rate * compute_schedule(
            step, num_steps=len(self._plan), warmup_fraction=self._config.warmup_fraction
        )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad(set_to_none=True)
        weight = math.fsum(pair.weight for pair in batch.pairs)
        parts = self._team.gather(self._backward_share(batch.pairs, batch_weight=weight, step=step))
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._config.max_grad_norm)
        _check_finite(norm, "gradient", step=step)
        self._optimizer.step()
        leaning: dict[str, float] = {}
        if self._leaning is not None:
            self._leaning.follow([push for part in parts for push in part.pushes])
            leaning["length_leaning"] = self._leaning.value
        return {
            "loss": math.fsum(part.loss for part in parts),
            **_order_figures(parts),
            **leaning,
            "grad_norm": float(norm),
            "learning_rate": learning_rate,
            "epoch": float(batch.epoch),
        }

    def _backward_share(self, batch: Sequence[Item], *, batch_weight: float, step: int) -> list[_BatchLoss]:
        """Add the gradient of this process's share of the batch's loss."""
        called, own = self._called, self._team.share(batch)
        # DDP adds up gradients in each process's last pass, so a process without a share makes a pass without weight.
        micro_batches = list(cut_batch(own or batch[:1], size=self._config.micro_batch_size))
        parts = []
        for place, pairs in enumerate(micro_batches):
            with adding_up(called, is_last=place == len(micro_batches) - 1):
                times = self._team.size if own else 0
                parts.append(self._backward(pairs, batch_weight=batch_weight, times=times, step=step))
        return parts if own else []

    def _backward(self, batch: Sequence[Item], *, batch_weight: float, times: int, step: int) -> _BatchLoss:
        """Add `times` the gradient of this part of the batch's loss: DDP takes the mean over the processes."""
        pairs = [item for item in batch if isinstance(item, Pair)]
        choices = [item for item in batch if isinstance(item, Choice)]
        rated = [item for item in batch if isinstance(item, Rated)]
        places: dict[int, int] = {}
        for item in batch:
            for place in places_of(item):
                places.setdefault(place, len(places))
        entry = None if self._trunk is None else self._trunk.entry_of(list(places))
        rewards = self._called([self._sequences[place] for place in places], entry)
        found = [
            *([self._pair_loss(pairs, rewards, places)] if pairs else []),
            *([self._choice_loss(choices, rewards, places)] if choices else []),
            *([_rated_loss(rated, rewards, places)] if rated else []),
        ]
        loss = torch.stack([part.sum for part in found]).sum() / batch_weight
        _check_finite(loss, "loss", step=step)
        (loss * times).backward()  # type: ignore[no-untyped-call]
        return _BatchLoss(
            loss=loss.item(),
            decided=math.fsum(part.decided for part in found),
            right=math.fsum(part.right for part in found),
            margin_sum=math.fsum(part.margin_sum for part in found),
            pushes=tuple(part.push for part in found if part.push is not None),
        )

    def _pair_loss(self, pairs: Sequence[Pair], rewards: Tensor, places: Mapping[int, int]) -> _Part:
        chosen, rejected = (
            rewards[torch.tensor([places[place] for place in side], device=rewards.device)]
            for side in ([pair.chosen for pair in pairs], [pair.rejected for pair in pairs])
        )
        labels = torch.tensor([pair.label for pair in pairs], dtype=rewards.dtype, device=rewards.device)
        weights = torch.tensor([pair.weight for pair in pairs], dtype=rewards.dtype, device=rewards.device)
        leant = None
        if self._leaning is not None:
            leant = self._leaning.of_pairs(pairs, chosen - rejected, labels=labels, weights=weights)
        loss = compute_loss_sum(
            chosen,
            rejected,
            labels=labels,
            weights=weights,
            center_rewards_coefficient=self._config.center_rewards_coefficient,
            leaning=None if leant is None else leant.log_odds,
        )
        margins = (chosen - rejected).detach()
        return _Part(
            sum=loss if leant is None else loss + leant.restraint,
            decided=float((weights * (labels != 0.5)).sum()),
            right=float((weights * ((margins * (labels - 0.5)) > 0)).sum()),
            margin_sum=float((weights * margins * torch.sign(labels - 0.5)).sum()),
            push=None if leant is None else leant.push,
        )

    def _choice_loss(self, choices: Sequence[Choice], rewards: Tensor, places: Mapping[int, int]) -> _Part:
        most = max(len(choice.places) for choice in choices)
        device, dtype = rewards.device, rewards.dtype
        at = torch.zeros(len(choices), most, dtype=torch.long, device=device)
        shares = torch.zeros(len(choices), most, dtype=dtype, device=device)
        mask = torch.zeros(len(choices), most, dtype=torch.bool, device=device)
        for row, choice in enumerate(choices):
            num = len(choice.places)
            at[row, :num] = torch.tensor([places[place] for place in choice.places], device=device)
            shares[row, :num] = torch.tensor(choice.shares, dtype=dtype, device=device)
            mask[row, :num] = True
        weights = torch.tensor([choice.weight for choice in choices], dtype=dtype, device=device)
        own = rewards[at]
        leant = None
        if self._leaning is not None:
            leant = self._leaning.of_choices(choices, own, shares=shares, mask=mask, weights=weights)
        loss = compute_choice_loss_sum(
            own,
            shares=shares,
            mask=mask,
            weights=weights,
            center_rewards_coefficient=self._config.center_rewards_coefficient,
            leaning=None if leant is None else leant.log_odds,
        )
        shown = own.detach().masked_fill(~mask, -torch.inf)
        best = shares.argmax(dim=-1, keepdim=True)
        rivals = shown.scatter(1, best, -torch.inf).amax(dim=-1)
        margins = shown.gather(1, best).squeeze(1) - rivals
        counted = weights * ((shares == shares.amax(dim=-1, keepdim=True)).sum(dim=-1) == 1)
        return _Part(
            sum=loss if leant is None else loss + leant.restraint,
            decided=float(counted.sum()),
            right=float((counted * (margins > 0)).sum()),
            margin_sum=float((counted * margins).sum()),
            push=None if leant is None else leant.push,
        )


def _rated_loss(rated: Sequence[Rated], rewards: Tensor, places: Mapping[int, int]) -> _Part:
    """Single responses; they order nothing, so no figure but the loss counts them."""
    own = rewards[torch.tensor([places[item.place] for item in rated], device=rewards.device)]
    loss = compute_rated_loss_sum(
        own,
        targets=torch.tensor([item.target for item in rated], dtype=own.dtype, device=own.device),
        is_thumb=torch.tensor([item.kind == "thumb" for item in rated], device=own.device),
        weights=torch.tensor([item.weight for item in rated], dtype=own.dtype, device=own.device),
    )
    return _Part(sum=loss, decided=0.0, right=0.0, margin_sum=0.0)


def _order_figures(parts: Sequence[_BatchLoss]) -> dict[str, float]:
    """How the rewards order the batch, by the rows' weights; none for a batch of ties, which prefer no response."""
    decided = math.fsum(part.decided for part in parts)
    if not decided:
        return {}
    return {
        "accuracy": math.fsum(part.right for part in parts) / decided,
        "reward_margin": math.fsum(part.margin_sum for part in parts) / decided,
    }


def compute_schedule(step: int, *, num_steps: int, warmup_fraction: float) -> float:
    """Share of the peak learning rate: linear up over the warm-up, then down to zero after the last step.

    step: from 0. The first step's share is above zero, and so is the last one's.
    """
    warmup = int(num_steps * warmup_fraction)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (num_steps - step) / (num_steps - warmup)


def _check_finite(value: Tensor, name: str, *, step: int) -> None:
    if not bool(torch.isfinite(value)):
        raise TrainingError(
            f"the {name} is not finite",
            where=f"reward model, step {step + 1}",
            fix="lower reward_model.learning_rate, or look for broken weights in the model it starts from",
        )
