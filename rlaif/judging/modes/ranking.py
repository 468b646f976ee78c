"""A judge's choice of the best among several replies, over shuffled orders -> a comparison of each of their pairs.

Under Luce's choice axiom the log-probabilities of naming each reply are utilities, up to a constant, so that one
question gives the best and the whole order. Rotations come first among the shuffles: after as many of them as there
are samples, each has stood in each place once. Averaged over the shuffles; asks nothing.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.config.run import RunConfig
from rlaif.constitution.render import JudgeTemplate, render_conversation, render_list
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConfigError, StageError
from rlaif.judging.choices import Unusable, choice_logprobs, read_choices
from rlaif.judging.modes.mode import Debiased, Found, Mode, Pair, Planned, Shown, Words, verdict_request
from rlaif.models.interface import ScoredReply
from rlaif.records import (
    Comparison,
    Constitution,
    Judgement,
    Message,
    Principle,
    Question,
    Sample,
    SegmentedMessage,
    digest_text,
)
from rlaif.stats.logits import share_of_lead, sigmoid


def plan(
    pairs: Iterable[Pair],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None,
) -> Iterator[Planned]:
    """Samples that pairs join are shown together, in `config.num_shuffles` orders under each principle."""
    for group in find_groups(pairs):
        if len(group.shown) < 2:
            continue
        _refuse_too_many(len(group.shown), template=template)
        for principle in weighted_principles(constitution):
            for order in shuffle_group(group.shown, num_shuffles=config.num_shuffles):
                yield Planned(order, principle)


def _refuse_too_many(num_shown: int, *, template: JudgeTemplate) -> None:
    if num_shown > len(template.labels):
        raise StageError(
            f"a prompt has {num_shown} different responses to rank and the template names {len(template.labels)}",
            where=template.name,
            fix="list more `labels` in the template, or sample fewer responses",
        )


def count_questions(
    *, num_prompts: int, num_samples: int, num_pairs: int, num_principles: int, config: JudgeConfig
) -> int:
    most = math.factorial(num_samples)
    shuffles = num_samples if config.num_shuffles is None else min(config.num_shuffles, most)
    return num_prompts * shuffles * num_principles


def render(
    template: JudgeTemplate, *, conversation: Sequence[Message], responses: Sequence[Shown], principle: Principle
) -> tuple[SegmentedMessage, ...]:
    return render_list(
        template, conversation=render_conversation(conversation), responses=[shown.text for shown in responses],
        principle=principle.text,
    )  # fmt: skip


def check(config: RunConfig, *, template: JudgeTemplate) -> None:
    """Refuse principles that are drawn for each pair, and more responses than the template names."""
    if config.judge.principles == "sampled":
        raise ConfigError(
            "a ranking shows all responses at once, and `sampled` draws a principle for each pair of them",
            where="judge.principles",
            fix="write each or together, or name a template of `kind: pair`",
        )
    # The evaluation ranks both policies' responses, and what was picked of further ones, together.
    num_shown = max(config.sampling.num_samples, 2 * config.evaluation.num_samples + 1)
    if num_shown > len(template.labels):
        raise ConfigError(
            f"{num_shown} responses may have to be ranked together, and the template names {len(template.labels)}",
            where=template.name,
            fix="list more `labels` in the template, or lower sampling.num_samples and evaluation.num_samples",
        )


def read(
    reply: ScoredReply, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
) -> dict[str, Any] | Unusable:
    """All places, best first, by their log-probabilities; without them the place that was named, alone."""
    found = read_choices(reply, num_shown, min_mass=min_label_mass)
    if isinstance(found, Unusable):
        return found
    return {
        "unlisted_at_most": found.at_most,
        "label_mass": found.mass,
        "choice_logprobs": found.logprobs,
        "ranking": _rank(found.logprobs) if found.logprobs else (reply.verdict or 0,),
    }


def _rank(logprobs: Sequence[float | None]) -> tuple[int, ...]:
    """Places by falling probability; those that were not listed come last."""
    bounded = [-math.inf if x is None else x for x in logprobs]
    return tuple(sorted(range(len(bounded)), key=lambda place: -bounded[place]))


def combine(
    questions: Sequence[Question],
    found: Found,
    *,
    pairs: Sequence[Pair],
    constitution: Constitution,
    template: JudgeTemplate,
    draw_seed: int | None,
) -> Iterator[Comparison]:
    """A comparison for each pair of a group under each principle whose shuffles were all answered."""
    by_group: dict[tuple[frozenset[str], str], list[Question]] = defaultdict(list)
    for question in questions:
        by_group[frozenset(question.sample_ids), question.principles[0].text_digest].append(question)
    for group in find_groups(pairs):
        shown = frozenset(sample.id for sample in group.shown)
        for principle in weighted_principles(constitution):
            shuffles = by_group[shown, principle.digest]
            if shuffles and all(question.id in found for question in shuffles):
                yield from compare_ranked(group, [(question, found[question.id]) for question in shuffles])


class Group(NamedTuple):
    """Samples of one prompt that pairs join, directly or through others."""

    shown: tuple[Sample, ...]
    """One sample for each different text, by id: a text shown twice would share its probability with itself."""
    stands_for: Mapping[str, str]
    """Id of each sample -> id of the one that shows its text."""
    pairs: tuple[tuple[Sample, Sample], ...]


def find_groups(pairs: Iterable[tuple[Sample, Sample]]) -> list[Group]:
    """The groups, ordered by their first pairs."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    listed = list(pairs)
    for first, second in listed:
        leader[find(second.id)] = find(first.id)
    members: dict[str, list[tuple[Sample, Sample]]] = {}
    for pair in listed:
        members.setdefault(find(pair[0].id), []).append(pair)
    return [_make_group(found) for found in members.values()]


def _make_group(pairs: Sequence[tuple[Sample, Sample]]) -> Group:
    samples = {sample.id: sample for pair in pairs for sample in pair}
    by_text: dict[str, Sample] = {}
    for key in sorted(samples):
        by_text.setdefault(samples[key].text, samples[key])
    stands_for = {key: by_text[sample.text].id for key, sample in samples.items()}
    return Group(tuple(by_text.values()), stands_for, tuple(pairs))


def shuffle_group(shown: Sequence[Sample], *, num_shuffles: int | None) -> list[tuple[Sample, ...]]:
    """Different orders: rotations first, then others drawn by the samples' ids. None: as many orders as samples."""
    num = len(shown)
    wanted = num if num_shuffles is None else min(num_shuffles, math.factorial(num))
    orders = [(*shown[start:], *shown[:start]) for start in range(min(num, wanted))]
    generator = random.Random(int(digest_text("\n".join(sample.id for sample in shown))[:15], 16))
    seen = {tuple(sample.id for sample in order) for order in orders}
    while len(orders) < wanted:
        order = tuple(generator.sample(shown, num))
        key = tuple(sample.id for sample in order)
        if key not in seen:
            seen.add(key)
            orders.append(order)
    return orders


def compare_ranked(group: Group, shuffles: Sequence[tuple[Question, Sequence[Judgement]]]) -> Iterator[Comparison]:
    """The comparisons of a group's pairs under one principle.

    `shuffles`: each question with its judgement and the votes after it.
    """
    question = shuffles[0][0]
    for pair in group.pairs:
        first, second = sorted(sample.id for sample in pair)
        one, other = group.stands_for[first], group.stands_for[second]
        if one == other:
            continue
        result = combine_shuffles(
            [(asked.sample_ids.index(one), asked.sample_ids.index(other), judgements) for asked, judgements in shuffles]
        )
        yield Comparison(
            prompt_id=question.prompt_id,
            sample_ids=(first, second),
            principle=question.principles[0],
            judge_id=question.judge_id,
            judgement_ids=tuple(judgement.id for _, judgements in shuffles for judgement in judgements),
            p_first=result.p_first,
            logit=result.logit,
            position_effect=result.position_effect,
            flipped=result.flipped,
            debiased=is_balanced([asked.sample_ids for asked, _ in shuffles], one, other),
        )


def combine_shuffles(shuffles: Sequence[tuple[int, int, Sequence[Judgement]]]) -> Debiased:
    """p_first = sigmoid(mean over the shuffles of log p(first is best) - log p(second is best)).

    `shuffles`: the places of the two replies, and the judgement with its votes. Eq. (1) of the choice model, P(i) =
    exp(u_i) / sum_k exp(u_k), has log P(i) - log P(j) = u_i - u_j whatever else is shown. A reply that a server's list
    left out counts as the most that it can have been. Where a shuffle gave a choice alone, the probabilities that all
    votes give are averaged, a vote for a third reply being one half, and there is no logit.
    """
    found = [_find_difference(one, other, judgements[0]) for one, other, judgements in shuffles]
    differences = [difference for difference in found if difference is not None]
    if len(differences) < len(found):
        return _combine_votes(shuffles)
    logit = math.fsum(differences) / len(differences) + 0.0  # never minus zero
    before = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one < other]
    after = [d for (one, other, _), d in zip(shuffles, differences, strict=True) if one > other]
    position = None
    if before and after:
        position = (math.fsum(before) / len(before) - math.fsum(after) / len(after)) / 2
    flipped = None if len(shuffles) == 1 else min(differences) < 0 < max(differences)
    return Debiased(sigmoid(logit), logit, position, flipped)


def _find_difference(one: int, other: int, judgement: Judgement) -> float | None:
    """The log-probability of one reply less that of another; None for a choice alone."""
    logprobs = choice_logprobs(judgement)
    return logprobs[one] - logprobs[other] if logprobs else None


def _combine_votes(shuffles: Sequence[tuple[int, int, Sequence[Judgement]]]) -> Debiased:
    leads = [
        _find_lead(one, other, judgement)
        for one, other, judgements in shuffles
        for judgement in judgements
        if judgement.ranking
    ]
    won, lost = any(lead > 0 for lead in leads), any(lead < 0 for lead in leads)
    flipped = None if len(shuffles) == 1 or not (won or lost) else won and lost
    return Debiased(share_of_lead(math.fsum(leads) / len(leads)), None, None, flipped)


def _find_lead(one: int, other: int, judgement: Judgement) -> float:
    """The probability that one reply is better than another, less a half."""
    difference = _find_difference(one, other, judgement)
    if difference is not None:
        lead = sigmoid(abs(difference)) - 0.5
        return lead if difference >= 0 else -lead
    named = (judgement.ranking or (None,))[0]
    return 0.5 * ((one == named) - (other == named))


def is_balanced(orders: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether both were shown in each place equally often, so that no place can favour either."""
    return sorted(order.index(one) for order in orders) == sorted(order.index(other) for order in orders)


def describe_choices(template: JudgeTemplate) -> str:
    return f"the best of {', '.join(f'{text!r}' for text in template.choices)}"


MODE = Mode(
    shows="all",
    request=verdict_request,
    plan=plan,
    count_questions=count_questions,
    render=render,
    read=read,
    combine=combine,
    words=Words(
        question="shuffle",
        first_shown="shown first",
        orders="Each label averages the orders in which the responses were shown, so that the place weighs nothing.",
        too_few="ranked in too few orders",
        too_few_orders="too few",
        answers="verdicts",
        describe_choices=describe_choices,
    ),
    check=check,
)
