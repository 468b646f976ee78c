"""Trains the base of policy and judge: look-up drills first, then the mixture of good and bad replies.

A fresh model in, a fitted one out. In the mixture every principle can rise and fall: half of the replies
are polite, a third are wrong, a quarter leak. Does not use the truth: the model only imitates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.frontdesk.replies import Levels, draw_levels, write_reaction, write_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.world import draw_scene

REPLIES_PER_BATCH = 48
PROMPT_WEIGHT = 0.05
DRILL = Levels(opener=0, closer=0, answer="right", doubt=75, offer=0, leak=100, facts=0, shouts=0, words=10)


def draw_text(rng: random.Random, *, tokenizer: PreTrainedTokenizerBase, drill: bool) -> tuple[str, str]:
    """A rendered prompt, and what follows it: the reply, its end of turn, and the visitor's reaction."""
    scene = draw_scene(rng)
    levels = draw_levels(rng)
    if drill:
        levels = DRILL._replace(words=rng.choice((10, 16)))
    messages = scene.messages()
    prompt = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    answered = [
        *messages,
        {"role": "assistant", "content": write_reply(scene, levels, rng=rng)},
        {"role": "user", "content": write_reaction(scene, levels, rng=rng)},
    ]
    return prompt, str(tokenizer.apply_chat_template(answered, tokenize=False))[len(prompt) :]


class Row(NamedTuple):
    """Tokens of one text and the weight of each in the loss."""

    ids: list[int]
    weights: list[float]


def draw_row(rng: random.Random, *, tokenizer: PreTrainedTokenizerBase, drill: bool) -> Row:
    """A conversation: the tokens of its prompt have a small weight, all others weight 1."""
    prompt, rest = (encode(tokenizer, part) for part in draw_text(rng, tokenizer=tokenizer, drill=drill))
    return Row([*prompt, *rest], [PROMPT_WEIGHT] * len(prompt) + [1.0] * len(rest))


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text, without any that the tokenizer would add."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def batch_loss(model: LlamaForCausalLM, rows: Sequence[Row], *, pad_token_id: int) -> torch.Tensor:
    """Weighted mean of the next-token losses."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_token_id)
    weights = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        weights[index, : len(row.ids)] = torch.tensor(row.weights)
    # Right padding under a causal mask: no real token can see the padding.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    flat = weights[:, 1:].flatten()
    return (losses * flat).sum() / flat.sum()


def train_base(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    num_drill_steps: int,
    num_steps: int,
    report_every: int,
    report: Callable[[int, str], None],
) -> None:
    """Train in place: drills for the first steps, then the mixture; one schedule over both."""
    rng = random.Random(f"frontdesk policy {seed}")
    schedule = Schedule(model, num_steps=num_steps)
    total = 0.0
    for step in range(1, num_steps + 1):
        drill = step <= num_drill_steps
        rows = [draw_row(rng, tokenizer=tokenizer, drill=drill) for _ in range(REPLIES_PER_BATCH)]
        loss = batch_loss(model, rows, pad_token_id=int(tokenizer.pad_token_id or 0))
        schedule.step(loss)
        total += float(loss.detach())
        if step % report_every == 0 or step == num_steps:
            report(step, f"{'drill' if drill else 'mixture'} loss {total / report_every:.3f}")
            total = 0.0
