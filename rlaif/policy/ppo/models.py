"""The models of PPO: a causal LM with a value head on its shared trunk, and one forward pass for both.

Takes token sequences, returns log-probabilities and values at the response's positions. Holds no
optimizer and changes no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.errors import ModelError
from rlaif.models.kv_cache import PromptStates, run_prompts
from rlaif.models.linear_head import find_head, replaced_head
from rlaif.policy.ppo.batching import PaddedBatch, groups_of_like_length
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs


class PolicyForward(NamedTuple):
    """All three (batch, response_len), zero where the response mask is False."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor
    """Of the whole next-token distribution; carries no gradient."""


class TokenForward(NamedTuple):
    """Of response tokens alone, row by row: (num_tokens,), and the hidden states (num_tokens, hidden_size)."""

    logprobs: Tensor
    hidden: Tensor
    entropy: Tensor


class PolicyWithValue(nn.Module):
    """A causal LM and a linear value head that reads the trunk's last hidden state."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        head = nn.Linear(hidden_size_of(model), 1, device="meta").to_empty(device=device_of(model))
        # Zero, so that V = 0 at first and the shared trunk is not pulled towards a random head.
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.value_head = head

    def forward(self, batch: PaddedBatch, *, temperature: float, head_only: bool = False) -> PolicyForward:
        """One pass; `head_only` keeps gradients out of the trunk, for the value head's warm-up."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            tokens = _forward_tokens(self.model, batch, temperature=temperature)
        values = self.value_head(tokens.hidden).squeeze(-1).float()
        return PolicyForward(*(_at_mask(x, batch.response_mask) for x in (tokens.logprobs, values, tokens.entropy)))


def compute_logprobs(model: PreTrainedModel, batch: PaddedBatch, *, temperature: float) -> Tensor:
    """(batch, response_len) log-probabilities of the response tokens, zero where the mask is False."""
    return _at_mask(_forward_tokens(model, batch, temperature=temperature).logprobs, batch.response_mask)


def _forward_tokens(model: PreTrainedModel, batch: PaddedBatch, *, temperature: float) -> TokenForward:
    """Log-probability, predicting hidden state and entropy of each response token, row by row, (num_tokens, ...).

    A prompt is computed once, however many responses it has; gradients of all of them flow through it.
    """
    tokens = batch.response_ids[batch.response_mask]
    head = find_head(model)
    if head is not None:
        with replaced_head(model, nn.Identity()):
            (hidden,) = _forward_trunk(model, batch, with_hidden=False)
        logprobs, entropy = compute_token_logprobs(hidden, tokens, head=head, temperature=temperature)
        return TokenForward(logprobs, hidden, entropy)
    logits, hidden = _forward_trunk(model, batch, with_hidden=True)
    all_logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = all_logprobs.gather(1, tokens[:, None]).squeeze(1)
    return TokenForward(logprobs, hidden, torch.special.entr(all_logprobs.detach().exp()).sum(dim=-1))


def _forward_trunk(model: PreTrainedModel, batch: PaddedBatch, *, with_hidden: bool) -> list[Tensor]:
    """What the model gives as logits for each response token, row by row, and with it its last hidden state."""
    states = run_prompts(model, batch.prompts, pad_id=batch.pad_id, with_hidden=with_hidden)
    lengths = batch.response_mask.sum(dim=1)
    pieces = [
        _forward_responses(model, states, batch, torch.tensor(rows, device=lengths.device), int(lengths[rows].max()))
        for rows in groups_of_like_length(lengths.tolist())
    ]
    index, *outputs = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    order = index.argsort()
    return [output[order] for output in outputs]


def _forward_responses(
    model: PreTrainedModel, states: PromptStates, batch: PaddedBatch, rows: Tensor, width: int
) -> list[Tensor]:
    """Of the response tokens of some rows: place in the batch, and what the model made of the token before each.

    The first token is predicted by the end of the prompt, each later one by the token before it.
    """
    places = states.places[rows]
    outputs = [states.logits[places][:, None]]
    if states.hidden is not None:
        outputs.append(states.hidden[places][:, None])
    if width > 1:
        steps = torch.arange(width - 1, device=rows.device)
        out = model(
            input_ids=batch.response_ids[rows, : width - 1],
            attention_mask=states.mask_for(places, room=width - 1),
            position_ids=states.lengths[places][:, None] + steps,
            past_key_values=states.cache_for(places),
            use_cache=True,
            output_hidden_states=states.hidden is not None,
        )
        later = [out.logits] if states.hidden is None else [out.logits, out.hidden_states[-1]]
        outputs = [torch.cat(both, dim=1) for both in zip(outputs, later, strict=True)]
    mask = batch.response_mask[rows, :width]
    columns = torch.arange(width, device=rows.device)
    index = (rows[:, None] * batch.response_mask.shape[1] + columns)[mask]
    return [index, *(output[mask] for output in outputs)]


def _at_mask(values: Tensor, mask: Tensor) -> Tensor:
    """Put (num_tokens,) values at the True places of a (batch, response_len) mask, zeros elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def hidden_size_of(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().hidden_size)


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def context_tokens_of(model: PreTrainedModel) -> int | None:
    """Longest sequence the model was made for; None where its config does not say."""
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if longest is None else int(longest)


def check_trainable(models: Sequence[PreTrainedModel]) -> None:
    """PPO updates float32 master weights: [M] in bf16 a step at 1e-6 changes 0.01 % of the weights."""
    for model in models:
        dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})
        if dtypes != ["float32"]:
            raise ModelError(
                f"PPO trains float32 weights and {type(model).__name__} has {', '.join(dtypes)}",
                fix="load the policy with dtype float32",
            )
