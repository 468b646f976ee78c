"""Token ids of prompts -> sampled token ids, their log-probabilities, and choices read after a marker.

One batched decoder with a KV cache for the policy, the sampler and the judge. Every row draws from its
own uniforms, so what it samples does not depend on the batch it is in. Knows no text, no chat, no reward.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlaif.errors import ModelError
from rlaif.models.local.branches import Branches, branch_prompts, branch_tree
from rlaif.models.local.kv_cache import run_prompts
from rlaif.models.local.linear_head import extra_column
from rlaif.models.local.prefix_tree import build_tree
from rlaif.models.local.share_check import can_share
from rlaif.models.local.tree_pass import run_tree
from rlaif.models.replies.verdict_watch import WatchedReply

BLOCK = 512
"""Tokens whose probabilities are added up first, before one of them is searched for."""


class Decoded(NamedTuple):
    """The output of `decode` for each prompt, in the order of the prompts."""

    token_ids: list[list[int]]
    """New tokens, with the stop token where one was drawn."""
    logprobs: list[list[float]]
    """Log-probability of each new token under the temperature, before any nucleus is cut."""
    finished: list[bool]
    """True where a stop token or a verdict ended the row, False where it ran out of tokens."""
    marked: list[bool]
    """True where a marker came with a choice after it; for every row where choices are read and nothing is written."""
    choice_logprobs: Tensor
    """(batch, num_choices) untempered log-probabilities after the marker; NaN where no marker came with a choice."""
    values: list[list[float]]
    """The value head's output for the state before each new token; empty rows without a value head."""
    entropies: list[list[float]]
    """Entropy of the distribution that each new token was drawn from, in nats; only with a value head."""

    def and_then(self, more: Decoded) -> Decoded:
        """This part of a batch followed by another."""
        return Decoded(
            token_ids=self.token_ids + more.token_ids,
            logprobs=self.logprobs + more.logprobs,
            finished=self.finished + more.finished,
            marked=self.marked + more.marked,
            choice_logprobs=torch.cat([self.choice_logprobs, more.choice_logprobs]),
            values=self.values + more.values,
            entropies=self.entropies + more.entropies,
        )


def row_uniforms(keys: Sequence[tuple[int, ...]], length: int) -> Tensor:
    """(len(keys), length) uniforms in [0, 1) of 53 bits, each row a function of its key alone.

    Counter-based (Philox, Salmon et al. 2011): a longer row begins with the shorter one. The first 24 bits of a
    uniform come from the key's first 2^64 counters and the other 29 from the next ones.
    """
    rows = np.empty((len(keys), length))
    first, more = np.empty(length, dtype=np.float32), np.empty(length)
    for row, key in zip(rows, keys, strict=True):
        digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
        bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
        generator = np.random.Generator(bits)
        generator.random(dtype=np.float32, out=first)
        bits.advance((1 << 64) - -(-length // 8))  # a counter gives eight numbers of 32 bits
        generator.random(out=more)
        row[:] = first + np.floor(more * 2.0**29) * 2.0**-53
    return torch.from_numpy(rows)


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    uniforms: Tensor | None,
    stop_ids: Sequence[int],
    pad_id: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    marker: str | None = None,
    piece: Callable[[int], str] | None = None,
    choice_ids: Sequence[int] = (),
    value_head: nn.Module | None = None,
) -> Decoded:
    """Continue each prompt until a stop token, a verdict, or `max_new_tokens`.

    model: a causal language model in eval mode. prompts: token ids, none empty.
    uniforms: (batch, >= max_new_tokens) in [0, 1), one per token to draw; None decodes greedily.
    marker: for greedy rows. A row is over once the text of its new tokens, the joined `piece`s, holds a verdict by
    the grammar of verdict_text.py. Its tokens then end with the marker, and the log-probabilities of `choice_ids` are
    those of the next position. With `max_new_tokens` 0 they are read right after the prompts, in one forward pass.
    value_head: reads a number from the hidden state before each new token; the model's logits must be a linear
    layer's output (`find_linear_head`).
    """
    if not prompts or not all(prompts):
        raise ValueError("decode needs at least one prompt, and no empty one")
    if marker is not None and (piece is None or not choice_ids or uniforms is not None):
        raise ValueError("a marker needs `piece`, the text of a token, and choices; its rows are greedy")
    if uniforms is not None and (uniforms.shape[0] != len(prompts) or uniforms.shape[1] < max_new_tokens):
        raise ValueError(f"uniforms {tuple(uniforms.shape)} for {len(prompts)} rows of {max_new_tokens} tokens")
    watched = None
    if marker is not None and piece is not None and max_new_tokens:
        watched = [
            WatchedReply(
                marker=marker, choice_ids=choice_ids, piece=piece, stop_ids=stop_ids, max_new_tokens=max_new_tokens
            )
            for _ in prompts
        ]
    rows = _Rows(len(prompts), max_new_tokens, stop_ids, watched, choice_ids)
    # Tokens fed after the longest reply: a choice, to see what the judge writes after it.
    more = watched[0].tokens_behind - 1 if watched else 0
    with extra_column(model, value_head) if value_head is not None else nullcontext():
        logits, branches = _run_prompts(model, prompts, pad_id=pad_id, steps=max_new_tokens, more=more)
        live = np.arange(len(prompts))
        draws = None if uniforms is None else uniforms.to(_place_of_doubles(logits))
        for step in range(max_new_tokens + 1 + more):
            values = None
            if value_head is not None:
                logits, values = logits[:, :-1], logits[:, -1]
            rows.read_choices(live.tolist(), logits)
            if branches is None or not rows.needing_a_token().any():
                break
            drawn = None if draws is None else draws[torch.from_numpy(live).to(draws.device), step]
            tokens, *numbers = _draw(logits, drawn, temperature=temperature, top_p=top_p, values=values)
            rows.append(live.tolist(), tokens.tolist(), *(number.tolist() for number in numbers))
            alive = rows.needing_logits()[live]
            if not alive.any():
                break
            if not alive.all():
                live, tokens = live[alive], tokens[torch.from_numpy(alive).to(tokens.device)]
                branches.keep(alive)
            logits = branches.step(model, tokens)
    return rows.decoded()


def _run_prompts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, pad_id: int, steps: int, more: int
) -> tuple[Tensor, Branches | None]:
    """Logits after each prompt, and the rows to continue, which are None where nothing is to be written.

    Rows are packed for `steps` tokens and have room for `more` beyond them.
    """
    if not can_share(model, longest=max(map(len, prompts)) + steps + more, pad_id=pad_id):
        alone = run_prompts(model, prompts, pad_id=pad_id)
        return alone.logits[alone.places], branch_prompts(alone, steps=steps + more) if steps else None
    tree = build_tree(prompts)
    states = run_tree(model, tree, pad_id=pad_id, with_leaves=steps > 0)
    logits = states.logits[[states.row_of[leaf] for leaf in tree.leaves]]
    return logits, branch_tree(states, steps=steps, more=more) if steps else None


class _Rows:
    """What has been decoded so far, and what each row still needs. Plain Python, row by row."""

    def __init__(
        self,
        num_rows: int,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        watched: Sequence[WatchedReply] | None,
        choice_ids: Sequence[int],
    ) -> None:
        self.token_ids: list[list[int]] = [[] for _ in range(num_rows)]
        self.logprobs: list[list[float]] = [[] for _ in range(num_rows)]
        self.values: list[list[float]] = [[] for _ in range(num_rows)]
        self.entropies: list[list[float]] = [[] for _ in range(num_rows)]
        self.finished = np.zeros(num_rows, dtype=bool)
        self.choice_logprobs = torch.full((num_rows, len(choice_ids)), torch.nan)
        self._max_new_tokens = max_new_tokens
        self._stop_ids = frozenset(stop_ids)
        self._watched = watched
        self._choice_ids = list(choice_ids)
        self._read_at = [0] * num_rows
        """How many tokens each row had when its choices were read."""
        self._over = np.full(num_rows, max_new_tokens == 0)
        # A row at a marker has its choices read from the logits of the next forward pass.
        self._to_read = np.full(num_rows, bool(choice_ids) and max_new_tokens == 0)
        self.marked = self._to_read.copy()

    def decoded(self) -> Decoded:
        for row, reply in enumerate(self._watched or ()):
            place = reply.choice_place()
            if place is not None and place == self._read_at[row]:
                self.finished[row] = self.marked[row] = True
                del self.token_ids[row][place:], self.logprobs[row][place:]
            else:
                self.choice_logprobs[row] = torch.nan
        finished, marked = self.finished.tolist(), self.marked.tolist()
        return Decoded(
            self.token_ids, self.logprobs, finished, marked, self.choice_logprobs,
            values=self.values, entropies=self.entropies,
        )  # fmt: skip

    def needing_a_token(self) -> NDArray[np.bool_]:
        needing: NDArray[np.bool_] = ~self._over
        return needing

    def needing_logits(self) -> NDArray[np.bool_]:
        needing: NDArray[np.bool_] = ~self._over | self._to_read
        return needing

    def read_choices(self, live: list[int], logits: Tensor) -> None:
        """Read the choices of the rows that are at a marker; logits: (live, vocab)."""
        at = [index for index, row in enumerate(live) if self._to_read[row]]
        if not at:
            return
        logprobs = torch.log_softmax(logits[at].float(), dim=-1)[:, self._choice_ids].cpu()
        rows = [live[index] for index in at]
        self.choice_logprobs[rows] = logprobs
        self._to_read[rows] = False
        for row in rows:
            self._read_at[row] = len(self.token_ids[row])

    def append(self, live: list[int], tokens: list[int], *numbers: list[float]) -> None:
        """Append a token to each row, with its numbers: log-probability, then value and entropy where there are any."""
        kept = (self.logprobs, self.values, self.entropies)[: len(numbers)]
        for place, (row, token) in enumerate(zip(live, tokens, strict=True)):
            if self._over[row]:
                continue
            ids = self.token_ids[row]
            ids.append(token)
            for of_rows, number in zip(kept, numbers, strict=True):
                of_rows[row].append(number[place])
            if self._watched is not None:
                reply = self._watched[row]
                reply.append(token)
                self.finished[row], self._to_read[row], self._over[row] = (
                    reply.is_finished,
                    reply.is_at_choice,
                    reply.is_over,
                )
            else:
                self.finished[row] = token in self._stop_ids
                self._over[row] = self.finished[row] or len(ids) == self._max_new_tokens


def _draw(
    logits: Tensor, uniforms: Tensor | None, *, temperature: float, top_p: float, values: Tensor | None = None
) -> tuple[Tensor, ...]:
    """One token per row by inverse CDF (greedily without uniforms) and its tempered log-probability.

    logits: (rows, vocab); uniforms: (rows,). Where values, (rows,), are given, they are returned too, and the entropy.
    """
    tempered = logits.float() / temperature
    logprobs = torch.log_softmax(tempered, dim=-1)
    if uniforms is None:
        tokens = logprobs.argmax(dim=-1)
    else:
        probs = torch.softmax(tempered, dim=-1)
        tokens = _invert_cdf(_cut_to_nucleus(probs, top_p) if top_p < 1.0 else probs, uniforms)
    of_tokens = logprobs.gather(1, tokens[:, None]).squeeze(1)
    if values is None:
        return tokens, of_tokens
    return tokens, of_tokens, values, torch.special.entr(logprobs.exp()).sum(dim=-1)


def _invert_cdf(probs: Tensor, uniforms: Tensor) -> Tensor:
    """(rows,) the token of each row whose share of the total probability holds the uniform.

    Sums are float64: in float32 a token rarer than 6e-8 has no share beside one that is nearly certain. In a large
    vocabulary a block of tokens is found first and then the token in it, which is faster than sums over all tokens.
    """
    size = probs.shape[1]
    if size <= 2 * BLOCK:
        return torch.searchsorted(*_sums_and_targets(probs, uniforms), right=True).squeeze(1).to(probs.device)
    whole = size // BLOCK * BLOCK
    blocks = torch.cat(
        [probs[:, :whole].reshape(len(probs), -1, BLOCK).sum(dim=-1), probs[:, whole:].sum(1, True)], dim=1
    )
    cdf, target = _sums_and_targets(blocks, uniforms)
    block = torch.searchsorted(cdf, target, right=True)
    end, weight = cdf.gather(1, block), _as_doubles(blocks).gather(1, block)
    places = block.to(probs.device) * BLOCK + torch.arange(BLOCK, device=probs.device)
    inside = probs.gather(1, places.clamp(max=size - 1)).masked_fill(places >= size, 0.0)
    within = ((target - end + weight) / weight).clamp(0, 1).squeeze(1)
    token = torch.searchsorted(*_sums_and_targets(inside, within), right=True)
    return places.gather(1, token.to(probs.device)).squeeze(1)


def _sums_and_targets(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative sums of each row's weights, and the sum that its uniform picks, (rows, 1), in float64."""
    cdf = _as_doubles(weights).cumsum(dim=-1)
    total = cdf[:, -1:]
    if not torch.isfinite(total).all():
        raise ModelError(
            "the model's next-token probabilities are not numbers",
            fix="look at its weights, and at the learning rate that made them",
        )
    # subtle: u * total may round up to total, past the last weight that is not zero
    return cdf, torch.minimum(uniforms.to(cdf)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))


def _as_doubles(x: Tensor) -> Tensor:
    return x.to(_place_of_doubles(x), torch.float64)


def _place_of_doubles(x: Tensor) -> torch.device:
    """A device that computes in float64; Apple's GPUs do not."""
    return torch.device("cpu") if x.device.type == "mps" else x.device


def _cut_to_nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of most likely tokens that holds `top_p` (Holtzman et al. 2020)."""
    ordered, index = probs.sort(dim=-1, descending=True, stable=True)
    # float32 sums are too coarse to find the border, but good enough to tell what lies well beyond it
    near = int((ordered.cumsum(dim=-1) - ordered < top_p + 1e-3).sum(dim=-1).max())
    doubles = _as_doubles(ordered[:, :near])
    # subtle: float32 probabilities add up to 1 only within 2e-5, and how nearly differs from one machine to another
    border = top_p * (doubles.sum(dim=-1) + _as_doubles(ordered[:, near:].sum(dim=-1)))[:, None]
    outside = torch.ones_like(ordered, dtype=torch.bool)
    outside[:, :near] = (doubles.cumsum(dim=-1) - doubles >= border).to(outside.device)
    return probs.scatter(1, index, ordered.masked_fill(outside, 0.0))
