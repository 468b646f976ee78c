"""The pages about what was trained: a round's training, models with their lineage, two rounds compared.

Routes and handlers, which app.py takes among its own. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rlaif.audit.policies import find_model, list_models
from rlaif.audit.runs import StageRow
from rlaif.audit.trainings import Worth, find_evaluations, find_training
from rlaif.audit.two_decisions import RoundOfRun
from rlaif.audit.two_runs import Measured, Side, compare_rounds
from rlaif.audit.web.filters import read_after, refuse_unknown_names
from rlaif.audit.web.server import Pages
from rlaif.errors import InputError
from rlaif.ledger.lineage import list_rounds
from rlaif.ledger.listing import find_run_names
from rlaif.ledger.store import Ledger
from rlaif.records import Estimate, EvaluationReport
from rlaif.report.charts import spot_chart
from rlaif.report.tables import rewards_view
from rlaif.report.training import training_view
from rlaif.report.wording import EstimateText, format_count, format_estimate, format_number
from rlaif.run.stages import STAGES

PAGE_MODELS = 50
MAX_RUNS = 200
"""Runs that can be chosen from; any other can be named in the address."""
MAX_ROUNDS = 8
"""Rounds beside each other in a table: the last ones."""


class TrainedPages:
    """Handlers over one ledger and its runs."""

    def __init__(
        self, pages: Pages, *, runs_dir: Path, open_ledger: Callable[[], AbstractContextManager[Ledger]]
    ) -> None:
        self._pages = pages
        self._runs_dir = runs_dir
        self._open = open_ledger

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/runs/{name}/round/{number:int}/training", self.training),
            Route("/policies", self.policies),
            Route("/policies/{id}", self.policy),
            Route("/compare", self.compare),
        ]

    def training(self, request: Request) -> Response:
        """How a round's reward model and policy were trained."""
        run, number = request.path_params["name"], request.path_params["number"]
        with self._open() as ledger:
            found = find_training(self._runs_dir, ledger, run=run, number=number)
            evaluations = find_evaluations(ledger, run, number)
        return self._pages.render(
            "training.html.j2",
            here="policies",
            found=found,
            training=training_view(found.trained, texts_in=found.responses_file),
            sources=rewards_view(found.sources),
            worth=[_worth_view(place, one) for place, one in enumerate(found.worth)],
            rounds=_rounds_view(evaluations),
        )

    def policies(self, request: Request) -> Response:
        """The reward models and policies of the ledger, the newest first."""
        refuse_unknown_names(request.query_params, ("before",))
        before = read_after(request.query_params, name="before")
        with self._open() as ledger:
            found = list_models(ledger, before=before or None, limit=PAGE_MODELS)
        rows = [{"row": row, "said": format_estimate(row.estimate, percent=True)} for row in found.rows]
        return self._pages.render("policies.html.j2", here="policies", rows=rows, next_key=found.next_key)

    def policy(self, request: Request) -> Response:
        """One reward model or policy: its card, what it was made of, and what was made of it."""
        with self._open() as ledger, ledger.snapshot():
            found = find_model(ledger, request.path_params["id"])
        return self._pages.render("policy.html.j2", here="policies", found=found, model=found.model)

    def compare(self, request: Request) -> Response:
        """Two rounds, of two runs or of one."""
        query = request.query_params
        refuse_unknown_names(query, ("one", "other", "after"))
        asked = [_read_round(query.get(name, "")) for name in ("one", "other")]
        with self._open() as ledger:
            known = [
                RoundOfRun(name, number)
                for name in find_run_names(ledger.rows)[-MAX_RUNS:]
                for number in list_rounds(ledger, name)
            ]
            chosen = [one.run for one in asked]
            if not all(chosen):
                return self._pages.render("compare.html.j2", here="runs", known=known, found=None, chosen=chosen)
            found = compare_rounds(
                ledger, self._runs_dir, one=chosen[0], other=chosen[1], rounds=(asked[0].number, asked[1].number),
                after=read_after(query),
            )  # fmt: skip
        places = [side.place for side in found.sides]
        more = None if found.decided.next_key is None else compare_address(*places, after=found.decided.next_key)
        return self._pages.render(
            "compare.html.j2", here="runs", known=list(dict.fromkeys([*known, *places])), found=found,
            chosen=[f"{place.run}/{place.round}" for place in places], more=more, is_first=not read_after(query),
            first=compare_address(*places), measures=[_measured_view(one) for one in found.measures],
            stages=_stages_view(found.sides),
        )  # fmt: skip


class _Asked(NamedTuple):
    run: str
    number: int | None
    """None: the newest."""


def compare_address(one: RoundOfRun, other: RoundOfRun, *, after: int = 0) -> str:
    """The address of the page that compares two rounds."""
    values = {"one": f"{one.run}/{one.round}", "other": f"{other.run}/{other.round}"}
    return f"/compare?{urlencode(values | ({'after': str(after)} if after else {}), quote_via=quote)}"


def _read_round(text: str) -> _Asked:
    """A run as an address names it, `NAME` or `NAME/ROUND`."""
    run, mark, number = text.strip().partition("/")
    if mark and not (number.isascii() and number.isdecimal() and len(number) < 7):
        raise InputError(f'"{text[:80]}" names no round of a run', fix="write NAME or NAME/ROUND, such as 001/0")
    return _Asked(run, int(number) if mark else None)


def _worth_view(place: int, worth: Worth) -> dict[str, Any]:
    first, last = worth.spots[0], worth.spots[-1]
    counts = sorted({spot.num_values for spot in worth.spots})
    said = [format_estimate(spot.up) if worth.has_intervals else _plain(spot.up.mean) for spot in (first, last)]
    return {
        "name": worth.name,
        "principles": worth.principles,
        "has_intervals": worth.has_intervals,
        "said": said[-1],
        "kl": format_number(last.across, decimals=1),
        "start": said[0].mean if len(worth.spots) > 1 else "",
        "count": format_count(counts[0], "prompt") if len(counts) == 1 else "",
        "svg": spot_chart(
            worth.spots,
            name=f"worth-{place}",
            title=worth.name,
            unit="nats",
            origin="KL 0",
            with_counts=len(counts) > 1,
        ),
    }


def _plain(value: float | None) -> EstimateText:
    return EstimateText("" if value is None else format_number(value), "", "")


def _measured_view(measured: Measured) -> dict[str, Any]:
    said = [
        format_estimate(value, percent=measured.is_share) if isinstance(value, Estimate) else _plain(value)
        for value in measured.values
    ]
    changes = [None if one is None else format_estimate(one, signed=True) for one in measured.changes]
    return {"name": measured.name, "cells": list(zip(said, changes, strict=True))}


def _stages_view(sides: Sequence[Side]) -> list[tuple[str, list[dict[str, Any]]]]:
    """A row for each stage that one of the rounds began."""
    by_name = [{} if side.row is None else {stage.name: stage for stage in side.row.stages} for side in sides]
    rows = []
    for stage in STAGES:
        if any(stage.name in known for known in by_name):
            cells = [_describe_stage(side, known.get(stage.name)) for side, known in zip(sides, by_name, strict=True)]
            rows.append((stage.name, cells))
    return rows


def _describe_stage(side: Side, stage: StageRow | None) -> dict[str, Any]:
    if side.row is None:
        return {"said": "its folder is not there", "dropped": ()}
    if stage is None:
        return {"said": "not begun", "dropped": ()}
    if not stage.is_finished:
        return {"said": "not finished", "dropped": ()}
    return {"said": f"{stage.kept} of {stage.num_in} {stage.unit}", "dropped": stage.dropped}


def _rounds_view(evaluations: Mapping[int, EvaluationReport]) -> dict[str, Any] | None:
    """The evaluations of a run's rounds beside each other; None where there are fewer than two."""
    if len(evaluations) < 2:
        return None
    shown = sorted(evaluations)[-MAX_ROUNDS:]
    reports = [evaluations[number] for number in shown]
    names = dict.fromkeys(name for report in reports for name in report.measures_after)
    rows = [
        ("win rate over the start", [format_estimate(report.win_rate, percent=True) for report in reports]),
        ("KL to the start, nats", [_plain(report.figures.get("kl")) for report in reports]),
        *((name, [format_estimate(report.measures_after.get(name)) for report in reports]) for name in names),
    ]
    return {"numbers": shown, "rows": rows}
