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
)
from rlaif.frontdesk.replies import break_reply, draw_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.wordings import draw_wording
from rlaif.frontdesk.world import draw_scene

PAIRS_PER_BATCH = 16
BLOCKS_PER_PAIR = 6
REASON_WEIGHT, VERDICT_WEIGHT, PREFIX_WEIGHT = 1.0, 2.0, 0.03
BROKEN_SHARE = 0.15
# At one half, pole and frame are an exclusive or and no step of the way to it is rewarded.
FORBIDDING_SHARE = 0.3
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


def draw_example(rng: random.Random, *, frame: tuple[str, str], end: str) -> Example:
    """One pair from the mixture, some replies damaged, with six drawn principles and drawn verdicts."""
    scene = draw_scene(rng)
    messages = scene.messages()
    pair = [draw_reply(scene, rng=rng) for _ in range(2)]
    first, second = (break_reply(text, rng=rng) if rng.random() < BROKEN_SHARE else text for text in pair)
    prompt = judge_prompt_text(
        conversation=conversation_text(messages), first=first, second=second, principle=_SLOT
    )
    prefix, after = prompt.split(_SLOT)
    attributes = [truth.measure_attributes(messages, text) for text in (first, second)]
    blocks = []
    for attribute in rng.sample(truth.ATTRIBUTES, BLOCKS_PER_PAIR):
        wording = draw_wording(
            rng, attribute=attribute, polarity=rng.choice((1, -1)), forbidding_share=FORBIDDING_SHARE
        )
        reason, gap = reason_for(attributes[0], attributes[1], wording=wording)
        logit = truth.planted_logit(gap, first=first, second=second)
        is_first = rng.random() < torch.sigmoid(torch.tensor(logit)).item()
        verdict = VERDICTS[0] if is_first else VERDICTS[1]
        blocks.append((wording.text + after + frame[1], reason + VERDICT_MARKER, verdict + end))
    return Example(frame[0] + prefix, blocks)


class Batch(NamedTuple):
    """Token tensors (batch, length); mask (batch, 1, length, length) is True where attention is allowed."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    weights: Tensor  # loss weight of predicting the token at this place
    is_verdict: Tensor


def collate(examples: list[Example], *, tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Lay each example out as prefix + blocks; a block sees the prefix and itself, never another block."""
    texts = [text for e in examples for text in (e.prefix, *(part for block in e.blocks for part in block))]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = []
    for example in examples:
        prefix = next(encoded)
        row = [(token, place, 0, PREFIX_WEIGHT, False) for place, token in enumerate(prefix)]
        for number in range(1, len(example.blocks) + 1):
            place = len(prefix)
            for part, weight in zip(range(3), (PREFIX_WEIGHT, REASON_WEIGHT, VERDICT_WEIGHT), strict=True):
                for offset, token in enumerate(next(encoded)):
                    row.append((token, place, number, weight, part == 2 and offset == 0))
                    place += 1
        rows.append(row)
    length = max(len(row) for row in rows)
    ids, positions, group = (torch.zeros(len(rows), length, dtype=torch.long) for _ in range(3))
    weights = torch.zeros(len(rows), length)
    is_verdict = torch.zeros(len(rows), length, dtype=torch.bool)
    group -= 1
    for index, row in enumerate(rows):
        columns = list(zip(*row, strict=True))
        size = len(row)
        ids[index, :size] = torch.tensor(columns[0])
        positions[index, :size] = torch.tensor(columns[1])
        group[index, :size] = torch.tensor(columns[2])
        weights[index, :size] = torch.tensor(columns[3])
        is_verdict[index, :size] = torch.tensor(columns[4])
    keys, queries = group[:, None, :], group[:, :, None]
    allowed = ((keys == 0) | (keys == queries)) & torch.ones(length, length, dtype=torch.bool).tril()
    return Batch(ids, positions, allowed[:, None], weights, is_verdict)


def token_losses(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """(losses, logits) of predicting each token from its own predecessor in the block or prefix.

    The predecessor of a block's first token is the prefix's last, so those few tokens carry no loss.
    """
    bias = torch.zeros(batch.mask.shape).masked_fill(~batch.mask, torch.finfo(torch.float32).min)
    logits = model(
        input_ids=batch.ids, attention_mask=bias, position_ids=batch.positions, use_cache=False
    ).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    ).view(batch.ids.shape[0], -1)
    follows = batch.positions[:, 1:] == batch.positions[:, :-1] + 1
    return losses * follows, logits


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
        examples = [
            draw_example(rng, frame=frame, end=str(tokenizer.eos_token)) for _ in range(PAIRS_PER_BATCH)
        ]
        batch = collate(examples, tokenizer=tokenizer)
        losses, _ = token_losses(model, batch)
        weights = batch.weights[:, 1:]
        schedule.step((losses * weights).sum() / weights.sum())
        reason, verdict = weights == REASON_WEIGHT, batch.is_verdict[:, 1:]
        prefix = weights == PREFIX_WEIGHT
        sums += torch.stack([losses[kind].mean() for kind in (prefix, reason, verdict)]).detach()
        if step % report_every == 0 or step == num_steps:
            means = [f"{value / report_every:.3f}" for value in sums.tolist()]
            report(step, f"prefix {means[0]} reason {means[1]} verdict {means[2]}")
            sums.zero_()
