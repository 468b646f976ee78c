"""The audit app: addresses of pages, each made from the ledger as it is at the request, and the writing of disputes.

A page opens the ledger to be read and closes it again, so that it shows one moment and holds nothing. Asks no judge and
spends nothing. Reads through `rlaif.audit`, whose values the command line prints too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from rlaif.audit.decision_page import collect_page
from rlaif.audit.decision_rows import Filter, read_rows
from rlaif.audit.disputes import REASONS, SAYS, add_dispute, count_disputed, list_disputes
from rlaif.audit.influence import find_test_fraction
from rlaif.audit.ledger_file import find_path, open_to_read
from rlaif.audit.listing import list_decisions
from rlaif.audit.principles import find_principles, find_tested_edits
from rlaif.audit.runs import find_run, find_runs, report_path
from rlaif.audit.screen import LabelScreen, find_screen
from rlaif.audit.web.downloads import FORMATS, REPORT_POLICY, answer_page, answer_rows, read_format, refuse_many
from rlaif.audit.web.filters import KINDS, VERDICTS, read_after, read_asked, read_filters, refuse_unknown
from rlaif.audit.web.owner import OwnerPages
from rlaif.audit.web.search_pages import SearchPages
from rlaif.audit.web.server import Handlers, Pages, read_form
from rlaif.audit.web.trained import TrainedPages
from rlaif.errors import InputError, RlaifError
from rlaif.files.atomic import utc_now
from rlaif.ledger.chain import Head
from rlaif.ledger.listing import count_rows, find_groups, find_principle_ids, find_run_names
from rlaif.ledger.sign_offs import StatedHead, state_head
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison
from rlaif.report.people import calibration_view

PAGE_ROWS = 50


class Audited(NamedTuple):
    """What a server shows, and who writes on it."""

    runs_dir: Path
    run: str | None
    ledger: Path | None
    author: str
    """Empty: nothing can be written."""
    sheets: tuple[Path, ...] = ()
    """Files of sheets that lie neither in a run nor beside the runs."""


class App:
    """The pages over one ledger."""

    def __init__(self, audited: Audited) -> None:
        self._audited = audited
        self._pages = Pages(can_write=bool(audited.author), says=SAYS, reasons=REASONS)
        self._search = SearchPages(
            self._pages, runs_dir=audited.runs_dir, open_ledger=self._open, can_write=bool(audited.author)
        )
        self._owner = OwnerPages(self._pages, runs_dir=audited.runs_dir, sheets=audited.sheets, open_ledger=self._open)
        self._trained = TrainedPages(self._pages, runs_dir=audited.runs_dir, open_ledger=self._open)

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.runs),
            Route("/runs/{name}", self.run),
            Route("/runs/{name}/round/{number:int}/report", self.report),
            Route("/judgements", self.judgements),
            Route("/export", self.export),
            Route("/decision", self.find),
            Route("/decision/{id}", self.decision),
            Route("/decision/{id}/page", self.page),
            Route("/decision/{id}/dispute", self.dispute, methods=["POST"]),
            Route("/agreement", self.agreement),
            Route("/principles", self.principles),
            Route("/disputes", self.disputes),
            *self._search.routes,
            *self._owner.routes,
            *self._trained.routes,
        ]

    @property
    def handlers(self) -> Handlers:
        return {RlaifError: self._refuse, 404: self._refuse_address, 405: self._refuse_address}

    def runs(self, request: Request) -> Response:
        """All runs, the newest first."""
        found = find_runs(self._audited.runs_dir)
        return self._pages.render("runs.html.j2", here="runs", runs=found, stated=self._state_head())

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
        format = read_format(request.query_params)
        if asked.kind == "failed":
            raise InputError("failed answers are no comparisons", fix="see them in the list")
        filter = Filter(
            asked.principle or None, asked.verdict, True if asked.kind == "flipped" else None, asked.run or None
        )
        with self._open() as ledger:
            refuse_many(_count(ledger, filter))
            return answer_rows(read_rows(ledger, filter), format)

    def page(self, request: Request) -> Response:
        """One decision as a page of its own, to be kept or sent."""
        decision_id = request.path_params["id"]
        find_fraction = partial(find_test_fraction, self._audited.runs_dir)
        with self._open() as ledger:
            made = collect_page(ledger, [decision_id], Filter(), limit=1, at=utc_now(), find_fraction=find_fraction)
        return answer_page(made, name=f"decision-{decision_id[:12]}.html")

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
            path, seen = ledger.path, _read_seen(form, ledger)
        said = {name: form.get(name, "") for name in ("says", "reason", "note")}
        with Ledger.open(path) as ledger:
            add_dispute(ledger, decision_id, author=self._audited.author, seen=seen, **said)

    def disputes(self, request: Request) -> Response:
        """What people said of decisions, and under which principles the judge was wrong most often."""
        asked, before = read_asked(request.query_params), read_after(request.query_params, name="before")
        with self._open() as ledger, ledger.snapshot():
            found = list_disputes(ledger, asked, before=before or None, limit=PAGE_ROWS)
            counts = count_disputed(ledger, asked)
        more = {**asked._asdict(), "before": str(found.next_key)}
        return self._pages.render(
            "disputes.html.j2", here="disputes", rows=found.rows, asked=asked, by_principle=counts,
            more="" if found.next_key is None else f"/disputes?{urlencode(more)}",
        )  # fmt: skip

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

    def _state_head(self) -> StatedHead | None:
        """The chain's head and who signed which rows; None while there is no ledger."""
        if not find_path(self._audited.runs_dir, run=self._audited.run, ledger=self._audited.ledger).is_file():
            return None
        with self._open() as ledger:
            return state_head(ledger)

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


def _count(ledger: Ledger, filter: Filter) -> int:
    groups = find_groups(
        ledger.rows, Comparison.table, run=filter.run, principle=filter.principle, outcome=filter.verdict,
        flipped=filter.flipped,
    )  # fmt: skip
    return sum(count_rows(ledger.rows, groups).values())


def _read_seen(form: Mapping[str, str], ledger: Ledger) -> Head:
    """The chain's head that the author's page showed, refused where this ledger never had it."""
    seq, hex = form.get("seen_seq", ""), form.get("seen_head", "")
    if not (seq.isascii() and seq.isdecimal() and len(seq) < 19) or ledger.head_at(int(seq)) != hex:
        raise InputError("the page was made from another ledger", fix="open the decision again")
    return Head(int(seq), hex)
