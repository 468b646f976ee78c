"""The labelling page as routes: an item, the form that answers it, and the pages of what goes wrong.

Each annotator is known by the token that the guard found, and sees nothing of another. No page holds more than the
sheet, the annotator's own progress and words of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlaif.audit.web.guard import Door, make_token
from rlaif.audit.web.label_desk import Desk, Sent
from rlaif.audit.web.label_view import fold, show_replies
from rlaif.audit.web.server import Handlers, Pages, bind, make_app, read_form, serve
from rlaif.calibration.answers import MAX_NOTE
from rlaif.errors import DataError, InputError, RlaifError
from rlaif.files.file_errors import describe_file_error

if TYPE_CHECKING:
    import socket

    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp


class Button(NamedTuple):
    """A button with its key, and what it means."""

    key: str
    action: str
    label: str
    meaning: str


SIDES = (
    Button("1", "first", "First is better", "The first reply is better."),
    Button("0", "tie", "Tie", "Neither is better."),
    Button("2", "second", "Second is better", "The second reply is better."),
)
OTHERS = (
    Button("u", "unclear", "Unclear", "It cannot be decided. This is counted, and is no label."),
    Button("s", "skip", "Skip", "The item comes back after the others."),
    Button("z", "undo", "Undo", "Takes back the last choice or skip, of today or of an earlier day."),
)
REVEAL = Button("w", "reveal", "Show why these items were asked about", "Possible once every item has an answer.")


class LabelPages:
    """The routes of one sheet's labelling page, and its pages of errors."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pages = Pages(sides=SIDES, others=OTHERS, reveal=REVEAL, max_note=MAX_NOTE, total=len(desk.sheet.items))

    @property
    def routes(self) -> list[BaseRoute]:
        from starlette.routing import Route

        return [Route("/", self._show, methods=["GET"]), Route("/", self._take, methods=["POST"])]

    @property
    def handlers(self) -> Handlers:
        from starlette.exceptions import HTTPException

        return {RlaifError: self._refuse, OSError: self._fail, HTTPException: self._miss}

    # subtle: these are coroutines without an await inside their work, so that one form at a time reaches a file
    async def _show(self, request: Request) -> Response:
        who = request.state.who
        screen = self._desk.seat(who).show()
        if (item := screen.item) is None:
            return self._pages.render("label_done.html.j2", who=who, screen=screen)
        return self._pages.render(
            "label.html.j2",
            who=who,
            screen=screen,
            item=item,
            turns=[(message.role, fold(message.content)) for message in item.messages],
            shown=show_replies(*screen.replies),
            guideline=self._desk.sheet.guideline,
            is_compare_shown=request.query_params.get("compare") == "on",
        )

    async def _take(self, request: Request) -> Response:
        from starlette.responses import RedirectResponse

        form, who = await read_form(request), request.state.who
        if (sender := form.get("annotator", "")) != who:
            raise DataError(
                f"nothing was stored: {sender[:40] or 'nobody'} opened this page, and the browser is {who}'s now",
                fix="open your own address again, in a browser window that nobody else uses",
            )
        fields = [form.get(name, "") for name in Sent._fields]
        self._desk.seat(who).take(Sent(*fields))
        return RedirectResponse("/", status_code=303)

    async def _refuse(self, request: Request, error: RlaifError) -> Response:
        return self._render_refusal(error.what, where=error.where, fix=error.fix, status=409)

    async def _fail(self, request: Request, error: OSError) -> Response:
        """A file that cannot be written. The next request opens it again, and what is on the disk then counts."""
        self._desk.leave(request.state.who)
        found = describe_file_error(error)
        fix = f"{found.fix}; then reload the page, and see whether the last choice is there"
        return self._render_refusal(found.what, where=found.where, fix=fix, status=500)

    async def _miss(self, request: Request, error: HTTPException) -> Response:
        return self._render_refusal("there is no such page here", where="", fix="", status=error.status_code)

    def _render_refusal(self, what: str, *, where: str, fix: str, status: int) -> Response:
        return self._pages.render("label_refused.html.j2", status=status, what=what, where=where, fix=fix)


class Labelling(NamedTuple):
    """A labelling server that is about to answer."""

    desk: Desk
    door: Door
    opened: socket.socket

    @property
    def app(self) -> ASGIApp:
        pages = LabelPages(self.desk)
        return make_app(pages.routes, handlers=pages.handlers, door=self.door)

    def answer(self) -> None:
        """Answer until interrupted."""
        pages = LabelPages(self.desk)
        serve(pages.routes, handlers=pages.handlers, opened=self.opened, door=self.door)


@contextmanager
def open_labelling(
    sheet: Path, *, answers: Path, annotators: tuple[str, ...], host: str, port: int
) -> Iterator[Labelling]:
    """The server of a sheet, its port already open; the annotators' files are closed at the end."""
    if host in ("0.0.0.0", "::", ""):
        raise InputError(
            f'"{host}" is no address that a browser can open',
            where="--host",
            fix="give the name or number by which the annotators' machines reach this one",
        )
    desk = Desk(sheet, folder=answers)
    with bind(host, port) as opened:
        door = Door(host, opened.getsockname()[1], {make_token(): name for name in annotators})
        try:
            yield Labelling(desk, door, opened)
        finally:
            desk.close()
