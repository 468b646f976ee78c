"""The labelling page as annotators' browsers see it that run no script: real app, real files, a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from page import Node, Page
from starlette.testclient import TestClient

from rlaif.audit.web.guard import Door
from rlaif.audit.web.label_desk import Desk
from rlaif.audit.web.label_server import LabelPages
from rlaif.audit.web.server import make_app
from rlaif.calibration.answer_file import read_all_answers
from rlaif.calibration.answers import Answered
from rlaif.calibration.sheet import read_sheet

HOST = "127.0.0.1:8730"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Visit:
    """One annotator's browser."""

    def __init__(self, client: TestClient, *, name: str, clock: Clock) -> None:
        self.client, self.name, self._clock = client, name, clock
        self._page: Page | None = None
        self.answers: list[httpx.Response] = []
        """All that came back."""

    def get(self, path: str = "/") -> httpx.Response:
        self.answers.append(self.client.get(path, headers={"host": HOST}))
        return self.answers[-1]

    def page(self, path: str = "/") -> Page:
        found = self.get(path)
        assert found.status_code == 200, found.text
        self._page = Page(found.text)
        return self._page

    def send(self, form: Mapping[str, str], **headers: str) -> httpx.Response:
        """What comes of a form before the browser follows to the next page."""
        self._page = None
        sent = {"host": HOST, "origin": f"http://{HOST}", **headers}
        self.answers.append(self.client.post("/", data=dict(form), headers=sent, follow_redirects=False))
        return self.answers[-1]

    def press(self, action: str, *, note: str | None = None, after: float = 1.0) -> Page:
        """Press a button of the page that is there, some seconds later, and see the next page."""
        form = form_of(self._page or self.page()) | {"action": action}
        self._clock.now += after
        assert self.send(form if note is None else form | {"note": note}).status_code == 303
        return self.page()


def form_of(page: Page) -> dict[str, str]:
    """The fields of the page's form as a browser would send them, without the button."""
    hidden = {node.attributes["name"]: node.attributes["value"] for node in page.root.find("input")}
    notes = {node.attributes["name"]: "".join(node.words).removeprefix("\n") for node in page.root.find("textarea")}
    return hidden | notes


def replies_of(page: Page) -> list[str]:
    """The texts of the two replies, in the order shown."""
    return [" ".join(text.text for text in node.find("div", "text")) for node in page.root.find("div", "reply")]


def said_on(page: Page) -> str:
    (said,) = page.root.find("p", "said")
    return said.text


def position_on(page: Page) -> str:
    (position,) = page.root.find("p", "position")
    return position.text


def buttons_of(page: Page) -> list[Node]:
    return [node for node in page.root.find() if "data-key" in node.attributes]


@contextmanager
def visiting(folder: Path, *names: str, clock: Clock | None = None) -> Iterator[list[Visit]]:
    """The browsers of these annotators, at one server of the folder's sheet.json."""
    clock = clock or Clock()
    desk = Desk(folder / "sheet.json", folder=folder / "sheet.answers", clock=clock)
    door = Door("127.0.0.1", 8730, {f"token-of-{name}": name for name in names})
    pages = LabelPages(desk)
    app = make_app(pages.routes, handlers=pages.handlers, door=door)
    try:
        visits = [Visit(TestClient(app, base_url=f"http://{HOST}"), name=name, clock=clock) for name in names]
        for visit in visits:
            assert visit.get(f"/enter?token=token-of-{visit.name}").status_code == 200
        yield visits
    finally:
        desk.close()


def states(folder: Path) -> dict[str, Answered]:
    """Annotator -> what is on the disk."""
    found = read_all_answers(read_sheet(folder / "sheet.json"), folder / "sheet.answers")
    return {state.annotator: state for state in found}


def choices(folder: Path, name: str = "ann") -> dict[str, str]:
    """Item -> choice, as it is on the disk."""
    return {item: answer.choice for item, answer in states(folder)[name].answers.items()}
