"""Batched decoding for measuring the shipped models: sampled replies, and verdicts with their reasons.

A model, a tokenizer and texts in; texts and verdict logits out. One key-value cache per batch, left padding.
Serves the front desk's own benchmark and tests; the pipeline samples and judges through rlaif.models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from rlaif.frontdesk.judge_text import VERDICT_MARKER, VERDICTS, conversation_text, judge_prompt_text
from rlaif.frontdesk.world import Message, Messages

Pick = Callable[[Tensor], Tensor]


class Reply(NamedTuple):
    """One sampled reply; ended is False when it ran into the token limit."""

    text: str
    ended: bool


class PairQuestion(NamedTuple):
    """One question to the judge: two replies in the order shown, under one principle."""

    messages: Messages
    first: str
    second: str
    principle: str


class Answer(NamedTuple):
    """The judge's own reason and the logit of " A" against " B"; None when it never reached a verdict."""

    reason: str
    logit: float | None


@torch.no_grad()
def _decode(
    model: PreTrainedModel, ids: list[list[int]], *, pad: int, max_new: int, pick: Pick, stop: list[int]
) -> tuple[list[list[int]], Tensor]:
    """(new tokens per row, the logits after the row's stop sequence); rows stop at `stop` or at max_new."""
    width = max(len(row) for row in ids)
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    cache = DynamicCache()
    new: list[list[int]] = [[] for _ in ids]
    done = [False] * len(ids)
    after_stop = torch.full((len(ids), model.config.vocab_size), float("nan"))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    for _ in range(max_new + 1):
        logits = model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        for row, tail in enumerate(new):
            if not done[row] and tail[-len(stop) :] == stop:
                done[row] = True
                after_stop[row] = logits[row]
        if all(done):
            break
        tokens = pick(logits)[:, None]
        for row, token in enumerate(tokens[:, 0].tolist()):
            if not done[row]:
                new[row].append(token)
        mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return new, after_stop


def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    seed: int,
    max_new: int = 64,
    batch_size: int = 128,
) -> list[Reply]:
    """One reply per prompt at temperature 1."""
    generator = torch.Generator().manual_seed(seed)

    def pick(logits: Tensor) -> Tensor:
        return torch.multinomial(logits.float().softmax(-1), 1, generator=generator)[:, 0]

    end = int(tokenizer.eos_token_id)
    replies = []
    for start in range(0, len(prompts), batch_size):
        texts = [
            str(tokenizer.apply_chat_template(list(p), tokenize=False, add_generation_prompt=True))
            for p in prompts[start : start + batch_size]
        ]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        rows, _ = _decode(model, ids, pad=int(tokenizer.pad_token_id), max_new=max_new, pick=pick, stop=[end])
        replies += [Reply(str(tokenizer.decode(row, skip_special_tokens=True)), row[-1] == end) for row in rows]
    return replies


def _judge_input(tokenizer: PreTrainedTokenizerBase, question: PairQuestion) -> str:
    prompt = judge_prompt_text(
        conversation=conversation_text(question.messages),
        first=question.first,
        second=question.second,
        principle=question.principle,
    )
    messages = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def judge_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[PairQuestion],
    *,
    max_new: int = 48,
    batch_size: int = 128,
) -> list[Answer]:
    """The judge's greedy reason and its verdict logit for every question, in the order given."""
    first, second = (tokenizer.encode(text, add_special_tokens=False)[0] for text in VERDICTS)
    marker = tokenizer.encode(VERDICT_MARKER, add_special_tokens=False)
    texts = [_judge_input(tokenizer, question) for question in questions]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        chunk = order[start : start + batch_size]
        rows, logits = _decode(
            model, [ids[i] for i in chunk], pad=int(tokenizer.pad_token_id), max_new=max_new,
            pick=lambda step: step.argmax(-1), stop=marker,
        )  # fmt: skip
        for index, row, final in zip(chunk, rows, logits, strict=True):
            margin = float(final[first] - final[second])
            reason = str(tokenizer.decode(row, skip_special_tokens=True)).removesuffix(VERDICT_MARKER)
            answers[index] = Answer(reason, None if margin != margin else margin)
    return [answers[index] for index in range(len(ids))]
