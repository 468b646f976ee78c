"""Responses, each scored separately -> comparisons of their pairs, and what each response is worth.

No order has a say: there is no position effect and nothing to flip, and n responses cost n questions. Two scores are
taken as independent. Does not ask and does not combine principles.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate, render_single
from rlaif.constitution.selection import principles_of
from rlaif.judging.choices import Unusable, choice_logprobs, read_choices
from rlaif.judging.modes.mode import Debiased, Found, Mode, Pair, Planned, Words
from rlaif.models.interface import ScoredReply
from rlaif.records import Comparison, Constitution, Judgement, PrincipleKey, Question, SegmentedMessage
from rlaif.stats.logits import share_of_lead, sigmoid

_LEAST = 1e-45
"""The smallest probability that a float32 softmax can give."""


def plan(
    pairs: Iterable[Pair],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
    draw_seed: int | None,
) -> Iterator[Planned]:
    """Each sample once under every principle that one of its pairs needs."""
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        for principle in principles_of(constitution, [sample.id for sample in pair], draw_seed=draw_seed):
            for sample in pair:
                if (sample.id, principle.id) not in seen:
                    seen.add((sample.id, principle.id))
                    yield Planned((sample,), principle)


def count_questions(
    *, num_prompts: int, num_samples: int, num_pairs: int, num_principles: int, config: JudgeConfig
) -> int:
    return num_prompts * num_samples * num_principles


def render(
    template: JudgeTemplate, *, conversation: str, responses: Sequence[str], principle: str
) -> tuple[SegmentedMessage, ...]:
    [response] = responses
    return render_single(template, conversation=conversation, response=response, principle=principle)


def read(
    reply: ScoredReply, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
) -> dict[str, Any] | Unusable:
    """The expected score, and the log-probabilities of all scores; a score without them is the one written."""
    found = read_choices(reply, len(template.choices), min_mass=min_label_mass)
    if isinstance(found, Unusable):
        return found
    written = float((reply.verdict or 0) + 1)
    return {
        "unlisted_at_most": found.at_most,
        "label_mass": found.mass,
        "choice_logprobs": found.logprobs,
        "score": expect_score(found.logprobs) if found.logprobs else written,
    }


def combine(
    questions: Sequence[Question],
    found: Found,
    *,
    pairs: Sequence[Pair],
    constitution: Constitution,
    draw_seed: int | None,
) -> Iterator[Comparison]:
    """One comparison for each pair and principle whose two samples were scored."""
    by_sample = {(q.sample_ids[0], q.principles[0].text_digest): found[q.id] for q in questions if q.id in found}
    for pair in pairs:
        first, second = sorted(sample.id for sample in pair)
        for principle in principles_of(constitution, (first, second), draw_seed=draw_seed):
            one, other = (by_sample.get((key, principle.digest)) for key in (first, second))
            if one is not None and other is not None:
                yield compare_scores(
                    prompt_id=pair[0].prompt_id,
                    sample_ids=(first, second),
                    principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
                    judge_id=questions[0].judge_id,
                    first=one,
                    second=other,
                )


def combine_scores(first: Sequence[Judgement], second: Sequence[Judgement]) -> Debiased:
    """p_first = P(S1 > S2) + P(S1 = S2) / 2 of two independent scores, each given by one judgement or by votes.

    Exactly antisymmetric. A response without log-probabilities has its votes as distribution, and then there is no
    logit.
    """
    one, other = distribution_of(first), distribution_of(second)
    scores = sorted({*one, *other})
    won = math.fsum(one.get(i, 0.0) * other.get(j, 0.0) for i in scores for j in scores if i > j)
    lost = math.fsum(one.get(i, 0.0) * other.get(j, 0.0) for i in scores for j in scores if i < j)
    tied = math.fsum(one.get(i, 0.0) * other.get(i, 0.0) for i in scores)
    logit = math.log(max(won + tied / 2, _LEAST)) - math.log(max(lost + tied / 2, _LEAST))
    if all(judgement.choice_logprobs for judgement in (first[0], second[0])):
        return Debiased(sigmoid(logit), logit, None, None)
    lead = (won - lost) / 2
    return Debiased(share_of_lead(lead), None, None, None)


def distribution_of(judgements: Sequence[Judgement]) -> dict[float, float]:
    """Score -> its probability: by the log-probabilities of the first judgement, else by the votes of all judgements.

    A score that a server's list left out counts with its bound. A vote with log-probabilities counts for each score by
    the probability that they give it.
    """
    votes = judgements[:1] if judgements[0].choice_logprobs else judgements
    counted: dict[float, list[float]] = defaultdict(list)
    for vote in votes:
        logprobs = choice_logprobs(vote)
        said = enumerate(score_distribution(logprobs), start=1) if logprobs else [(vote.score, 1.0)]
        for score, p in said:
            if score is not None:
                counted[float(score)].append(p)
    return {score: math.fsum(shares) / len(votes) for score, shares in counted.items()}


def expect(judgements: Sequence[Judgement]) -> float:
    """The expected score of a response, by its judgement and further votes."""
    return math.fsum(score * p for score, p in distribution_of(judgements).items())


def compare_scores(
    *,
    prompt_id: str,
    sample_ids: tuple[str, str],
    principle: PrincipleKey,
    judge_id: str,
    first: Sequence[Judgement],
    second: Sequence[Judgement],
) -> Comparison:
    """The comparison of two samples in canonical order. `first`, `second`: a sample's judgement, then its votes."""
    result = combine_scores(first, second)
    return Comparison(
        prompt_id=prompt_id,
        sample_ids=sample_ids,
        principle=principle,
        judge_id=judge_id,
        judgement_ids=tuple(j.id for j in (first[0], second[0], *first[1:], *second[1:])),
        p_first=result.p_first,
        logit=result.logit,
        debiased=True,
    )


def expect_score(logprobs: Sequence[float | None]) -> float:
    """sum i p(i) over the scores 1, 2, ..., p renormalised on them (Lee et al. 2023, arXiv:2309.00267, section 2.2).

    Only over the scores that were listed: a record keeps what was observed, without bounds.
    """
    return math.fsum(score * p for score, p in enumerate(score_distribution(logprobs), start=1))


def score_distribution(logprobs: Sequence[float | None]) -> list[float]:
    """Probabilities that sum to one; a choice that was not listed gets zero."""
    top = max(x for x in logprobs if x is not None)
    weights = [0.0 if x is None else math.exp(x - top) for x in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def worth(answers: Sequence[Sequence[Judgement]], *, weights: Sequence[float], template: JudgeTemplate) -> float:
    """sum w E[S] / sum w over the principles, S from 1 to k brought to -1..1 (Lee et al. 2023, arXiv:2309.00267)."""
    mean = math.fsum(w * expect(given) for w, given in zip(weights, answers, strict=True)) / math.fsum(weights)
    return 2 * (mean - 1) / (len(template.choices) - 1) - 1


def describe_choices(template: JudgeTemplate) -> str:
    return f"scores {', '.join(f'{text!r}' for text in template.choices)}"


MODE = Mode(
    shows="one",
    plan=plan,
    count_questions=count_questions,
    render=render,
    read=read,
    combine=combine,
    words=Words(
        question="score",
        first_shown="scored",
        orders="Each response was scored by itself: there was no order, so that no place could help and nothing flip.",
        too_few="",
        too_few_orders="",
        answers="scores",
        describe_choices=describe_choices,
    ),
    worth=worth,
)
