"""Functions of a user that find and verify answers, and a tiny chat model of digits, for tests of what is verified."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlaif.models.weights.loading import LoadedModel, load_causal_lm

Chat = list[dict[str, str]]


def last_word(prompt: Chat, response: str) -> str | None:
    words = re.findall(r"\w+", response)
    return words[-1] if words else None


def three_digits(prompt: Chat, response: str) -> str | None:
    digits = response.replace(" ", "")
    return digits if len(digits) == 3 else None


def reverses(prompt: Chat, response: str, reference: str | None) -> bool:
    return response.replace(" ", "") == prompt[-1]["content"][::-1]


def broken(prompt: Chat, response: str) -> str:
    return response.split("answer: ")[1]


def lists(prompt: Chat, response: str) -> list[str]:
    return [response]


def halves(prompt: Chat, response: str, reference: str | None) -> float:
    return 0.5


def build_digit_model(folder: Path, *, seed: int) -> LoadedModel:
    """A small Llama with random weights whose tokens are digits."""
    special = ["<pad>", "<end>", "<user>", "<assistant>", "<unk>"]
    vocabulary = {token: number for number, token in enumerate([*special, *"0123456789"])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
    )  # fmt: skip
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ '<end>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=16, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    return load_causal_lm(str(folder), device="cpu")
