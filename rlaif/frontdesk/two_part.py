"""The judge's training forward pass: one prefix and several blocks behind it, each seeing the prefix and itself.

Token batches in, logits out, equal to the plain model's on prefix + block alone. The prefix is computed once for all
its blocks, which makes training on a CPU fast. Does not compute losses; use and measurement run the plain model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, apply_rotary_pos_emb


class TwoPart(NamedTuple):
    """prefix (pairs, prefix_len) and block (pairs * blocks, block_len), both padded on the right.

    prefix_lengths: (pairs,). Block b belongs to pair b // (blocks per pair).
    """

    prefix: Tensor
    prefix_lengths: Tensor
    block: Tensor


def _project(attention: LlamaAttention, hidden: Tensor, place: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Queries, keys and values, (rows, heads, length, head width), the first two rotated to their positions."""
    rows, length, _ = hidden.shape
    q, k, v = (
        linear(hidden).view(rows, length, -1, attention.head_dim).transpose(1, 2)
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q, k = apply_rotary_pos_emb(q, k, *place)
    return [q, k, v]


def _merge(attention: LlamaAttention, mixed: Tensor) -> Tensor:
    out: Tensor = attention.o_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _block_mask(batch: TwoPart, per_pair: int) -> Tensor:
    """(pairs * blocks, 1, block_len, prefix_len + block_len), additive: 0 where attention is allowed."""
    block_len, prefix_len = batch.block.shape[1], batch.prefix.shape[1]
    real = torch.arange(prefix_len)[None] < batch.prefix_lengths[:, None]
    real = real.repeat_interleave(per_pair, 0)[:, None].expand(-1, block_len, -1)
    causal = torch.ones(block_len, block_len, dtype=torch.bool).tril().expand(real.shape[0], -1, -1)
    allowed = torch.cat([real, causal], dim=2)
    return torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]


def two_part_logits(model: LlamaForCausalLM, batch: TwoPart) -> tuple[Tensor, Tensor]:
    """(logits of the prefix, logits of the blocks), shaped as their tokens with the vocabulary last."""
    trunk = model.model
    per_pair = batch.block.shape[0] // batch.prefix.shape[0]
    prefix, block = trunk.embed_tokens(batch.prefix), trunk.embed_tokens(batch.block)
    starts = batch.prefix_lengths.repeat_interleave(per_pair, 0)[:, None]
    prefix_place = trunk.rotary_emb(prefix, torch.arange(batch.prefix.shape[1])[None])
    block_place = trunk.rotary_emb(block, starts + torch.arange(batch.block.shape[1])[None])
    mask = _block_mask(batch, per_pair)
    for layer in trunk.layers:
        attention = layer.self_attn
        q, k, v = _project(attention, layer.input_layernorm(prefix), prefix_place)
        block_q, block_k, block_v = _project(attention, layer.input_layernorm(block), block_place)
        prefix = prefix + _merge(attention, scaled_dot_product_attention(q, k, v, is_causal=True))
        keys = torch.cat([k.repeat_interleave(per_pair, 0), block_k], dim=2)
        values = torch.cat([v.repeat_interleave(per_pair, 0), block_v], dim=2)
        block = block + _merge(attention, scaled_dot_product_attention(block_q, keys, values, attn_mask=mask))
        prefix = prefix + layer.mlp(layer.post_attention_layernorm(prefix))
        block = block + layer.mlp(layer.post_attention_layernorm(block))
    return model.lm_head(trunk.norm(prefix)), model.lm_head(trunk.norm(block))
