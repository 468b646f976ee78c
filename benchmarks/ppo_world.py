"""The world that PPO is timed in: a tiny Llama, a reward model of its size, and prompts of random tokens.

The same for both sides of benchmarks/ppo.py; needs torch and transformers alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

PAD, EOS, BOS, UNKNOWN = 0, 1, 2, 3
FIRST_WORD = 4
"""Tokens from here on are words: t4, t5, ..."""


class World(NamedTuple):
    """How large everything is. `mean_length` 0: responses are `response_length` tokens; else they end by chance."""

    layers: int = 4
    hidden: int = 128
    vocab: int = 1024
    prompt_length: int = 32
    response_length: int = 64
    mean_length: int = 0
    seed: int = 0

    @property
    def config(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab, "hidden_size": self.hidden, "intermediate_size": 4 * self.hidden,
            "num_hidden_layers": self.layers, "num_attention_heads": 4, "num_key_value_heads": 4,
            "max_position_embeddings": 1024, "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS,
            "tie_word_embeddings": True,
        }  # fmt: skip


def make_policy(world: World) -> LlamaForCausalLM:
    torch.manual_seed(world.seed)
    policy = LlamaForCausalLM(LlamaConfig(**world.config))
    if world.mean_length:
        weight = policy.lm_head.weight
        policy.lm_head = nn.Linear(world.hidden, world.vocab)
        policy.lm_head.weight = weight
        with torch.no_grad():
            policy.lm_head.bias.zero_()
            policy.lm_head.bias[EOS] = math.log((world.vocab - 1) / (world.mean_length - 1))
            policy.lm_head.bias[PAD] = -30
    return policy.eval()


def make_scorer(world: World, *, seed: int) -> LlamaForSequenceClassification:
    """A model with one number out: the reward, or the value model of a trainer that keeps one apart."""
    torch.manual_seed(world.seed + seed)
    return LlamaForSequenceClassification(LlamaConfig(**world.config, num_labels=1)).eval()


def make_prompts(world: World, *, num: int = 512) -> list[list[int]]:
    """Prompts of a quarter to the whole of `prompt_length` tokens."""
    generator = torch.Generator().manual_seed(world.seed + 1)
    lengths = torch.randint(max(4, world.prompt_length // 4), world.prompt_length + 1, (num,), generator=generator)
    return [torch.randint(FIRST_WORD, world.vocab, (int(n),), generator=generator).tolist() for n in lengths]


def count_reward(token_ids: list[int], *, world: World) -> float:
    """The reward that can be learnt: the share of the longest response's tokens that are words of the upper half."""
    return sum(token >= world.vocab // 2 for token in token_ids) / world.response_length
