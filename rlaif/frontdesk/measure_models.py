"""Measures policy and judge and writes their model cards: two models in, figures out.

Samples the policy on held-out prompts, asks the judge about drawn pairs and about the policy's own pairs.
Does not train.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rlaif.frontdesk import truth
from rlaif.frontdesk.ask import sample_replies
from rlaif.frontdesk.cards import JudgeFigures, PolicyFigures, judge_card, policy_card
from rlaif.frontdesk.judge_quality import Figures, TextPair, draw_pairs, judge_both_orders, measure_scores, policy_pairs
from rlaif.frontdesk.world import make_prompts
from rlaif.models.local.engine import TransformersEngine


def measure_policy(policy: TransformersEngine, *, seed: int, n: int) -> PolicyFigures:
    """Sample two replies to each of n held-out prompts."""
    prompts = make_prompts(seed, n, held_out=True)
    replies = sample_replies(policy, [*prompts, *prompts], seed=seed)
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


def measure_judge(judge: TransformersEngine, policy: TransformersEngine, *, seed: int, n: int) -> JudgeFigures:
    """Ask about n drawn pairs and n of the policy's pairs, under both poles of every attribute."""
    sources: list[list[TextPair]] = [
        draw_pairs(seed=seed, n=n),
        policy_pairs(policy, seed=seed, n=n),
    ]
    start = time.monotonic()
    (drawn, failed_drawn), (own, failed_own) = (judge_both_orders(judge, pairs, seed=seed) for pairs in sources)
    seconds = time.monotonic() - start
    asked = 2 * (len(drawn) + len(own) + failed_drawn + failed_own)
    scores = measure_scores(judge, sources[1], seed=seed)
    return JudgeFigures(drawn, own, scores, failed_drawn + failed_own, 1000 * seconds / asked)


def write_cards(
    root: Path, *, policy: PolicyFigures, judge: JudgeFigures, made: tuple[str, str], others: Sequence[Figures] = ()
) -> None:
    """Write policy/README.md and judge/README.md.

    made: how each was trained. others: judges trained from other seeds, each on the policy's pairs.
    """
    (root / "policy" / "README.md").write_text(policy_card(policy, made=made[0]), encoding="utf-8")
    (root / "judge" / "README.md").write_text(judge_card(judge, made=made[1], others=others), encoding="utf-8")
