"""Demonstrations that nothing was trained on -> the loss of a policy on them, before fine-tuning and after.

The same tokens as in SFT: the loss is on the response and on the token that ends it. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rlaif.config.sft import SftConfig
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own
from rlaif.models.weights.context import context_tokens_of
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.sft import IGNORED, Examples, encode_demonstrations
from rlaif.records import Demonstration, Prompt
from rlaif.records.base import Value

NAME = "held_out.json"
FIX = "restore it from a copy, or remove the stage's folder to do it again"


class HeldOutLoss(Value):
    """The mean loss on the tokens of held-out demonstrations, in nats per token."""

    before: float | None
    """Loss of the policy that training began with; None where no held-out demonstration fits."""
    after: float | None
    num_demonstrations: int
    num_tokens: int


def measure_held_out(
    demonstrations: Sequence[tuple[Prompt, Demonstration]],
    *,
    base: LoadedModel,
    trained: PreTrainedModel,
    config: SftConfig,
) -> HeldOutLoss:
    """The loss of both policies. Demonstrations that are longer than the training takes are left out."""
    limit = min(config.max_length, context_tokens_of(base.model) or config.max_length)
    examples = encode_demonstrations(demonstrations, encoder=base.encoder, max_length=limit)
    num_tokens = sum(label != IGNORED for labels in examples.labels for label in labels)
    return HeldOutLoss(
        before=_mean_loss(base.model, examples, num_tokens=num_tokens),
        after=_mean_loss(trained, examples, num_tokens=num_tokens),
        num_demonstrations=len(examples.labels),
        num_tokens=num_tokens,
    )


@torch.no_grad()
def _mean_loss(model: PreTrainedModel, examples: Examples, *, num_tokens: int) -> float | None:
    if not num_tokens:
        return None
    total = 0.0
    for token_ids, labels in zip(examples.token_ids, examples.labels, strict=True):
        ids = torch.tensor([token_ids], device=model.device)
        logits = model(input_ids=ids).logits[0, :-1].float()
        targets = torch.tensor(labels[1:], device=model.device)
        total += float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
    return total / num_tokens


def describe_held_out(loss: HeldOutLoss) -> str:
    """Both losses, in words."""
    if loss.before is None or loss.after is None:
        return "no held-out demonstration is short enough to measure the loss on"
    return (
        f"loss on {loss.num_demonstrations} held-out demonstrations {loss.before:.3f} nats per token before, "
        f"{loss.after:.3f} after"
    )


def write_held_out(loss: HeldOutLoss, folder: Path) -> None:
    """held_out.json in the stage's folder."""
    write_atomically(folder / NAME, loss.model_dump_json(indent=1) + "\n")


def read_held_out(folder: Path) -> HeldOutLoss | None:
    """What held_out.json of a stage's folder holds; None where nothing was held out."""
    path = folder / NAME
    return read_own(path, HeldOutLoss.model_validate_json, fix=FIX) if path.is_file() else None
