"""Three hypotheses about the order of methods, each decided by a rule that was written before any cell was trained.

    H1a  fine-tuning levels off: from the last budget but one to the last, `sft` gains less per e-fold of budget than a
         quarter of what it gains at its steepest step
    H1b  rewards keep climbing: over the same last step, `sft+rl` gains more than `sft`
    H1c  the order matters: at the largest budget `sft+rl` succeeds more often than `rl+sft`, and than `rl` alone

Each is a number for every seed, whose mean has Student's 95 % interval over seeds; seeds are paired. A hypothesis is
supported where the whole interval is on its side of zero, refuted where it is on the other side, else undecided.
Fits no curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from rlaif.records import Estimate
from rlaif.stats.intervals import mean_interval
from rlaif.study.curves import Curve, pair_differences

Verdict = Literal["supported", "refuted", "undecided"]
LEVELS_OFF = 0.25
"""Share of its steepest gain under which a curve has levelled off."""


class Finding(NamedTuple):
    """One number of a rule."""

    about: str
    """What was compared, in words."""
    estimate: Estimate | None
    """Above zero speaks for the hypothesis; None with fewer than two seeds."""

    @property
    def verdict(self) -> Verdict:
        if self.estimate is None:
            return "undecided"
        return "supported" if self.estimate.low > 0 else "refuted" if self.estimate.high < 0 else "undecided"


class Decision(NamedTuple):
    """A hypothesis and what became of it in one panel."""

    name: Literal["H1a", "H1b", "H1c"]
    claim: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    note: str = ""
    """Why nothing could be decided."""


def decide(curves: Mapping[str, Curve]) -> list[Decision]:
    """The three decisions of a panel. curves: by recipe."""
    return [decide_levelling(curves), decide_climbing(curves), decide_order(curves)]


def decide_levelling(curves: Mapping[str, Curve]) -> Decision:
    """H1a."""
    claim = "fine-tuning levels off"
    curve = curves.get("sft")
    if curve is None or len(curve.budgets) < 3:
        return Decision("H1a", claim, "undecided", (), "needs the recipe sft at three budgets or more")
    steps = curve.steps()
    steepest = int(np.argmax(steps.mean(0)))
    most, last = float(steps[:, steepest].mean()), float(steps[:, -1].mean())
    if most <= 0:
        return Decision("H1a", claim, "undecided", (), "sft gains nothing between any two budgets")
    values = LEVELS_OFF * steps[:, steepest] - steps[:, -1]
    about = (
        f"a quarter of the steepest gain of sft, less its last one ({curve.budgets[-2]:g} to {curve.budgets[-1]:g}), "
        f"which is {last / most:.0%} of the steepest"
    )
    return _decision("H1a", claim, [Finding(about, _interval(values.tolist()))])


def decide_climbing(curves: Mapping[str, Curve]) -> Decision:
    """H1b, for each share of demonstrations; the verdict is that of the worst."""
    claim = "rewards keep climbing after fine-tuning"
    sft = curves.get("sft")
    others = _named(curves, "sft+rl@")
    if sft is None or len(sft.budgets) < 2 or not others:
        return Decision("H1b", claim, "undecided", (), "needs the recipes sft and sft+rl at two budgets or more")
    findings = []
    for curve in others:
        if curve.budgets[-2:] != sft.budgets[-2:]:
            continue
        seeds = [seed for seed in curve.seeds if seed in sft.seeds]
        gaps = curve.take(seeds).steps()[:, -1] - sft.take(seeds).steps()[:, -1]
        findings.append(Finding(f"last gain per e-fold of {curve.recipe}, less that of sft", _interval(gaps.tolist())))
    if not findings:
        return Decision("H1b", claim, "undecided", (), "needs sft and sft+rl at the same two largest budgets")
    return _decision("H1b", claim, findings)


def decide_order(curves: Mapping[str, Curve]) -> Decision:
    """H1c, where both orders divide the budget alike; the verdict is that of the worst comparison."""
    claim = "the order matters: demonstrations first"
    findings = []
    for first in _named(curves, "sft+rl@"):
        share = first.recipe.partition("@")[2]
        for other in (curves.get(f"rl+sft@{share}"), curves.get("rl")):
            if other is not None and other.budgets[-1] == first.budgets[-1]:
                values = pair_differences(first, other, budget=first.budgets[-1])
                about = f"success of {first.recipe} less that of {other.recipe} at {first.budgets[-1]:g}"
                findings.append(Finding(about, _interval(values)))
    if not any("rl+sft" in finding.about for finding in findings):
        return Decision("H1c", claim, "undecided", tuple(findings), "needs sft+rl and rl+sft with the same share")
    return _decision("H1c", claim, findings)


def _named(curves: Mapping[str, Curve], beginning: str) -> list[Curve]:
    return [curve for name, curve in sorted(curves.items()) if name.startswith(beginning)]


def _interval(values: Sequence[float]) -> Estimate | None:
    return mean_interval(values) if len(values) > 1 else None


def _decision(name: Literal["H1a", "H1b", "H1c"], claim: str, findings: Sequence[Finding]) -> Decision:
    """Supported where all findings are, refuted where one is."""
    verdicts = {finding.verdict for finding in findings}
    verdict: Verdict = "undecided"
    if "refuted" in verdicts:
        verdict = "refuted"
    elif verdicts == {"supported"}:
        verdict = "supported"
    note = "" if all(finding.estimate for finding in findings) and findings else "needs two seeds or more"
    return Decision(name, claim, verdict, tuple(findings), note)
