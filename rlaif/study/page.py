"""A study -> its files: curves.json for programs, curves.svg to share, curves.html for people.

The page holds no script and loads nothing. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlaif.files.atomic import write_atomically
from rlaif.records import Estimate
from rlaif.report.page import CSS, make_environment
from rlaif.report.wording import format_count, format_number, format_percent, format_seconds, join_words
from rlaif.run.world import STUDY_WANTED
from rlaif.study.chart import STYLE, describe_panel, legend_mark, list_recipes, panel_figure, study_svg
from rlaif.study.curves import FittedCurve, Range
from rlaif.study.plan import CHOICE_SIZE, Prices
from rlaif.study.rules import Decision, Finding
from rlaif.study.summary import Panel, Study, mean_cells, study_data

HERE = Path(__file__).parent
LABELS = {
    "thumb": "one thumb for each response, up where it has all of them",
    "rating": "one rating for each response, the share that it has",
    "choice4": f"one choice among {CHOICE_SIZE} responses to a prompt, the one that has most",
    "judgement": "one judgement of each response, by a simulated judge that likes long replies",
}


def write_study(study: Study, folder: Path) -> Path:
    """Write the three files; returns the page's path."""
    data = json.dumps(study_data(study), indent=1, allow_nan=False)
    write_atomically(folder / "curves.json", data + "\n")
    write_atomically(folder / "curves.svg", study_svg(study))
    page = folder / "curves.html"
    write_atomically(page, render_study(study))
    return page


def render_study(study: Study) -> str:
    """The page as text."""
    return (
        make_environment(HERE)
        .get_template("page.html.j2")
        .render(
            css=Markup(CSS.read_text(encoding="utf-8") + STYLE),
            lede=describe_answer(study),
            legend=[{"name": name, "mark": legend_mark(study, name)} for name in list_recipes(study)],
            panels=[_panel_view(study, panel, number) for number, panel in enumerate(study.panels)],
            seeds=format_count(len(study.seeds), "whole seed"),
            unfinished=describe_unfinished(study),
            facts=_facts(study),
            wanted=join_words(list(STUDY_WANTED)),
            start=None if study.start is None else format_percent(study.start),
        )
    )


def describe_answer(study: Study) -> str:
    """The verdicts in a sentence for each panel."""
    sentences = []
    for panel in study.panels:
        said = [f"{decision.claim}: {decision.verdict}" for decision in panel.decisions]
        sentences.append(f"With {_lower_panel(panel)}, {join_words(said)}.")
    return " ".join(sentences)


def _lower_panel(panel: Panel) -> str:
    if panel.noise == 0:
        return "perfect demonstrations"
    return f"demonstrations that lack each quality in {format_percent(panel.noise, decimals=0)}"


def describe_unfinished(study: Study) -> str:
    """What of the study is missing; empty where nothing is."""
    missing = [
        f"{name} {format_count(fitted.curve.num_unfinished, 'seed')}"
        for panel in study.panels[:1]
        for name, fitted in panel.curves.items()
        if fitted.curve.num_unfinished
    ]
    return f"not all budgets of these are trained, and they are left out: {', '.join(missing)}" if missing else ""


def describe_range(found: Range, *, percent: bool) -> str:
    """A number with its interval: 57.1 % (56.0 to 58.2)."""
    if found.value is None:
        return "none"

    def say(value: float) -> str:
        return format_number(100 * value if percent else value, decimals=1 if percent else 0)

    unit = "\u202f%" if percent else ""
    if found.low is None or found.high is None:
        return say(found.value) + unit
    text = f"{say(found.value)}{unit} ({say(found.low)} to {say(found.high)})"
    return text if found.share == 1 else f"{text}, in {format_percent(found.share, decimals=0)} of the resamples"


def describe_finding(finding: Finding) -> str:
    """A number of a rule with its interval, and the words of what it is."""
    return f"{finding.about}: {_interval(finding.estimate)}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "no interval from one seed"
    mean, low, high = (format_number(x, decimals=3, signed=True) for x in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"


def _panel_view(study: Study, panel: Panel, number: int) -> dict[str, Any]:
    return {
        "id": f"panel-{number}",
        "title": describe_panel(panel)[0].upper() + describe_panel(panel)[1:],
        "ceiling": format_percent(panel.ceiling) if panel.noise > 0 else "",
        "svg": panel_figure(study, panel, name=f"panel-{number}-svg"),
        "decisions": [_decision_view(decision) for decision in panel.decisions],
        "budgets": [format_number(budget) for budget in _budgets(panel)],
        "curves": [_curve_view(name, fitted, _budgets(panel)) for name, fitted in panel.curves.items()],
        "overtakings": [
            {"who": f"{one.second} overtakes {one.first}", "at": describe_range(one.budget, percent=False)}
            for one in panel.overtakings
        ],
        "costs": [_cost_view(row) for row in mean_cells(study.trained, noise=panel.noise) if _is_last(panel, row)],
    }


def _budgets(panel: Panel) -> list[float]:
    return sorted({budget for fitted in panel.curves.values() for budget in fitted.curve.budgets})


def _is_last(panel: Panel, row: dict[str, Any]) -> bool:
    return [row["budget"]] == _budgets(panel)[-1:]


def _decision_view(decision: Decision) -> dict[str, Any]:
    findings = [describe_finding(finding) for finding in decision.findings]
    return {
        "name": decision.name,
        "claim": decision.claim,
        "verdict": decision.verdict,
        "findings": [*findings, *([decision.note] if decision.note else [])],
    }


def _curve_view(name: str, fitted: FittedCurve, budgets: Sequence[float]) -> dict[str, Any]:
    curve = fitted.curve
    cells = []
    for budget in budgets:
        if budget not in curve.budgets:
            cells.append({"mean": "", "interval": ""})
            continue
        k = curve.budgets.index(budget)
        spread = fitted.spreads[k]
        interval = ""
        if spread is not None:
            low, high = (format_number(100 * end, decimals=0) for end in (max(0.0, spread.low), min(1.0, spread.high)))
            interval = f"{low} to {high}"
        cells.append({"mean": format_percent(curve.means[k]), "interval": interval})
    return {
        "name": name,
        "cells": cells,
        "fit": _describe_fit(fitted),
        "asymptote": describe_range(fitted.asymptote, percent=True),
        "half": describe_range(fitted.half_point, percent=False),
        "marginal": [format_number(100 * value, decimals=1) for value in fitted.marginal],
    }


def _describe_fit(fitted: FittedCurve) -> str:
    fits = list(fitted.fits.values())
    if not fits:
        return "none: needs four budgets and six cells"
    better = fits[1].aicc - fits[0].aicc
    names = {"power": "power law", "sigmoid": "sigmoid"}
    return f"{names[fits[0].family]}, AICc {format_number(better, decimals=1)} below the {names[fits[1].family]}"


def _cost_view(row: dict[str, Any]) -> dict[str, str]:
    return {
        "name": row["recipe"],
        "demonstrations": format_number(row["num_demonstrations"], decimals=0),
        "tokens": format_number(row["demonstration_tokens"], decimals=0),
        "responses": format_number(row["num_responses"], decimals=0),
        "kl": format_number(row["kl"], decimals=1),
        "length": format_number(row["length"], decimals=1),
        "seconds": format_seconds(row["cpu_s"]),
    }


def _facts(study: Study) -> list[tuple[str, str]]:
    prices: Prices = study.prices
    price = prices.judgement_cost if prices.label_kind == "judgement" else prices.label_cost
    return [
        ("A demonstration costs", format_number(prices.demo_cost)),
        (f"A {prices.label_kind.removesuffix('4')} costs", format_number(price)),
        ("Feedback", LABELS[prices.label_kind]),
        ("Training by rewards", prices.algorithm),
        ("Trainings", format_number(len(study.trained))),
        ("Processor time", format_seconds(sum(cell.cpu_s for cell in study.cells))),
    ]
