"""Samples -> judgements: ask the judge every question once, and combine what it says of each pair.

An answer counts once it is in the ledger; what the ledger holds is not asked again. The questions are made in
questions.py, asked in streaming.py or batches.py, and combined in collect.py. Does not decide preferences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Required, TypedDict

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.asked import ASKED_NAME
from rlaif.judging.batches import BatchAsker
from rlaif.judging.collect import Judging, collect_judging
from rlaif.judging.questions import count_questions, make_questions, render_questions, score_request
from rlaif.judging.streaming import StreamAsker
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.interface import StreamingScorer, TokenScorer
from rlaif.records import Constitution, Prompt, Sample

__all__ = ["Judging", "judge_pairs"]


def judge_pairs(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    scorer: TokenScorer,
    config: JudgeConfig,
    ledger: Ledger,
    plan_path: Path,
    label: str = "judgements",
    budget: Budget | None = None,
    draw_seed: int | None = None,
) -> Judging:
    """Judgements of each pair under each principle, in both orders unless the config says one.

    A judge that holds many questions at once is asked in a stream, another one in planned batches. `budget`: what
    the batches may cost; a stream knows its own. `draw_seed`: each pair is asked under one principle, drawn with it.
    """
    judge = scorer.fingerprint
    ledger.append([judge, constitution])
    ledger.put_texts([template.source, *(principle.text for principle in constitution.principles)])
    making: _Making = {
        "prompts": prompts, "constitution": constitution, "template": template, "judge_id": judge.id,
        "both_orders": config.both_orders, "draw_seed": draw_seed,
    }  # fmt: skip
    if isinstance(scorer, StreamingScorer):
        making["decoding"] = scorer.decoding
        in_stream = StreamAsker(
            scorer, request=score_request(template), verdicts=tuple(template.verdicts),
            min_label_mass=config.min_label_mass, max_attempts=config.max_attempts, ledger=ledger,
            asked_path=plan_path.parent / ASKED_NAME,
        )  # fmt: skip
        total = count_questions(
            len(pairs), constitution=constitution, both_orders=config.both_orders, draw_seed=draw_seed
        )
        in_stream.ask(lambda: render_questions(pairs, **making), label=label, total=total)
        num_votes = scorer.num_votes
        questions = make_questions(pairs, **making)
    else:
        num_votes = 1
        questions = make_questions(pairs, **making)
        in_batches = BatchAsker(
            pairs, prompts=prompts, constitution=constitution, template=template, scorer=scorer, config=config
        )
        in_batches.ask_all(questions, ledger=ledger, plan_path=plan_path, label=label, budget=budget or Budget())
    return collect_judging(questions, both_orders=config.both_orders, ledger=ledger, num_votes=num_votes)


class _Making(TypedDict, total=False):
    """What questions are made from."""

    prompts: Required[Mapping[str, Prompt]]
    constitution: Required[Constitution]
    template: Required[JudgeTemplate]
    judge_id: Required[str]
    both_orders: Required[bool]
    decoding: str
    draw_seed: int | None
