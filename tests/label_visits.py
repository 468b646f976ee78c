"""The labelling page as annotators' browsers see it that run no script: real app, real files, a clock of the test."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from page import Node, Page
from starlette.testclient import TestClient

from rlaif.audit.web.guard import Door
from rlaif.audit.web.label_desk import Desk
from rlaif.audit.web.label_server import LabelPages, open_labelling
from rlaif.audit.web.server import make_app
from rlaif.calibration.answer_file import read_all_answers
from rlaif.calibration.answers import Answered
from rlaif.calibration.sheet import read_sheet

HOST = "127.0.0.1:8730"
COMMAND = [sys.executable, "-m", "rlaif", "spot-check", "serve", "sheet.json"]


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


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The server of the current folder's sheet.json in its own process, and the lines that it prints at first."""
    process = subprocess.Popen([*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, [process.stdout.readline().strip() for _ in range(1 + arguments.count("--as"))]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def served_here(folder: Path, *names: str) -> Iterator[list[str]]:
    """The addresses of these annotators at a server in this process, of the folder's sheet.json."""
    answers = folder / "sheet.answers"
    with open_labelling(
        folder / "sheet.json", answers=answers, annotators=names, host="127.0.0.1", port=0
    ) as labelling:
        config = uvicorn.Config(labelling.app, log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [labelling.opened]})
        thread.start()
        try:
            yield [labelling.door.address(token) for token in labelling.door.people]
        finally:
            server.should_exit = True
            thread.join()
