"""The audit app over a ledger, behind its guard, and a client that has its token: for the tests of the pages."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from rlaif.audit.web.app import App, Audited
from rlaif.audit.web.guard import Door
from rlaif.audit.web.server import make_app

TOKEN = "0123456789abcdef" * 2
DOOR = Door("127.0.0.1", 8808, {TOKEN: "ann"})
HOME = "http://127.0.0.1:8808"


def guarded(app: App, *, door: Door = DOOR) -> ASGIApp:
    return make_app(app.routes, handlers=app.handlers, door=door)


def stranger(runs_dir: Path, *, ledger: Path | None = None, author: str = "ann") -> TestClient:
    """A client that has no token yet."""
    app = App(Audited(runs_dir, None, ledger, author))
    return TestClient(guarded(app), base_url=HOME, raise_server_exceptions=True)


def owner(runs_dir: Path, *, ledger: Path | None = None, author: str = "ann") -> TestClient:
    client = stranger(runs_dir, ledger=ledger, author=author)
    answer = client.get(f"/enter?token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return client


def post(client: TestClient, address: str, form: dict[str, str], **headers: str) -> str:
    """Send a form as the app's own page does; the text of the page that follows."""
    answer = client.post(address, data=form, headers={"origin": HOME, **headers})
    assert answer.status_code == 200, answer.text
    return answer.text
