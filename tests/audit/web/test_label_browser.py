"""The labelling page in a real browser: keys, scrolling, narrow windows, hostile texts, and use without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import LAPTOP, PHONE, Watch, chromium, find_violations, width_of
from label_visits import choices, served_here, states
from payloads import KINDS
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sheets import make_test_sheet

from rlaif.calibration.sheet import SheetItem, make_sheet, write_sheet
from rlaif.records import Message

pytestmark = pytest.mark.heavy

LONG = "\n\n".join(f"Paragraph {i}: " + "it says the same as all others, and a little more. " * 6 for i in range(12))
BOXES = "[...document.querySelectorAll('.reply')].map(e => e.getBoundingClientRect()).map(r => [r.top, r.height])"
TOO_SOON = """addEventListener("DOMContentLoaded", () => setTimeout(() => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key: "1", bubbles: true, cancelable: true}))))"""
NEW_MS = 350
"""The first 300 ms of an item are dead."""


expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def put(folder: Path, *pairs: tuple[str, str], said: str = "Where is it?", guideline: str = "Be kind.") -> None:
    items = tuple(
        SheetItem(id=f"i{k:03}", question="Which is better?", messages=(Message(role="user", content=said),), a=a, b=b)
        for k, (a, b) in enumerate(pairs)
    )
    write_sheet(make_sheet(items, guideline=guideline), folder / "sheet.json")


@contextmanager
def at(browser: Browser, address: str, **settings: Any) -> Iterator[Page]:
    """A window on an annotator's first page, in which nothing may run or be fetched that is not the page's own."""
    context: BrowserContext = browser.new_context(**{"viewport": LAPTOP, **settings})
    watch = Watch(context, home=address.partition("/enter")[0])
    page = context.new_page()
    page.goto(address)
    page.wait_for_url("**/")
    try:
        yield page
        assert watch.found == []
    finally:
        context.close()


def wait_for_item(page: Page, number: int, *, of: int) -> None:
    """Wait until this item is there, and for as long as it takes no answer yet."""
    expect(page.locator(".position b")).to_have_text(f"{number} of {of}")
    page.wait_for_timeout(NEW_MS)


def press(page: Page, key: str, *, then: str) -> None:
    """Press one key once the item is there for long enough, and wait for what is said then."""
    page.wait_for_timeout(NEW_MS)
    page.keyboard.press(key)
    expect(page.locator("#said")).to_have_text(then)


def test_20_items_take_20_keys(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(20), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        for number in range(1, 21):
            wait_for_item(page, number, of=20)
            page.keyboard.press("120u"[number % 4])
        expect(page.locator("h1")).to_have_text("Every item has an answer. Thank you.")
    assert list(choices(tmp_path).values()) == ["second", "tie", "unclear", "first"] * 5


def test_every_key_that_is_shown_does_what_its_button_says(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(9), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        shown = page.locator("kbd").all_text_contents()
        assert sorted(shown) == sorted(["1", "0", "2", "u", "s", "z", "d", "n", "Enter", "?"])
        press(page, "1", then="Saved: the first reply is better.")
        press(page, "2", then="Saved: the second reply is better.")
        press(page, "0", then="Saved: a tie.")
        press(page, "u", then="Saved: unclear.")
        press(page, "s", then="Skipped: the item comes back after the others.")
        press(page, "Z", then="Undone: this item is open again.")
        page.wait_for_timeout(NEW_MS)
        page.keyboard.press("?")
        expect(page.get_by_role("cell", name="Neither is better.")).to_be_visible()
        page.keyboard.press("n")
        expect(page.locator("#note")).to_be_focused()
        expect(page.get_by_role("cell", name="Neither is better.")).to_be_hidden()
        page.keyboard.type("1 is short, 2 is rude, undo")
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_have_text("Note saved. Now choose.")
        assert len(choices(tmp_path)) == 4
        press(page, "1", then="Saved: the first reply is better.")
    assert states(tmp_path)["ann"].answers["item0004"].note == "1 is short, 2 is rude, undo"


def test_differences_are_off_at_first_for_each_item(browser: Browser, tmp_path: Path) -> None:
    put(tmp_path, ("the cat sat", "the dog sat"), ("one more", "two more"))
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        mark = page.locator(".own").first
        plain = "rgba(0, 0, 0, 0)"
        expect(mark).to_have_css("background-color", plain)
        page.wait_for_timeout(NEW_MS)
        page.keyboard.press("d")
        expect(mark).not_to_have_css("background-color", plain)
        expect(page.locator("#compare")).to_have_attribute("aria-pressed", "true")
        press(page, "1", then="Saved: the first reply is better.")
        expect(page.locator(".own").first).to_have_css("background-color", plain)


def test_a_doubled_key_a_held_key_and_a_double_click_label_one_item_each(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(6), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        page.wait_for_timeout(NEW_MS)
        page.keyboard.press("1")
        page.keyboard.press("1")
        wait_for_item(page, 2, of=6)
        page.keyboard.down("2")
        for _ in range(30):  # the keyboard repeats what is held
            page.keyboard.down("2")
            page.wait_for_timeout(20)
        page.keyboard.up("2")
        wait_for_item(page, 3, of=6)
        page.get_by_role("button", name="Tie").dblclick()
        wait_for_item(page, 4, of=6)
    assert list(choices(tmp_path).values()) == ["first", "second", "tie"]


def test_a_key_within_300_ms_of_a_new_item_labels_nothing(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(2), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        page.add_init_script(TOO_SOON)
        page.reload()
        page.wait_for_timeout(2 * NEW_MS)
        assert choices(tmp_path) == {}
        expect(page.locator(".position b")).to_have_text("1 of 2")


def test_undo_after_a_reload_and_in_a_new_window(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(3), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,):
        with at(browser, address) as page:
            press(page, "1", then="Saved: the first reply is better.")
            page.reload()
            press(page, "z", then="Undone: this item is open again.")
            press(page, "2", then="Saved: the second reply is better.")
        with at(browser, address) as page:
            press(page, "z", then="Undone: this item is open again.")
            press(page, "0", then="Saved: a tie.")
    assert choices(tmp_path) == {"item0000": "tie"}
    assert states(tmp_path)["ann"].firsts["item0000"].choice == "first"


def test_both_replies_are_folded_together_scroll_together_and_are_read_to_the_end_first(
    browser: Browser, tmp_path: Path
) -> None:
    put(tmp_path, (LONG, "A short one."), ("a", "b"))
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        press(page, "1", then="The rest of both replies is shown now: read to the end first.")
        assert page.locator(".fold[open]").count() == 2
        page.get_by_text("Show the rest of both replies").first.click()
        expect(page.locator(".fold[open]")).to_have_count(0)
        page.get_by_text("Show the rest of both replies").last.click()
        expect(page.locator(".fold[open]")).to_have_count(2)
        press(page, "1", then="Read to the end of both replies first.")
        tops = set()
        for _ in range(12):
            first, second = page.evaluate(BOXES)
            assert first == second
            tops.add(first[0])
            page.mouse.wheel(0, 400)
            page.wait_for_timeout(60)
        assert len(tops) > 2
        assert choices(tmp_path) == {}
        press(page, "1", then="Saved: the first reply is better.")
    assert choices(tmp_path) == {"i000": "first"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_scrolls_sideways_and_axe_finds_nothing_serious(browser: Browser, tmp_path: Path, dark: bool) -> None:
    put(tmp_path, ("w" * 900, "\u202eb " * 300), (LONG, "b"), said="c" * 700, guideline="g" * 400 + "\n" + LONG)
    scheme = {"color_scheme": "dark" if dark else "light", "reduced_motion": "reduce"}
    violations: list[str] = []
    with served_here(tmp_path, "ann") as (address,):
        with at(browser, address, **scheme) as page:
            for size in (LAPTOP, {"width": 640, "height": 450}, PHONE):  # the second is a laptop at 200 %
                page.set_viewport_size(size)
                wide, window = width_of(page)
                assert wide <= window, size
                violations += find_violations(page)
            (first, _), (second, _) = page.evaluate(BOXES)
            assert first < second
            for key in "n?":
                page.locator(f'[data-key="{key}"]').click()
                violations += find_violations(page)
                assert width_of(page)[0] <= PHONE["width"]
            for number in (1, 2):
                wait_for_item(page, number, of=2)
                page.get_by_role("button", name="Unclear").click()
            expect(page.locator("h1")).to_have_text("Every item has an answer. Thank you.")
            violations += find_violations(page)
            assert width_of(page)[0] <= PHONE["width"]
        (tmp_path / "sheet.json").rename(tmp_path / "moved.json")
        context = browser.new_context(viewport=PHONE, **scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(address)
        expect(page.locator("h1")).to_have_text("there is no such sheet")
        violations += find_violations(page)
        context.close()
    assert violations == []


def test_every_control_is_reached_by_tab_in_reading_order_and_shows_that_it_is_focused(
    browser: Browser, tmp_path: Path
) -> None:
    put(tmp_path, (LONG, "A short one."), ("a", "b"))
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        seen = []
        for _ in range(14):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):  # the window has the focus only now
                continue
            seen.append(page.evaluate("document.activeElement.innerText.trim().split('\\n')[0].slice(0, 30)"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", seen[-1]
        assert seen[:5] == [
            "To the page's content",
            "How to decide",
            *["Show the rest of both replies"] * 2,
            "First is better",
        ]
        assert seen[5:12] == ["Tie", "Second is better", "Unclear", "Skip", "Differences", "Note", "Keys"]


def test_40_kinds_of_payloads_in_every_field_run_nothing_and_fetch_nothing(browser: Browser, tmp_path: Path) -> None:
    texts = ["\n".join(KINDS[k : k + 5]) for k in range(0, len(KINDS), 5)]
    items = [
        SheetItem(id=f"i{k}", question=text, messages=(Message(role="user", content=text),), a=text, b=f"{text} b")
        for k, text in enumerate(texts)
    ]
    write_sheet(make_sheet(tuple(items), guideline="\n".join(KINDS)), tmp_path / "sheet.json")
    with served_here(tmp_path, "ann") as (address,), at(browser, address) as page:
        for number, text in enumerate(texts, start=1):
            wait_for_item(page, number, of=len(texts))
            page.keyboard.press("n")
            page.locator("#note").fill(text.replace("\x00", ""))
            page.locator("#note").press("Enter")
            expect(page.locator("#said")).to_have_text("Note saved. Now choose.")
            page.wait_for_timeout(NEW_MS)
            page.keyboard.press("u")
            expect(page.locator("#said")).to_have_text("Saved: unclear.")
        assert page.evaluate("document.scripts.length") == 1
    assert len(choices(tmp_path)) == len(texts)


def test_a_whole_set_without_javascript(browser: Browser, tmp_path: Path) -> None:
    put(tmp_path, (LONG, "b"), ("c", "d"))
    with served_here(tmp_path, "ann") as (address,), at(browser, address, java_script_enabled=False) as page:
        assert page.locator("kbd:visible").count() == 0
        page.locator("#compare").click()
        assert page.locator(".compared").count() == 1
        page.locator("summary", has_text="Note").click()
        page.locator("#note").fill("a note\nof two lines")
        page.wait_for_timeout(NEW_MS)
        page.get_by_role("button", name="First is better").dblclick()
        wait_for_item(page, 2, of=2)
        assert page.locator(".compared").count() == 0
        page.get_by_role("button", name="Undo").click()
        wait_for_item(page, 1, of=2)
        page.get_by_role("button", name="Second is better").click()
        wait_for_item(page, 2, of=2)
        page.get_by_role("button", name="Tie").click()
        expect(page.locator("h1")).to_have_text("Every item has an answer. Thank you.")
    assert choices(tmp_path) == {"i000": "second", "i001": "tie"}
    assert states(tmp_path)["ann"].answers["i000"].note == "a note\nof two lines"


def test_an_address_opens_by_a_link_on_another_site_and_its_token_leaves_the_address(
    browser: Browser, tmp_path: Path
) -> None:
    put(tmp_path, ("a", "b"))
    with served_here(tmp_path, "ann") as (address,):
        context = browser.new_context()
        page = context.new_page()
        page.route(
            "http://chat.invalid/",
            lambda route: route.fulfill(content_type="text/html", body=f'<a href="{address}">x</a>'),
        )
        page.goto("http://chat.invalid/")
        page.click("a")
        expect(page.locator(".position b")).to_have_text("1 of 1")
        assert "token" not in page.url
        press(page, "1", then="Saved: the first reply is better.")
        context.close()
    assert choices(tmp_path) == {"i000": "first"}


def test_two_annotators_in_two_windows_at_once_label_two_sets(browser: Browser, tmp_path: Path) -> None:
    write_sheet(make_test_sheet(4), tmp_path / "sheet.json")
    with (
        served_here(tmp_path, "xerxes", "zeno") as addresses,
        at(browser, addresses[0]) as xerxes,
        at(browser, addresses[1]) as zeno,
    ):
        for number in range(2, 5):
            for page, key, other in ((xerxes, "1", "zeno"), (zeno, "2", "xerxes")):
                page.wait_for_timeout(NEW_MS)
                page.keyboard.press(key)
                expect(page.locator(".position b")).to_have_text(f"{number} of 4")
                assert other not in page.content()
    assert list(choices(tmp_path, "xerxes").values()) == ["first"] * 3
    assert list(choices(tmp_path, "zeno").values()) == ["second"] * 3
