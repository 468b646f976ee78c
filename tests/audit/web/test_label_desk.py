"""Which forms count on the labelling page, and what they store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from label_visits import Clock, choices, states
from sheets import make_test_sheet

from rlaif.audit.web.label_desk import Desk, Screen, Seat, Sent
from rlaif.calibration.answer_file import open_answers
from rlaif.calibration.sheet import write_sheet
from rlaif.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sheet(make_test_sheet(3), tmp_path / "sheet.json")
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(folder: Path, clock: Clock) -> Desk:
    return Desk(folder / "sheet.json", folder=folder / "sheet.answers", clock=clock)


def form(screen: Screen, action: str, *, note: str = "") -> Sent:
    return Sent(action, "" if screen.item is None else screen.item.id, str(screen.place), note)


def press(seat: Seat, clock: Clock, action: str, *, note: str = "") -> Screen:
    screen = seat.show()
    clock.now += 1.5
    seat.take(form(screen, action, note=note))
    return seat.show()


def text(screen: Screen) -> str:
    assert screen.said is not None
    return screen.said.text


def test_a_choice_is_stored_with_its_seconds_and_the_next_item_comes(desk: Desk, folder: Path, clock: Clock) -> None:
    screen = press(desk.seat("ann"), clock, "second")
    assert screen.item is not None
    assert (screen.item.id, screen.num_done, text(screen)) == ("item0001", 1, "Saved: the second reply is better.")
    answer = states(folder)["ann"].answers["item0000"]
    assert (answer.choice, answer.seconds) == ("second", 1.5)


def test_the_same_form_sent_twice_labels_one_item(desk: Desk, folder: Path, clock: Clock) -> None:
    seat = desk.seat("ann")
    sent = form(seat.show(), "first")
    clock.now += 1
    seat.take(sent)
    seat.take(sent)
    assert text(seat.show()).endswith("Nothing was stored.")
    clock.now += 1
    seat.take(sent)
    assert choices(folder) == {"item0000": "first"}


def test_a_skip_and_an_undo_that_were_sent_twice_count_once(desk: Desk, folder: Path, clock: Clock) -> None:
    seat = desk.seat("ann")
    press(seat, clock, "first")
    press(seat, clock, "first")
    screen = seat.show()
    clock.now += 1
    for _ in range(2):
        seat.take(form(screen, "skip"))  # the only open item comes again at once, on another screen
        seat.show()
    assert states(folder)["ann"].history == ("item0000", "item0001", "item0002")
    screen = seat.show()
    clock.now += 1
    for _ in range(2):
        seat.take(form(screen, "undo"))
        seat.show()
    assert states(folder)["ann"].history == ("item0000", "item0001")


def test_a_form_of_a_page_that_nobody_was_shown_stores_nothing(desk: Desk, folder: Path, clock: Clock) -> None:
    desk.seat("ann").take(Sent("first", "item0000", "0", ""))
    desk.seat("ann").show()
    clock.now += 1
    desk.seat("ann").take(Sent("first", "item0001", "0", ""))
    desk.seat("ann").take(Sent("first", "item0000", "zero", ""))
    desk.seat("ann").take(Sent("best", "item0000", "0", ""))
    assert choices(folder) == {}


def test_what_comes_within_300_ms_of_a_new_item_stores_nothing(desk: Desk, folder: Path, clock: Clock) -> None:
    seat = desk.seat("ann")
    press(seat, clock, "first")
    screen = seat.show()
    clock.now += 0.29
    seat.take(form(screen, "first"))
    assert choices(folder) == {"item0000": "first"}
    clock.now += 0.02  # a reload of the page shows no new item
    seat.take(form(seat.show(), "first"))
    assert len(choices(folder)) == 2


def test_undo_goes_back_over_several_items_and_after_another_start(folder: Path, clock: Clock) -> None:
    for keys in (("first", "tie"), ("undo", "undo", "second")):
        desk = Desk(folder / "sheet.json", folder=folder / "sheet.answers", clock=clock)
        for key in keys:
            press(desk.seat("ann"), clock, key)
        desk.close()
    assert choices(folder) == {"item0000": "second"}
    lines = (folder / "sheet.answers" / "ann.jsonl").read_text().splitlines()
    kept = [(event["event"], event.get("item"), event.get("choice")) for event in map(json.loads, lines)]
    assert ("answer", "item0000", "first") in kept
    assert ("answer", "item0000", "second") in kept


def test_an_undo_where_nothing_was_done_is_refused(desk: Desk, clock: Clock) -> None:
    assert text(press(desk.seat("ann"), clock, "undo")) == "There is nothing to undo."


def test_when_all_is_answered_there_is_no_item_and_undo_brings_the_last_one_back(desk: Desk, clock: Clock) -> None:
    seat = desk.seat("ann")
    for choice in ("first", "tie", "unclear"):
        screen = press(seat, clock, choice)
    assert (screen.item, screen.num_done) == (None, 3)
    assert text(press(seat, clock, "first")) == "Choose one of the buttons."
    screen = press(seat, clock, "undo")
    assert screen.item is not None
    assert (screen.item.id, screen.num_done) == ("item0002", 2)


def test_a_note_stays_on_its_item_and_goes_with_the_choice(desk: Desk, folder: Path, clock: Clock) -> None:
    seat = desk.seat("ann")
    screen = press(seat, clock, "note", note="  1 is\r\nshort ")
    assert (screen.num_done, screen.note, text(screen)) == (0, "1 is\nshort", "Note saved. Now choose.")
    press(seat, clock, "first", note="1 is\r\nshort")
    press(seat, clock, "tie", note="typed, and not saved by its button")
    screen = press(seat, clock, "undo")
    assert screen.note == "typed, and not saved by its button"
    assert states(folder)["ann"].answers["item0000"].note == "1 is\nshort"
    lines = (folder / "sheet.answers" / "ann.jsonl").read_text()
    assert lines.count('"event":"note"') == 2


def test_a_note_can_be_taken_away_again(desk: Desk, folder: Path, clock: Clock) -> None:
    press(desk.seat("ann"), clock, "note", note="wrong")
    press(desk.seat("ann"), clock, "first", note="")
    assert states(folder)["ann"].answers["item0000"].note == ""


def test_a_note_that_is_too_long_is_refused_and_stays_in_its_field(desk: Desk, folder: Path, clock: Clock) -> None:
    screen = press(desk.seat("ann"), clock, "first", note="a" * 2001)
    assert "2000 characters at most, and this one has 2001" in text(screen)
    assert screen.note == "a" * 2001
    assert choices(folder) == {}


def test_two_annotators_have_their_own_items_orders_and_progress(desk: Desk, folder: Path, clock: Clock) -> None:
    press(desk.seat("ann"), clock, "first")
    assert desk.seat("bob").show().num_done == 0
    press(desk.seat("bob"), clock, "tie")
    assert (choices(folder), choices(folder, "bob")) == ({"item0000": "first"}, {"item0000": "tie"})


def test_over_200_items_each_reply_is_about_equally_often_the_first(tmp_path: Path) -> None:
    write_sheet(make_test_sheet(200), tmp_path / "sheet.json")
    clock = Clock()
    desk = Desk(tmp_path / "sheet.json", folder=tmp_path / "sheet.answers", clock=clock)
    firsts = 0
    for _ in range(200):
        screen = desk.seat("ann").show()
        firsts += screen.replies[0].startswith("Go away")
        clock.now += 1
        desk.seat("ann").take(form(screen, "tie"))
    assert 65 <= firsts <= 135  # missed once in a million sets


def test_nobody_has_begun_before_their_first_page(desk: Desk, folder: Path) -> None:
    desk.seat("ann")
    assert [path.name for path in (folder / "sheet.answers").iterdir()] == ["ann.jsonl"]


def test_a_file_that_is_open_elsewhere_is_refused_in_both_directions(desk: Desk, folder: Path) -> None:
    answers = folder / "sheet.answers"
    with (
        open_answers(desk.sheet, answers, annotator="ann"),
        pytest.raises(DataError, match="somebody is labelling this sheet as ann now"),
    ):
        desk.seat("ann")
    desk.seat("ann")
    with (
        pytest.raises(DataError, match="somebody is labelling this sheet as ann now"),
        open_answers(desk.sheet, answers, annotator="ann"),
    ):
        pass


def test_a_guideline_that_was_edited_in_mid_set_refuses_the_next_label(desk: Desk, folder: Path, clock: Clock) -> None:
    press(desk.seat("ann"), clock, "first")
    whole = (folder / "sheet.json").read_text()
    (folder / "sheet.json").write_text(whole.replace("Say which is kinder.", "Say which is shorter."))
    with pytest.raises(DataError, match=r"the guideline on the sheet was changed.*draw a new sheet"):
        desk.seat("ann")
    (folder / "sheet.json").write_text(whole)
    assert press(desk.seat("ann"), clock, "first").num_done == 2


def test_another_sheet_in_its_place_and_none_are_refused(desk: Desk, folder: Path) -> None:
    (folder / "sheet.json").unlink()
    with pytest.raises(DataError, match="there is no such sheet"):
        desk.seat("ann")
    write_sheet(make_test_sheet(4), folder / "sheet.json")
    with pytest.raises(DataError, match=r"another sheet is in this one's place.*start .* again"):
        desk.seat("ann")


def test_a_file_of_answers_that_was_moved_away_is_refused_once(desk: Desk, folder: Path, clock: Clock) -> None:
    press(desk.seat("ann"), clock, "first")
    path = folder / "sheet.answers" / "ann.jsonl"
    path.rename(folder / "kept.jsonl")
    with pytest.raises(DataError, match="moved away or replaced"):
        desk.seat("ann")
    (folder / "kept.jsonl").rename(path)
    assert desk.seat("ann").show().num_done == 1
