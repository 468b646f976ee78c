"""Decisions found by any filter and by words: a page of them, all of them as a file, and the index behind both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rlaif.audit.decision_page import MAX_DECISIONS, collect_page
from rlaif.audit.decision_rows import Filter, read_chosen
from rlaif.audit.influence import find_test_fraction
from rlaif.audit.queue_index import QUEUES
from rlaif.audit.search import FLIPPED, LONGER, PEOPLE, SURENESS, Search, check_search, find_decisions, find_keys
from rlaif.audit.search_index import describe_lag, read_state, update_index
from rlaif.audit.web.downloads import FORMATS, MAX_EXPORTED, answer_page, answer_rows, read_format, refuse_many
from rlaif.audit.web.filters import read_after
from rlaif.audit.web.server import Pages
from rlaif.errors import InputError
from rlaif.files.atomic import utc_now
from rlaif.ledger.store import Ledger
from rlaif.records import Model

PAGE_ROWS = 50
HTML = "html"
"""The format of decisions as pages for people, beside those for programs."""


class SearchPages:
    """The routes of the search."""

    def __init__(
        self,
        pages: Pages,
        *,
        runs_dir: Path,
        open_ledger: Callable[[], AbstractContextManager[Ledger]],
        can_write: bool,
    ) -> None:
        self._pages, self._runs_dir, self._open, self._can_write = pages, runs_dir, open_ledger, can_write

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route("/search", self.search),
            Route("/search/export", self.export),
            Route("/search/index", self.index, methods=["POST"]),
        ]

    def search(self, request: Request) -> Response:
        """Decisions by any filter and by words, through the index beside the ledger."""
        query = request.query_params
        search, after = read_search(query, further=("after",)), read_after(query)
        with self._open() as ledger:
            state = read_state(ledger)
            lag = "" if state is None else describe_lag(ledger, state, runs_dir=self._runs_dir)
            found = None if state is None else find_decisions(ledger, search, after=after, limit=PAGE_ROWS)
            judges = {} if found is None else _name_judges(ledger, found.known.judge)
        given = {name: value for name, value in search._asdict().items() if value}
        more = None if found is None or found.listing.next_key is None else found.listing.next_key
        return self._pages.render(
            "search.html.j2", here="search", search=search, found=found, judges=judges, after=after,
            offered={"people": PEOPLE, "sureness": SURENESS, "longer": LONGER, "flipped": FLIPPED},
            queues={name: queue.title for name, queue in QUEUES.items()},
            more=None if more is None else f"/search?{urlencode(given | {'after': str(more)})}",
            files={one: f"/search/export?{urlencode(given | {'format': one})}" for one in (*FORMATS, HTML)},
            max_decisions=MAX_DECISIONS, lag=lag,
        )  # fmt: skip

    def export(self, request: Request) -> Response:
        """All decisions that a search finds, as a file; as pages for people the first ones."""
        search = read_search(request.query_params, further=("format",))
        is_page = request.query_params.get("format") == HTML
        format = None if is_page else read_format(request.query_params)
        with self._open() as ledger:
            if read_state(ledger) is None:
                raise InputError("there is no search index", fix="make it on the page of the search")
            keys = find_keys(ledger, search, limit=(MAX_DECISIONS if is_page else MAX_EXPORTED) + 1)
            if not keys:
                raise InputError("no decision has these traits", fix="leave a filter out")
            if format is not None:
                refuse_many(len(keys))
                return answer_rows(read_chosen(ledger, keys, by=search), format)
            made = collect_page(
                ledger, [key for _, key in keys[:MAX_DECISIONS]], Filter(), limit=MAX_DECISIONS, at=utc_now(),
                find_fraction=partial(find_test_fraction, self._runs_dir),
            )  # fmt: skip
        made = made._replace(chosen=f"found by {search.describe()}", num_left=max(0, len(keys) - MAX_DECISIONS))
        return answer_page(made, name="decisions.html")

    async def index(self, request: Request) -> Response:
        """Make the index, or bring it up to date."""
        await run_in_threadpool(self._update_index)
        return RedirectResponse("/search", status_code=303)

    def _update_index(self) -> None:
        if not self._can_write:
            raise InputError("nothing can be written here", fix="make the index by `rlaif audit search`")
        with self._open() as ledger:
            update_index(ledger, runs_dir=self._runs_dir)


def read_search(query: Mapping[str, str], *, further: Sequence[str]) -> Search:
    """The search of an address, refused where a filter or its value is none. further: other names it may have."""
    unknown = sorted(set(query) - {*Search._fields, *further})
    if unknown:
        raise InputError(f'there is no filter "{unknown[0][:40]}"', fix=f"filter by {', '.join(Search._fields)}")
    search = Search(**{name: query.get(name, "").strip() for name in Search._fields})
    check_search(search)
    return search


def _name_judges(ledger: Ledger, ids: Sequence[str]) -> dict[str, str]:
    models = ledger.find(Model, ids)
    return {key: models[key].observed.name or key[:12] if key in models else key[:12] for key in ids}
