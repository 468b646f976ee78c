"""Items with what people chose and a judge's verdicts -> how the judge agrees with people, and where it does not.

What is right of an item is the choice of most people, or the likeliest one by their confusion matrices. Items drawn
with unequal probabilities are weighted by their inverse. A failed judgement is left out, unless a published convention
is named that counts it. Does not read files and prints nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict

from rlaif.calibration.agreement import measure_agreement, measure_quality, measure_ratio
from rlaif.calibration.choices import Item, Key, VerdictsRead
from rlaif.records import Agreement, Estimate, Tally, Verdict
from rlaif.records.base import Value
from rlaif.stats.intervals import effective_size, share_interval

SplitVotes = Literal["leave-out", "earliest", "tie"]
"""The majority of an item on which several choices have as many votes: none, the choice that came first, or a tie."""
RightBy = Literal["majority", "dawid-skene"]
"""How several people's choices make one: the most votes, or Dawid and Skene's confusion matrices."""
BANDS = ((1.1, "as long, within 10 %"), (1.5, "up to half longer"))
OVER_BANDS = "over half longer"
"""Bands of the longer response's words over the shorter one's."""


class Group(Value):
    """The judge against people on a part of the items."""

    by: Literal["principle", "length"]
    name: str
    """The principle, or how much longer one of the responses is."""
    majority: Agreement


class Disagreement(Value):
    """An item on which the judge says something else than people."""

    key: tuple[str, ...]
    principle: str
    people: Verdict
    """What is right by people."""
    choices: dict[str, Verdict]
    """Person -> choice."""
    judge: Verdict


class JudgeReport(Value):
    tally: Tally
    """Counts verdicts."""
    failed: dict[str, int]
    """How often each value of the verdict column that is no verdict was found."""
    failed_as: Literal["tie"] | None
    """The named convention by which failed judgements were counted after all."""
    split_votes: SplitVotes
    right_by: RightBy = "majority"
    """What `majority`, and all that is measured against it, takes as people's choice."""
    base_rates: dict[Verdict, float]
    items: Tally
    """Items compared with people's majority, and those that could not be."""
    effective_items: float | None = None
    """Kish's size of the compared items; None where every item counts alike."""
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
    of_ceiling: Estimate | None = None
    """The judge's agreement with one person over the agreement of two people, both on the judged items that at least
    two people chose on: 1 is as near to a person as another person is. None where people never agree there."""
    num_ceiling_items: int = 0
    majority_at_most: float = 1.0
    """The highest accuracy against the majority that the judge's kinds of verdicts allow: a judge that never ties
    disagrees with every tie of people's."""
    one_person_at_most: float = 1.0
    """The highest `one_person` of any judge with these kinds of verdicts: none agrees with people who differ."""
    groups: tuple[Group, ...] = ()
    """Under each of several principles, and in each band of length; empty where neither is known."""
    disagreements: tuple[Disagreement, ...] = ()
    """The clearest first: those on which the largest share of people chose what is right."""


class _Compared(NamedTuple):
    item: Item
    right: Verdict
    judged: Verdict


def report_judge(
    items: Sequence[Item],
    read: VerdictsRead,
    *,
    verdicts: Mapping[Key, Verdict],
    right: Mapping[Key, Verdict | None],
    failed_as: Literal["tie"] | None,
    split_votes: SplitVotes,
    right_by: RightBy,
    seed: int,
) -> JudgeReport:
    """The judge beside people. right: what is right of each item, by `right_by`; None where that is not decided."""
    compared, dropped = _compare(items, read, verdicts=verdicts, right=right)
    judged_items = [item for item in items if item.key in verdicts]
    weights = weights_of([row.item for row in compared])
    judged = [row.judged for row in compared]
    quality = (
        measure_quality(
            judged,
            [row.right for row in compared],
            clusters=[row.item.prompt for row in compared],
            weights=weights,
            seed=seed,
        )
        if compared
        else None
    )
    decided = [row for row in compared if "tie" not in (row.right, row.judged)]
    kinds = set(verdicts.values())
    return JudgeReport(
        tally=read.tally,
        failed=dict(Counter(read.failed.values()).most_common()),
        failed_as=failed_as,
        split_votes=split_votes,
        right_by=right_by,
        base_rates=base_rates((verdicts[item.key], item.weight) for item in judged_items),
        items=Tally(num_in=len(items), dropped=dict(dropped)),
        effective_items=None if weights is None else effective_size(weights),
        majority=_agreement(compared, seed=seed) if compared else None,
        precision=quality and quality.precision,
        recall=quality and quality.recall,
        f1=quality and quality.f1,
        by_choice=quality.by_choice if quality else {},
        neither_ties=share_interval(
            [float(row.right == row.judged) for row in decided],
            clusters=[row.item.prompt for row in decided],
            weights=weights_of([row.item for row in decided]),
        ),
        num_neither_ties=len(decided),
        num_judged_items=len(judged_items),
        majority_at_most=_mean([float(row.right in kinds) for row in compared], weights) if compared else 1.0,
        **_beside_one_person(judged_items, verdicts, seed=seed),
        groups=tuple(_group(compared, seed=seed)),
        disagreements=tuple(_find_disagreements(compared)),
    )


def find_majority(choices: Sequence[Verdict], *, split_votes: SplitVotes) -> Verdict | None:
    """The choice of most people; where several have as many votes, what `split_votes` says."""
    counted = Counter(choices)
    most = max(counted.values())
    leading = [choice for choice, count in counted.items() if count == most]
    if len(leading) == 1 or split_votes == "earliest":
        return leading[0]
    return "tie" if split_votes == "tie" else None


def band_of(words: tuple[int, int]) -> str:
    """The band of two lengths in words, whichever of them is the longer."""
    shorter, longer = sorted(words)
    return next((name for most, name in BANDS if longer <= most * shorter), OVER_BANDS)


def base_rates(choices: Iterable[tuple[Verdict, float]]) -> dict[Verdict, float]:
    """Shares of choices, each with its item's weight."""
    counted: dict[Verdict, float] = {"first": 0.0, "second": 0.0, "tie": 0.0}
    for choice, weight in choices:
        counted[choice] += weight
    total = sum(counted.values())
    return {choice: count / total for choice, count in counted.items() if count}


def weights_of(items: Sequence[Item]) -> list[float] | None:
    """The items' weights; None where every item counts alike."""
    weights = [item.weight for item in items]
    return weights if len(set(weights)) > 1 else None


def same_pairs(choices: Sequence[Verdict]) -> float:
    """Share of the pairs of people that chose the same."""
    counted = Counter(choices)
    return sum(count * (count - 1) for count in counted.values()) / (len(choices) * (len(choices) - 1))


def _compare(
    items: Sequence[Item],
    read: VerdictsRead,
    *,
    verdicts: Mapping[Key, Verdict],
    right: Mapping[Key, Verdict | None],
) -> tuple[list[_Compared], Counter[str]]:
    """The items with a verdict and a right choice, and why the others are left out."""
    dropped: Counter[str] = Counter()
    compared: list[_Compared] = []
    for item in items:
        choice = right[item.key]
        if item.key not in verdicts:
            dropped["failed" if item.key in read.failed else "no_verdict"] += 1
        elif choice is None:
            dropped["no_majority"] += 1
        else:
            compared.append(_Compared(item, choice, verdicts[item.key]))
    return compared, dropped


def _agreement(compared: Sequence[_Compared], *, seed: int) -> Agreement:
    items = [row.item for row in compared]
    has_strata = all(item.stratum for item in items)
    return measure_agreement(
        [row.right for row in compared],
        [row.judged for row in compared],
        clusters=[item.prompt for item in items],
        weights=weights_of(items),
        strata=[item.stratum for item in items] if has_strata else None,
        seed=seed,
    )


class _OnePerson(TypedDict):
    """The fields of a `JudgeReport` that set the judge beside single people."""

    one_person: Estimate | None
    of_ceiling: Estimate | None
    num_ceiling_items: int
    one_person_at_most: float


def _beside_one_person(items: Sequence[Item], verdicts: Mapping[Key, Verdict], *, seed: int) -> _OnePerson:
    """items: those with a verdict."""
    kinds = set(verdicts.values())
    shared = [item for item in items if len(item.choices) > 1]
    at_most = [max(_share_of(item, kind) for kind in kinds) for item in items]
    return {
        "one_person": share_interval(
            [_share_of(item, verdicts[item.key]) for item in items],
            clusters=[item.prompt for item in items],
            weights=weights_of(items),
        ),
        "of_ceiling": measure_ratio(
            [_share_of(item, verdicts[item.key]) for item in shared],
            [same_pairs(list(item.choices.values())) for item in shared],
            clusters=[item.prompt for item in shared],
            weights=weights_of(shared),
            seed=seed,
        ),
        "num_ceiling_items": len(shared),
        "one_person_at_most": _mean(at_most, weights_of(items)) if items else 1.0,
    }


def _group(compared: Sequence[_Compared], *, seed: int) -> Iterator[Group]:
    """Each principle in the order of the file, then each band of length from the shortest difference on."""
    principles: dict[str, list[_Compared]] = {}
    bands: dict[str, list[_Compared]] = {name: [] for name in (*(name for _, name in BANDS), OVER_BANDS)}
    for row in compared:
        if row.item.principle:
            principles.setdefault(row.item.principle, []).append(row)
        if row.item.words is not None:
            bands[band_of(row.item.words)].append(row)
    for name, rows in principles.items() if len(principles) > 1 else ():
        yield Group(by="principle", name=name, majority=_agreement(rows, seed=seed))
    for name, rows in bands.items():
        if rows:
            yield Group(by="length", name=name, majority=_agreement(rows, seed=seed))


def _find_disagreements(compared: Sequence[_Compared]) -> list[Disagreement]:
    rows = [row for row in compared if row.right != row.judged]
    rows.sort(key=lambda row: -_share_of(row.item, row.right))
    return [
        Disagreement(
            key=row.item.key,
            principle=row.item.principle,
            people=row.right,
            choices=row.item.choices,
            judge=row.judged,
        )
        for row in rows
    ]


def _mean(values: Sequence[float], weights: Sequence[float] | None) -> float:
    return statistics.fmean(values, weights)


def _share_of(item: Item, verdict: Verdict) -> float:
    return sum(choice == verdict for choice in item.choices.values()) / len(item.choices)
