"""Measures a pair of shipped folders and writes their cards: two model folders in, figures out.

Samples the policy on held-out prompts, asks the judge about drawn pairs and about the policy's own pairs.
Does not train.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rlaif.frontdesk import truth
from rlaif.frontdesk.cards import JudgeFigures, PolicyFigures, judge_card, policy_card
from rlaif.frontdesk.decode import sample_replies
from rlaif.frontdesk.judge_quality import TextPair, draw_pairs, judge_both_orders, policy_pairs
from rlaif.frontdesk.wordings import UNDERSTOOD
from rlaif.frontdesk.world import make_prompts


class Loaded(NamedTuple):
    """A model in float32 and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_folder(folder: Path) -> Loaded:
    """Load a shipped folder as any other model is loaded."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.eval()  # type: ignore[no-untyped-call]
    return Loaded(model, AutoTokenizer.from_pretrained(folder, local_files_only=True))


def measure_policy(policy: Loaded, *, seed: int, n: int) -> PolicyFigures:
    """Sample two replies to each of n held-out prompts."""
    prompts = make_prompts(seed, n, held_out=True)
    replies = sample_replies(policy.model, policy.tokenizer, [*prompts, *prompts], seed=seed)
    rows = [
        truth.measure_attributes(prompt, reply.text)
        for prompt, reply in zip([*prompts, *prompts], replies, strict=True)
    ]
    return PolicyFigures(
        n=n,
        eos_rate=sum(reply.ended for reply in replies) / len(replies),
        mean_words=sum(truth.count_words(reply.text) for reply in replies) / len(replies),
        measures={name: sum(row[name] for row in rows) / len(rows) for name in truth.ATTRIBUTES},
        clear_shares={
            name: sum(truth.is_clear(a[name] - b[name]) for a, b in zip(rows[:n], rows[n:], strict=True)) / n
            for name in truth.ATTRIBUTES
        },
    )


def measure_judge(judge: Loaded, policy: Loaded, *, seed: int, n: int) -> JudgeFigures:
    """Ask about n drawn pairs and n of the policy's pairs, under both poles of every attribute."""
    sources: list[list[TextPair]] = [
        draw_pairs(seed=seed, n=n),
        policy_pairs(policy.model, policy.tokenizer, seed=seed, n=n),
    ]
    start = time.monotonic()
    (drawn, failed_drawn), (own, failed_own) = (
        judge_both_orders(judge.model, judge.tokenizer, pairs, seed=seed) for pairs in sources
    )
    seconds = time.monotonic() - start
    others = [name for name in truth.ATTRIBUTES if name not in UNDERSTOOD]
    left_out, _ = judge_both_orders(judge.model, judge.tokenizer, sources[0], seed=seed, attributes=others)
    asked = 2 * (len(drawn) + len(own) + failed_drawn + failed_own)
    return JudgeFigures(drawn, own, left_out, failed_drawn + failed_own, 1000 * seconds / asked)


def write_cards(root: Path, *, policy: PolicyFigures, judge: JudgeFigures, made: tuple[str, str]) -> None:
    """Write policy/README.md and judge/README.md; made says how each was trained."""
    (root / "policy" / "README.md").write_text(policy_card(policy, made=made[0]), encoding="utf-8")
    (root / "judge" / "README.md").write_text(judge_card(judge, made=made[1]), encoding="utf-8")
