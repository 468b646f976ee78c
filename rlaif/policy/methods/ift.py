"""IFT: demonstrations -> a policy that learnt them while reading its own guesses among their words.

Intuitive fine-tuning, Hua et al. 2024 (arXiv:2405.11870). A step runs the policy twice: once over the gold response to
guess each token, without a gradient, and once over input embeddings in which the guesses are mixed. The targets are the
gold tokens. There is no reward, no sampling and no negative example. Input embeddings come from a frozen copy of the
newest ones, so they get no gradient themselves. Keeps no checkpoint: an interrupted training starts again from its
beginning. Saves no model.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.config.ift import IftConfig
from rlaif.config.run import RunConfig
from rlaif.models.local.linear_head import find_linear_head, float32_head, replaced_head
from rlaif.policy.methods.descent import (
    Descent,
    computing_of,
    count_steps,
    cut_batch,
    encode_sequences,
    plan_batches,
    refuse_without_demonstrations,
)
from rlaif.policy.methods.ift_loss import compute_ift_loss_sum, mix_embeddings
from rlaif.policy.methods.learner import finish, make_learner
from rlaif.policy.ppo.batching import TokenSequence, pad_batch
from rlaif.policy.ppo.passes import PLAIN, Computing, at_mask
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.training.listener import NOBODY, Listener, StepMetrics

FIRST_STEP = 1
_GUESSED_LOGITS = 1 << 24
"""Most logits held at once while tokens are guessed: 64 MiB."""


class Losses(NamedTuple):
    """Of the tokens of some responses. Both (batch, response_len)."""

    losses: Tensor
    """-log-probability of each gold token, zero where the mask is False."""
    mask: Tensor
    """True on response tokens."""


def check_ift(config: RunConfig, num_processes: int) -> None:
    """Refuse options without demonstrations, and more than one process."""
    refuse_without_demonstrations(config, num_processes, method="ift")


def count_ift_steps(task: Task) -> int:
    """Steps if every demonstration fits; those that do not are dropped when training begins."""
    return count_steps(len(task.demonstrations), task.config.ift)


def train_ift_task(task: Task) -> TrainedPolicy:
    """Fine-tune a copy of the task's initial policy, in float32, and return the copy."""
    config, base = task.config.ift, task.initial
    sequences, _, tally = encode_sequences(task.demonstrations, base=base, max_length=config.max_length, options="ift")
    learner = make_learner(base.model, config, seed=task.seed, options="ift")
    task.listener.on_begin(FIRST_STEP)
    losses = train_on_sequences(
        learner,
        sequences,
        config=config,
        pad_id=base.encoder.pad_token_id,
        seed=task.seed,
        listener=task.listener,
    )
    tenth = max(1, len(losses) // 10)
    metrics = {
        "first_loss": statistics.fmean(losses[:tenth]),
        "last_loss": statistics.fmean(losses[-tenth:]),
        "num_steps": float(len(losses)),
    }
    return finish(learner, metrics=metrics, steps=len(losses), tally=tally)


def train_on_sequences(
    learner: PreTrainedModel,
    sequences: Sequence[TokenSequence],
    *,
    config: IftConfig,
    pad_id: int,
    seed: int,
    listener: Listener = NOBODY,
) -> list[float]:
    """Train the learner in place, and return the loss of each step."""
    descent = Descent(learner, config, num_steps=count_steps(len(sequences), config), options="ift")
    losses: list[float] = []
    for epoch in range(config.num_epochs):
        for batch in plan_batches(len(sequences), batch_size=config.batch_size, key=(seed, "ift", epoch)):
            number = FIRST_STEP + len(losses)
            chosen = [sequences[place] for place in batch]
            numbers = take_step(learner, descent, chosen, config=config, pad_id=pad_id, number=number)
            losses.append(numbers["loss"])
            listener.on_metrics(StepMetrics(number, numbers))
    return losses


def take_step(
    learner: PreTrainedModel,
    descent: Descent,
    sequences: Sequence[TokenSequence],
    *,
    config: IftConfig,
    pad_id: int,
    number: int,
) -> dict[str, float]:
    """One optimizer step on a batch of demonstrations; the loss is per response token of the whole batch."""
    num_tokens = sum(len(sequence.response_ids) for sequence in sequences)
    plain = 0.0

    def parts() -> Iterator[Tensor]:
        nonlocal plain
        for places in cut_batch(range(len(sequences)), config):
            found = compute_losses(
                learner, [sequences[place] for place in places],
                lam=config.lam, pad_id=pad_id, computing=computing_of(config),
            )  # fmt: skip
            plain += float(found.losses.detach().sum()) / num_tokens
            weighted = compute_ift_loss_sum(
                found.losses, found.mask, gamma=config.gamma, propagation=config.propagation
            )
            yield weighted / num_tokens

    numbers = descent.step(parts(), number=number)
    return {**numbers, "unweighted_loss": plain}


def compute_losses(
    model: PreTrainedModel,
    sequences: Sequence[TokenSequence],
    *,
    lam: float,
    pad_id: int,
    computing: Computing = PLAIN,
) -> Losses:
    """Losses of the gold response tokens, each after a prefix with the policy's own guesses mixed in.

    lam = 0 is the ordinary loss, by one pass over token ids; the input embeddings then get their gradient.
    """
    batch = pad_batch(sequences, pad_id=pad_id, device=model.device)
    mask, tokens = batch.response_mask, batch.response_ids
    starts = torch.tensor([len(prompt) for prompt in batch.prompts], device=model.device)
    places = (starts[:, None] + torch.arange(mask.shape[1], device=model.device)).masked_fill(~mask, 0)
    ids = _join(sequences, pad_id=pad_id, device=model.device)
    gold = tokens[mask]
    with computing.applied(model):
        if lam == 0:
            logprobs = _logprobs(model, {"input_ids": ids}, places, mask, gold)
        else:
            embeds = _mix_guesses(model, ids, places, mask, lam=lam)
            logprobs = _logprobs(model, {"inputs_embeds": embeds}, places, mask, gold)
    return Losses(at_mask(-logprobs, mask), mask)


@torch.no_grad()
def _mix_guesses(model: PreTrainedModel, ids: Tensor, places: Tensor, mask: Tensor, *, lam: float) -> Tensor:
    """(batch, length, hidden_size) input embeddings with the guesses mixed in at the response's places.

    subtle: without a gradient, because the embeddings are those of a frozen copy that always has the newest weights.
    """
    guessed = ids.clone()
    rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(places)
    guessed[rows[mask], places[mask]] = _guess(model, ids, places, mask)
    is_response = torch.zeros_like(ids, dtype=torch.bool)
    is_response[rows[mask], places[mask]] = True
    embed = model.get_input_embeddings()
    return mix_embeddings(embed(ids), embed(guessed), is_response, lam=lam)


def _guess(model: PreTrainedModel, ids: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """(num_tokens,) the policy's likeliest token at each place of a response, after the gold tokens before it."""
    head = find_linear_head(model)
    if head is None:
        with float32_head(model):
            return _before(model(input_ids=ids, use_cache=False).logits, places, mask).argmax(dim=-1)
    with replaced_head(model, nn.Identity()):
        hidden = _before(model(input_ids=ids, use_cache=False).logits, places, mask)
    hidden = hidden.to(head.weight.dtype)
    size = max(1, _GUESSED_LOGITS // len(head.weight))
    return torch.cat([head(part).argmax(dim=-1) for part in torch.split(hidden, size)])


def _logprobs(
    model: PreTrainedModel, inputs: dict[str, Tensor], places: Tensor, mask: Tensor, tokens: Tensor
) -> Tensor:
    """(num_tokens,) log-probabilities of the response tokens, row by row."""
    head = find_linear_head(model)
    if head is None:
        with float32_head(model):
            logits = _before(model(**inputs, use_cache=False).logits, places, mask)
        return torch.log_softmax(logits.float(), dim=-1).gather(1, tokens[:, None]).squeeze(1)
    with replaced_head(model, nn.Identity()):
        hidden = _before(model(**inputs, use_cache=False).logits, places, mask)
    found = compute_token_logprobs(hidden.to(head.weight.dtype), tokens, head=head, temperature=1.0, with_entropy=False)
    return found.logprobs


def _before(states: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """(num_tokens, ...) the states that predict the response tokens: each stands one place before its token."""
    rows = torch.arange(len(states), device=states.device)[:, None].expand_as(places)
    return states[rows[mask], places[mask] - 1]


def _join(sequences: Sequence[TokenSequence], *, pad_id: int, device: torch.device) -> Tensor:
    """(batch, longest) prompts and responses joined and padded on the right, where no real token sees the padding."""
    joined = [[*prompt_ids, *response_ids] for prompt_ids, response_ids in sequences]
    longest = max(map(len, joined))
    return torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids in joined], device=device)
