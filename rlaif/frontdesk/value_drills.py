"""Drills beside both trainings: two values of one fact side by side, and whether they are the same.

In a reply or a reason the word "right" or "wrong" is too rare for a small model to learn when it is true. Drilled
alone it is learnt in a hundred steps, and the longer texts then build on it. Knows neither replies nor verdicts.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlaif.frontdesk.judge_text import compared_values
from rlaif.frontdesk.world import TOPICS, VALUES

DRILL_ROWS, DRILL_WEIGHT = 32, 0.3
"""Number of drills beside every batch, and their weight in the loss."""


def draw_value_drill(rng: random.Random) -> str:
    """One drill, worded as in a reason: " nine for seven so wrong"."""
    values = VALUES[rng.choice(TOPICS)]
    noticed = rng.choice(values)
    is_right = rng.random() < 0.5
    stated = noticed if is_right else rng.choice([value for value in values if value != noticed])
    return " " + compared_values(stated, noticed, is_right=is_right)


def compute_drill_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, *, rng: random.Random) -> Tensor:
    """Mean loss of the last word, right or wrong."""
    rows = [draw_value_drill(rng) for _ in range(DRILL_ROWS)]
    ids = torch.tensor(tokenizer(rows, add_special_tokens=False)["input_ids"])
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits[:, -1]
    return torch.nn.functional.cross_entropy(logits, ids[:, -1])
