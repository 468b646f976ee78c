"""The shipped models asked as the pipeline asks any model: sampled replies, and verdicts with their reasons.

An engine and texts in; replies and verdict logits out, for the front desk's own measurements. Does not
decode: rlaif.models does, with the template in prompts/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.constitution.render import load_template, render, render_conversation
from rlaif.frontdesk.world import Messages
from rlaif.models.interface import ScoreRequest
from rlaif.models.loading import load_causal_lm
from rlaif.models.transformers_engine import TransformersEngine
from rlaif.records import Prompt, SamplingParams

BATCH = 128
TEMPLATE = "frontdesk_pair"


class Reply(NamedTuple):
    """One sampled reply; ended is False when it ran into the token limit."""

    text: str
    ended: bool


class PairQuestion(NamedTuple):
    """One question to the judge: two replies in the order shown, under one principle."""

    messages: Messages
    first: str
    second: str
    principle: str


class Answer(NamedTuple):
    """The judge's own reason and the logit of " A" against " B"; None when it never reached a verdict."""

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
    template = load_template(TEMPLATE)
    request = ScoreRequest(
        template.verdict_marker, (template.verdicts["first"], template.verdicts["second"]), template.reason_max_tokens
    )
    chats = [
        render(
            template,
            conversation=render_conversation(Prompt.from_chat(question.messages).messages),
            first=question.first,
            second=question.second,
            principle=question.principle,
        )
        for question in questions
    ]
    order = sorted(range(len(chats)), key=lambda index: len(chats[index][-1].text))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        for place, reply in zip(places, judge.score([chats[i] for i in places], request=request), strict=True):
            logit = None if reply.failure else reply.logprobs[0] - reply.logprobs[1]
            answers[place] = Answer(reply.reason or reply.raw_reply, logit)
    return [answers[index] for index in range(len(chats))]
