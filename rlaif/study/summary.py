"""Finished cells -> all that a study says, as values: panels of fitted curves, what overtakes what, decisions.

Also the same as plain JSON values. Draws nothing and reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.errors import DataError
from rlaif.records import Estimate
from rlaif.run.world import STUDY_WANTED
from rlaif.study.curves import FittedCurve, Range, find_curves, find_noises, find_overtaking, fit_curves
from rlaif.study.plan import START, Prices
from rlaif.study.results import CellResult
from rlaif.study.rules import Decision, decide

FORMAT = 1


class Overtaking(NamedTuple):
    """From which budget on one recipe succeeds more often than another."""

    first: str
    second: str
    budget: Range


class Panel(NamedTuple):
    """All recipes at one noise of the demonstrations."""

    noise: float
    ceiling: float
    """Success of a policy that imitates these demonstrations perfectly."""
    curves: Mapping[str, FittedCurve]
    overtakings: tuple[Overtaking, ...]
    decisions: tuple[Decision, ...]


class Study(NamedTuple):
    """What a study found."""

    prices: Prices
    cells: tuple[CellResult, ...]
    panels: tuple[Panel, ...]
    start: float | None
    """Success of the starting policy; None where it was not measured."""

    @property
    def seeds(self) -> list[int]:
        """The seeds that have every cell that any seed has."""
        wanted = {cell.key[:3] for cell in self.trained}
        every = sorted({cell.seed for cell in self.trained})
        return [seed for seed in every if wanted == {cell.key[:3] for cell in self.trained if cell.seed == seed}]

    @property
    def trained(self) -> list[CellResult]:
        """The cells in which something was trained."""
        return [cell for cell in self.cells if cell.recipe != START]


def summarise(cells: Sequence[CellResult], prices: Prices) -> Study:
    """All that the cells say; DataError where nothing was trained yet."""
    trained = [cell for cell in cells if cell.recipe != START]
    if not trained:
        raise DataError("no training of this study is finished yet", fix="continue it with --resume")
    panels = []
    for noise in find_noises(trained):
        curves = find_curves(trained, noise=noise)
        fitted = fit_curves(curves)
        panels.append(
            Panel(
                noise=noise,
                ceiling=(1.0 - noise) ** len(STUDY_WANTED),
                curves=fitted,
                overtakings=tuple(_find_overtakings(fitted)),
                decisions=tuple(decide(curves)),
            )
        )
    start = next((cell.success for cell in cells if cell.recipe == START), None)
    return Study(prices, tuple(cells), tuple(panels), start)


def _find_overtakings(curves: Mapping[str, FittedCurve]) -> list[Overtaking]:
    """Every recipe that overtakes another, by their fits, within the budgets of both."""
    found = [
        Overtaking(first, second, find_overtaking(curves[first], curves[second]))
        for first in curves
        for second in curves
        if first != second
    ]
    return [one for one in found if one.budget.value is not None]


def mean_cells(cells: Sequence[CellResult], *, noise: float) -> list[dict[str, Any]]:
    """Means over seeds of what cells bought and took, by recipe and budget, in the order of the cells."""
    groups: dict[tuple[str, float], list[CellResult]] = {}
    for cell in sorted(cells, key=lambda cell: cell.budget):
        if cell.noise is None or cell.noise == noise:
            groups.setdefault((cell.recipe, cell.budget), []).append(cell)
    names = ("kl", "length", "num_demonstrations", "demonstration_tokens", "num_responses", "cpu_s")
    return [
        {
            "recipe": recipe,
            "budget": budget,
            "num_seeds": len(group),
            **{name: math.fsum(float(getattr(one, name)) for one in group) / len(group) for name in names},
        }
        for (recipe, budget), group in groups.items()
    ]


def study_data(study: Study) -> dict[str, Any]:
    """The study as plain JSON values; `cells` come last."""
    return {
        "format": FORMAT,
        "prices": study.prices.model_dump(),
        "seeds": study.seeds,
        "start": study.start,
        "panels": [_panel_data(panel) for panel in study.panels],
        "cells": [cell.model_dump() for cell in study.cells],
    }


def _panel_data(panel: Panel) -> dict[str, Any]:
    return {
        "demo_noise": panel.noise,
        "imitation_ceiling": panel.ceiling,
        "curves": {name: _curve_data(fitted) for name, fitted in panel.curves.items()},
        "overtakings": [
            {"first": one.first, "second": one.second, "budget": one.budget._asdict()} for one in panel.overtakings
        ],
        "decisions": [
            {
                "name": decision.name,
                "claim": decision.claim,
                "verdict": decision.verdict,
                "note": decision.note,
                "findings": [
                    {"about": one.about, "verdict": one.verdict, "estimate": _estimate_data(one.estimate)}
                    for one in decision.findings
                ],
            }
            for decision in panel.decisions
        ],
    }


def _curve_data(fitted: FittedCurve) -> dict[str, Any]:
    curve = fitted.curve
    return {
        "budgets": curve.budgets,
        "seeds": curve.seeds,
        "unfinished_seeds": curve.num_unfinished,
        "means": curve.means,
        "intervals": [_estimate_data(spread) for spread in fitted.spreads],
        "fits": [_fit_data(fit._asdict(), fit.half_point) for fit in fitted.fits.values()],
        "asymptote": fitted.asymptote._asdict(),
        "half_point": fitted.half_point._asdict(),
        "marginal": fitted.marginal,
    }


def _fit_data(fit: dict[str, Any], half_point: float | None) -> dict[str, Any]:
    return {**fit, "aicc": fit["aicc"] if math.isfinite(fit["aicc"]) else None, "half_point": half_point}


def _estimate_data(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.model_dump()
