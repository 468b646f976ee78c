"""Continues to train the policy, with a reader's mark after each reply: does it answer as the notice says?

A fitted policy in; out comes a policy whose trunk also knows, at a reply's end, whether the answer was right. Large
models learn this in pretraining, and a reward model made from this trunk needs it. The mixture of replies stays the
same, and nothing is rewarded: the marks are text to predict.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.frontdesk.judge_text import compared_values
from rlaif.frontdesk.replies import draw_levels, write_reply
from rlaif.frontdesk.tiny_llama import Schedule
from rlaif.frontdesk.train_base import DRILL, PROMPT_WEIGHT, Row, batch_loss, encode
from rlaif.frontdesk.truth import stated_answer
from rlaif.frontdesk.value_drills import DRILL_WEIGHT, compute_drill_loss
from rlaif.frontdesk.world import draw_scene

ROWS_PER_BATCH = 24
PEAK_LEARNING_RATE = 1.5e-3
MARK_WEIGHT = 4.0
SHORT_SHARE = 0.5
"""Share of short replies, right or wrong by chance, of which only the mark is learnt and the text is not imitated."""
SPELT_SHARE = 0.5
"""Share of marks that first put the two values side by side; the others give the result alone."""


def draw_marked(rng: random.Random, *, tokenizer: PreTrainedTokenizerBase) -> Row:
    """A prompt, a reply with its end of turn, and its mark."""
    scene, levels = draw_scene(rng), draw_levels(rng)
    is_short = rng.random() < SHORT_SHARE
    if is_short:
        levels = DRILL._replace(answer=rng.choice(("right", "wrong")))
    messages, reply = scene.messages(), write_reply(scene, levels, rng=rng)
    stated, noticed = stated_answer(messages, reply), scene.value(scene.topic)
    if stated is None:
        mark = " no answer"
    elif rng.random() < SPELT_SHARE:
        mark = " " + compared_values(stated, noticed, is_right=levels.answer == "right")
    else:
        mark = f" {levels.answer}"
    prompt = encode(tokenizer, str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)))
    body, marked = encode(tokenizer, reply + str(tokenizer.eos_token)), encode(tokenizer, mark)
    weights = [PROMPT_WEIGHT] * len(prompt) + [0.0 if is_short else 1.0] * len(body) + [MARK_WEIGHT] * len(marked)
    return Row([*prompt, *body, *marked], weights)


def train_marks(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    num_steps: int,
    report_every: int,
    report: Callable[[int, str], None],
) -> None:
    """Train in place for a fixed number of steps, with value drills beside every batch."""
    rng = random.Random(f"frontdesk marks {seed}")
    schedule = Schedule(model, num_steps=num_steps, peak=PEAK_LEARNING_RATE)
    total = 0.0
    for step in range(1, num_steps + 1):
        rows = [draw_marked(rng, tokenizer=tokenizer) for _ in range(ROWS_PER_BATCH)]
        loss = batch_loss(model, rows, pad_token_id=int(tokenizer.pad_token_id or 0))
        schedule.step(loss + DRILL_WEIGHT * compute_drill_loss(model, tokenizer, rng=rng))
        total += float(loss.detach())
        if step % report_every == 0 or step == num_steps:
            report(step, f"marks loss {total / report_every:.3f}")
            total = 0.0
