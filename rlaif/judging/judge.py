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
from rlaif.judging.questions import make_questions, plan_questions, render_questions
from rlaif.judging.streaming import StreamAsker
from rlaif.judging.unanswered import RESUME, refuse_unanswered
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
    again: str = RESUME,
    drops_refused: bool = False,
) -> Judging:
    """Judgements of each pair under each principle, as the template asks: in both orders unless the config says one,
    or of each response by itself, or of all that pairs join together.

    A judge that holds many questions at once is asked in a stream, another one in planned batches. `label`: empty to
    say nothing. `budget`: what the batches may cost; a stream knows its own. `draw_seed`: each pair is asked under one
    principle, drawn with it.

    Raises `Unanswered` while questions got no answer at all and may be asked again: see unanswered.py. `again`: what
    the user does then. `drops_refused`: questions that a server refuses by themselves are failures at once.
    """
    judge = scorer.fingerprint
    ledger.append([judge, constitution])
    ledger.put_texts([template.source, *(principle.text for principle in constitution.principles)])
    making: _Making = {
        "prompts": prompts, "constitution": constitution, "template": template, "judge_id": judge.id,
        "both_orders": config.both_orders, "num_shuffles": config.num_shuffles, "draw_seed": draw_seed,
    }  # fmt: skip
    num_votes, host, unsent_because = 1, "", ""
    if isinstance(scorer, StreamingScorer):
        making["decoding"], num_votes, host = scorer.decoding, scorer.num_votes, scorer.host
        unsent_because = _ask_in_stream(
            pairs, making, scorer=scorer, config=config, ledger=ledger, folder=plan_path.parent, label=label
        )
    questions = make_questions(pairs, **making)
    if not isinstance(scorer, StreamingScorer):
        in_batches = BatchAsker(
            pairs, prompts=prompts, constitution=constitution, template=template, scorer=scorer, config=config
        )
        in_batches.ask_all(questions, ledger=ledger, plan_path=plan_path, label=label, budget=budget or Budget())
    judging = collect_judging(
        questions, pairs=pairs, constitution=constitution, ledger=ledger, num_votes=num_votes, draw_seed=draw_seed
    )
    refuse_unanswered(
        judging.questions, judgements=judging.judgements, failed=judging.failed, ledger=ledger,
        max_attempts=config.max_attempts, host=host, unsent_because=unsent_because, again=again,
        drops_refused=drops_refused,
    )  # fmt: skip
    return judging


def _ask_in_stream(
    pairs: Sequence[tuple[Sample, Sample]],
    making: _Making,
    *,
    scorer: StreamingScorer,
    config: JudgeConfig,
    ledger: Ledger,
    folder: Path,
    label: str,
) -> str:
    """Ask what the ledger does not hold; why questions reached no server, where some did not."""
    asker = StreamAsker(
        scorer, template=making["template"], min_label_mass=config.min_label_mass, max_attempts=config.max_attempts,
        ledger=ledger, asked_path=folder / ASKED_NAME,
    )  # fmt: skip
    planned = plan_questions(
        pairs, constitution=making["constitution"], template=making["template"], both_orders=making["both_orders"],
        num_shuffles=making["num_shuffles"], draw_seed=making.get("draw_seed"),
    )  # fmt: skip
    asker.ask(lambda: render_questions(pairs, **making), label=label, total=sum(1 for _ in planned))
    return asker.unsent_because


class _Making(TypedDict, total=False):
    """What questions are made from."""

    prompts: Required[Mapping[str, Prompt]]
    constitution: Required[Constitution]
    template: Required[JudgeTemplate]
    judge_id: Required[str]
    both_orders: Required[bool]
    num_shuffles: Required[int | None]
    decoding: str
    draw_seed: int | None
