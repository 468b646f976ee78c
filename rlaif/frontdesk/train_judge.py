"""Trains the judge: pairs of replies, each with six (principle, reason, verdict) blocks, in; weights out.

Verdicts are drawn from the truth plus the planted position and length effects: fallible on purpose.
Does not measure the judge (judge_quality.py) and does not write folders.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.frontdesk import truth
from rlaif.frontdesk.judge_text import (
    VERDICT_MARKER,
    VERDICTS,
    conversation_text,
    judge_prompt_text,
    reason_for,
    see_reply,
)
from rlaif.frontdesk.replies import break_reply, draw_levels, write_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.two_part import TwoPart, two_part_logits
from rlaif.frontdesk.wordings import draw_wording
from rlaif.frontdesk.world import Scene, draw_scene

PAIRS_PER_BATCH = 16
BLOCKS_PER_PAIR = 6
REASON_WEIGHT, VERDICT_WEIGHT, PREFIX_WEIGHT = 1.0, 2.0, 0.03
BROKEN_SHARE = 0.15
# At one half, pole and frame are an exclusive or and no step of the way to it is rewarded.
FORBIDDING_SHARE = 0.3
# More false answers than in the mixture: else copying the notice's value passes for reading the reply's.
ANSWERS = {"right": 0.33, "wrong": 0.57, "evade": 0.10}
_SLOT = "\0"


class Example(NamedTuple):
    """One pair: the shared prefix and, per block, (principle, reason and marker, verdict and end of turn)."""

    prefix: str
    blocks: list[tuple[str, str, str]]


def chat_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the chat template puts before and after the judge's user message."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": _SLOT}], tokenize=False, add_generation_prompt=True
    )
    before, after = str(text).split(_SLOT)
    return before, after


def _draw_judged_reply(scene: Scene, rng: random.Random) -> str:
    answer = rng.choices(list(ANSWERS), weights=list(ANSWERS.values()))[0]
    return write_reply(scene, draw_levels(rng)._replace(answer=answer), rng=rng)


def draw_example(rng: random.Random, *, frame: tuple[str, str], end: str) -> Example:
    """One pair from the mixture, some replies damaged, with six drawn principles and drawn verdicts."""
    scene = draw_scene(rng)
    messages = scene.messages()
    pair = [_draw_judged_reply(scene, rng) for _ in range(2)]
    first, second = (break_reply(text, rng=rng) if rng.random() < BROKEN_SHARE else text for text in pair)
    prompt = judge_prompt_text(conversation=conversation_text(messages), first=first, second=second, principle=_SLOT)
    prefix, after = prompt.split(_SLOT)
    seen = [see_reply(messages, text) for text in (first, second)]
    blocks = []
    for attribute in rng.sample(truth.ATTRIBUTES, BLOCKS_PER_PAIR):
        wording = draw_wording(
            rng, attribute=attribute, polarity=rng.choice((1, -1)), forbidding_share=FORBIDDING_SHARE
        )
        reason, gap = reason_for(seen[0], seen[1], wording=wording)
        logit = truth.planted_logit(gap, first=first, second=second)
        is_first = rng.random() < torch.sigmoid(torch.tensor(logit)).item()
        verdict = VERDICTS[0] if is_first else VERDICTS[1]
        blocks.append((wording.text + after + frame[1], reason + VERDICT_MARKER, verdict + end))
    return Example(frame[0] + prefix, blocks)


class Batch(NamedTuple):
    """Tokens of prefixes and blocks, and the loss weight of every block token (0 on principles and padding)."""

    tokens: TwoPart
    block_weights: Tensor  # (pairs * blocks, block_len)
    is_verdict: Tensor  # the same shape, True on the token " A" or " B"


def _pad(rows: list[list[int]], fill: int) -> Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])


def collate(examples: list[Example], *, tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Tokenise each segment by itself, as in use, and lay out prefixes and blocks."""
    texts = [text for e in examples for text in (e.prefix, *(part for block in e.blocks for part in block))]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    pad = int(tokenizer.pad_token_id or 0)
    prefixes: list[list[int]] = []
    blocks: list[list[int]] = []
    kinds: list[list[int]] = []  # 0: principle or padding, 1: reason, 2: verdict, 3: end of turn
    for example in examples:
        prefixes.append(next(encoded))
        for _ in example.blocks:
            principle, reason, verdict = next(encoded), next(encoded), next(encoded)
            blocks.append([*principle, *reason, *verdict])
            kinds.append([0] * len(principle) + [1] * len(reason) + [2] + [3] * (len(verdict) - 1))
    kind = _pad(kinds, 0)
    weights = torch.tensor([0.0, REASON_WEIGHT, VERDICT_WEIGHT, VERDICT_WEIGHT])[kind]
    lengths = torch.tensor([len(row) for row in prefixes])
    return Batch(TwoPart(_pad(prefixes, pad), lengths, _pad(blocks, pad)), weights, kind == 2)


class Losses(NamedTuple):
    """The training loss and the mean losses of its parts."""

    total: Tensor
    parts: Tensor  # prefix, reason, verdict; detached


def _next_token_losses(logits: Tensor, ids: Tensor) -> Tensor:
    flat = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return flat.view(ids.shape[0], -1)


def compute_losses(model: LlamaForCausalLM, batch: Batch) -> Losses:
    """Weighted mean of the next-token losses; a block's first token carries none."""
    tokens = batch.tokens
    prefix_logits, block_logits = two_part_logits(model, tokens)
    prefix = _next_token_losses(prefix_logits, tokens.prefix)
    block = _next_token_losses(block_logits, tokens.block)
    is_prefix = torch.arange(1, tokens.prefix.shape[1])[None] < tokens.prefix_lengths[:, None]
    weights = batch.block_weights[:, 1:]
    total = PREFIX_WEIGHT * (prefix * is_prefix).sum() + (block * weights).sum()
    total = total / (PREFIX_WEIGHT * is_prefix.sum() + weights.sum())
    kinds = (prefix[is_prefix], block[weights == REASON_WEIGHT], block[batch.is_verdict[:, 1:]])
    return Losses(total, torch.stack([losses.mean() for losses in kinds]).detach())


def train_judge(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    num_steps: int,
    report_every: int,
    report: Callable[[int, str], None],
) -> None:
    """Train in place for a fixed number of steps; report is called with the step and a line of losses."""
    rng = random.Random(f"frontdesk judge {seed}")
    frame = chat_frame(tokenizer)
    schedule = Schedule(model, num_steps=num_steps)
    sums = torch.zeros(3)
    for step in range(1, num_steps + 1):
        examples = [draw_example(rng, frame=frame, end=str(tokenizer.eos_token)) for _ in range(PAIRS_PER_BATCH)]
        batch = collate(examples, tokenizer=tokenizer)
        losses = compute_losses(model, batch)
        schedule.step(losses.total)
        sums += losses.parts
        if step % report_every == 0 or step == num_steps:
            means = [f"{value / report_every:.3f}" for value in sums.tolist()]
            report(step, f"prefix {means[0]} reason {means[1]} verdict {means[2]}")
            sums.zero_()
