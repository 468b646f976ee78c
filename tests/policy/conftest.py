"""Worlds for the trainer's tests: an enumerable one whose best policy is known, and a tiny Llama."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from exact_world import TabularForCausalLM, World
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.records import Message, Prompt


@pytest.fixture
def make_world() -> Callable[..., World]:
    return World


@pytest.fixture
def tabular_class() -> type[TabularForCausalLM]:
    return TabularForCausalLM


class LetterEncoder:
    """a, b, c, ... are the tokens 0, 1, 2, ...; the last two of the vocabulary are pad and stop."""

    def __init__(self, vocab_size: int = 16) -> None:
        self.pad_token_id = vocab_size - 2
        self.stop_token_ids = (vocab_size - 1,)

    def encode(self, chat: Any) -> list[int]:
        return [ord(letter) - ord("a") for message in chat for letter in message.text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + i) for i in ids if i < self.pad_token_id)


@pytest.fixture
def letter_encoder() -> LetterEncoder:
    return LetterEncoder()


@pytest.fixture
def letter_prompts() -> list[Prompt]:
    words = ["ab", "bad", "cab", "deaf", "face", "badge", "hi", "jade", "cafe", "beg", "head", "dig"]
    return [Prompt(messages=(Message(role="user", content=word),)) for word in words]


@pytest.fixture
def make_llama() -> Callable[..., LlamaForCausalLM]:
    def make(*, seed: int = 0, sharpness: float = 1.0, **options: Any) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        config = LlamaConfig(**{
            "vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 64, **options,
        })  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        model.lm_head.weight.data *= sharpness
        return model

    return make
