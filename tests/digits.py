"""A toy language for tests of methods: prompts are digits, and the right answer is the digits reversed.

A tokenizer of single characters, a small Llama from scratch that reverses now and then, and the share of right digits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.policy.methods.irft import sum_logprobs
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.records import Message, Prompt

PAD, UNK, END, USER, ASSISTANT = "<|pad|>", "<|unk|>", "<|end|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def draw_digits(generator: random.Random, length: int) -> str:
    return "".join(generator.choice("0123456789") for _ in range(length))


def ask(digits: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=digits),))


def reward(prompt: Prompt, response: str) -> float:
    """Share of the digits that are right, 0 where the number of them is wrong."""
    right = prompt.messages[-1].content[::-1]
    if len(response) != len(right):
        return 0.0
    return sum(a == b for a, b in zip(right, response, strict=True)) / len(right)


def corrupt(answer: str, number: int, generator: random.Random) -> str:
    """The answer with so many of its digits changed."""
    digits = list(answer)
    for place in generator.sample(range(len(digits)), number):
        digits[place] = generator.choice([one for one in "0123456789" if one != digits[place]])
    return "".join(digits)


def build_base(folder: Path, *, length: int, reversed_share: float, num_steps: int, seed: int = 0) -> LoadedModel:
    """A model that reverses with this share and copies otherwise, with some wrong digits."""
    vocabulary = {token: n for n, token in enumerate([PAD, UNK, END, USER, ASSISTANT, *"0123456789", "\n", *"ABC"])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, unk_token=UNK, eos_token=END,
        additional_special_tokens=[USER, ASSISTANT], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64, pad_token_id=0, eos_token_id=2, bos_token_id=None,
            tie_word_embeddings=False,
        )
    )  # fmt: skip
    generator, optimizer = random.Random(seed), torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1 - step / num_steps)
        batch = []
        for _ in range(128):
            digits = draw_digits(generator, length)
            answer = digits[::-1] if generator.random() < reversed_share else digits
            batch.append(_encode(digits, answer, vocabulary))
        loss = -sum_logprobs(model, batch, pad_id=0).sum() / (128 * (length + 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_causal_lm(str(folder), device="cpu")


def _encode(digits: str, answer: str, vocabulary: dict[str, int]) -> TokenSequence:
    def ids(tokens: Sequence[str]) -> list[int]:
        return [vocabulary[token] for token in tokens]

    return TokenSequence(ids([USER, *digits, END, ASSISTANT]), ids([*answer, END]))
