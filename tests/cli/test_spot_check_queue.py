"""`rlaif spot-check draw --queue`: a sheet of a queue, blind until everything on it is answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from spot_checks import answer, draw, in_ledger, refusal, say
from terminal import on_terminal

from rlaif.audit.queue_index import QUEUES
from rlaif.calibration.sheet import read_sheet
from rlaif.calibration.why_asked import FROM_ALL, read_why
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison
from rlaif.stats.logits import canonical_pair

SIGN = QUEUES["order-flips"].sign
LABEL = [sys.executable, "-m", "rlaif", "spot-check", "label", "sheet.json", "--as", "ann"]


def test_pairs_of_the_queue_are_drawn_more_often_and_the_sheet_says_nothing_of_it(judged: Path) -> None:
    said = say("draw", "sheet.json", "--run", "001", "--items", "9", "--queue", "order-flips")
    assert "with sheet.why.json beside it" in said
    check, _ = in_ledger()
    assert (check.design, check.queue) == ("queue", "order-flips")
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        flipped = {canonical_pair(*one.sample_ids) for one in list_records(ledger, Comparison) if one.flipped}
    inside = {item.item_id: canonical_pair(*item.sample_ids) in flipped for item in check.items}
    assert 3 <= sum(inside.values()) <= 8
    chances = {is_inside: {item.inclusion_probability for item in check.items if inside[item.item_id] is is_inside}
               for is_inside in (True, False)}  # fmt: skip
    assert max(chances[False]) < 0.5 * min(chances[True])
    for word in ("queue", "flip", "order", SIGN, FROM_ALL, "stratum"):
        assert word not in Path("sheet.json").read_text()
    why = read_why(Path("sheet.json"), read_sheet(Path("sheet.json")))
    assert why == {item_id: SIGN if is_inside else FROM_ALL for item_id, is_inside in inside.items()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--queue", "flips"), 'there is no queue "flips"'),
        (("--queue", "order-flips", "--focus"), "--focus and --queue are two designs"),
        (("--queue", "edit-flips"), "none of the pairs that can be drawn is in the queue edit-flips"),
        (("--queue", "order-flips", "--dry-run"), "there is no search index"),
    ],
)
def test_a_queue_that_cannot_be_drawn_is_refused_and_nothing_is_written(
    judged: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refusal("draw", "sheet.json", "--run", "001", "--items", "5", *arguments)
    assert not Path("sheet.json").exists()
    assert not Path("sheet.why.json").exists()


def test_a_file_of_reasons_that_is_there_is_not_replaced(judged: Path) -> None:
    Path("sheet.why.json").write_text("mine")
    assert "there is a file of this name already" in refusal(
        "draw", "sheet.json", "--run", "001", "--queue", "order-flips"
    )
    assert Path("sheet.why.json").read_text() == "mine"


def test_over_a_pipe_the_reasons_come_after_the_last_label_and_never_before(judged: Path) -> None:
    draw("--items", "6", "--queue", "order-flips")
    said = "w\n1\n" + "1\nw\n" * 5 + "w\nz\nq\n"
    shown = subprocess.run(LABEL, input=said.encode(), capture_output=True, check=True).stdout.decode()
    before, _, after = shown.partition("Why these items were asked about. Your answers are final")
    for words in (SIGN, FROM_ALL):
        assert words not in " ".join(before.split())
        assert words in " ".join(after.split())
    lines = [json.loads(line) for line in Path("sheet.answers/ann.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines][-1] == "reveal"


def test_on_a_terminal_a_key_shows_them_at_the_end_and_a_sheet_without_a_queue_has_no_such_key(judged: Path) -> None:
    draw("--items", "6", "--queue", "order-flips")
    answer(read_sheet(Path("sheet.json")), choices="1" * 5)
    with on_terminal(LABEL, cwd=Path.cwd()) as terminal:
        terminal.wait_for("5 of 6")
        end = terminal.choose("1", then="w shows why these items were asked")
        assert "drawn from" not in terminal.written
        shown = terminal.choose("w", then="Your answers are final")
        assert "drawn from all pairs" in " ".join(shown.split())
        terminal.choose("q", then="all saved in")
    assert "z to undo" in " ".join(end.split())
    draw("--items", "5", name="other.json")
    answer(read_sheet(Path("other.json")), choices="1" * 5, folder="other.answers")
    plain = subprocess.run(
        [*LABEL[:5], "other.json", "--as", "ann"], input=b"w\nq\n", capture_output=True, check=True
    ).stdout.decode()
    assert "shows why" not in plain
