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
from rlaif.models.kv_cache import PromptStates, prefill_tokens, run_prompts
from rlaif.models.linear_head import find_linear_head, replaced_head
from rlaif.policy.ppo.batching import PaddedBatch, groups_of_like_length
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs

WORTH_SHARING = 0.25
"""[M] Share of the tokens that must be saved for prompts to be run apart: two passes instead of one."""


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

    def forward(
        self, batch: PaddedBatch, *, temperature: float, head_only: bool = False, in_one_pass: bool = False
    ) -> PolicyForward:
        """All of the batch; `head_only` keeps gradients out of the trunk, for the value head's warm-up.

        `in_one_pass`: the trunk is called once, whatever padding that costs.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            tokens = _forward_tokens(self.model, batch, temperature=temperature, in_one_pass=in_one_pass)
        values = self.value_head(tokens.hidden).squeeze(-1).float()
        return PolicyForward(*(_at_mask(x, batch.response_mask) for x in (tokens.logprobs, values, tokens.entropy)))


def compute_logprobs(model: PreTrainedModel, batch: PaddedBatch, *, temperature: float) -> Tensor:
    """(batch, response_len) log-probabilities of the response tokens, zero where the mask is False."""
    return _at_mask(_forward_tokens(model, batch, temperature=temperature).logprobs, batch.response_mask)


def _forward_tokens(
    model: PreTrainedModel, batch: PaddedBatch, *, temperature: float, in_one_pass: bool = False
) -> TokenForward:
    """Log-probability, predicting hidden state and entropy of each response token, row by row, (num_tokens, ...).

    Where that saves enough, a prompt is computed once for all its responses; gradients of all of them flow
    through it.
    """
    tokens = batch.response_ids[batch.response_mask]
    head = find_linear_head(model)
    if head is not None:
        with replaced_head(model, nn.Identity()):
            (hidden,) = _forward_trunk(model, batch, with_hidden=False, in_one_pass=in_one_pass)
        logprobs, entropy = compute_token_logprobs(hidden, tokens, head=head, temperature=temperature)
        return TokenForward(logprobs, hidden, entropy)
    logits, hidden = _forward_trunk(model, batch, with_hidden=True, in_one_pass=in_one_pass)
    all_logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = all_logprobs.gather(1, tokens[:, None]).squeeze(1)
    return TokenForward(logprobs, hidden, torch.special.entr(all_logprobs.detach().exp()).sum(dim=-1))


def _forward_trunk(model: PreTrainedModel, batch: PaddedBatch, *, with_hidden: bool, in_one_pass: bool) -> list[Tensor]:
    """What the model gives as logits for each response token, row by row, and with it its last hidden state."""
    lengths = batch.response_mask.sum(dim=1).tolist()
    if in_one_pass:
        pieces = [_forward_whole(model, batch, list(range(len(lengths))), with_hidden=with_hidden)]
    elif _share_of_repeats(batch.prompts, lengths) >= WORTH_SHARING:
        states = run_prompts(model, batch.prompts, pad_id=batch.pad_id, with_hidden=with_hidden)
        pieces = [_forward_responses(model, states, batch, rows) for rows in groups_of_like_length(lengths)]
    else:
        totals = [len(prompt) + length for prompt, length in zip(batch.prompts, lengths, strict=True)]
        most = prefill_tokens(batch.response_ids.device) // 4
        groups = groups_of_like_length(totals, max_tokens=most)
        pieces = [_forward_whole(model, batch, rows, with_hidden=with_hidden) for rows in groups]
    index, *outputs = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    order = index.argsort()
    return [output[order] for output in outputs]


def _share_of_repeats(prompts: Sequence[Sequence[int]], response_lengths: Sequence[int]) -> float:
    """Of all tokens, the share that sharing prompts saves."""
    all_tokens = sum(map(len, prompts))
    repeated = all_tokens - sum(map(len, {tuple(prompt) for prompt in prompts}))
    return repeated / (all_tokens + sum(response_lengths))


def _forward_whole(model: PreTrainedModel, batch: PaddedBatch, rows: list[int], *, with_hidden: bool) -> list[Tensor]:
    """As `_forward_responses`, of prompts and responses in one pass, padded on the right."""
    device = batch.response_ids.device
    of_rows = torch.tensor(rows, device=device)
    starts = torch.tensor([len(batch.prompts[row]) for row in rows], device=device)
    lengths = batch.response_mask[of_rows].sum(dim=1)
    ids = torch.full((len(rows), int((starts + lengths).max())), batch.pad_id, device=device)
    for place, row in enumerate(rows):
        start, length = len(batch.prompts[row]), int(lengths[place])
        ids[place, :start] = torch.tensor(batch.prompts[row], device=device)
        ids[place, start : start + length] = batch.response_ids[row, :length]
    columns = torch.arange(ids.shape[1], device=device)
    # The token before a response's first one predicts it, the last one predicts nothing.
    predicting = (columns >= starts[:, None] - 1) & (columns < (starts + lengths)[:, None] - 1)
    out = model(input_ids=ids, use_cache=False, output_hidden_states=with_hidden)
    outputs = [out.logits, out.hidden_states[-1]] if with_hidden else [out.logits]
    width = batch.response_mask.shape[1]
    mask = batch.response_mask[of_rows]
    index = (of_rows[:, None] * width + torch.arange(width, device=device))[mask]
    return [index, *(output[predicting] for output in outputs)]


def _forward_responses(
    model: PreTrainedModel, states: PromptStates, batch: PaddedBatch, of_rows: list[int]
) -> list[Tensor]:
    """Of the response tokens of some rows: place in the batch, and what the model made of the token before each.

    The first token is predicted by the end of the prompt, each later one by the token before it.
    """
    rows = torch.tensor(of_rows, device=batch.response_ids.device)
    width = int(batch.response_mask[rows].sum(dim=1).max())
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
