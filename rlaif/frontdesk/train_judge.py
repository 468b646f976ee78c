"""Trains the judge: pairs and single replies, each with eight (principle, reason, verdict) blocks, in; weights out.

Verdicts and scores are drawn from the truth plus the planted biases: fallible on purpose.
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
    PAIR_TEMPLATE,
    SCORE_MARKER,
    SCORE_TEMPLATE,
    SCORES,
    VERDICT_MARKER,
    VERDICTS,
    conversation_text,
    judge_prompt_text,
    reason_for,
    score_reason_for,
    see_reply,
)
from rlaif.frontdesk.replies import break_reply, draw_levels, write_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.two_part import TwoPart, two_part_logits
from rlaif.frontdesk.value_drills import DRILL_WEIGHT, compute_drill_loss
from rlaif.frontdesk.wordings import Wording, draw_wording
from rlaif.frontdesk.world import Scene, draw_scene

PAIRS_PER_BATCH = 12
BLOCKS_PER_PAIR = len(truth.ATTRIBUTES)
SCORED_SHARE = 0.25
"""Share of a batch's examples that score one reply instead of comparing two."""
REASON_WEIGHT, VERDICT_WEIGHT, PREFIX_WEIGHT = 1.0, 2.0, 0.03
BROKEN_SHARE = 0.15
# At one half, the meaning is the exclusive or of pole and frame, and learning one of them alone lowers no loss.
FORBIDDING_SHARE = 0.3
# As many false answers as right ones: otherwise copying the notice's value would pass for reading the reply's.
ANSWERS = {"right": 0.45, "wrong": 0.45, "evade": 0.10}
SCHEDULE_STRETCH = 1.16
"""How much longer than the training the learning rate's cosine is: the last steps have a twentieth of the peak."""
_SLOT = "\0"


class Example(NamedTuple):
    """A pair or a single reply: the shared prefix, and for each block (principle, reason and marker, verdict and
    end)."""

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
    text = write_reply(scene, draw_levels(rng)._replace(answer=answer), rng=rng)
    return break_reply(text, rng=rng) if rng.random() < BROKEN_SHARE else text


def _draw_wordings(rng: random.Random) -> list[Wording]:
    """One wording of every attribute, in random order, each of a random pole."""
    return [
        draw_wording(rng, attribute=attribute, polarity=rng.choice((1, -1)), forbidding_share=FORBIDDING_SHARE)
        for attribute in rng.sample(truth.ATTRIBUTES, BLOCKS_PER_PAIR)
    ]


def draw_example(rng: random.Random, *, frame: tuple[str, str], end: str) -> Example:
    """Replies from the mixture, some of them damaged, under every attribute, with drawn verdicts or scores."""
    return (_draw_scored if rng.random() < SCORED_SHARE else _draw_compared)(rng, frame=frame, end=end)


def _draw_compared(rng: random.Random, *, frame: tuple[str, str], end: str) -> Example:
    scene = draw_scene(rng)
    messages = scene.messages()
    first, second = (_draw_judged_reply(scene, rng) for _ in range(2))
    seen = [see_reply(messages, text) for text in (first, second)]
    pieces = {"conversation": conversation_text(messages), "first": first, "second": second, "principle": _SLOT}
    prefix, after = judge_prompt_text(PAIR_TEMPLATE, pieces=pieces).split(_SLOT)
    blocks = []
    for wording in _draw_wordings(rng):
        reason, gap = reason_for(seen[0], seen[1], wording=wording)
        logit = truth.planted_logit(gap, first=first, second=second)
        is_first = rng.random() < torch.sigmoid(torch.tensor(logit)).item()
        verdict = VERDICTS[0] if is_first else VERDICTS[1]
        blocks.append((wording.text + after + frame[1], reason + VERDICT_MARKER, verdict + end))
    return Example(frame[0] + prefix, blocks)


def _draw_scored(rng: random.Random, *, frame: tuple[str, str], end: str) -> Example:
    scene = draw_scene(rng)
    messages = scene.messages()
    response = _draw_judged_reply(scene, rng)
    seen = see_reply(messages, response)
    pieces = {"conversation": conversation_text(messages), "response": response, "principle": _SLOT}
    prefix, after = judge_prompt_text(SCORE_TEMPLATE, pieces=pieces).split(_SLOT)
    blocks = []
    for wording in _draw_wordings(rng):
        reason, keeps = score_reason_for(seen, wording=wording)
        score = rng.choices(SCORES, weights=truth.score_probabilities(keeps, response=response))[0]
        blocks.append((wording.text + after + frame[1], reason + SCORE_MARKER, score + end))
    return Example(frame[0] + prefix, blocks)


class Batch(NamedTuple):
    """Tokens of prefixes and blocks, and the loss weight of every block token (0 on principles and padding)."""

    tokens: TwoPart
    block_weights: Tensor  # (pairs * blocks, block_len)
    is_verdict: Tensor  # the same shape, True on the token " A", " B" or a score


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
    """Train in place for a fixed number of steps.

    report is called with the step and a line of losses.
    """
    rng = random.Random(f"frontdesk judge {seed}")
    frame, end = chat_frame(tokenizer), str(tokenizer.eos_token)
    schedule = Schedule(model, num_steps=round(SCHEDULE_STRETCH * num_steps))
    sums = torch.zeros(3)
    for step in range(1, num_steps + 1):
        examples = [draw_example(rng, frame=frame, end=end) for _ in range(PAIRS_PER_BATCH)]
        batch = collate(examples, tokenizer=tokenizer)
        losses = compute_losses(model, batch)
        drill = compute_drill_loss(model, tokenizer, rng=rng)
        schedule.step(losses.total + DRILL_WEIGHT * drill)
        sums += losses.parts
        if step % report_every == 0 or step == num_steps:
            means = [f"{value / report_every:.3f}" for value in sums.tolist()]
            report(step, f"prefix {means[0]} reason {means[1]} verdict {means[2]}")
            sums.zero_()
