"""The owner's pages beside blind labelling: the sheets of the runs with what is certain by now, and the triage queues.

Read-only: a sheet is drawn, labelled and taken in by commands, whose lines these pages print. Annotators see neither.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rlaif.audit.queues import count_queues
from rlaif.audit.search_index import describe_lag, read_state
from rlaif.audit.sheets import find_sheets
from rlaif.audit.web.server import Pages
from rlaif.errors import InputError
from rlaif.ledger.listing import find_run_names
from rlaif.ledger.store import Ledger


class OwnerPages:
    """The routes of sheets and queues."""

    def __init__(
        self,
        pages: Pages,
        *,
        runs_dir: Path,
        sheets: Sequence[Path],
        open_ledger: Callable[[], AbstractContextManager[Ledger]],
    ) -> None:
        self._pages, self._runs_dir, self._sheets, self._open = pages, runs_dir, sheets, open_ledger

    @property
    def routes(self) -> list[BaseRoute]:
        return [Route("/spot-checks", self.spot_checks), Route("/queues", self.queues)]

    def spot_checks(self, request: Request) -> Response:
        """Every sheet, the newest first."""
        with self._open() as ledger:
            run, known = _read_run(request.query_params, ledger)
            found = find_sheets(ledger, runs_dir=self._runs_dir, named=self._sheets)
        rows = [row for row in found if not run or run in row.check.runs]
        return self._pages.render(
            "spot_checks.html.j2", here="spot-checks", rows=rows, run=run, known=known,
            commands=[self._commands(row.path) for row in rows],
        )  # fmt: skip

    def queues(self, request: Request) -> Response:
        """The queues with their lengths."""
        with self._open() as ledger:
            run, known = _read_run(request.query_params, ledger)
            rows = count_queues(ledger, run=run or None)
            state = read_state(ledger)
            lag = "" if state is None else describe_lag(ledger, state, runs_dir=self._runs_dir)
        search = {row.name: urlencode({"queue": row.name} | ({"run": run} if run else {})) for row in rows or ()}
        draw = {row.name: self._draw(row.name, run=run) for row in rows or ()}
        return self._pages.render(
            "queues.html.j2", here="queues", rows=rows, run=run, known=known, search=search, draw=draw, lag=lag
        )

    def _commands(self, path: Path | None) -> tuple[str, ...]:
        """What the owner types next for a sheet whose file is known."""
        if path is None:
            return ()
        name = shlex.quote(str(path))
        return (f"rlaif spot-check serve {name} --as NAME", f"rlaif spot-check status {name}{self._place()}")

    def _draw(self, queue: str, *, run: str) -> str:
        named = f" --run {shlex.quote(run)}" if run else ""
        return f"rlaif spot-check draw {queue}.json --queue {queue} --items 60{named}{self._place()}"

    def _place(self) -> str:
        return "" if self._runs_dir == Path("runs") else f" --runs-dir {shlex.quote(str(self._runs_dir))}"


def _read_run(query: Mapping[str, str], ledger: Ledger) -> tuple[str, list[str]]:
    """The run that an address names, empty for all of them, and the names that there are."""
    if unknown := sorted(set(query) - {"run"}):
        raise InputError(f'there is no filter "{unknown[0][:40]}"', fix="filter by run")
    run, known = query.get("run", ""), list(find_run_names(ledger.rows))
    if run and run not in known:
        raise InputError(f'no run "{run[:80]}" used a decision in this ledger', fix="choose one of the list")
    return run, known
