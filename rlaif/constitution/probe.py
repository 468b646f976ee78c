"""Probe pairs and a judge function -> whether the judge understands each principle.

The judge compares pairs of clear contrast in both orders. A principle is refused where its verdicts change with the
order or the expected reply does not win. Also finds principles that contradict each other. Loads no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from rlaif.constitution.principles import PrincipleVocabulary, find_nearest_wording, place_of
from rlaif.constitution.probe_file import ANY, Probe, Winner, names_of
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConstitutionError
from rlaif.records import Constitution, FailureCause, Principle

MAX_FLIPS = 0.15
"""Largest share of pairs that may be undecided: the verdict changes with the order, or is a tie."""
MIN_RIGHT = 0.85
"""Least share of pairs with an expected winner that this winner has to win."""
MIN_OPPOSITE = 0.8
"""Two principles contradict each other where they want opposite replies on at least this share of pairs."""

Fault = Literal["silent", "flips", "backwards", "unclear"]


class ProbeAnswer(NamedTuple):
    """A judge's answer to a pair, from both orders."""

    p_first: float
    """Probability that the first reply is better, both orders combined."""
    flipped: bool
    """True where the orders name different winners."""
    tied: bool = False
    """True where neither order names a winner."""

    @property
    def winner(self) -> Winner | None:
        return "first" if self.p_first > 0.5 else "second" if self.p_first < 0.5 else None

    @property
    def is_decided(self) -> bool:
        return not self.flipped and not self.tied


PairJudge = Callable[[Sequence[tuple[Probe, Principle]]], Sequence[ProbeAnswer | FailureCause]]
"""Asks every pair in both orders; a failure where one order has no readable verdict."""


class Reading(NamedTuple):
    """How a judge reads one principle, on the pairs that contrast in it."""

    principle: Principle
    names: tuple[str, ...]
    """Tags or id by which the expected winners are known; empty: the principle does not say what it wants."""
    places: tuple[int, ...]
    """Numbers of the pairs that contrast in the principle; the counts below are over these pairs."""
    decided: tuple[Winner | None, ...]
    """Winner of every pair in both orders; None where the orders disagree or a verdict is missing."""
    failed: Counter[FailureCause]
    num_flipped: int
    num_tied: int
    num_expected: int
    """Answered pairs whose winner is known."""
    num_right: int
    """Number of these pairs that the expected reply wins, both orders combined."""
    read_as: str | None
    """Name, among those that the probes know, whose expected replies win; None where there is no such name."""

    @property
    def num_pairs(self) -> int:
        return len(self.places)

    @property
    def num_answered(self) -> int:
        return self.num_pairs - self.failed.total()

    @property
    def undecided(self) -> float:
        """Share of the answered pairs whose winner changes with the order, or that are a tie."""
        return (self.num_flipped + self.num_tied) / self.num_answered if self.num_answered else 1.0

    def find_fault(self, *, max_flips: float = MAX_FLIPS) -> Fault | None:
        """Why the judge cannot be asked about this principle; None where it can."""
        if self.num_pairs == 0:
            return None
        if 2 * self.num_answered < self.num_pairs:
            return "silent"
        if self.undecided > max_flips:
            return "flips"
        if self.num_right < MIN_RIGHT * self.num_expected:
            return "backwards" if 2 * self.num_right < self.num_expected else "unclear"
        return None


class Contradiction(NamedTuple):
    """Two principles under which the judge wants opposite replies on most pairs."""

    one: Principle
    other: Principle
    num_opposite: int
    num_pairs: int


def probe_principles(
    constitution: Constitution, *, probes: Sequence[Probe], judge: PairJudge, max_flips: float = MAX_FLIPS
) -> list[Reading]:
    """Let the judge compare every pair under every principle that counts, and read its answers."""
    principles = weighted_principles(constitution)
    answers = judge([(probe, principle) for principle in principles for probe in probes])
    return [
        read_principle(
            principle,
            probes=probes,
            answers=answers[number * len(probes) : (number + 1) * len(probes)],
            max_flips=max_flips,
        )
        for number, principle in enumerate(principles)
    ]


def read_principle(
    principle: Principle,
    *,
    probes: Sequence[Probe],
    answers: Sequence[ProbeAnswer | FailureCause],
    max_flips: float = MAX_FLIPS,
) -> Reading:
    """How the judge reads one principle, by its answers to all pairs.

    A principle that does not say what it wants is read on the pairs that contrast in everything. Where its verdicts
    flip there, it may still have a meaning that other pairs are made for, such as brevity; it is then read on those.
    """
    names = names_of(principle, probes=probes)
    reading = _count(principle, names, probes=probes, answers=answers)
    flips = reading.find_fault(max_flips=max_flips) == "flips"
    made_for = {name for probe in probes for name in probe.only}
    for name in dict.fromkeys((*names, *(name for probe in probes for name in probe.expected))):
        as_named = _count(principle, (name,), probes=probes, answers=answers)
        if name == ANY or not as_named.num_expected or as_named.find_fault(max_flips=max_flips) is not None:
            continue
        if not names and flips and name in made_for:
            reading = as_named._replace(names=(), num_expected=0, num_right=0)
        return reading._replace(read_as=name)
    return reading


def _count(
    principle: Principle,
    names: tuple[str, ...],
    *,
    probes: Sequence[Probe],
    answers: Sequence[ProbeAnswer | FailureCause],
) -> Reading:
    places = _places(names, probes=probes)
    answered = [(probes[place], answer) for place in places if not isinstance(answer := answers[place], str)]
    expected = [(wanted, answer) for probe, answer in answered if (wanted := probe.winner_for(names)) is not None]
    return Reading(
        principle=principle,
        names=names,
        places=places,
        decided=tuple(a.winner if not isinstance(a, str) and a.is_decided else None for a in answers),
        failed=Counter(answer for place in places if isinstance(answer := answers[place], str)),
        num_flipped=sum(answer.flipped for _, answer in answered),
        num_tied=sum(answer.tied for _, answer in answered),
        num_expected=len(expected),
        num_right=sum(answer.winner == wanted for wanted, answer in expected),
        read_as=None,
    )


def _places(names: tuple[str, ...], *, probes: Sequence[Probe]) -> tuple[int, ...]:
    """Numbers of the pairs made for these names, and of the general pairs unless every name has pairs made for it."""
    made_for = {name for probe in probes for name in probe.only}
    general = not names or any(name not in made_for for name in names)
    return tuple(
        place for place, probe in enumerate(probes) if (set(probe.only) & set(names) if probe.only else general)
    )


def find_contradictions(readings: Sequence[Reading]) -> list[Contradiction]:
    """Two principles that want opposite replies, in either order, on most of the pairs that contrast in both."""
    found = []
    for one, other in combinations(readings, 2):
        shared = set(one.places) & set(other.places)
        decided = [(one.decided[place], other.decided[place]) for place in shared]
        opposite = sum(a is not None and b is not None and a != b for a, b in decided)
        if shared and opposite >= MIN_OPPOSITE * len(shared):
            found.append(Contradiction(one.principle, other.principle, opposite, len(shared)))
    return found


def refuse_misread(
    readings: Sequence[Reading],
    *,
    constitution: Constitution,
    max_flips: float = MAX_FLIPS,
    vocabulary: PrincipleVocabulary | None = None,
) -> None:
    """Raise ConstitutionError for the first principle that the judge does not understand, or reads backwards."""
    faults = [(reading, reading.find_fault(max_flips=max_flips)) for reading in readings]
    refused = [(reading, fault) for reading, fault in faults if fault is not None]
    if not refused:
        return
    reading, fault = refused[0]
    what, fix = _explain(reading, fault, max_flips=max_flips, vocabulary=vocabulary)
    others = ", ".join(f'"{other.principle.id}"' for other, _ in refused[1:])
    raise ConstitutionError(
        f"{what}; refused too: {others}" if others else what,
        where=place_of(reading.principle, constitution=constitution),
        fix=fix,
    )


def _explain(
    reading: Reading, fault: Fault, *, max_flips: float, vocabulary: PrincipleVocabulary | None
) -> tuple[str, str]:
    """What is wrong, and what to do."""
    noun = f'principle "{reading.principle.id}"'
    reword = "word it more plainly, without a negation"
    if vocabulary is not None:
        reword += f'; the nearest wording that it knows is "{find_nearest_wording(reading.principle.text, vocabulary)}"'
    if fault == "silent":
        causes = ", ".join(f"{cause} {count}" for cause, count in reading.failed.most_common())
        return (
            f"the judge gave no verdict under {noun} on {reading.failed.total()} of {reading.num_pairs} "
            f"probe pairs ({causes})",
            "choose a template that this judge can answer, or another judge",
        )
    if fault == "flips":
        ties = f" and is a tie on {reading.num_tied}" if reading.num_tied else ""
        return (
            f"the judge does not understand {noun}: its verdict turns with the order on {reading.num_flipped} of "
            f"{reading.num_answered} probe pairs{ties}, {reading.undecided:.0%} where at most {max_flips:.0%} may",
            f"{reword} (--max-flips allows more)",
        )
    source = _describe_source(reading)
    won = f"the reply that {source} expects wins {reading.num_right} of {reading.num_expected} probe pairs"
    if reading.read_as is not None:
        won += f', as if it wanted "{reading.read_as}"'
    if fault == "backwards":
        return f"the judge reads {noun} backwards: {won}", f"{reword}; or correct {source} if that is what is wrong"
    return f"the judge does not decide by {noun}: {won}, where {MIN_RIGHT:.0%} are asked for", reword


def _describe_source(reading: Reading) -> str:
    """What names the expected winners: the principle's tag, its id, or the probe file."""
    if reading.names == (ANY,):
        return "the probe file"
    kind = "tag" if reading.names[0] in reading.principle.tags else "id"
    return f"its {kind} " + " and ".join(f'"{name}"' for name in reading.names)
