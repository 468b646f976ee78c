"""The audit app: addresses of pages, each made from the ledger as it is at the request, and the writing of disputes.

A page opens the ledger to be read and closes it again, so that it shows one moment and holds nothing. Asks no judge and
spends nothing. Reads through `rlaif.audit`, whose values the command line prints too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rlaif.audit.agreements import count_labelled, find_agreements
from rlaif.audit.decision_page import collect_page, render_page
from rlaif.audit.decision_rows import Filter, read_rows
from rlaif.audit.disputes import REASONS, SAYS, count_by_principle, list_disputes, make_dispute
from rlaif.audit.export import Format, export_rows
from rlaif.audit.influence import find_test_fraction
from rlaif.audit.ledger_file import open_to_read
from rlaif.audit.listing import list_decisions
from rlaif.audit.principles import find_principles, find_tested_edits
from rlaif.audit.runs import find_run, find_runs, report_path
from rlaif.audit.screen import LabelScreen, find_screen
from rlaif.audit.search import (
    FLIPPED,
    LONGER,
    PEOPLE,
    SURENESS,
    Search,
    check_search,
    find_decisions,
)
from rlaif.audit.search_index import describe_lag, read_state, update_index
from rlaif.audit.web.filters import KINDS, VERDICTS, read_after, read_filters, refuse_unknown
from rlaif.audit.web.server import Handlers, Pages, read_form
from rlaif.errors import InputError, RlaifError
from rlaif.files.atomic import utc_now
from rlaif.ledger.chain import Head
from rlaif.ledger.listing import count_rows, find_groups, find_principle_ids, find_run_names
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Model
from rlaif.report.people import calibration_view

PAGE_ROWS = 50
FORMATS: dict[Format, tuple[str, str]] = {
    "csv": ("csv", "text/csv"),
    "jsonl": ("jsonl", "application/x-ndjson"),
    "annotated-pairs": ("json", "application/json"),
    "parquet": ("parquet", "application/octet-stream"),
}
"""Format -> the ending of its files, and what a browser is told."""
MAX_EXPORTED = 50_000
"""Comparisons of one file; `rlaif audit export` has no bound."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
"""A report brings its style within itself, and no script."""


class Audited(NamedTuple):
    """What a server shows, and who writes on it."""

    runs_dir: Path
    run: str | None
    ledger: Path | None
    author: str
    """Empty: nothing can be written."""


class App:
    """The pages over one ledger."""

    def __init__(self, audited: Audited) -> None:
        self._audited = audited
        self._pages = Pages(can_write=bool(audited.author), says=SAYS, reasons=REASONS)

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.runs),
            Route("/runs/{name}", self.run),
            Route("/runs/{name}/round/{number:int}/report", self.report),
            Route("/judgements", self.judgements),
            Route("/export", self.export),
            Route("/search", self.search),
            Route("/search/index", self.index, methods=["POST"]),
            Route("/decision", self.find),
            Route("/decision/{id}", self.decision),
            Route("/decision/{id}/page", self.page),
            Route("/decision/{id}/dispute", self.dispute, methods=["POST"]),
            Route("/agreement", self.agreement),
            Route("/principles", self.principles),
            Route("/disputes", self.disputes),
        ]

    @property
    def handlers(self) -> Handlers:
        return {RlaifError: self._refuse, 404: self._refuse_address, 405: self._refuse_address}

    def runs(self, request: Request) -> Response:
        """All runs, the newest first."""
        return self._pages.render("runs.html.j2", here="runs", runs=find_runs(self._audited.runs_dir))

    def run(self, request: Request) -> Response:
        """One run: its rounds and stages."""
        name = request.path_params["name"]
        return self._pages.render("run.html.j2", here="runs", run=find_run(self._audited.runs_dir, name))

    def report(self, request: Request) -> Response:
        """A round's report, as it lies in the run's folder."""
        name, number = request.path_params["name"], request.path_params["number"]
        path = report_path(self._audited.runs_dir, name=name, number=number)
        return HTMLResponse(path.read_bytes(), headers={"content-security-policy": REPORT_POLICY})

    def judgements(self, request: Request) -> Response:
        """A page of a list, by the filters of its address."""
        asked = read_filters(request.query_params)
        with self._open() as ledger:
            known = {"run": find_run_names(ledger.rows), "principle": find_principle_ids(ledger.rows)}
            refuse_unknown(asked, known)
            listing = list_decisions(
                ledger, asked.kind, principle=asked.principle or None, verdict=asked.verdict, run=asked.run or None,
                after=asked.after, limit=PAGE_ROWS,
            )  # fmt: skip
        more = None if listing.next_key is None else asked.address(after=listing.next_key)
        return self._pages.render(
            "judgements.html.j2", here=asked.kind, asked=asked, known=known, kinds=KINDS, verdicts=VERDICTS,
            listing=listing, more=more, first=asked.address(after=0), formats=FORMATS,
            exported=asked.address(after=0).replace("/judgements?", "/export?", 1),
        )  # fmt: skip

    def export(self, request: Request) -> Response:
        """The comparisons that pass a list's filters, as a file."""
        query = {name: value for name, value in request.query_params.items() if name not in ("format", "after")}
        asked = read_filters(query)
        format = next((known for known in FORMATS if known == request.query_params.get("format")), None)
        if format is None:
            raise InputError("a file has one of these formats", fix=", ".join(FORMATS))
        if asked.kind == "failed":
            raise InputError("failed answers are no comparisons", fix="see them in the list")
        filter = Filter(
            asked.principle or None, asked.verdict, True if asked.kind == "flipped" else None, asked.run or None
        )
        with self._open() as ledger:
            _refuse_many(ledger, filter)
            exported = export_rows(read_rows(ledger, filter), format=format, at=utc_now())
        return Response(
            exported.data, media_type=FORMATS[format][1], headers=_attachment(f"comparisons.{FORMATS[format][0]}")
        )

    def page(self, request: Request) -> Response:
        """One decision as a page of its own, to be kept or sent."""
        decision_id = request.path_params["id"]
        find_fraction = partial(find_test_fraction, self._audited.runs_dir)
        with self._open() as ledger:
            made = collect_page(ledger, [decision_id], Filter(), limit=1, at=utc_now(), find_fraction=find_fraction)
        headers = {"content-security-policy": REPORT_POLICY, **_attachment(f"decision-{decision_id[:12]}.html")}
        return HTMLResponse(render_page(made).encode("utf-8", "backslashreplace"), headers=headers)

    def search(self, request: Request) -> Response:
        """Decisions by any filter and by words, through the index beside the ledger."""
        query = request.query_params
        unknown = sorted(set(query) - {*Search._fields, "after"})
        if unknown:
            raise InputError(f'there is no filter "{unknown[0][:40]}"', fix=f"filter by {', '.join(Search._fields)}")
        search = Search(**{name: query.get(name, "").strip() for name in Search._fields})
        check_search(search)
        after = read_after(query)
        with self._open() as ledger:
            state = read_state(ledger)
            lag = "" if state is None else describe_lag(ledger, state)
            found = None if state is None else find_decisions(ledger, search, after=after, limit=PAGE_ROWS)
            judges = {} if found is None else _name_judges(ledger, found.known.judge)
        given = {name: value for name, value in search._asdict().items() if value}
        more = None if found is None or found.listing.next_key is None else found.listing.next_key
        return self._pages.render(
            "search.html.j2", here="search", search=search, found=found, judges=judges, after=after,
            offered={"people": PEOPLE, "sureness": SURENESS, "longer": LONGER, "flipped": FLIPPED},
            more=None if more is None else f"/search?{urlencode(given | {'after': str(more)})}",
            lag=lag,
        )  # fmt: skip

    async def index(self, request: Request) -> Response:
        """Make the index, or bring it up to date."""
        await run_in_threadpool(self._update_index)
        return RedirectResponse("/search", status_code=303)

    def _update_index(self) -> None:
        if not self._audited.author:
            raise InputError("nothing can be written here", fix="make the index by `rlaif audit search`")
        with self._open() as ledger:
            update_index(ledger)

    def find(self, request: Request) -> Response:
        """The decision whose id was typed."""
        wanted = request.query_params.get("id", "").strip()
        if not wanted:
            raise InputError(
                "no id was given", fix="type one, or how it begins, as a report or `rlaif audit list` has it"
            )
        return RedirectResponse(f"/decision/{urlencode({'': wanted})[1:]}", status_code=303)

    def decision(self, request: Request) -> Response:
        """One decision, or a label by people alone."""
        with self._open() as ledger, ledger.snapshot():
            found = find_screen(ledger, request.path_params["id"])
            head = ledger.head()
        if found is None:
            raise InputError(
                "this answer has no decision: the other order of its pair has none",
                fix="see `failed answers`, or resume the run",
            )
        if isinstance(found, LabelScreen):
            return self._pages.render("preference.html.j2", here="", label=found)
        return self._pages.render("decision.html.j2", here="", screen=found, head=head)

    async def dispute(self, request: Request) -> Response:
        """Store what the author says of a decision, and show it again."""
        form = await read_form(request)
        decision_id = request.path_params["id"]
        await run_in_threadpool(self._store_dispute, decision_id, form)
        return RedirectResponse(f"/decision/{decision_id}#disputes", status_code=303)

    def _store_dispute(self, decision_id: str, form: Mapping[str, str]) -> None:
        if not self._audited.author:
            raise InputError("nothing can be written here", fix="start `rlaif audit serve` without --read-only")
        with self._open() as ledger:
            found, path = find_screen(ledger, decision_id), ledger.path
            seen = _read_seen(form, ledger)
        if found is None or isinstance(found, LabelScreen):
            raise InputError("there is no decision of a judge to dispute here", fix="open one from the list")
        dispute = make_dispute(
            found.comparison, author=self._audited.author, says=form.get("says", ""), reason=form.get("reason", ""),
            note=form.get("note", ""), seen=seen,
        )  # fmt: skip
        with Ledger.open(path) as ledger:
            ledger.append([dispute])

    def disputes(self, request: Request) -> Response:
        """What people said of decisions, and under which principles the judge was wrong most often."""
        asked = {name: request.query_params.get(name, "") for name in ("says", "reason", "principle")}
        with self._open() as ledger:
            rows = list_disputes(ledger, says=asked["says"], reason=asked["reason"], principle=asked["principle"])
        return self._pages.render(
            "disputes.html.j2", here="disputes", rows=rows, asked=asked, by_principle=count_by_principle(rows)
        )

    def agreement(self, request: Request) -> Response:
        """How far people and judge agree, and which decisions they differ on."""
        with self._open() as ledger:
            found, counts = find_agreements(ledger), count_labelled(ledger)
        rows = [{"used_by": row.used_by, "view": calibration_view(row.card)} for row in found]
        return self._pages.render("agreement.html.j2", here="agreement", rows=rows, counts=counts)

    def principles(self, request: Request) -> Response:
        """What was decided under each principle, and the tests of edited files."""
        run = request.query_params.get("run", "")
        with self._open() as ledger:
            known = find_run_names(ledger.rows)
            if run and run not in known:
                raise InputError(f'no run "{run[:80]}" used a decision in this ledger', fix="choose one of the list")
            rows, edits = find_principles(ledger, run=run or None), find_tested_edits(ledger)
        return self._pages.render("principles.html.j2", here="principles", rows=rows, edits=edits, run=run, known=known)

    @contextmanager
    def _open(self) -> Iterator[Ledger]:
        with open_to_read(self._audited.runs_dir, run=self._audited.run, ledger=self._audited.ledger) as ledger:
            yield ledger

    def _refuse(self, request: Request, error: Exception) -> Response:
        """A failure that a person can meet, as a page."""
        if not isinstance(error, RlaifError):
            raise error
        return self._pages.render(
            "refused.html.j2", here="", what=error.what, where=error.where, fix=error.fix, status=400
        )

    def _refuse_address(self, request: Request, error: Exception) -> Response:
        return self._pages.render(
            "refused.html.j2",
            here="",
            what="there is no such page",
            where="",
            fix="go on from the first page",
            status=404,
        )


def _refuse_many(ledger: Ledger, filter: Filter) -> None:
    groups = find_groups(
        ledger.rows, Comparison.table, run=filter.run, principle=filter.principle, outcome=filter.verdict,
        flipped=filter.flipped,
    )  # fmt: skip
    number = sum(count_rows(ledger.rows, groups).values())
    if number > MAX_EXPORTED:
        raise InputError(
            f"{number} comparisons are too many for one answer",
            fix="choose a run or a principle, or use `rlaif audit export`",
        )


def _attachment(name: str) -> dict[str, str]:
    safe = "".join(
        character for character in name if character.isascii() and (character.isalnum() or character in "-.")
    )
    return {"content-disposition": f'attachment; filename="{safe}"'}


def _name_judges(ledger: Ledger, ids: Sequence[str]) -> dict[str, str]:
    models = ledger.find(Model, ids)
    return {key: models[key].observed.name or key[:12] if key in models else key[:12] for key in ids}


def _read_seen(form: Mapping[str, str], ledger: Ledger) -> Head:
    """The chain's head that the author's page showed, refused where this ledger never had it."""
    seq, hex = form.get("seen_seq", ""), form.get("seen_head", "")
    if not (seq.isascii() and seq.isdecimal() and len(seq) < 19) or ledger.head_at(int(seq)) != hex:
        raise InputError("the page was made from another ledger", fix="open the decision again")
    return Head(int(seq), hex)
