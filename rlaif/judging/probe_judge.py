"""A model and a template -> the function that probes are asked through.

Every pair in both orders, in batches of like length; the answers are combined as the pipeline combines them.
Keeps nothing: probes are no part of any run, and the ledger does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlaif.batch_plan import cut_into_batches
from rlaif.config.generate import JudgeConfig
from rlaif.constitution.probe import PairJudge, ProbeAnswer
from rlaif.constitution.probe_file import Probe
from rlaif.constitution.render import JudgeTemplate, render, render_conversation
from rlaif.judging.debias import combine_orders
from rlaif.judging.judge import score_request
from rlaif.judging.verdict import read_verdict
from rlaif.models.interface import TokenScorer
from rlaif.records import FailedJudgement, FailureCause, Judgement, Observed, Principle, SegmentedMessage

OnBatch = Callable[[int, int], None]
"""Hears after each batch how many questions were asked and how many of them failed."""


def make_probe_judge(
    scorer: TokenScorer, *, template: JudgeTemplate, config: JudgeConfig, on_batch: OnBatch | None = None
) -> PairJudge:
    """The judge as `rlaif.constitution.probe` asks it."""

    def judge(questions: Sequence[tuple[Probe, Principle]]) -> list[ProbeAnswer | FailureCause]:
        # Both orders of a pair stand side by side: the listed one at an even place, the swapped one after it.
        chats = [
            _render(probe, principle, template=template, swapped=swapped)
            for probe, principle in questions
            for swapped in (False, True)
        ]
        answers = _ask(scorer, chats, template=template, config=config, on_batch=on_batch)
        return [combine_answers(answers[at], answers[at + 1]) for at in range(0, len(answers), 2)]

    return judge


def _render(
    probe: Probe, principle: Principle, *, template: JudgeTemplate, swapped: bool
) -> tuple[SegmentedMessage, ...]:
    first, second = (probe.second, probe.first) if swapped else (probe.first, probe.second)
    return render(
        template,
        conversation=render_conversation(probe.messages),
        first=first,
        second=second,
        principle=principle.text,
    )


def _ask(
    scorer: TokenScorer,
    chats: Sequence[tuple[SegmentedMessage, ...]],
    *,
    template: JudgeTemplate,
    config: JudgeConfig,
    on_batch: OnBatch | None,
) -> list[Judgement | FailedJudgement]:
    """Every prompt's answer, in the order given."""
    request, verdicts = score_request(template), tuple(template.verdicts)
    sizes = [scorer.count_tokens(chat) + request.max_reason_tokens + 1 for chat in chats]
    order = sorted(range(len(chats)), key=lambda place: sizes[place])
    answers: dict[int, Judgement | FailedJudgement] = {}
    for places in cut_into_batches([order], size=sizes.__getitem__, budget=config.batch_tokens):
        for place, reply in zip(places, scorer.score([chats[i] for i in places], request=request), strict=True):
            answers[place] = read_verdict(
                reply,
                question_id=f"probe {place}",
                verdicts=verdicts,
                min_label_mass=config.min_label_mass,
                attempt=1,
                observed=Observed(),
            )
        if on_batch is not None:
            on_batch(len(places), sum(isinstance(answers[place], FailedJudgement) for place in places))
    return [answers[place] for place in range(len(chats))]


def combine_answers(
    listed: Judgement | FailedJudgement, swapped: Judgement | FailedJudgement
) -> ProbeAnswer | FailureCause:
    """Both orders of one pair; the first failure where one of them has no verdict."""
    if isinstance(listed, FailedJudgement):
        return listed.cause
    if isinstance(swapped, FailedJudgement):
        return swapped.cause
    combined = combine_orders(listed, swapped)
    tied = listed.verdict == swapped.verdict == "tie"
    return ProbeAnswer(combined.p_first, flipped=bool(combined.flipped), tied=tied)
