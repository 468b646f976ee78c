"""A `ReportInput` -> the sections on what was asked for and what changed.

Measures first, then the judge's opinion, the same change without training, and the course over rounds.
Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any

from rlaif.config.evaluation import is_built_in
from rlaif.config.generate import FRONTDESK
from rlaif.evaluation.policy import WinRate
from rlaif.evaluation.text_measures import find_unit
from rlaif.records import Estimate
from rlaif.report.charts import RoundPoint, round_chart
from rlaif.report.headline import win_rate_headline
from rlaif.report.input import BestOfN, ReportInput, RoundSummary
from rlaif.report.moved import Moved, MovedRow
from rlaif.report.plots import Scale, dot_axis, dot_row, find_own_scale, find_scale, share_view
from rlaif.report.tables import verified_view
from rlaif.report.wording import (
    NOTHING,
    EstimateText,
    find_decimals,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    show_plain,
)

MINUS = chr(0x2212)
ROUND_UNITS = {
    "Win rate": "%, against the run's start",
    "Proxy reward": "gain over the start, by the round's own reward model",
    "KL": "nats per response from the run's start",
}


def asked_view(report: ReportInput) -> dict[str, Any]:
    """The constitution in words, and who was asked and trained."""
    total = sum(principle.weight for principle in report.constitution.principles)
    provenance = report.provenance
    facts = [
        _name_judges(report),
        *(
            [
                (
                    "Judge of the win rate",
                    _name_of(report, ("evaluation", "judge", "model", "path"), role="evaluation judge"),
                )
            ]
            if report.same_judge is False
            else []
        ),
        ("Policy", _name_of(report, ("policy", "path"), role="start policy")),
        ("Run", f"{provenance.run}, round {provenance.round}, seed {provenance.seed}"),
    ]
    prompts = next((stage.tally.kept for stage in report.funnel if stage.name == "prompts"), None)
    if prompts is not None:
        facts.append(("Prompts", f"{format_number(prompts)} to learn from"))
    return {
        "facts": facts,
        "principles": [
            {
                "id": principle.id,
                "text": principle.text,
                "weight": f"weight {format_number(principle.weight)} of {format_number(total)}",
                "share": f"{100 * principle.weight / total:.1f}" if total else "0",
                "tags": ", ".join(principle.tags),
            }
            for principle in report.constitution.principles
        ],
    }


def _name_judges(report: ReportInput) -> tuple[str, str]:
    """The judges that made the labels, each with its weight where the weights differ."""
    first = _name_of(report, ("judge", "model", "path"), role="judge")
    judge = report.provenance.config.get("judge")
    panel = judge.get("panel") if isinstance(judge, Mapping) else None
    if not isinstance(judge, Mapping) or not panel:
        return "Judge", first
    said = [(first, judge.get("weight", 1.0)), *((one["model"]["path"] or first, one["weight"]) for one in panel)]
    if len({weight for _, weight in said}) == 1:
        return "Judges", ", ".join(name for name, _ in said)
    return "Judges", ", ".join(f"{name} (weight {format_number(weight)})" for name, weight in said)


def _name_of(report: ReportInput, keys: Sequence[str], *, role: str) -> str:
    """What the configuration calls a model, or else what its fingerprint does."""
    value: Any = report.provenance.config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value == FRONTDESK:
        return "the front desk's small model, which comes with rlaif"
    model = report.provenance.models.get(role)
    if isinstance(value, str) and value:
        return value
    return PurePath(model.observed.name).name if model and model.observed.name else "not named"


def is_frontdesk_judge(report: ReportInput) -> bool:
    """Whether the front desk's judge, with its planted biases, made the labels."""
    value: Any = report.provenance.config
    for key in ("judge", "model", "path"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return bool(value == FRONTDESK)


def name_win_judge(report: ReportInput) -> str:
    """A short name of the judge that the win rates come from, to stand in a sentence."""
    other = report.same_judge is False
    keys = ("evaluation", "judge", "model", "path") if other else ("judge", "model", "path")
    name = _name_of(report, keys, role="evaluation judge" if other else "judge")
    if name.startswith("the front desk's"):
        return "the front desk's judge"
    return "the judge" if name == "not named" else f"the judge {PurePath(name).name}"


def changed_view(report: ReportInput, moved: Moved) -> dict[str, Any]:
    rows = [*moved.named, *moved.unnamed]
    best = report.best_of_n
    shared = [row.change for row in rows if not is_built_in(row.name)]
    scale = find_scale(shared)
    view = partial(_row_view, shared=scale, best=best, lowered=moved.lowered)
    return {
        "axis": dot_axis(scale) if shared or not rows else "",
        "named": [view(row, name=f"moved-{k}") for k, row in enumerate(moved.named)],
        "unnamed": [view(row, name=f"drift-{k}") for k, row in enumerate(moved.unnamed)],
        "mirrored": ", ".join(f"{pole} is 100 {MINUS} {shown}" for pole, shown in moved.mirrored.items()),
        "table": [_numbers_view(row, best) for row in rows],
        "n": _format_n([row.change.change for row in rows]),
        "best": _best_view(report),
        "verified": verified_view(report.verified),
        "win": _win_view(report, best),
        "rounds": rounds_view(report.rounds, moved),
    }


def _format_n(estimates: Sequence[Estimate | None]) -> str:
    """The number of prompts behind estimates: "200 prompts", or "80 to 200 prompts"."""
    counts = sorted({estimate.n for estimate in estimates if estimate is not None})
    if not counts:
        return "too few prompts for an interval"
    return format_count(counts[0], "prompt") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} prompts"


def _row_view(
    row: MovedRow, *, shared: Scale, name: str, best: BestOfN | None, lowered: Collection[str]
) -> dict[str, Any]:
    """A row of the page; a built-in measure has its own unit and its own scale."""
    choice = best.measures.get(row.name) if best else None
    own = is_built_in(row.name)
    scale = find_own_scale([row.change, *([choice] if choice else [])]) if own else shared
    decimals = 1 if scale.high - scale.low >= 10 else None
    less = ": less of it" if row.name in lowered else ""
    return {
        "name": row.name,
        "unit": find_unit(row.name) if own else "",
        "principles": ", ".join(row.principles) + less if less or row.principles not in ((), (row.name,)) else "",
        "clear": row.clear,
        "svg": dot_row(
            row.change,
            scale=scale,
            name=name,
            label=row.name,
            choice=(f"best of {best.n}", choice) if best and choice else None,
            shows_ends=own,
        ),
        "said": format_estimate(row.change.change, signed=True, decimals=decimals),
        "best": format_estimate(choice.change, signed=True, decimals=decimals) if choice else None,
    }


def _numbers_view(row: MovedRow, best: BestOfN | None) -> dict[str, Any]:
    change = row.change
    choice = best.measures.get(row.name) if best else None
    return {
        "name": row.name,
        "before": _format_side(change.before, change.mean_before),
        "after": _format_side(change.after, change.mean_after),
        "change": format_estimate(change.change, signed=True),
        "best": format_estimate(choice.change, signed=True) if choice else NOTHING,
    }


def _format_side(estimate: Estimate | None, mean: float) -> EstimateText:
    return format_estimate(estimate) if estimate else format_estimate(None)._replace(mean=format_number(mean))


def _best_view(report: ReportInput) -> dict[str, Any] | None:
    best = report.best_of_n
    if best is None:
        return None
    behaviour = report.behaviour
    measured = behaviour.kl_interval if behaviour else None
    said = _format_kl(
        behaviour.kl if behaviour else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
    )
    return {
        "n": best.n,
        "kl_bound": format_number(best.kl_bound, decimals=2),
        "kl": None
        if behaviour is None or behaviour.kl is None
        else f"{said.mean} ({said.interval or 'before its last update'})",
    }


def _win_view(report: ReportInput, best: BestOfN | None) -> dict[str, Any] | None:
    win = report.win_rate
    if win is None or win.soft is None:
        return None
    equal = win.length_controlled
    return {
        "headline": win_rate_headline(win),
        "who": name_win_judge(report),
        "judge": _describe_who_judged(report),
        "equal": None
        if equal is None or equal.slope is None
        else {
            "slope": format_estimate(equal.slope, signed=True, decimals=2),
            "sd": format_number(equal.length_sd, decimals=0),
        },
        "axis": dot_axis(Scale(0, 1), percent=True),
        "rows": list(_win_rows(win, best)),
        "hard": format_estimate(win.hard, percent=True),
        "pairs": format_count(win.num_pairs, "pair"),
        "identical": format_count(win.num_identical, "pair") if win.num_identical else "",
        "at_most": format_percent(win.at_most),
        "failed": format_count(win.num_failed, "pair is", "pairs are") if win.num_failed else "",
        "one_order": format_count(win.num_not_debiased, "comparison was", "comparisons were")
        if win.num_not_debiased
        else "",
    }


def _describe_who_judged(report: ReportInput) -> str:
    if report.same_judge is None:
        return "Whether this judge also made the labels that training learnt from is not known."
    if report.same_judge:
        who = "One of the judges that made" if _name_judges(report)[0] == "Judges" else "The same judge made"
        return (
            f"{who} the labels that training learnt from: the policy may have learnt to use what it sees wrongly. "
            "Another one can be named by evaluation.judge."
        )
    return "Another judge than the one whose labels training learnt from."


def _win_rows(win: WinRate, best: BestOfN | None) -> Iterator[dict[str, Any]]:
    """Win rates as shares: over all principles, at equal length, under each principle, and that of best of n."""
    if win.soft is not None:
        yield _win_row("all together", win.soft, svg_name="win-all", failed=win.num_failed)
    if win.length_controlled is not None:
        yield _win_row("at equal length", win.length_controlled.win_rate, svg_name="win-equal")
    for k, (name, estimate) in enumerate(win.soft_by_principle.items()):
        failed = win.failed_by_principle.get(name, 0)
        yield _win_row(f"{name} alone", estimate, svg_name=f"win-{k}", failed=failed)
    choice = best.win_rate if best is not None else None
    if best is not None and choice is not None and choice.soft is not None:
        row = _win_row(f"best of {best.n}", choice.soft, svg_name="win-best", css="choice", failed=choice.num_failed)
        if choice.num_identical:
            same = format_count(choice.num_identical, "pick is", "picks are")
            row["note"] = f"at most {format_percent(choice.at_most)}, as {same} the same text"
        yield row


def _win_row(name: str, share: Estimate, *, svg_name: str, css: str = "after", failed: int = 0) -> dict[str, Any]:
    return share_view(name, share, svg_name=svg_name, label=f"Win rate, {name}", css=css, failed=failed)


def rounds_view(rounds: Sequence[RoundSummary], moved: Moved) -> dict[str, Any] | None:
    """The charts and the table over rounds; None where there is only one."""
    if len(rounds) < 2:
        return None
    named = [row.name for row in moved.named if any(row.name in summary.measures for summary in rounds)]
    columns = ["proxy reward", "KL, nats", *named, "win rate"]
    panels = [
        _draw_rounds(title, points, f"rounds-{k}") for k, (title, points) in enumerate(_round_series(rounds, named))
    ]
    return {
        "columns": columns,
        "rows": [
            {
                "round": summary.round,
                "cells": [
                    ("proxy reward", _format_plain(summary.proxy_reward)),
                    ("KL, nats", _format_kl(summary.kl, low=summary.kl_low, high=summary.kl_high)),
                    *((name, format_estimate(summary.measures.get(name))) for name in named),
                    ("win rate", format_estimate(summary.win_rate, percent=True)),
                ],
            }
            for summary in rounds
        ],
        "panels": [panel for panel in panels if panel],
    }


def _format_kl(kl: float | None, *, low: float | None, high: float | None) -> EstimateText:
    """The KL, with its interval where it was measured for the round's policy."""
    said = _format_plain(kl)
    if low is None or high is None or low == high:
        return said
    return said._replace(interval=f"{format_number(low, decimals=2)} to {format_number(high, decimals=2)}")


def _format_plain(value: float | None) -> EstimateText:
    return NOTHING._replace(mean="unknown" if value is None else format_number(value, decimals=2))


def _round_series(
    rounds: Sequence[RoundSummary], named: Sequence[str]
) -> Iterator[tuple[str, list[tuple[RoundPoint, int | None]]]]:
    for name in named:
        yield name, [_point(r.round, r.measures[name]) for r in rounds if name in r.measures]
    yield "Win rate", [_point(r.round, r.win_rate, factor=100) for r in rounds if r.win_rate]
    yield "Proxy reward", [_flat(r.round, r.proxy_reward) for r in rounds if r.proxy_reward is not None]
    yield "KL", [_flat(r.round, r.kl) for r in rounds if r.kl is not None]


def _point(round: int, estimate: Estimate, *, factor: float = 1) -> tuple[RoundPoint, int | None]:
    return RoundPoint(round, factor * estimate.mean, factor * estimate.low, factor * estimate.high), estimate.n


def _flat(round: int, value: float) -> tuple[RoundPoint, int | None]:
    return RoundPoint(round, value, value, value), None


def _draw_rounds(title: str, points: Sequence[tuple[RoundPoint, int | None]], name: str) -> dict[str, Any] | None:
    if len(points) < 2:
        return None
    counts = sorted({n for _, n in points if n is not None})
    spread = max(point.high for point, _ in points) - min(point.low for point, _ in points)
    first, last = (format_number(points[k][0].mean, decimals=find_decimals(spread / 3)) for k in (0, -1))
    n = f"{format_count(counts[-1], 'prompt')} each" if counts else f"{len(points)} rounds"
    return {
        "title": show_plain(title),
        "unit": ROUND_UNITS.get(title, ""),
        "note": "",
        "course": f"{first} {chr(0x2192)} {last}, {n}",
        "svg": round_chart([point for point, _ in points], name=name, title=show_plain(title)),
    }
