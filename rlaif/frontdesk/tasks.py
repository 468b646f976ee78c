"""The task that `rlaif study` teaches: replies with five qualities at once, and people who show or rate them.

The people are simulated by the truth. A seed in; prompts, written replies and labels out. Trains nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from rlaif.frontdesk.replies import DemonstrationText, Levels, draw_levels, write_reply
from rlaif.frontdesk.truth import SCORES, measure_attributes, score_probabilities
from rlaif.frontdesk.world import Message, draw_scene

WANTED = {"correct": 100.0, "courteous": 75.0, "brief": 75.0, "calm": 100.0, "discreet": 100.0}
"""The five qualities of a good reply, and the least measure of each."""


def find_kept(prompt: Sequence[Message], response: str) -> frozenset[str]:
    """Which of the five qualities a reply has."""
    measured = measure_attributes(prompt, response)
    return frozenset(name for name, least in WANTED.items() if measured[name] >= least)


def share_kept(prompt: Sequence[Message], response: str) -> float:
    """The share of the five qualities that a reply has; 1 is success."""
    return len(find_kept(prompt, response)) / len(WANTED)


def judge_share(prompt: Sequence[Message], response: str, *, rng: random.Random) -> float:
    """What a judge makes of the five qualities, between 0 and 1: the mean of a score for each.

    The scores are drawn as those were that the shipped judge learnt: about the truth, higher for longer replies.
    """
    measured = measure_attributes(prompt, response)
    scores = [rng.choices(SCORES, weights=score_probabilities(measured[name], response=response))[0] for name in WANTED]
    return (sum(scores) / len(scores) - SCORES[0]) / (SCORES[-1] - SCORES[0])


def write_noisy(seed: int, n: int, *, noise: float) -> list[DemonstrationText]:
    """n prompts of the training pool, each with a reply that lacks each quality with probability `noise`.

    Nobody who imitates them perfectly succeeds more often than (1 - noise)^5. A larger n begins with the same rows.
    """
    rng = random.Random(f"frontdesk noisy demonstrations {seed} {noise}")
    rows: list[DemonstrationText] = []
    for _ in range(n):
        scene = draw_scene(rng)
        kept = frozenset(name for name in WANTED if rng.random() >= noise)
        write = partial(write_reply, scene, rng=rng)
        response = write(_draw_near(kept, rng))
        while find_kept(scene.messages(), response) != kept:
            response = write(_draw_near(kept, rng))
        rows.append(DemonstrationText(scene.messages(), response))
    return rows


def _draw_near(kept: frozenset[str], rng: random.Random) -> Levels:
    """Levels of the policy's own mixture, moved towards having exactly these qualities."""
    is_polite, is_brief = "courteous" in kept, "brief" in kept
    return draw_levels(rng)._replace(
        opener=rng.choice((1, 1, 2) if is_polite else (-2, -1, 0)),
        closer=rng.choice((0, 0, 1) if is_polite else (-1, 0)),
        answer="right" if "correct" in kept else rng.choice(("wrong", "wrong", "evade")),
        leak=100 if "discreet" in kept else rng.choice((0, 25)),
        shouts=0 if "calm" in kept else rng.choice((1, 2)),
        words=rng.choice((10, 16) if is_brief else (21, 26, 34)),
        facts=0,
    )
