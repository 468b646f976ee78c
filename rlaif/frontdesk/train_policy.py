"""Trains the start policy: look-up drills first, then the mixture of good and bad replies.

A fresh model in, a fitted one out. The mixture leaves every principle room both ways: half of the
replies are polite, a third are wrong, a quarter leak. Does not use the truth: it only imitates.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.frontdesk.replies import Levels, draw_reply, write_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.world import draw_scene

REPLIES_PER_BATCH = 48
PROMPT_WEIGHT = 0.05
DRILL = Levels(opener=0, closer=0, answer="right", doubt=75, offer=0, leak=100, shouts=0, words=12)


def draw_text(rng: random.Random, *, tokenizer: PreTrainedTokenizerBase, drill: bool) -> tuple[str, str]:
    """One (rendered prompt, reply with its end of turn)."""
    scene = draw_scene(rng)
    if drill:
        reply = write_reply(scene, DRILL._replace(words=rng.choice((3, 12))), rng=rng)
    else:
        reply = draw_reply(scene, rng=rng)
    prompt = tokenizer.apply_chat_template(scene.messages(), tokenize=False, add_generation_prompt=True)
    return str(prompt), reply + str(tokenizer.eos_token)


def batch_loss(
    model: LlamaForCausalLM, texts: list[tuple[str, str]], *, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    """Mean next-token loss of the replies, with a little of the prompts'."""
    encoded = tokenizer([part for text in texts for part in text], add_special_tokens=False)["input_ids"]
    rows = [(encoded[i], encoded[i + 1]) for i in range(0, len(encoded), 2)]
    length = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids = torch.full((len(rows), length), int(tokenizer.pad_token_id or 0))
    weights = torch.zeros(len(rows), length)
    for index, (prompt, reply) in enumerate(rows):
        size = len(prompt) + len(reply)
        ids[index, :size] = torch.tensor(prompt + reply)
        weights[index, : len(prompt)] = PROMPT_WEIGHT
        weights[index, len(prompt) : size] = 1.0
    # Right padding under a causal mask: no real token can see the padding.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    flat = weights[:, 1:].flatten()
    return (losses * flat).sum() / flat.sum()


def train_policy(
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
        texts = [draw_text(rng, tokenizer=tokenizer, drill=drill) for _ in range(REPLIES_PER_BATCH)]
        loss = batch_loss(model, texts, tokenizer=tokenizer)
        schedule.step(loss)
        total += float(loss.detach())
        if step % report_every == 0 or step == num_steps:
            report(step, f"{'drill' if drill else 'mixture'} loss {total / report_every:.3f}")
            total = 0.0
