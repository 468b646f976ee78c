"""Debian's Chromium, driven by Playwright, for the heavy tests of pages; and axe-core, which `make browser` brings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from payloads import FOREIGN
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1280, "height": 900}


@contextmanager
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: `make browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def width_of(page: Page) -> tuple[int, int]:
    """How wide the page is, and how wide the window."""
    wide, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return int(wide), int(window)


class Watch:
    """What must not happen in a browser: scripts of texts, requests to elsewhere, dialogs, refusals by the policy."""

    def __init__(self, context: BrowserContext, *, home: str) -> None:
        self.found: list[str] = []
        context.add_init_script("window.ran = () => console.error('a script of a text ran')")
        context.on("request", lambda request: self._see(request.url, not request.url.startswith(home)))
        context.on("dialog", lambda dialog: self._see(dialog.message, True))
        context.on("console", lambda message: self._see(message.text, message.type == "error"))
        context.on("weberror", lambda error: self._see(str(error.error), True))

    def _see(self, what: str, is_wrong: bool) -> None:
        if is_wrong or FOREIGN in what:
            self.found.append(what)


def find_violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page, each with the first place of it."""
    if not AXE.exists():
        pytest.skip("no axe-core: `make browser` installs it by npm")
    # by the browser's own protocol, since the pages let no script in
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
    done: dict[str, Any] = session.send(
        "Runtime.evaluate",
        {"expression": "axe.run().then(r => r.violations)", "awaitPromise": True, "returnByValue": True},
    )
    violations = done["result"]["value"]
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html']}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]
