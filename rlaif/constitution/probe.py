"""Probe pairs and a judge function -> whether the judge understands each principle.

The judge compares pairs of clear contrast in both orders. A principle is refused where its verdicts change with the
order or the expected reply does not win. A principle's own examples are such pairs too, for it alone. Also finds
principles that contradict each other. Loads no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations, islice
from typing import Literal, NamedTuple

from rlaif.constitution.example_probes import draw_example_probes
from rlaif.constitution.principles import PrincipleVocabulary, find_nearest_wording, place_of
from rlaif.constitution.probe_file import ANY, MIN_PROBES, Probe, Winner, names_of
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
    num_longer: int = 0
    """Number of the pairs with a known winner in which the expected reply is the longer one, in characters."""
    is_by_examples: bool = False
    """True where the pairs are the principle's own examples."""

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

    @property
    def is_too_small(self) -> bool:
        """True where the principle's examples are too few to say whether it is understood."""
        return self.is_by_examples and self.num_pairs < MIN_PROBES

    def find_fault(self, *, max_flips: float = MAX_FLIPS) -> Fault | None:
        """Why the judge cannot be asked about this principle; None where it can, or where too few pairs tell."""
        if self.num_pairs == 0 or self.is_too_small:
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


def choose_pairs(
    constitution: Constitution, *, probes: Sequence[Probe], use_examples: bool
) -> list[tuple[Principle, Sequence[Probe]]]:
    """Every principle that counts, with the pairs to ask about: its examples, if they are used, or else `probes`."""
    return [
        (principle, (draw_example_probes(principle) if use_examples else []) or probes)
        for principle in weighted_principles(constitution)
    ]


def probe_principles(
    constitution: Constitution,
    *,
    probes: Sequence[Probe],
    judge: PairJudge,
    max_flips: float = MAX_FLIPS,
    use_examples: bool = False,
) -> list[Reading]:
    """Let the judge compare every pair under every principle that counts, and read its answers.

    use_examples: a principle that has examples is asked about those alone, and no other principle is.
    """
    chosen = choose_pairs(constitution, probes=probes, use_examples=use_examples)
    answers = iter(judge([(probe, principle) for principle, pairs in chosen for probe in pairs]))
    readings, place = [], len(probes)
    for principle, pairs in chosen:
        own = list(islice(answers, len(pairs)))
        if use_examples and principle.examples:
            readings.append(_read_examples(principle, pairs=pairs, answers=own, place=place))
            place += len(pairs)
        else:
            readings.append(read_principle(principle, probes=probes, answers=own, max_flips=max_flips))
    return readings


def _read_examples(
    principle: Principle, *, pairs: Sequence[Probe], answers: Sequence[ProbeAnswer | FailureCause], place: int
) -> Reading:
    """How the judge reads a principle by its own examples, which are numbered from `place`."""
    reading = _count(principle, (principle.id,), probes=pairs, answers=answers)
    return reading._replace(
        is_by_examples=True,
        places=tuple(place + number for number in reading.places),
        decided=(None,) * place + reading.decided,
    )


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
    expected = [
        (probe, wanted, answer) for probe, answer in answered if (wanted := probe.winner_for(names)) is not None
    ]
    return Reading(
        principle=principle,
        names=names,
        places=places,
        decided=tuple(a.winner if not isinstance(a, str) and a.is_decided else None for a in answers),
        failed=Counter(answer for place in places if isinstance(answer := answers[place], str)),
        num_flipped=sum(answer.flipped for _, answer in answered),
        num_tied=sum(answer.tied for _, answer in answered),
        num_expected=len(expected),
        num_right=sum(answer.winner == wanted for _, wanted, answer in expected),
        num_longer=sum(_find_longer(probe) == wanted for probe, wanted, _ in expected),
        read_as=None,
    )


def _find_longer(probe: Probe) -> Winner | None:
    more = len(probe.first) - len(probe.second)
    return "first" if more > 0 else "second" if more < 0 else None


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
    if reading.is_by_examples:
        won = f"the good reply wins {reading.num_right} of its {reading.num_expected} examples"
    if reading.read_as is not None:
        won += f', as if it wanted "{reading.read_as}"'
    if fault == "backwards":
        return f"the judge reads {noun} backwards: {won}", f"{reword}; or correct {source} if that is what is wrong"
    return f"the judge does not decide by {noun}: {won}, where {MIN_RIGHT:.0%} are asked for", reword


def _describe_source(reading: Reading) -> str:
    """The source of the expected winners: the principle's examples, its tag, its id, or the probe file."""
    if reading.is_by_examples:
        return "its examples"
    if reading.names == (ANY,):
        return "the probe file"
    kind = "tag" if reading.names[0] in reading.principle.tags else "id"
    return f"its {kind} " + " and ".join(f'"{name}"' for name in reading.names)
