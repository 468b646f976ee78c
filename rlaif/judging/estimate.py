"""What a judge will cost, before it is asked: questions counted, prompt tokens measured.

The judge prompts of a few sampled responses are rendered and measured; the total is the number of questions times
their mean. Writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.questions import plan_questions, render_question
from rlaif.models.interface import StreamingScorer, TokenScorer
from rlaif.models.readings import count_read, count_requests, count_sent
from rlaif.records import Constitution, Prompt, Sample, SegmentedMessage


class JudgeEstimate(NamedTuple):
    """What one judge is asked at most."""

    num_questions: int
    measured_questions: int
    """Judge prompts rendered and counted."""
    mean_prompt_tokens: float
    prompt_tokens: int
    """Questions x mean."""
    reply_tokens_at_most: int
    example: tuple[SegmentedMessage, ...] | None
    """One rendered judge prompt."""
    is_estimated: bool = False
    """Whether prompt tokens are guessed from the length of the texts, as only the judge's server can count them."""
    requests_per_question: int = 1
    """Most requests that a server is sent for a question, without retries."""


def estimate_judging(
    trial_pairs: Sequence[tuple[Sample, Sample]],
    *,
    num_questions: int,
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    scorer: TokenScorer,
    reply_limit: int | None = None,
    draw_seed: int | None = None,
) -> JudgeEstimate:
    """The cost of `num_questions` at most, measured on the judge prompts of the trial pairs, each in one order.

    `reply_limit`: the longest reply in tokens, where it is not the template's reason and a verdict. `draw_seed`: as in
    `Asking`.
    """
    planned = plan_questions(
        trial_pairs, constitution=constitution, template=template, draw_seed=draw_seed,
        config=config.model_copy(update={"both_orders": False, "num_shuffles": 1}),
    )  # fmt: skip
    rendered = [
        render_question(prompts[shown[0].prompt_id], shown, principle, template=template)
        for shown, principle in planned
    ]
    is_served = isinstance(scorer, StreamingScorer)
    count = count_sent if is_served else count_read
    tokens = [count(scorer.count_tokens, chat) for chat in rendered]
    num_requests = max((count_requests(chat) for chat in rendered), default=1) if is_served else 1
    reply_tokens = reply_limit or template.reason_max_tokens + 1
    mean = math.fsum(tokens) / len(tokens) if tokens else 0.0
    return JudgeEstimate(
        num_questions=num_questions,
        measured_questions=len(tokens),
        mean_prompt_tokens=mean,
        prompt_tokens=round(num_questions * mean),
        reply_tokens_at_most=num_questions * (reply_tokens if num_requests == 1 else num_requests),
        example=rendered[0] if rendered else None,
        is_estimated=is_served,
        requests_per_question=num_requests,
    )
