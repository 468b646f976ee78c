"""Items with people's choices and a judge's verdicts -> how people agree, how the judge agrees with them, who wins.

Items drawn with unequal probabilities are weighted by their inverse in every figure. A failed judgement is left out,
unless a published convention is named that counts it; the report then says so. Does not read files and prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from rlaif.calibration.agreement import krippendorff_alpha, measure_agreement
from rlaif.calibration.choices import Item, Key, PeopleRead, VerdictsRead
from rlaif.calibration.dawid_skene import MIN_PEOPLE, Combined, combine_choices
from rlaif.calibration.judge_quality import (
    JudgeReport,
    RightBy,
    SplitVotes,
    base_rates,
    find_majority,
    report_judge,
    same_pairs,
    weights_of,
)
from rlaif.calibration.ranking import bradley_terry, rank_correlation
from rlaif.errors import DataError
from rlaif.records import Agreement, Estimate, Tally, Verdict
from rlaif.records.base import Value
from rlaif.stats.intervals import effective_size, share_interval
from rlaif.stats.ranks import is_same

MAX_PAIRED = 6
"""With more people than this any two of them share few items, and alpha describes all of them."""


class PairOfPeople(Value):
    a: str
    b: str
    agreement: Agreement


class Reliability(Value):
    """How one person errs, by Dawid and Skene's model of all people's choices."""

    person: str
    accuracy: float
    """Share of all items on which the person would choose what is right."""
    confusion: dict[Verdict, dict[Verdict, float]]
    """Right choice -> how often the person then makes each choice."""


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
    is_drawn: bool = False
    """True where each item's probability of being drawn is known; False: the figures describe these items alone."""
    reliability: tuple[Reliability, ...] = ()
    """Each person, the most accurate first; empty where choices are combined by majority."""


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
    right_by: RightBy = "majority",
    seed: int = 0,
) -> AgreementReport:
    """All figures of one set of choices; `by_prompt` says that the items' prompts are known."""
    items = people.items
    verdicts: dict[Key, Verdict] = {}
    if read is not None:
        verdicts = {**read.verdicts, **(dict.fromkeys(read.failed, failed_as) if failed_as else {})}
    combined = _combine(items) if right_by == "dawid-skene" else None
    return AgreementReport(
        people=_report_people(people, combined, by_prompt=by_prompt, seed=seed),
        judge=None
        if read is None
        else report_judge(
            items,
            read,
            verdicts=verdicts,
            right=_find_right(items, combined, split_votes=split_votes),
            failed_as=failed_as,
            split_votes=split_votes,
            right_by=right_by,
            seed=seed,
        ),
        policies=_report_policies(items, None if read is None else verdicts),
        seed=seed,
    )


def _combine(items: Sequence[Item]) -> Combined:
    found = combine_choices([item.choices for item in items], weights=[item.weight for item in items])
    if len(found.confusion) < MIN_PEOPLE:
        raise DataError(
            f"{len(found.confusion)} people chose, and who of them errs shows only among {MIN_PEOPLE} or more",
            fix="add another person's choices, or combine choices by majority",
        )
    return found


def _find_right(
    items: Sequence[Item], combined: Combined | None, *, split_votes: SplitVotes
) -> dict[Key, Verdict | None]:
    """What is right of each item by people: by most votes, or the likeliest choice."""
    if combined is None:
        return {item.key: find_majority(list(item.choices.values()), split_votes=split_votes) for item in items}
    right: dict[Key, Verdict | None] = {}
    for item, chances in zip(items, combined.probabilities, strict=True):
        leading = [choice for choice, chance in chances.items() if is_same(chance, max(chances.values()))]
        right[item.key] = find_majority(leading, split_votes=split_votes)
    return right


def _report_reliability(combined: Combined | None) -> tuple[Reliability, ...]:
    if combined is None:
        return ()
    found = [
        Reliability(person=person, accuracy=combined.accuracy(person), confusion=confusion)
        for person, confusion in combined.confusion.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.accuracy))


def _report_people(people: PeopleRead, combined: Combined | None, *, by_prompt: bool, seed: int) -> PeopleReport:
    items = people.items
    annotators = list(dict.fromkeys(person for item in items for person in item.choices))
    shared = [item for item in items if len(item.choices) > 1]
    alpha = krippendorff_alpha(
        [list(item.choices.values()) for item in items],
        clusters=[item.prompt for item in items],
        weights=weights_of(items),
        seed=seed,
    )
    pairs = combinations(annotators, 2) if len(annotators) <= MAX_PAIRED else ()
    return PeopleReport(
        num_items=len(items),
        num_prompts=len({item.prompt for item in items}) if by_prompt else None,
        num_annotators=len(annotators),
        tally=people.tally,
        base_rates=base_rates((choice, item.weight) for item in items for choice in item.choices.values()),
        any_two=share_interval(
            [same_pairs(list(item.choices.values())) for item in shared],
            clusters=[item.prompt for item in shared],
            weights=weights_of(shared),
        ),
        num_shared_items=len(shared),
        alpha=None if alpha is None else alpha.alpha,
        pairs=tuple(pair for a, b in pairs if (pair := _report_pair(a, b, items, seed=seed)) is not None),
        effective_items=None if (weights := weights_of(items)) is None else effective_size(weights),
        is_drawn=people.is_drawn,
        reliability=_report_reliability(combined),
    )


def _report_pair(a: str, b: str, items: Sequence[Item], *, seed: int) -> PairOfPeople | None:
    both = [item for item in items if a in item.choices and b in item.choices]
    if not both:
        return None
    agreement = measure_agreement(
        [item.choices[a] for item in both],
        [item.choices[b] for item in both],
        clusters=[item.prompt for item in both],
        weights=weights_of(both),
        seed=seed,
    )
    return PairOfPeople(a=a, b=b, agreement=agreement)


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
        weights=weights_of([item for _, _, item in named]),
    )
    return Scores(scores=ranking.scores or {}, why_not=ranking.why_not, num_votes=len(votes))
