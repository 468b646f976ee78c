"""A judge's reply -> a judgement or a named failure.

A reply without readable verdict, score or choice is another type, never a number: not finite, no probabilities at
all, too little of them on the strings that count, cut off, empty. Does not ask and does not combine judgements.
"""

from __future__ import annotations

from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.choices import Unusable
from rlaif.judging.modes import MODES
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, Judgement, Observed


def read_answer(
    reply: ScoredReply,
    *,
    question_id: str,
    template: JudgeTemplate,
    num_shown: int,
    min_label_mass: float,
    attempt: int,
    observed: Observed,
) -> Judgement | FailedJudgement:
    """What a reply to a question about `num_shown` responses says, by the mode of its template."""
    mode = MODES[template.kind]
    found = (
        Unusable(reply.failure)
        if reply.failure
        else mode.read(reply, template=template, num_shown=num_shown, min_label_mass=min_label_mass)
    )
    if isinstance(found, Unusable):
        return FailedJudgement(
            question_id=question_id, cause=found.cause, attempt=attempt, raw_reply=reply.raw_reply,
            observed=_explained(observed, found.said),
        )  # fmt: skip
    return Judgement(
        **found, question_id=question_id, reason=reply.reason, raw_reply=reply.raw_reply, observed=observed
    )


def _explained(observed: Observed, said: str) -> Observed:
    """What was observed, with what is wrong where the account of the server's reply has a place for it."""
    if not said or observed.served is None:
        return observed
    return observed.model_copy(update={"served": observed.served.model_copy(update={"detail": said})})
