"""A model and a template -> the function that probes are asked through.

Every pair in both orders, in batches of like length; the answers are combined as the pipeline combines them.
Keeps nothing: probes are no part of any run, and the ledger does not know them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.probe import PairJudge, ProbeAnswer
from rlaif.constitution.probe_file import Probe
from rlaif.constitution.render import JudgeTemplate, render, render_conversation
from rlaif.judging.ask_now import OnBatch, ask_now
from rlaif.judging.debias import combine_orders
from rlaif.models.interface import TokenScorer
from rlaif.records import FailedJudgement, FailureCause, Judgement, Principle, SegmentedMessage


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
        names = [f"probe {place}" for place in range(len(chats))]
        answers = ask_now(scorer, chats, ids=names, template=template, config=config, on_batch=on_batch)
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
