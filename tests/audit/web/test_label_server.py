"""The labelling page without a script: what is on it, what its forms do, and what is never in any response."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from file_modes import read_only
from label_visits import HOST, Clock, buttons_of, choices, form_of, position_on, replies_of, said_on, states, visiting
from page import Page
from payloads import PAYLOADS
from sheets import make_test_sheet
from spot_checks import draw, in_ledger

from rlaif.calibration.sheet import Sheet, SheetItem, make_sheet, read_sheet, write_sheet
from rlaif.calibration.why_asked import FROM_ALL, write_why
from rlaif.records import Message

TESTS = Path(__file__).parents[2]


@pytest.fixture
def judged_sheet(recorded_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sheet that was drawn from a judged run, and all that the ledger alone knows of its items."""
    owner, annotator = tmp_path / "owner", tmp_path / "annotator"
    shutil.copytree(recorded_runs, owner)
    annotator.mkdir()
    monkeypatch.chdir(owner)
    draw("--items", "12", "--focus")
    check, _ = in_ledger()
    secrets = {check.id, "the-judge"}
    for item in check.items:
        secrets |= {*item.sample_ids, item.prompt_id, item.stratum, str(item.inclusion_probability)}
    shutil.move("sheet.json", annotator)
    (annotator / "secrets.json").write_text(json.dumps(sorted(secrets)))
    return annotator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sheet(make_test_sheet(4), tmp_path / "sheet.json")
    return tmp_path


def put_sheet(folder: Path, *items: SheetItem, guideline: str = "Decide.") -> Sheet:
    (folder / "sheet.json").unlink(missing_ok=True)
    sheet = make_sheet(items, guideline=guideline)
    write_sheet(sheet, folder / "sheet.json")
    return sheet


def make_item(first: str, second: str, *, name: str = "only", question: str = "Which?", said: str = "Hi") -> SheetItem:
    return SheetItem(id=name, question=question, messages=(Message(role="user", content=said),), a=first, b=second)


def test_a_page_shows_guideline_conversation_both_replies_question_and_progress(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        page = ann.page()
    words = page.root.text
    assert words.index("Say which is kinder.") < words.index("Hello 0") < words.index("First reply")
    assert sorted(replies_of(page)) == ["Go away 0", "Welcome 0"]
    assert "Which is kinder?" in words
    assert position_on(page) == "1 of 4"
    keys = [node.attributes["data-key"] for node in buttons_of(page)]
    assert keys == ["1", "0", "2", "u", "s", "z", "d", "n", "?"]
    for node in buttons_of(page):
        (badge,) = node.find("kbd")
        assert badge.text == node.attributes["data-key"]


def test_a_whole_set_by_forms_alone(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        page = ann.press("first", note="short")
        assert (position_on(page), said_on(page)) == ("2 of 4", "Saved: the first reply is better.")
        page = ann.press("skip")
        assert (position_on(page), said_on(page)) == (
            "2 of 4, 1 skipped for later",
            "Skipped: the item comes back after the others.",
        )
        ann.press("tie")
        assert said_on(ann.press("undo")) == "Undone: this item is open again."
        ann.press("second")
        ann.press("unclear")
        page = ann.press("tie")
        assert "Every item has an answer. Thank you." in page.root.text
        assert position_on(page) == "4 of 4"
        assert [node.attributes["data-key"] for node in buttons_of(page)] == ["z"]
        assert position_on(ann.press("undo")) == "4 of 4"
        ann.press("first")
    assert choices(folder) == {"item0000": "first", "item0002": "second", "item0003": "unclear", "item0001": "first"}
    assert states(folder)["ann"].answers["item0000"].note == "short"
    assert states(folder)["ann"].answers["item0002"].is_override


def test_what_was_said_is_shown_once_and_a_reload_labels_nothing(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        ann.press("first")
        assert said_on(ann.page()) == ""
    assert choices(folder) == {"item0000": "first"}


def test_a_second_tab_cannot_label_what_the_first_has_labelled(folder: Path) -> None:
    clock = Clock()
    with visiting(folder, "ann", clock=clock) as (ann,):
        first_tab, second_tab = form_of(ann.page()), form_of(ann.page())
        clock.now += 1
        ann.send(first_tab | {"action": "first"})
        ann.send(second_tab | {"action": "second"})
        assert "not the newest. Nothing was stored." in ann.page().root.text
        ann.send(second_tab | {"action": "second"})
    assert choices(folder) == {"item0000": "first"}


def test_each_annotator_draws_an_order_that_stays_and_is_stored(folder: Path) -> None:
    seen = {}
    with visiting(folder, "ann", "bob") as visits:
        for visit in visits:
            page = visit.page()
            for i in range(4):
                assert replies_of(page) == replies_of(visit.page())
                seen[visit.name, f"item{i:04}"] = "ab" if "Go away" in replies_of(page)[0] else "ba"
                page = visit.press("tie")
    kept = {(name, item): order for name, state in states(folder).items() for item, order in state.orders.items()}
    assert kept == seen


def test_two_annotators_at_once_see_no_byte_of_one_another(folder: Path) -> None:
    with visiting(folder, "xerxes", "zeno") as (xerxes, zeno):
        xerxes.page()
        before = zeno.get().text
        for i in range(4):
            xerxes.press("first", note=f"secret-{i}")
        assert zeno.get().text == before
        for _ in range(4):
            zeno.press("second")
        for visit, other in ((xerxes, "zeno"), (zeno, "xerxes")):
            for answer in visit.answers:
                assert other not in answer.text
                assert other not in str(answer.headers)
        assert not any("secret-" in answer.text for answer in zeno.answers)
    assert set(choices(folder, "xerxes").values()) == {"first"}
    assert set(choices(folder, "zeno").values()) == {"second"}


def test_a_page_of_ann_does_not_label_as_bob_who_came_to_the_same_browser(folder: Path) -> None:
    with visiting(folder, "ann", "bob") as (ann, bob):
        form = form_of(ann.page()) | {"action": "first"}
        bob.page()
        refused = bob.send(form)
        assert refused.status_code == 409
        assert "nothing was stored: ann opened this page, and the browser is bob" in refused.text
    assert choices(folder, "bob") == {}


def test_no_response_of_a_whole_set_holds_anything_of_the_judge(judged_sheet: Path) -> None:
    """Against the real ledger from which the sheet was drawn."""
    secrets = json.loads((judged_sheet / "secrets.json").read_text())
    assert len(secrets) > 30
    with visiting(judged_sheet, "ann") as (ann,):
        while "Thank you" not in ann.press("tie").root.text:
            ann.get("/?compare=on")
        ann.get("/static/label.js")
        ann.get("/nothing")
        told = "\n".join(f"{answer.headers}\n{answer.text}" for answer in ann.answers)
    assert len(ann.answers) > 30
    for secret in secrets:
        assert secret not in told
    for word in ("verdict", "stratum", "probability", "sample", "judge", "logprob", "order_shown"):
        assert word not in re.sub(r"(?s)<style.*?</style>", "", told).casefold(), word


def test_items_give_pages_that_are_equal_but_for_ids_texts_and_progress(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        skeletons = []
        for i in range(4):
            page = ann.page()
            skeletons.append([(node.tag, sorted(node.attributes)) for node in page.root.find()])
            if i < 3:
                ann.press("tie")
    assert skeletons[1] == skeletons[2] == skeletons[3]
    assert [tag for tag, _ in skeletons[0]] == [tag for tag, _ in skeletons[1]]  # there is nothing to undo yet


def test_lengths_are_not_told_and_long_replies_are_folded_at_one_place(folder: Path) -> None:
    put_sheet(folder, make_item("one two three " * 400, "short reply"))
    with visiting(folder, "ann") as (ann,):
        page = ann.page()
    folds = page.root.find("details", "fold")
    assert [fold.find("summary")[0].text for fold in folds] == ["Show the rest of both replies"] * 2
    assert "This reply ends above." in {fold.text.removeprefix("Show the rest of both replies ") for fold in folds}
    told = ann.answers[-1].text.replace("one two three", "")
    assert not any(str(number) in told for number in (5600, 1200, 3200, 11))


def test_words_of_one_reply_alone_are_marked_only_when_it_is_wished(folder: Path) -> None:
    put_sheet(folder, make_item("the cat sat", "the dog sat"))
    with visiting(folder, "ann") as (ann,):
        (replies,) = ann.page().root.find("div", "replies")
        assert replies.classes == {"replies"}
        (replies,) = ann.page("/?compare=on").root.find("div", "replies")
        assert replies.classes == {"replies", "compared"}
    assert sorted(node.text for node in replies.find("span", "own")) == ["cat", "dog"]


def test_direction_and_language_of_texts_are_their_own_and_hidden_characters_are_shown(folder: Path) -> None:
    put_sheet(folder, make_item("\u202eevil", "zero\u200bwidth \x07"), guideline="Decide\u2066.")
    with visiting(folder, "ann") as (ann,):
        page = ann.page()
    for node in page.root.find("", "text"):
        assert (node.attributes["lang"], node.attributes["dir"]) == ("", "auto")
    assert {node.text for node in page.root.find("span", "ctl")} == {"U+202E", "U+200B", "U+0007", "U+2066"}
    assert not set("\u202e\u200b\u2066\x07") & set(ann.answers[-1].text)


def test_300_payloads_in_every_field_change_no_element_of_the_page(tmp_path: Path) -> None:
    texts = ["\n".join(PAYLOADS[i : i + 30]) for i in range(0, len(PAYLOADS), 30)]
    plain = make_item("x", "y", question="q", said="c")
    items = [make_item(text, f"{text} b", name=f"i{i}", question=text, said=text) for i, text in enumerate(texts)]
    put_sheet(tmp_path, plain, *items, guideline="\n".join(PAYLOADS))
    with visiting(tmp_path, "ann") as (ann,):
        expected = skeleton_of(ann.press("note", note="a note"))
        page = ann.press("tie")
        for text in texts:
            assert [node for node in skeleton_of(page) if node not in expected and node[0] != "details"] == []
            page = ann.press("note", note=text[:1900])
            (noted,) = page.root.find("textarea")
            assert " ".join(text[:1800].replace("\x00", "").split()) in noted.text.replace("\x00", "")
            assert count_active(skeleton_of(page)) == count_active(expected)
            page = ann.press("tie")


def count_active(skeleton: list[tuple[str, dict[str, str]]]) -> int:
    return sum(tag in ("script", "form", "a", "link") for tag, _ in skeleton)


def skeleton_of(page: Page) -> list[tuple[str, dict[str, str]]]:
    """The elements of a page, without marks inside texts and what a text may say about itself."""
    nodes = [node for node in page.root.find() if not node.classes & {"ctl", "own"}]
    return [(node.tag, {k: v for k, v in node.attributes.items() if k not in ("value", "disabled")}) for node in nodes]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://foreign.invalid"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "foreign.invalid"}, 400),
        ({"cookie": "rlaif_8730=token-of-bob"}, 403),
    ],
)
def test_a_form_from_elsewhere_stores_nothing(folder: Path, headers: dict[str, str], status: int) -> None:
    clock = Clock()
    with visiting(folder, "ann", clock=clock) as (ann,):
        form = form_of(ann.page()) | {"action": "first"}
        clock.now += 1
        if "cookie" in headers:
            ann.client.cookies.clear()
        assert ann.send(form, **headers).status_code == status
    assert choices(folder) == {}


def test_without_a_token_or_with_a_strangers_nothing_is_shown(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        ann.client.cookies.clear()
        for path in ("/", "/enter?token=guess", "/enter?" + "a=1&" * 30):
            answer = ann.get(path)
            assert answer.status_code == 403
            assert "Hello" not in answer.text


def test_every_response_forbids_foreign_scripts_frames_and_caches(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        ann.press("first")
        ann.get("/static/label.css")
        ann.get("/nothing")
        ann.get("/static/../label_server.py")
        ann.get("/static/..%2flabel_server.py")
    for answer in ann.answers:
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert [answer.status_code for answer in ann.answers[-3:]] == [404, 404, 404]
    assert "there is no such page here" in ann.answers[-3].text


def test_a_changed_guideline_a_note_that_is_too_long_and_a_huge_form_are_refused_in_sentences(folder: Path) -> None:
    with visiting(folder, "ann") as (ann,):
        assert "2000 characters at most" in said_on(ann.press("first", note="a" * 2500))
        assert ann.page().root.find("textarea")
        form = form_of(ann.page())
        assert ann.send(form | {"action": "first", "note": "a" * 70_000}).status_code == 413
        assert ann.send(form | {f"field{i}": "" for i in range(60)}).status_code == 409
        text = (folder / "sheet.json").read_text()
        (folder / "sheet.json").write_text(text.replace("Say which is kinder.", "Say which is shorter."))
        refused = ann.send(form | {"action": "first"})
        assert refused.status_code == 409
        assert "the guideline on the sheet was changed" in refused.text
        assert "draw a new sheet with the new guideline" in refused.text
    assert choices_when_restored(folder, text) == {}


def choices_when_restored(folder: Path, text: str) -> dict[str, str]:
    (folder / "sheet.json").write_text(text)
    return choices(folder)


def test_a_folder_that_cannot_be_written_is_a_sentence_and_the_page_works_again_afterwards(folder: Path) -> None:
    (folder / "sheet.answers").mkdir()
    with visiting(folder, "ann") as (ann,):
        with read_only(folder / "sheet.answers"):
            refused = ann.get()
        assert refused.status_code == 500
        assert "a file or folder cannot be used: Permission denied" in refused.text
        ann.press("first")
    assert choices(folder) == {"item0000": "first"}


SEAM = """
    import sys
    sys.path.insert(0, {tests!r})

    def forbid(event, arguments):
        if event in ("open", "sqlite3.connect") and "ledger.sqlite" in str(arguments[0]):
            raise PermissionError(13, "the ledger is not for this user")

    sys.addaudithook(forbid)
    from pathlib import Path
    from label_visits import visiting

    with visiting(Path("."), "ann") as (ann,):
        for action in ("first", "undo", "tie", "skip", "second", "note", "unclear", "first"):
            page = ann.press(action, note="a note")
        assert "Thank you" in page.root.text
    import rlaif.cli.spot_check_serve
    forbidden = ("apsw", "rlaif.ledger", "rlaif.run", "rlaif.judging", "rlaif.loop", "torch", "numpy")
    print(sorted(name for name in sys.modules if name.startswith(forbidden)))
"""


def test_a_whole_set_is_labelled_without_the_ledger_or_the_code_that_opens_it(folder: Path) -> None:
    (folder / "ledger.sqlite").write_text("not for this user")
    code = textwrap.dedent(SEAM).format(tests=str(TESTS))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_why_items_were_asked_about_comes_after_the_last_label_on_a_press_and_makes_the_answers_final(
    folder: Path,
) -> None:
    sheet = read_sheet(folder / "sheet.json")
    write_why(folder / "sheet.json", sheet, {"item0002": "the judge was unsure <b>of it</b>"})
    with visiting(folder, "ann", "bob") as (ann, bob):
        for _ in range(3):
            ann.press("first")
        refused = ann.press("reveal")
        assert position_on(refused) == "4 of 4"
        assert "the judge was unsure" not in "".join(answer.text for answer in ann.answers)
        page = ann.press("tie")
        assert [node.attributes["data-key"] for node in buttons_of(page)] == ["z", "w"]
        assert "the judge was unsure" not in "".join(answer.text for answer in ann.answers)
        page = ann.press("reveal")
        assert "the judge was unsure <b>of it</b>" in page.root.text
        assert page.root.text.count(FROM_ALL) == 3
        assert buttons_of(page) == []
        form = {"annotator": "ann", "item": "", "place": "4", "note": ""}
        ann.send(form | {"action": "undo"})
        assert "your answers are final" in ann.page().root.text
        bob.press("first")
        assert "the judge was unsure" not in "".join(answer.text for answer in bob.answers)
    assert len(choices(folder)) == 4
    assert states(folder)["ann"].is_revealed
    assert not states(folder)["bob"].is_revealed


def test_a_sheet_whose_reasons_are_another_sheets_is_refused_while_its_answers_can_still_change(folder: Path) -> None:
    write_why(folder / "sheet.json", make_test_sheet(2), {})
    with visiting(folder, "ann") as (ann,):
        for _ in range(4):
            page = ann.press("first")
        ann.send(form_of(page) | {"action": "reveal"})
    assert not states(folder)["ann"].is_revealed
