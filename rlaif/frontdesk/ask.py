"""Asks the shipped models as the pipeline asks any model: for sampled replies, and for verdicts with reasons.

An engine and texts in; replies and verdict logits out, for the front desk's own measurements. Does not
decode: rlaif.models does that, with the template in prompts/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.constitution.render import JudgeTemplate, load_template, render, render_conversation, render_single
from rlaif.frontdesk import truth
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE, SCORE_TEMPLATE
from rlaif.frontdesk.world import Messages
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import Prompt, SamplingParams

BATCH = 128


class Reply(NamedTuple):
    """One sampled reply; `ended` is False where it reached the token limit."""

    text: str
    ended: bool


class PairQuestion(NamedTuple):
    """One question to the judge: two replies in the order shown, under one principle."""

    messages: Messages
    first: str
    second: str
    principle: str


class SingleQuestion(NamedTuple):
    """One reply to be scored under one principle."""

    messages: Messages
    response: str
    principle: str


class Score(NamedTuple):
    """The judge's own reason and its mean score, 1 to 10; the score is None where the reply has none."""

    reason: str
    mean: float | None


class Answer(NamedTuple):
    """The judge's own reason and the logit of " A" against " B"; the logit is None where the reply has no verdict."""

    reason: str
    logit: float | None


def load_folder(folder: Path) -> TransformersEngine:
    """A shipped model, loaded as any other model is."""
    return TransformersEngine(load_causal_lm(str(folder), device="cpu"))


def sample_replies(policy: TransformersEngine, prompts: Sequence[Messages], *, seed: int) -> list[Reply]:
    """One reply per prompt at temperature 1."""
    replies = []
    chats = [Prompt.from_chat(prompt).as_segments() for prompt in prompts]
    for start in range(0, len(chats), BATCH):
        batch = chats[start : start + BATCH]
        keys = [(seed, start + row) for row in range(len(batch))]
        generations = policy.generate(batch, params=SamplingParams(max_new_tokens=64), keys=keys)
        replies += [Reply(generation.text, generation.finish_reason == "stop") for generation in generations]
    return replies


def judge_pairs(judge: TransformersEngine, questions: Sequence[PairQuestion]) -> list[Answer]:
    """The judge's greedy reason and its verdict logit for every question, in the order given."""
    template = load_template(PAIR_TEMPLATE)
    chats = [
        render(
            template,
            conversation=_conversation(question.messages),
            first=question.first,
            second=question.second,
            principle=question.principle,
        )
        for question in questions
    ]
    replies = _ask(judge, chats, template=template)
    return [
        Answer(reply.reason or reply.raw_reply, None if reply.failure else reply.logprobs[0] - reply.logprobs[1])
        for reply in replies
    ]


def score_replies(judge: TransformersEngine, questions: Sequence[SingleQuestion]) -> list[Score]:
    """The judge's greedy reason and the expectation of its score for every question, in the order given."""
    template = load_template(SCORE_TEMPLATE)
    chats = [
        render_single(
            template,
            conversation=_conversation(question.messages),
            response=question.response,
            principle=question.principle,
        )
        for question in questions
    ]
    return [
        Score(reply.reason or reply.raw_reply, None if reply.failure else _expectation(reply.logprobs))
        for reply in _ask(judge, chats, template=template)
    ]


def _expectation(logprobs: Sequence[float]) -> float:
    weights = [math.exp(logprob) for logprob in logprobs]
    return sum(score * weight for score, weight in zip(truth.SCORES, weights, strict=True)) / sum(weights)


def _conversation(messages: Messages) -> str:
    return render_conversation(Prompt.from_chat(messages).messages)


def _ask(judge: TransformersEngine, chats: Sequence[Chat], *, template: JudgeTemplate) -> list[ScoredReply]:
    """The reply to every prompt, in the order given; prompts of similar length share a batch."""
    request = ScoreRequest(template.verdict_marker, template.choices, template.reason_max_tokens)
    order = sorted(range(len(chats)), key=lambda index: len(chats[index][-1].text))
    replies: dict[int, ScoredReply] = {}
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        replies |= zip(places, judge.score([chats[i] for i in places], request=request), strict=True)
    return [replies[index] for index in range(len(chats))]
