"""The audit app in a real browser: every page, narrow and wide, light and dark, by keys, and with hostile texts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from audit_pages import TOKEN
from browser import LAPTOP, PHONE, Watch, chromium, find_violations, width_of
from ledger_world import keep_world, make_world
from lineage_world import make_trained
from payloads import PAYLOADS
from playwright.sync_api import Browser, Page
from trained_runs import make_trained_runs

from rlaif.audit.search_index import update_index
from rlaif.audit.web.app import App, Audited
from rlaif.audit.web.guard import Door
from rlaif.audit.web.server import bind, make_app
from rlaif.ledger.store import Ledger
from rlaif.records import Dispute, Message

pytestmark = pytest.mark.heavy

WORLD = make_world(verdicts=("first", "first"))
PAGES = (
    "/",
    "/runs/001",
    "/runs/001/round/0/training",
    "/policies",
    f"/policies/{make_trained(0).policy.id}",
    "/compare",
    "/compare?one=001&other=002",
    "/judgements",
    "/judgements?kind=flipped",
    "/search",
    "/agreement",
    "/principles",
    "/disputes",
    "/spot-checks",
    "/queues",
)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs_dir = make_trained_runs(tmp_path_factory.mktemp("app")).runs_dir
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        keep_world(ledger, WORLD)
        update_index(ledger)
    return runs_dir


@pytest.fixture(scope="module")
def home(runs_dir: Path) -> Iterator[str]:
    """The address of the app, on a real port."""
    opened = bind("127.0.0.1", 0)
    door = Door("127.0.0.1", opened.getsockname()[1], {TOKEN: "ann"})
    app = App(Audited(runs_dir, None, None, "ann"))
    server = uvicorn.Server(
        uvicorn.Config(make_app(app.routes, handlers=app.handlers, door=door), log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{door.port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def enter(browser: Browser, home: str, **settings: Any) -> tuple[Page, Watch]:
    context = browser.new_context(**{"viewport": LAPTOP, **settings})
    watch = Watch(context, home=home)
    page = context.new_page()
    page.goto(f"{home}/enter?token={TOKEN}")
    page.wait_for_url("**/")
    return page, watch


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_its_window_and_can_be_read_by_everybody(browser: Browser, home: str, scheme: str) -> None:
    page, watch = enter(browser, home, color_scheme=scheme)
    for address in (*PAGES, f"/decision/{WORLD.comparison.id}"):
        for window in (LAPTOP, PHONE):
            page.set_viewport_size(window)
            page.goto(home + address)
            wide, room = width_of(page)
            assert wide <= room, address
            assert find_violations(page) == [], address
    assert watch.found == []
    page.context.close()


def test_a_decision_is_disputed_in_two_keys(browser: Browser, home: str, runs_dir: Path) -> None:
    page, watch = enter(browser, home)
    page.goto(f"{home}/decision/{WORLD.comparison.id}")
    page.fill("#note", "wl")  # keys in a note are its text
    assert page.url.endswith(WORLD.comparison.id)
    page.fill("#note", "")
    page.locator("h1").click()
    page.keyboard.press("w")
    with page.expect_navigation():
        page.keyboard.press("l")
    assert "ann: wrong, length decided" in page.locator("#disputes").inner_text()
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        ids = [row[0] for row in ledger.rows("SELECT id FROM disputes ORDER BY seq")]
        assert ledger.find(Dispute, ids)[ids[-1]].reason == "length"
    assert watch.found == []
    page.context.close()


def test_every_badge_of_a_key_has_a_key(browser: Browser, home: str) -> None:
    page, _ = enter(browser, home)
    page.goto(f"{home}/decision/{WORLD.comparison.id}")
    badges = page.locator("#dispute kbd").all_inner_texts()
    assert sorted(badges) == sorted("iblsjforwu")
    page.context.close()


def test_300_hostile_texts_in_every_field_run_nothing_and_fetch_nothing(
    browser: Browser, home: str, runs_dir: Path
) -> None:
    page, watch = enter(browser, home)
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        for start in range(0, len(PAYLOADS), 60):
            text = "\n".join(PAYLOADS[start : start + 60])
            world = make_world(start + 100)
            prompt = world.prompt.changed(messages=(Message(role="user", content=text),))
            one, other = (s.changed(prompt_id=prompt.id, text=f"{n} {text}") for n, s in enumerate(world.samples))
            pair = sorted((one.id, other.id))
            questions = [
                question.changed(prompt_id=prompt.id, sample_ids=shown)
                for question, shown in zip(world.questions, (pair, pair[::-1]), strict=True)
            ]
            judgements = [
                judgement.changed(question_id=question.id, reason=text, raw_reply=text)
                for judgement, question in zip(world.judgements, questions, strict=True)
            ]
            comparison = world.comparison.changed(
                prompt_id=prompt.id, sample_ids=pair, judgement_ids=[judgement.id for judgement in judgements]
            )
            dispute = Dispute(
                comparison_id=comparison.id, author="<b onclick=ran()>", says="wrong", seen_seq=1, seen_head="0" * 64,
                note=text[:2000],
            )  # fmt: skip
            ledger.append([prompt, one, other, *questions, *judgements, comparison, dispute])
            page.goto(f"{home}/decision/{comparison.id}")
            page.locator("details").evaluate_all("found => found.forEach(one => one.open = true)")
    for address in PAGES:
        page.goto(home + address)
    assert watch.found == []
    page.context.close()
