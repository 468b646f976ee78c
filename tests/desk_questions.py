"""Questions to the front desk's judge: replies of its policy in pairs, under several principles, in both orders."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rlaif.constitution.render import JudgeTemplate, load_template, render, render_conversation
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.frontdesk.replies import draw_reply
from rlaif.frontdesk.world import draw_scene
from rlaif.models.interface import ScoredReply, ScoreRequest
from rlaif.models.readings import CUT_OFF, WHOLE
from rlaif.records import Prompt, Segment, SegmentedMessage

PRINCIPLES = ("Prefer the reply that is polite.", "The better reply is brief.", "Prefer the reply that is correct.")


def request_of(template: JudgeTemplate, *, with_reason: bool = True) -> ScoreRequest:
    return ScoreRequest(
        template.verdict_marker, template.choices, template.reason_max_tokens if with_reason else 0
    )  # fmt: skip


def make_questions(num_pairs: int, *, template: JudgeTemplate | None = None) -> list[tuple[SegmentedMessage, ...]]:
    """Two questions per pair, under one principle: in the order drawn, and then swapped."""
    template = template or load_template(PAIR_TEMPLATE)
    rng = random.Random("questions")
    chats = []
    for number in range(num_pairs):
        scene = draw_scene(rng, held_out=True)
        first, second = draw_reply(scene, rng=rng), draw_reply(scene, rng=rng)
        for shown in ((first, second), (second, first)):
            chats.append(
                render(
                    template,
                    conversation=render_conversation(Prompt.from_chat(scene.messages()).messages),
                    first=shown[0],
                    second=shown[1],
                    principle=PRINCIPLES[number % len(PRINCIPLES)],
                )
            )
    return chats


def make_prompts(num_prompts: int) -> list[tuple[SegmentedMessage, ...]]:
    rng = random.Random("prompts")
    scenes = [draw_scene(rng, held_out=True) for _ in range(num_prompts)]
    return [Prompt.from_chat(scene.messages()).as_segments() for scene in scenes]


def make_readings(num_scenes: int) -> list[tuple[SegmentedMessage, ...]]:
    """Two questions about likelihoods for each scene, of replies read under a principle and then under none; every
    second reply was cut off."""
    rng = random.Random("readings")
    chats = []
    for number in range(num_scenes):
        scene = draw_scene(rng, held_out=True)
        conversation = Prompt.from_chat(scene.messages()).as_segments()
        principle = SegmentedMessage("system", (Segment(PRINCIPLES[number % len(PRINCIPLES)], True),))
        whole, cut = draw_reply(scene, rng=rng), draw_reply(scene, rng=rng).rpartition(" ")[0]
        for response in (
            SegmentedMessage(WHOLE, (Segment(whole, False),)),
            SegmentedMessage(CUT_OFF, (Segment(cut, False),)),
        ):
            chats.append((principle, *conversation, response, *conversation, response))
    return chats


def largest_difference_by_token(one: Sequence[ScoredReply], other: Sequence[ScoredReply]) -> float:
    """Between two engines' log-likelihoods of the same responses, divided by the number of their tokens."""
    return max(
        abs(x - y) / a.response_tokens
        for a, b in zip(one, other, strict=True)
        for x, y in zip(a.likelihoods, b.likelihoods, strict=True)
    )
