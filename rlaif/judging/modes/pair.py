"""Pairs, each shown in two orders -> one comparison that does not depend on which response was shown first.

Log-probabilities are averaged over the orders before they become a probability. Verdicts alone count 1, 0 or one half,
and where one order gave a verdict alone, probabilities are averaged. A comparison of one order alone is marked as not
debiased. Does not ask and does not combine principles.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate, render_conversation
from rlaif.constitution.render import render as render_pair
from rlaif.constitution.selection import principles_of
from rlaif.judging.choices import Unusable, read_choices, verdict_logprobs
from rlaif.judging.modes.mode import Debiased, Found, Mode, Pair, Planned, Shown, Words, verdict_request
from rlaif.models.interface import ScoredReply
from rlaif.records import (
    Comparison,
    Constitution,
    Judgement,
    Message,
    OrderVerdict,
    Principle,
    PrincipleKey,
    Question,
    SegmentedMessage,
    Verdict,
    VerdictLogprob,
)
from rlaif.stats.logits import P_FIRST, mean_label, sigmoid

_SWAPPED: Mapping[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


def plan(
    pairs: Iterable[Pair],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None,
) -> Iterator[Planned]:
    """Per pair and principle the order as listed, then the swapped one unless the config asks one order alone."""
    for first, second in pairs:
        for principle in principles_of(constitution, (first.id, second.id), draw_seed=draw_seed):
            for shown in ((first, second), (second, first))[: 2 if config.both_orders else 1]:
                yield Planned(shown, principle)


def count_questions(
    *, num_prompts: int, num_samples: int, num_pairs: int, num_principles: int, config: JudgeConfig
) -> int:
    return num_prompts * num_pairs * num_principles * (2 if config.both_orders else 1)


def render(
    template: JudgeTemplate, *, conversation: Sequence[Message], responses: Sequence[Shown], principle: Principle
) -> tuple[SegmentedMessage, ...]:
    first, second = responses
    return render_pair(
        template, conversation=render_conversation(conversation), first=first.text, second=second.text,
        principle=principle.text,
    )  # fmt: skip


def read(
    reply: ScoredReply, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
) -> dict[str, Any] | Unusable:
    """The verdict, the log-probabilities of those that were listed, and the verdicts that were not."""
    found = read_choices(reply, len(template.choices), min_mass=min_label_mass)
    if isinstance(found, Unusable):
        return found
    verdicts = tuple(template.verdicts)
    common = {"unlisted_at_most": found.at_most, "label_mass": found.mass}
    if not found.logprobs:
        return {**common, "verdict": verdicts[reply.verdict or 0]}
    logprobs = {verdict: x for verdict, x in zip(verdicts, found.logprobs, strict=True) if x is not None}
    return {
        **common,
        "verdict": max(logprobs, key=logprobs.__getitem__),
        "logprobs": tuple(VerdictLogprob(verdict=verdict, logprob=x) for verdict, x in logprobs.items()),
        "unlisted": tuple(verdict for verdict, x in zip(verdicts, found.logprobs, strict=True) if x is None),
    }


def combine(
    questions: Sequence[Question],
    found: Found,
    *,
    pairs: Sequence[Pair],
    constitution: Constitution,
    template: JudgeTemplate,
    draw_seed: int | None,
) -> Iterator[Comparison]:
    """One comparison for each pair and principle whose orders were all answered."""
    by_pair: dict[tuple[frozenset[str], PrincipleKey], list[Question]] = defaultdict(list)
    for question in questions:
        by_pair[frozenset(question.sample_ids), question.principles[0]].append(question)
    for orders in by_pair.values():
        if any(question.id not in found for question in orders):
            continue
        listed, *swapped = (found[question.id] for question in orders)
        yield compare(
            prompt_id=orders[0].prompt_id,
            sample_ids=(orders[0].sample_ids[0], orders[0].sample_ids[1]),
            principle=orders[0].principles[0],
            judge_id=orders[0].judge_id,
            listed=listed[0],
            swapped=swapped[0][0] if swapped else None,
            further=(listed[1:], swapped[0][1:] if swapped else []),
        )


def compare(
    *,
    prompt_id: str,
    sample_ids: tuple[str, str],
    principle: PrincipleKey,
    judge_id: str,
    listed: Judgement,
    swapped: Judgement | None,
    further: tuple[Sequence[Judgement], Sequence[Judgement]] = ((), ()),
) -> Comparison:
    """The comparison of a pair: `listed` was shown in the order of `sample_ids`, `swapped` in the reverse.

    `further`: more draws of either order, as votes. The record is the same whichever of the two orders the caller
    lists first.
    """
    if any(further):
        result = combine_votes([listed, *further[0]], None if swapped is None else [swapped, *further[1]])
    else:
        result = combine_orders(listed, swapped)
    judgements = [listed] if swapped is None else [listed, swapped]
    if sample_ids[0] > sample_ids[1]:
        sample_ids = (sample_ids[1], sample_ids[0])
        result = result._replace(
            p_first=1.0 - result.p_first,
            logit=_inverted(result.logit),
            orders=tuple(
                OrderVerdict(verdict=_SWAPPED[order.verdict], logit=_inverted(order.logit))
                for order in reversed(result.orders)
            ),
        )
        judgements.reverse()
        further = further[1], further[0]
    judgements += [judgement for draws in further for judgement in draws]
    return Comparison(
        prompt_id=prompt_id,
        sample_ids=sample_ids,
        principle=principle,
        judge_id=judge_id,
        judgement_ids=tuple(judgement.id for judgement in judgements),
        p_first=result.p_first,
        logit=result.logit,
        position_effect=result.position_effect,
        flipped=result.flipped,
        orders=result.orders,
        debiased=swapped is not None,
    )


def combine_orders(listed: Judgement, swapped: Judgement | None) -> Debiased:
    """p_first = softmax of the verdict log-probabilities averaged over the orders, ties split evenly.

    A verdict that a server's list left out counts as the most that it can have been. Where an order gave a verdict
    alone, which is 1, 0 or 1/2, the probabilities of both orders are averaged, and there is no logit.
    """
    if swapped is None:
        return combine_votes([listed], None)
    tie = {entry.verdict for judgement in (listed, swapped) for entry in judgement.logprobs} - {"first", "second"}
    tables = [verdict_logprobs(judgement, verdicts=tie) for judgement in (listed, swapped)]
    if not all(tables) or listed.verdict is None or swapped.verdict is None:
        return combine_votes([listed], [swapped])
    # Both orders chose, and both chose the same place: two different responses.
    flipped = listed.verdict == swapped.verdict != "tie"
    unswapped = {_SWAPPED[verdict]: logprob for verdict, logprob in tables[1].items()}
    # Halved before they are added: exact, and the sum cannot overflow.
    logit = _logit_first({verdict: tables[0][verdict] / 2 + unswapped[verdict] / 2 for verdict in unswapped})
    alone = _logit_first(tables[0]), _logit_first(tables[1])
    position = alone[0] / 2 + alone[1] / 2
    by_order = _list_orders([listed.verdict, swapped.verdict], logits=alone)
    return Debiased(sigmoid(logit), logit, position, flipped, by_order)


def combine_votes(listed: Sequence[Judgement], swapped: Sequence[Judgement] | None) -> Debiased:
    """p_first = mean of the votes, averaged over the orders; flipped by what most votes of each order say.

    A vote counts as its probability where it has log-probabilities, and else as 1, 0 or 1/2, so that votes without
    log-probabilities give their share. Only one order's only vote has a logit.
    """
    one = _find_side(listed)
    if swapped is None:
        return Debiased(one.p, one.logit, None, None, _list_orders([one.verdict], logits=[one.logit]))
    other = _find_side(swapped)
    by_order = _list_orders([one.verdict, other.verdict], logits=[one.logit, other.logit])
    p_first, _ = mean_label([(one.p, None), (1 - other.p, None)], weights=(1.0, 1.0))
    return Debiased(p_first, None, None, one.verdict == other.verdict != "tie", by_order)


class _Side(NamedTuple):
    """What one order says of the response that it showed first."""

    verdict: Verdict
    p: float
    logit: float | None
    """None for several votes, and for a verdict alone."""


def _find_side(votes: Sequence[Judgement]) -> _Side:
    said = [_read_vote(vote) for vote in votes]
    verdict, logit = said[0]
    if len(said) == 1 and logit is not None:
        return _Side(verdict, sigmoid(logit), logit)
    counted = [P_FIRST[verdict] if logit is None else sigmoid(logit) for verdict, logit in said]
    share = math.fsum(counted) / len(counted)
    return _Side("tie" if share == 0.5 else "first" if share > 0.5 else "second", share, None)


def _read_vote(judgement: Judgement) -> tuple[Verdict, float | None]:
    """The verdict, and its logit; None for a verdict alone."""
    if judgement.verdict is None:
        raise ValueError("only judgements of a pair can be compared")
    table = verdict_logprobs(judgement)
    return judgement.verdict, _logit_first(table) if table else None


def _list_orders(verdicts: Sequence[Verdict], *, logits: Sequence[float | None]) -> tuple[OrderVerdict, ...]:
    """Verdicts and logits as shown, the swapped order second -> as the pair is listed."""
    return tuple(
        OrderVerdict(verdict=_SWAPPED[verdict] if number else verdict, logit=_inverted(logit) if number else logit)
        for number, (verdict, logit) in enumerate(zip(verdicts, logits, strict=True))
    )


def _inverted(logit: float | None) -> float | None:
    return None if logit is None else 0.0 - logit


def _logit_first(logprobs: Mapping[Verdict, float]) -> float:
    """logit(p_first + p_tie / 2) of the softmax; exactly antisymmetric in first and second."""
    first, second = logprobs["first"], logprobs["second"]
    if "tie" not in logprobs:
        return first - second + 0.0  # never minus zero: the same numbers must give the same record
    half_tie = logprobs["tie"] - math.log(2)
    return _log_add(first, half_tie) - _log_add(second, half_tie)


def _log_add(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def describe_choices(template: JudgeTemplate) -> str:
    return f"verdicts {', '.join(f'{text!r} = {verdict}' for verdict, text in template.verdicts.items())}"


MODE = Mode(
    shows="two",
    request=verdict_request,
    plan=plan,
    count_questions=count_questions,
    render=render,
    read=read,
    combine=combine,
    words=Words(
        question="order",
        first_shown="shown first",
        orders="Each label averages both orders, so that the place shown weighs nothing.",
        too_few="asked in one order only",
        too_few_orders="one only",
        answers="verdicts",
        describe_choices=describe_choices,
    ),
)
