"""One forward pass of a model over prompts and responses.

Takes a padded batch, gives the hidden state, log-probability and entropy of each response token, row by row. Knows no
value head, no loss and no optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from rlaif.models.local.adapted import joined_adapters
from rlaif.models.local.kv_cache import PromptStates, prefill_tokens, run_prompts
from rlaif.models.local.layers import entered_at, left_at, recomputed
from rlaif.models.local.linear_head import find_linear_head, float32_head, replaced_head
from rlaif.policy.ppo.batching import PaddedBatch, groups_of_like_length
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs

WORTH_SHARING = 0.25
"""[M] Share of the tokens that must be saved for prompts to be run apart: two passes instead of one."""


class Computing(NamedTuple):
    """How passes over a model are computed; the result is the same but for rounding."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the layers' arithmetic; log-probabilities are always computed in float32."""
    checkpointing: bool = False
    """Run each layer again for its gradient instead of keeping its activations."""
    depth: int = 0
    """Number of layers, from the lowest, whose output may come with a batch."""

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        reduced = torch.autocast(device, dtype=torch.bfloat16) if self.dtype == "bfloat16" else nullcontext()
        joined = joined_adapters(model) if self.dtype == "float32" else nullcontext()
        again = recomputed(cast(PreTrainedModel, model)) if self.is_recomputing else nullcontext()
        with reduced, joined, again:
            yield

    @property
    def is_recomputing(self) -> bool:
        return self.checkpointing and torch.is_grad_enabled()


PLAIN = Computing()


class TokenForward(NamedTuple):
    """Numbers of the response tokens, row by row: (num_tokens,), and hidden states (num_tokens, hidden_size)."""

    logprobs: Tensor
    hidden: Tensor
    entropy: Tensor
    """Zero where it is not wanted."""


class Entering(Protocol):
    """A context in which a pass over `width` tokens of some rows, from `starts` on, begins above the frozen layers."""

    def __call__(self, rows: Sequence[int], *, starts: Sequence[int], width: int) -> AbstractContextManager[None]: ...


def forward_tokens(
    model: PreTrainedModel,
    batch: PaddedBatch,
    *,
    temperature: float,
    computing: Computing = PLAIN,
    in_one_pass: bool = False,
    with_entropy: bool = True,
) -> TokenForward:
    """Log-probability, predicting hidden state and entropy of each response token, row by row, (num_tokens, ...).

    Where that saves enough, a prompt is computed once for all its responses; gradients of all of them flow
    through it.
    """
    tokens = batch.response_ids[batch.response_mask]
    head = find_linear_head(model)
    if head is not None:
        with replaced_head(model, nn.Identity()):
            (hidden,) = forward_trunk(model, batch, with_hidden=False, computing=computing, in_one_pass=in_one_pass)
        hidden = hidden.to(head.weight.dtype)  # float32 where only the layers' arithmetic is not
        logprobs, entropy = compute_token_logprobs(
            hidden, tokens, head=head, temperature=temperature, with_entropy=with_entropy
        )
        return TokenForward(logprobs, hidden.float(), entropy)
    with float32_head(model):
        logits, hidden = forward_trunk(model, batch, with_hidden=True, computing=computing, in_one_pass=in_one_pass)
    all_logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = all_logprobs.gather(1, tokens[:, None]).squeeze(1)
    entropy = (
        torch.special.entr(all_logprobs.detach().exp()).sum(dim=-1) if with_entropy else torch.zeros_like(logprobs)
    )
    return TokenForward(logprobs, hidden.float(), entropy.detach())


def compute_logprobs(
    model: PreTrainedModel, batch: PaddedBatch, *, temperature: float, computing: Computing = PLAIN
) -> Tensor:
    """(batch, response_len) log-probabilities of the response tokens, zero where the mask is False."""
    found = forward_tokens(model, batch, temperature=temperature, computing=computing, with_entropy=False)
    return at_mask(found.logprobs, batch.response_mask)


@torch.no_grad()
def compute_frozen(model: PreTrainedModel, batch: PaddedBatch, *, computing: Computing) -> list[Tensor]:
    """Each row's output of the layers below `computing.depth`: (len(prompt) + len(response), hidden_size)."""
    found: dict[int, Tensor] = {}
    head = find_linear_head(model)
    without = nullcontext() if head is None else replaced_head(model, nn.Identity())
    with without, computing._replace(checkpointing=False).applied(model):
        for rows in groups_of_like_length(_total_lengths(batch), max_tokens=prefill_tokens(batch.response_ids.device)):
            whole = _whole_ids(batch, rows)
            with left_at(model, depth=computing.depth) as reached:
                model(input_ids=whole.ids, use_cache=False)
            ends = (whole.starts + whole.lengths).tolist()
            # a copy of each: a view would keep the padding
            found |= {row: states[:end].clone() for row, states, end in zip(rows, reached(), ends, strict=True)}
    return [found[row] for row in range(len(batch.prompts))]


def forward_trunk(
    model: PreTrainedModel, batch: PaddedBatch, *, with_hidden: bool, computing: Computing, in_one_pass: bool = False
) -> list[Tensor]:
    """The model's logits for each response token, row by row, and where wanted its last hidden states."""
    lengths = batch.response_mask.sum(dim=1).tolist()
    enter = _entering(model, batch, computing)
    with computing.applied(model):
        if in_one_pass:
            pieces = [_forward_whole(model, batch, list(range(len(lengths))), enter, with_hidden=with_hidden)]
        # a cache of keys and values would be written again when layers are run again
        elif not computing.is_recomputing and _share_of_repeats(batch.prompts, lengths) >= WORTH_SHARING:
            states = run_prompts(
                model, batch.prompts, pad_id=batch.pad_id, with_hidden=with_hidden, enter=_of_prompts(batch, enter)
            )
            pieces = [_forward_responses(model, states, batch, rows, enter) for rows in groups_of_like_length(lengths)]
        else:
            most = prefill_tokens(batch.response_ids.device) // 4
            groups = groups_of_like_length(_total_lengths(batch), max_tokens=most)
            pieces = [_forward_whole(model, batch, rows, enter, with_hidden=with_hidden) for rows in groups]
    index, *outputs = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    order = index.argsort()
    return [output[order] for output in outputs]


def _entering(model: PreTrainedModel, batch: PaddedBatch, computing: Computing) -> Entering:
    """A function that makes passes begin above the frozen layers where the batch has their output."""
    frozen = batch.frozen

    def enter(rows: Sequence[int], *, starts: Sequence[int], width: int) -> AbstractContextManager[None]:
        if frozen is None or computing.depth == 0:
            return nullcontext()
        states = pad_sequence([frozen[row][at : at + width] for row, at in zip(rows, starts, strict=True)], True)
        states = pad(states, (0, 0, 0, width - states.shape[1]))
        return entered_at(model, states, depth=computing.depth)

    return enter


def _of_prompts(
    batch: PaddedBatch, enter: Entering
) -> Callable[[Sequence[tuple[int, ...]]], AbstractContextManager[None]]:
    """`enter` for a pass over prompts alone, each taken from the first row that has it."""
    row_of = {tuple(prompt): row for row, prompt in reversed(list(enumerate(batch.prompts)))}

    def enter_prompts(prompts: Sequence[tuple[int, ...]]) -> AbstractContextManager[None]:
        rows = [row_of[prompt] for prompt in prompts]
        return enter(rows, starts=[0] * len(rows), width=max(map(len, prompts)))

    return enter_prompts


def _total_lengths(batch: PaddedBatch) -> list[int]:
    lengths = batch.response_mask.sum(dim=1).tolist()
    return [len(prompt) + length for prompt, length in zip(batch.prompts, lengths, strict=True)]


def _share_of_repeats(prompts: Sequence[Sequence[int]], response_lengths: Sequence[int]) -> float:
    """The share of all tokens that computing each prompt once saves."""
    all_tokens = sum(map(len, prompts))
    repeated = all_tokens - sum(map(len, {tuple(prompt) for prompt in prompts}))
    return repeated / (all_tokens + sum(response_lengths))


class _Whole(NamedTuple):
    """Prompts and responses of some rows joined, padded on the right."""

    rows: Tensor
    ids: Tensor
    starts: Tensor
    """Where each row's response begins."""
    lengths: Tensor
    """Length of each row's response."""


def _whole_ids(batch: PaddedBatch, rows: list[int]) -> _Whole:
    device = batch.response_ids.device
    of_rows = torch.tensor(rows, device=device)
    starts = torch.tensor([len(batch.prompts[row]) for row in rows], device=device)
    lengths = batch.response_mask[of_rows].sum(dim=1)
    ids = torch.full((len(rows), int((starts + lengths).max())), batch.pad_id, device=device)
    for place, row in enumerate(rows):
        start, length = len(batch.prompts[row]), int(lengths[place])
        ids[place, :start] = torch.tensor(batch.prompts[row], device=device)
        ids[place, start : start + length] = batch.response_ids[row, :length]
    return _Whole(of_rows, ids, starts, lengths)


def _forward_whole(
    model: PreTrainedModel, batch: PaddedBatch, rows: list[int], enter: Entering, *, with_hidden: bool
) -> list[Tensor]:
    """What `_forward_responses` gives, by one pass over prompts and responses joined."""
    of_rows, ids, starts, lengths = _whole_ids(batch, rows)
    columns = torch.arange(ids.shape[1], device=ids.device)
    # The token before a response's first one predicts it, the last one predicts nothing.
    predicting = (columns >= starts[:, None] - 1) & (columns < (starts + lengths)[:, None] - 1)
    if batch.ends_unread:
        ids, predicting = ids[:, :-1], predicting[:, :-1]
    with enter(rows, starts=[0] * len(rows), width=ids.shape[1]):
        out = model(input_ids=ids, use_cache=False, output_hidden_states=with_hidden)
    outputs = [out.logits, out.hidden_states[-1]] if with_hidden else [out.logits]
    width = batch.response_mask.shape[1]
    mask = batch.response_mask[of_rows]
    index = (of_rows[:, None] * width + torch.arange(width, device=ids.device))[mask]
    return [index, *(output[predicting] for output in outputs)]


def _forward_responses(
    model: PreTrainedModel, states: PromptStates, batch: PaddedBatch, of_rows: list[int], enter: Entering
) -> list[Tensor]:
    """For the response tokens of some rows, their places in the batch and the model's output that predicts each.

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
        with enter(of_rows, starts=[len(batch.prompts[row]) for row in of_rows], width=width - 1):
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


def at_mask(values: Tensor, mask: Tensor) -> Tensor:
    """Put (num_tokens,) values at the True places of a (batch, response_len) mask, zeros elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
