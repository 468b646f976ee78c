"""How good and how biased the judge is: pairs whose truth is known go in, figures per principle come out.

The judge sees every pair in both orders: s = (l(A,B) - l(B,A)) / 2 is the debiased logit, and the rest is the
effect of position. Only measures: the tables of the model cards are made in cards.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch

from rlaif.frontdesk import truth
from rlaif.frontdesk.ask import Answer, PairQuestion, SingleQuestion, judge_pairs, sample_replies, score_replies
from rlaif.frontdesk.judge_text import score_reason_for, see_reply, true_reason
from rlaif.frontdesk.replies import draw_reply
from rlaif.frontdesk.wordings import Wording, draw_wording
from rlaif.frontdesk.world import Messages, Scene, draw_scene
from rlaif.models.local.engine import TransformersEngine


class TextPair(NamedTuple):
    """A held-out prompt with two replies; source is "drawn" (from the mixture) or "policy"."""

    messages: Messages
    first: str
    second: str
    source: str


class Judged(NamedTuple):
    """One pair under one wording, asked in both orders. Logits favour its first reply; gap in steps."""

    pair: TextPair
    wording: Wording
    wording_held_out: bool
    gap: float
    length: float
    as_shown: float  # first reply shown first
    swapped: float  # first reply shown second, with the sign inverted
    reasons_right: int  # of the two orders

    @property
    def debiased(self) -> float:
        return (self.as_shown + self.swapped) / 2

    @property
    def position(self) -> float:
        return (self.as_shown - self.swapped) / 2

    @property
    def is_clear(self) -> bool:
        return truth.is_clear(self.gap * truth.STEP)


def _held_out_scenes(rng: random.Random, n: int) -> list[Scene]:
    return [draw_scene(rng, held_out=True) for _ in range(n)]


def draw_pairs(*, seed: int, n: int) -> list[TextPair]:
    """n pairs of mixture replies to held-out prompts."""
    rng = random.Random(f"frontdesk judge pairs {seed}")
    scenes = _held_out_scenes(rng, n)
    return [TextPair(s.messages(), draw_reply(s, rng=rng), draw_reply(s, rng=rng), "drawn") for s in scenes]


def policy_pairs(policy: TransformersEngine, *, seed: int, n: int) -> list[TextPair]:
    """n pairs of replies that the policy itself samples to held-out prompts."""
    scenes = _held_out_scenes(random.Random(f"frontdesk policy pairs {seed}"), n)
    prompts = [scene.messages() for scene in scenes]
    replies = sample_replies(policy, [*prompts, *prompts], seed=seed)
    return [TextPair(prompts[i], replies[i].text, replies[n + i].text, "policy") for i in range(n)]


def judge_both_orders(
    judge: TransformersEngine,
    pairs: Sequence[TextPair],
    *,
    seed: int,
    attributes: Sequence[str] = truth.ATTRIBUTES,
) -> tuple[list[Judged], int]:
    """Ask about every pair under both poles of every attribute, with half of the wordings held out.

    Returns the judged pairs and the number of pairs without a verdict.
    """
    rng = random.Random(f"frontdesk wordings {seed}")
    asked = []
    for pair in pairs:
        for attribute in attributes:
            for polarity in (1, -1):
                held_out = rng.random() < 0.5
                wording = draw_wording(rng, attribute=attribute, polarity=polarity, held_out=held_out)
                asked.append((pair, wording, held_out))
    questions = [PairQuestion(p.messages, p.first, p.second, w.text) for p, w, _ in asked]
    questions += [PairQuestion(p.messages, p.second, p.first, w.text) for p, w, _ in asked]
    answers = judge_pairs(judge, questions)
    judged, failed = [], 0
    for (pair, wording, held_out), one, two in zip(asked, answers[: len(asked)], answers[len(asked) :], strict=True):
        row = _judged(pair, wording, held_out, one, two)
        if row is None:
            failed += 1
        else:
            judged.append(row)
    return judged, failed


def _judged(pair: TextPair, wording: Wording, held_out: bool, one: Answer, two: Answer) -> Judged | None:
    if one.logit is None or two.logit is None:
        return None
    shown = true_reason(pair.messages, pair.first, pair.second, wording=wording)
    turned = true_reason(pair.messages, pair.second, pair.first, wording=wording)
    return Judged(
        pair=pair,
        wording=wording,
        wording_held_out=held_out,
        gap=shown.gap / truth.STEP,
        length=truth.length_feature(pair.first, pair.second),
        as_shown=one.logit,
        swapped=-two.logit,
        reasons_right=(one.reason == shown.reason) + (two.reason == turned.reason),
    )


def share_right(rows: Sequence[Judged]) -> float:
    """Share of rows whose debiased logit has the sign of the truth; nan without rows."""
    return _mean([float(row.debiased * row.gap > 0) for row in rows])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _flip_rate(rows: Sequence[Judged]) -> float:
    return _mean([float(row.as_shown * row.swapped <= 0) for row in rows])


class Figures(NamedTuple):
    """What one set of judged pairs says about the judge."""

    n: int
    clear: float
    close: float
    clear_shown_first: float  # raw verdicts, better reply shown first / second
    clear_shown_second: float
    clear_flips: float  # share of clear pairs whose verdict flips with the order
    reasons: float
    flips: float
    position: float
    gap_slope: float
    length_slope: float
    beyond: float  # share of debiased labels below .01 or above .99
    calibration_error: float  # mean |label - simulated annotator's probability|


def summarise(rows: Sequence[Judged]) -> Figures:
    """The figures of a set of judged pairs."""
    clear = [row for row in rows if row.is_clear]
    close = [row for row in rows if not row.is_clear and row.gap]
    better_first = [r.as_shown * r.gap > 0 if r.gap > 0 else r.swapped * r.gap > 0 for r in clear]
    better_second = [r.swapped * r.gap > 0 if r.gap > 0 else r.as_shown * r.gap > 0 for r in clear]
    slopes = torch.linalg.lstsq(
        torch.tensor([[row.gap, row.length] for row in rows], dtype=torch.float64),
        torch.tensor([[row.debiased] for row in rows], dtype=torch.float64),
    ).solution[:, 0]
    labels = [1 / (1 + math.exp(-row.debiased)) for row in rows]
    return Figures(
        n=len(rows),
        clear=share_right(clear),
        close=share_right(close),
        clear_shown_first=_mean([float(right) for right in better_first]),
        clear_shown_second=_mean([float(right) for right in better_second]),
        clear_flips=_flip_rate(clear),
        reasons=_mean([row.reasons_right / 2 for row in rows]),
        flips=_flip_rate(rows),
        position=_mean([row.position for row in rows]),
        gap_slope=float(slopes[0]),
        length_slope=float(slopes[1]),
        beyond=_mean([float(abs(row.debiased) > math.log(99)) for row in rows]),
        calibration_error=_mean(
            [
                abs(label - truth.annotator_probability(row.gap * truth.STEP))
                for row, label in zip(rows, labels, strict=True)
            ]
        ),
    )


def by_principle(rows: Sequence[Judged]) -> dict[str, list[Judged]]:
    """The rows by the measure that their wording wants: courteous, curt, correct, wrong, ..."""
    names = [name for attribute in truth.ATTRIBUTES for name in (attribute, truth.OPPOSITES[attribute])]
    found: dict[str, list[Judged]] = {name: [] for name in names}
    for row in rows:
        found[row.wording.wanted].append(row)
    return found


class ScoreFigures(NamedTuple):
    """What single replies' scores say about the judge that scores."""

    n: int
    failed: int
    error: float  # mean |expected score - the planted distribution's mean|, in points
    correlation: float  # of the expected score with how well the reply keeps the principle
    order_right: float  # share of clear pairs of replies, to one prompt under one wording, ordered as the truth does
    reasons: float


def measure_scores(judge: TransformersEngine, pairs: Sequence[TextPair], *, seed: int) -> ScoreFigures:
    """Score both replies of every pair under one wording of each attribute."""
    rng = random.Random(f"frontdesk score wordings {seed}")
    asked = [
        (pair, draw_wording(rng, attribute=attribute, polarity=rng.choice((1, -1)), held_out=rng.random() < 0.5))
        for pair in pairs
        for attribute in truth.ATTRIBUTES
    ]
    texts = [(pair.messages, text, wording) for pair, wording in asked for text in (pair.first, pair.second)]
    scores = score_replies(judge, [SingleQuestion(messages, text, w.text) for messages, text, w in texts])
    kept, means, planted, reasons = [], [], [], []
    for (messages, text, wording), score in zip(texts, scores, strict=True):
        reason, keeps = score_reason_for(see_reply(messages, text), wording=wording)
        probabilities = truth.score_probabilities(keeps, response=text)
        kept.append(keeps)
        means.append(math.nan if score.mean is None else score.mean)
        planted.append(sum(s * p for s, p in zip(truth.SCORES, probabilities, strict=True)))
        reasons.append(float(score.reason == reason))
    read = [index for index, mean in enumerate(means) if not math.isnan(mean)]
    clear = [
        i
        for i in range(0, len(texts), 2)
        if truth.is_clear(kept[i] - kept[i + 1]) and not math.isnan(means[i] + means[i + 1])
    ]
    table = torch.tensor([[kept[i] for i in read], [means[i] for i in read]], dtype=torch.float64)
    return ScoreFigures(
        n=len(texts),
        failed=len(texts) - len(read),
        error=_mean([abs(means[i] - planted[i]) for i in read]),
        correlation=float(torch.corrcoef(table)[0, 1]),
        order_right=_mean([float((means[i] - means[i + 1]) * (kept[i] - kept[i + 1]) > 0) for i in clear]),
        reasons=_mean(reasons),
    )
