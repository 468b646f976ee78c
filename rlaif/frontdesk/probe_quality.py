"""How far the probes can be trusted: wordings of known meaning in; out, which of them passed and which should have.

Each wording is checked as the command checks it, once with its meaning declared and once without. The judge is also
asked about clear pairs drawn from the mixture. Loads no model: the judge is a function that the caller gives.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.constitution.probe import MIN_RIGHT, Fault, PairJudge, ProbeAnswer, read_principle
from rlaif.constitution.probe_file import Probe, Winner
from rlaif.frontdesk import truth
from rlaif.frontdesk.probe_wordings import Intended
from rlaif.frontdesk.replies import draw_reply
from rlaif.frontdesk.world import draw_scene
from rlaif.records import Principle, Prompt


class Checked(NamedTuple):
    """The result of checking one wording, and what it should have been."""

    wording: Intended
    undeclared: Fault | None
    """The fault found when the principle does not say what it wants."""
    declared: Fault | None
    """The fault found when a tag says what it wants; as `undeclared` for a wording that means nothing."""
    flips: float
    read_as: str | None
    accuracy: float | None
    """Share of clear pairs on which the judge prefers the reply it should; None for a wording that means nothing."""

    @property
    def is_right(self) -> bool:
        return self.accuracy is not None and self.accuracy >= MIN_RIGHT


class ListFigures(NamedTuple):
    """Figures of one list of wordings. Shares are shares of n."""

    n: int
    accuracy: float | None
    """Mean over the wordings that mean something."""
    right: float
    """Wordings that the judge follows on the clear pairs."""
    passed_undeclared: float
    passed_declared: float
    wrongly_passed_undeclared: float
    """Passed although the judge does not follow it, or although it means nothing."""
    wrongly_passed_declared: float
    wrongly_refused_undeclared: float
    """Refused although the judge follows it."""
    wrongly_refused_declared: float


def draw_clear_pairs(*, seed: int, per_attribute: int) -> dict[str, list[Probe]]:
    """For every attribute: pairs of replies of the mixture, to held-out prompts, that contrast clearly in it."""
    rng = random.Random(f"frontdesk clear pairs {seed}")
    pairs: dict[str, list[Probe]] = {name: [] for name in truth.ATTRIBUTES}
    while any(len(found) < per_attribute for found in pairs.values()):
        scene = draw_scene(rng, held_out=True)
        messages, first, second = scene.messages(), draw_reply(scene, rng=rng), draw_reply(scene, rng=rng)
        for name, found in pairs.items():
            gap = truth.truth_gap(messages, first, second, measure_name=name)
            if len(found) < per_attribute and truth.is_clear(gap):
                winners: tuple[Winner, Winner] = ("first", "second") if gap > 0 else ("second", "first")
                expected = dict(zip((name, truth.OPPOSITES[name]), winners, strict=True))
                found.append(Probe(Prompt.from_chat(messages).messages, first, second, expected))
    return pairs


def check_wording(
    wording: Intended, *, probes: Sequence[Probe], clear: Mapping[str, Sequence[Probe]], judge: PairJudge
) -> Checked:
    """Ask the probes and the clear pairs under one wording."""
    principle = Principle(id="asked", text=wording.text)
    poles = {name: attribute for attribute, opposite in truth.OPPOSITES.items() for name in (attribute, opposite)}
    drawn = clear[poles[wording.wanted]] if wording.wanted is not None else []
    answers = judge([(probe, principle) for probe in (*probes, *drawn)])
    of_probes = answers[: len(probes)]
    undeclared = read_principle(principle, probes=probes, answers=of_probes)
    declared = undeclared
    accuracy = None
    if wording.wanted is not None:
        tagged = principle.model_copy(update={"tags": (wording.wanted,)})
        declared = read_principle(tagged, probes=probes, answers=of_probes)
        right = [
            isinstance(answer, ProbeAnswer) and answer.winner == pair.expected[wording.wanted]
            for pair, answer in zip(drawn, answers[len(probes) :], strict=True)
        ]
        accuracy = sum(right) / len(right)
    return Checked(
        wording=wording,
        undeclared=undeclared.find_fault(),
        declared=declared.find_fault(),
        flips=declared.undecided,
        read_as=undeclared.read_as,
        accuracy=accuracy,
    )


def summarise(rows: Sequence[Checked]) -> ListFigures:
    """The figures of one list."""
    accuracies = [row.accuracy for row in rows if row.accuracy is not None]

    def share(of: Sequence[bool]) -> float:
        return sum(of) / len(rows)

    return ListFigures(
        n=len(rows),
        accuracy=sum(accuracies) / len(accuracies) if accuracies else None,
        right=share([row.is_right for row in rows]),
        passed_undeclared=share([row.undeclared is None for row in rows]),
        passed_declared=share([row.declared is None for row in rows]),
        wrongly_passed_undeclared=share([row.undeclared is None and not row.is_right for row in rows]),
        wrongly_passed_declared=share([row.declared is None and not row.is_right for row in rows]),
        wrongly_refused_undeclared=share([row.undeclared is not None and row.is_right for row in rows]),
        wrongly_refused_declared=share([row.declared is not None and row.is_right for row in rows]),
    )


def probe_table(figures: Mapping[str, ListFigures]) -> str:
    """A table with a row per list. "Wrongly" means other than the judge's accuracy on the clear pairs says."""
    lines = [
        "| wordings | n | judge right on clear pairs | meaning declared: passed | refused | wrongly passed "
        "| wrongly refused | not declared: passed | refused | wrongly passed | wrongly refused |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, f in figures.items():
        shares = [
            f.passed_declared, 1 - f.passed_declared, f.wrongly_passed_declared, f.wrongly_refused_declared,
            f.passed_undeclared, 1 - f.passed_undeclared, f.wrongly_passed_undeclared, f.wrongly_refused_undeclared,
        ]  # fmt: skip
        accuracy = "-" if f.accuracy is None else f"{f.accuracy:.1%}"
        lines.append(f"| {' | '.join([name, str(f.n), accuracy, *(f'{share:.0%}' for share in shares)])} |")
    return "\n".join(lines)
