"""Items with people's choices and a judge's verdicts -> how people agree, how the judge agrees with them, who wins.

Items drawn with unequal probabilities are weighted by their inverse in every figure. A failed judgement is left out,
unless a published convention is named that counts it; the report then says so. Does not read files and prints nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

from rlaif.calibration.agreement import krippendorff_alpha, measure_agreement, measure_quality
from rlaif.calibration.choices import Item, Key, PeopleRead, VerdictsRead
from rlaif.calibration.ranking import bradley_terry, rank_correlation
from rlaif.records import Agreement, Estimate, Tally, Verdict
from rlaif.records.base import Value
from rlaif.stats.intervals import effective_size, share_interval

SplitVotes = Literal["leave-out", "earliest", "tie"]
"""The majority of an item on which several choices have as many votes: none, the choice that came first, or a tie."""

MAX_PAIRED = 6
"""With more people than this any two of them share few items, and alpha describes all of them."""


class PairOfPeople(Value):
    a: str
    b: str
    agreement: Agreement


class PeopleReport(Value):
    num_items: int
    num_prompts: int | None
    """None where the column map names no prompt; each item then stands for itself."""
    num_annotators: int
    tally: Tally
    """Counts choices."""
    base_rates: dict[Verdict, float]
    any_two: Estimate | None
    """Probability that two people who chose on an item chose the same, mean over items; None where none has two."""
    num_shared_items: int
    """Items that at least two people chose on."""
    alpha: Estimate | None
    """Krippendorff's nominal alpha; None where it is not defined."""
    pairs: tuple[PairOfPeople, ...]
    """Each two annotators, on the items that both chose on; empty with more than MAX_PAIRED annotators."""
    effective_items: float | None = None
    """Kish's size: the number of equally weighted items that would tell as much; None where every item counts alike."""


class JudgeReport(Value):
    tally: Tally
    """Counts verdicts."""
    failed: dict[str, int]
    """How often each value of the verdict column that is no verdict was found."""
    failed_as: Literal["tie"] | None
    """The named convention by which failed judgements were counted after all."""
    split_votes: SplitVotes
    base_rates: dict[Verdict, float]
    items: Tally
    """Items compared with people's majority, and those that could not be."""
    majority: Agreement | None
    """The judge against the choice of most people; its share is the accuracy. None where no item is left."""
    precision: Estimate | None
    """Macro mean over the choices; so are recall and f1."""
    recall: Estimate | None
    f1: Estimate | None
    by_choice: dict[str, tuple[float, float]]
    """Choice -> precision and recall."""
    neither_ties: Estimate | None
    """Share of the same choice where neither the judge nor the majority says tie."""
    num_neither_ties: int
    num_judged_items: int
    """Items with a verdict, also those without a majority."""
    one_person: Estimate | None
    """Probability that a person who chose on an item chose what the judge did; to be compared with `any_two`."""
    majority_at_most: float = 1.0
    """The highest accuracy against the majority that the judge's kinds of verdicts allow: a judge that never ties
    disagrees with every tie of people's."""
    one_person_at_most: float = 1.0
    """The highest `one_person` of any judge with these kinds of verdicts: none agrees with people who differ."""


class Scores(Value):
    """Bradley-Terry scores, a tie as half a win for each side, mean zero, best first."""

    scores: dict[str, Estimate]
    why_not: str
    """Why there are none."""
    num_votes: int


class PoliciesReport(Value):
    people: Scores
    judge: Scores | None
    rank_correlation: Estimate | None
    """Spearman's correlation over the policies that both rank."""


class AgreementReport(Value):
    people: PeopleReport
    judge: JudgeReport | None
    policies: PoliciesReport | None
    seed: int
    """The seed of the bootstrap."""


def report_agreement(
    people: PeopleRead,
    read: VerdictsRead | None,
    *,
    by_prompt: bool,
    failed_as: Literal["tie"] | None = None,
    split_votes: SplitVotes = "leave-out",
    seed: int = 0,
) -> AgreementReport:
    """All figures of one set of choices; `by_prompt` says that the items' prompts are known."""
    items = people.items
    verdicts: dict[Key, Verdict] = {}
    if read is not None:
        verdicts = {**read.verdicts, **(dict.fromkeys(read.failed, failed_as) if failed_as else {})}
    return AgreementReport(
        people=_report_people(people, by_prompt=by_prompt, seed=seed),
        judge=None
        if read is None
        else _report_judge(items, read, verdicts, failed_as=failed_as, split_votes=split_votes, seed=seed),
        policies=_report_policies(items, None if read is None else verdicts),
        seed=seed,
    )


def find_majority(choices: Sequence[Verdict], *, split_votes: SplitVotes) -> Verdict | None:
    """The choice of most people; where several have as many votes, what `split_votes` says."""
    counted = Counter(choices)
    most = max(counted.values())
    leading = [choice for choice, count in counted.items() if count == most]
    if len(leading) == 1 or split_votes == "earliest":
        return leading[0]
    return "tie" if split_votes == "tie" else None


def _report_people(people: PeopleRead, *, by_prompt: bool, seed: int) -> PeopleReport:
    items = people.items
    annotators = list(dict.fromkeys(person for item in items for person in item.choices))
    shared = [item for item in items if len(item.choices) > 1]
    alpha = krippendorff_alpha(
        [list(item.choices.values()) for item in items],
        clusters=[item.prompt for item in items],
        weights=_weights(items),
        seed=seed,
    )
    pairs = combinations(annotators, 2) if len(annotators) <= MAX_PAIRED else ()
    return PeopleReport(
        num_items=len(items),
        num_prompts=len({item.prompt for item in items}) if by_prompt else None,
        num_annotators=len(annotators),
        tally=people.tally,
        base_rates=_base_rates((choice, item.weight) for item in items for choice in item.choices.values()),
        any_two=share_interval(
            [_same_pairs(list(item.choices.values())) for item in shared],
            clusters=[item.prompt for item in shared],
            weights=_weights(shared),
        ),
        num_shared_items=len(shared),
        alpha=None if alpha is None else alpha.alpha,
        pairs=tuple(pair for a, b in pairs if (pair := _report_pair(a, b, items, seed=seed)) is not None),
        effective_items=None if (weights := _weights(items)) is None else effective_size(weights),
    )


def _report_pair(a: str, b: str, items: Sequence[Item], *, seed: int) -> PairOfPeople | None:
    both = [item for item in items if a in item.choices and b in item.choices]
    if not both:
        return None
    agreement = measure_agreement(
        [item.choices[a] for item in both],
        [item.choices[b] for item in both],
        clusters=[item.prompt for item in both],
        weights=_weights(both),
        seed=seed,
    )
    return PairOfPeople(a=a, b=b, agreement=agreement)


def _report_judge(
    items: Sequence[Item],
    read: VerdictsRead,
    verdicts: dict[Key, Verdict],
    *,
    failed_as: Literal["tie"] | None,
    split_votes: SplitVotes,
    seed: int,
) -> JudgeReport:
    dropped: Counter[str] = Counter()
    compared: list[tuple[Item, Verdict, Verdict]] = []
    for item in items:
        majority = find_majority(list(item.choices.values()), split_votes=split_votes)
        if item.key not in verdicts:
            dropped["failed" if item.key in read.failed else "no_verdict"] += 1
        elif majority is None:
            dropped["no_majority"] += 1
        else:
            compared.append((item, majority, verdicts[item.key]))
    clusters = [item.prompt for item, _, _ in compared]
    right, judged = [majority for _, majority, _ in compared], [verdict for _, _, verdict in compared]
    weights = _weights([item for item, _, _ in compared])
    quality = measure_quality(judged, right, clusters=clusters, weights=weights, seed=seed) if compared else None
    decided = [row for row in compared if "tie" not in row[1:]]
    judged_items = [item for item in items if item.key in verdicts]
    kinds = set(verdicts.values())
    return JudgeReport(
        tally=read.tally,
        failed=dict(Counter(read.failed.values()).most_common()),
        failed_as=failed_as,
        split_votes=split_votes,
        base_rates=_base_rates((verdicts[item.key], item.weight) for item in judged_items),
        items=Tally(num_in=len(items), dropped=dict(dropped)),
        majority=measure_agreement(right, judged, clusters=clusters, weights=weights, seed=seed) if compared else None,
        precision=quality and quality.precision,
        recall=quality and quality.recall,
        f1=quality and quality.f1,
        by_choice=quality.by_choice if quality else {},
        neither_ties=share_interval(
            [float(a == b) for _, a, b in decided],
            clusters=[item.prompt for item, _, _ in decided],
            weights=_weights([item for item, _, _ in decided]),
        ),
        num_neither_ties=len(decided),
        num_judged_items=len(judged_items),
        one_person=share_interval(
            [_share_of(item, verdicts[item.key]) for item in judged_items],
            clusters=[item.prompt for item in judged_items],
            weights=_weights(judged_items),
        ),
        majority_at_most=_mean([float(a in kinds) for _, a, _ in compared], weights) if compared else 1.0,
        one_person_at_most=_mean(
            [max(_share_of(item, kind) for kind in kinds) for item in judged_items], _weights(judged_items)
        )
        if judged_items
        else 1.0,
    )


def _report_policies(items: Sequence[Item], verdicts: dict[Key, Verdict] | None) -> PoliciesReport | None:
    if any(item.policies is None for item in items):
        return None
    by_people = _score([(item, choice) for item in items for choice in item.choices.values()])
    if verdicts is None:
        return PoliciesReport(people=by_people, judge=None, rank_correlation=None)
    by_judge = _score([(item, verdicts[item.key]) for item in items if item.key in verdicts])
    return PoliciesReport(
        people=by_people,
        judge=by_judge,
        rank_correlation=rank_correlation(by_people.scores, by_judge.scores),
    )


def _score(votes: Sequence[tuple[Item, Verdict]]) -> Scores:
    named = [(item.policies, verdict, item) for item, verdict in votes if item.policies is not None]
    ranking = bradley_terry(
        [policies for policies, _, _ in named],
        [verdict for _, verdict, _ in named],
        clusters=[item.prompt for _, _, item in named],
        weights=_weights([item for _, _, item in named]),
    )
    return Scores(scores=ranking.scores or {}, why_not=ranking.why_not, num_votes=len(votes))


def _base_rates(choices: Iterable[tuple[Verdict, float]]) -> dict[Verdict, float]:
    """Shares of choices, each with its item's weight."""
    counted: dict[Verdict, float] = {"first": 0.0, "second": 0.0, "tie": 0.0}
    for choice, weight in choices:
        counted[choice] += weight
    total = sum(counted.values())
    return {choice: count / total for choice, count in counted.items() if count}


def _weights(items: Sequence[Item]) -> list[float] | None:
    """The items' weights; None where every item counts alike."""
    weights = [item.weight for item in items]
    return weights if len(set(weights)) > 1 else None


def _mean(values: Sequence[float], weights: Sequence[float] | None) -> float:
    return statistics.fmean(values, weights)


def _same_pairs(choices: Sequence[Verdict]) -> float:
    """Share of the pairs of people that chose the same."""
    counted = Counter(choices)
    return sum(count * (count - 1) for count in counted.values()) / (len(choices) * (len(choices) - 1))


def _share_of(item: Item, verdict: Verdict) -> float:
    return sum(choice == verdict for choice in item.choices.values()) / len(item.choices)
