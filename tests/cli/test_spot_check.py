"""`rlaif spot-check` for the owner of a run: draw, take in, see; and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from spot_checks import answer, answer_next, draw, in_ledger, refusal, say

from rlaif.calibration.answer_file import open_answers
from rlaif.calibration.sheet import read_sheet
from rlaif.calibration.taken_in import check_draw
from rlaif.errors import DataError, LedgerError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import HumanLabel, Sample, SpotCheck


def test_a_draw_leaves_its_owners_part_in_the_ledger_and_none_of_it_on_the_sheet(judged: Path) -> None:
    said = say("draw", "sheet.json", "--run", "001", "--items", "12", "--seed", "3")
    assert "in 40, kept 40, dropped 0 items that could be drawn" in said
    assert "drawn 12 of 40, each with a probability of 0.3000" in said
    check, labels = in_ledger()
    sheet = read_sheet(Path("sheet.json"))
    assert labels == []
    assert check.sheet_id == sheet.id
    assert [item.item_id for item in check.items] == [item.id for item in sheet.items]
    text = Path("sheet.json").read_text()
    for item in check.items:
        assert not any(secret in text for secret in (*item.sample_ids, item.prompt_id, item.stratum, check.id))
    assert not any(word in text for word in ("the-judge", "0.3", "sureness", "verdict", "flips"))
    assert check_draw(check, sheet).keys() == {item.id for item in sheet.items}


def test_the_same_seed_draws_the_same_items_and_another_seed_others(judged: Path) -> None:
    for name in ("one", "other"):
        shutil.copytree("runs", name)
    drawn = [
        draw("--items", "10", "--seed", seed, "--runs-dir", runs, name=f"{runs}.json")
        for seed, runs in (("1", "runs"), ("1", "one"), ("2", "other"))
    ]
    assert drawn[0] == drawn[1]
    assert {item.a for item in drawn[0].items} != {item.a for item in drawn[2].items}


def test_a_dry_run_of_a_draw_writes_nothing(judged: Path) -> None:
    assert "dry run: nothing was written" in say("draw", "sheet.json", "--run", "001", "--items", "10", "--dry-run")
    assert not Path("sheet.json").exists()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, SpotCheck) == []


def test_a_later_draw_leaves_out_what_was_drawn_and_says_so(judged: Path) -> None:
    first = draw("--items", "30", name="a.json")
    said = say("draw", "b.json", "--run", "001", "--items", "10")
    assert "dropped 30 (already_drawn 30)" in said
    assert "these probabilities are about the items that remained" in said
    texts = [{(item.a, item.b), (item.b, item.a)} for item in first.items]
    assert not any((item.a, item.b) in pair for pair in texts for item in read_sheet(Path("b.json")).items)
    assert "1 items are wanted, and 0 can be drawn" in refusal("draw", "c.json", "--run", "001", "--items", "1")
    assert not Path("c.json").exists()


def test_one_draw_may_be_from_several_runs(judged: Path) -> None:
    said = say("draw", "sheet.json", "--run", "001", "--run", "002", "--items", "30")
    assert "run 001, 002: in 60, kept 60" in said
    sheet = read_sheet(Path("sheet.json"))
    assert len({item.messages[0].content[-3:] for item in sheet.items}) == 2
    answer(sheet, choices="1" * 30)
    say("status", "sheet.json", "--run", "002")
    for run in ("001", "002"):
        assert "30 labels" in say("export", f"{run}.jsonl", "--run", run)


def test_focus_draws_flipped_pairs_more_often_within_the_ratio(judged: Path) -> None:
    draw("--items", "12", "--focus")
    check, _ = in_ledger()
    by_stratum = {("flips" in item.stratum): item.inclusion_probability for item in check.items}
    assert by_stratum[True] / by_stratum[False] == pytest.approx(3.0)


def test_items_may_be_about_single_principles_and_under_the_owners_guideline(judged: Path) -> None:
    Path("guide.txt").write_text("Kindness only.\n")
    sheet = draw("--items", "5", "--principle", "kind", "--guideline", "guide.txt")
    assert {item.question for item in sheet.items} == {"Which reply keeps this better? Prefer the kinder reply."}
    assert sheet.guideline == "Kindness only."
    answer(sheet, choices="12012")
    say("status", "sheet.json", "--run", "001")
    check, labels = in_ledger()
    assert {label.principle_id for label in labels} == {"kind"}
    assert {label.guideline_digest for label in labels} == {sheet.guideline_digest}
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert ledger.text(check.guideline_digest) == "Kindness only."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run", "003"], "the runs are 001, 002"),
        (["--principle", "kinds"], 'did you mean "kind"?'),
        (["--items", "41"], "41 items are wanted, and 40 can be drawn"),
        (["--guideline", "empty.txt"], "the guideline is empty"),
        (["--guideline", "none.txt"], "the file cannot be read"),
    ],
)
def test_a_draw_that_cannot_be_is_refused_and_nothing_is_written(
    judged: Path, arguments: list[str], sentence: str
) -> None:
    Path("empty.txt").write_text(" \n")
    assert sentence in refusal("draw", "sheet.json", *(() if "--run" in arguments else ("--run", "001")), *arguments)
    assert not Path("sheet.json").exists()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, SpotCheck) == []


def test_where_the_ledger_cannot_be_written_no_sheet_stays_behind(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(Ledger, "append", full)
    assert "the disk is full" in refusal("draw", "sheet.json", "--run", "001", "--items", "4")
    assert not Path("sheet.json").exists()


def test_a_sheet_never_replaces_a_file_of_the_users(judged: Path) -> None:
    Path("sheet.json").write_text("mine")
    assert "there is a file of this name already" in refusal("draw", "sheet.json", "--run", "001")
    assert Path("sheet.json").read_text() == "mine"


def test_status_takes_answers_in_with_their_probability_order_and_time_and_twice_changes_nothing(
    judged: Path,
) -> None:
    sheet = draw("--items", "12")
    answer(sheet, choices="11220u")
    said = say("status", "sheet.json", "--run", "001")
    assert "ann: 6 answered, 1 of them unclear" in said
    assert "labels: 5, 5 of them new" in said
    assert "7 items have no label yet" in said
    check, labels = in_ledger()
    assert [label.choice for label in labels] == ["first", "first", "second", "second", "tie"]
    items = {frozenset(item.sample_ids): item for item in check.items}
    shown = {item.id: item for item in sheet.items}
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        texts = {key: s.text for key, s in ledger.find(Sample, [i for lb in labels for i in lb.sample_ids]).items()}
    lines = [json.loads(line) for line in Path("sheet.answers/ann.jsonl").read_text().splitlines()]
    orders = {line["item"]: line["order"] for line in lines if line["event"] == "answer"}
    for label in labels:
        item = items[frozenset(label.sample_ids)]
        one = shown[item.item_id]
        first, second = (one.a, one.b) if orders[one.id] == "ab" else (one.b, one.a)
        assert (texts[label.sample_ids[0]], texts[label.sample_ids[1]]) == (first, second)
        assert (label.inclusion_probability, label.seconds, label.annotator) == (0.3, 2.0, "ann")
        assert label.observed.at
    assert "labels: 5, 0 of them new" in say("status", "sheet.json", "--run", "001")
    assert in_ledger()[1] == labels


def test_an_interval_is_shown_only_when_the_set_is_closed(judged: Path) -> None:
    sheet = draw("--items", "12")
    answer(sheet, choices="1" * 11)
    open_set = say("status", "sheet.json", "--run", "001")
    assert "95 % interval" not in open_set
    assert "certain by now (95 %, whenever you look or stop): from" in open_set
    answer(sheet, choices="1")
    said = say("status", "sheet.json", "--run", "001")
    assert "(95 % interval" in said
    assert "certain by now" not in said
    assert "0 items have no label yet; for an interval of +- 10 points about" in said
    answer(sheet, "bob", choices="1")
    assert "95 % interval" not in say("status", "sheet.json", "--run", "001")
    answer(sheet, "bob", choices="2" * 11)
    assert "two people chose the same on" in say("status", "sheet.json", "--run", "001")


def test_agreement_is_weighted_by_the_probabilities(judged: Path) -> None:
    sheet = draw("--items", "20", "--focus")
    check, _ = in_ledger()
    with open_answers(sheet, Path("sheet.answers"), annotator="ann") as answers:
        for item, drawn in zip(sheet.items, check.items, strict=True):
            order, *_ = answers.show(item)
            with_judge = "first" if (drawn.p_judge > 0.5) == (order == "ab") else "second"
            answers.answer(item, with_judge if "flips" not in drawn.stratum else "first")
    say("status", "sheet.json", "--run", "001")
    found = {item.item_id: 1 / item.inclusion_probability for item in check.items}
    flips = [item for item in check.items if "flips" in item.stratum]
    assert all(item.p_judge == 0.5 for item in flips)
    total = math.fsum(found.values())
    expected = 1 - 0.5 * math.fsum(found[item.item_id] for item in flips) / total
    assert f"judge and people agree on {expected:.1%} of 20 items" in say("status", "sheet.json", "--run", "001")


def test_a_choice_undone_after_it_was_taken_in_is_overridden_and_an_undo_alone_withdraws_it(
    judged: Path,
) -> None:
    sheet = draw("--items", "4")
    answer(sheet, choices="111")
    say("status", "sheet.json", "--run", "001")
    with open_answers(sheet, Path("sheet.answers"), annotator="ann") as answers:
        answers.undo()
        answer_next(answers, "second")
    assert "labels: 3, 1 of them new, 1 overridden" in say("status", "sheet.json", "--run", "001")
    _, labels = in_ledger()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        old = ledger.find(HumanLabel, [labels[2].replaces or ""])
    assert [label.choice for label in old.values()] == ["first"]
    assert labels[2].note == "the annotator undid the choice first"
    with open_answers(sheet, Path("sheet.answers"), annotator="ann") as answers:
        answers.undo()
    assert "labels: 2, 0 of them new, 1 withdrawn" in say("status", "sheet.json", "--run", "001")
    assert len(in_ledger()[1]) == 2
    answer(sheet, choices="2")
    assert "labels: 3, 1 of them new" in say("status", "sheet.json", "--run", "001")


def test_a_label_that_changed_without_an_undo_is_refused(judged: Path) -> None:
    sheet = draw("--items", "4")
    answer(sheet, choices="1")
    say("status", "sheet.json", "--run", "001")
    path = Path("sheet.answers/ann.jsonl")
    path.write_text(path.read_text().replace('"choice":"first"', '"choice":"second"'))
    assert "ann labelled item" in refusal("status", "sheet.json", "--run", "001")
    assert [label.choice for label in in_ledger()[1]] == ["first"]


def test_a_sheet_of_another_ledger_is_refused(judged: Path) -> None:
    shutil.copytree("runs", "others")
    draw("--items", "4", "--runs-dir", "others")
    assert "nobody drew this sheet" in refusal("status", "sheet.json", "--run", "001")
    assert "nobody has begun" in say("status", "sheet.json", "--run", "001", "--runs-dir", "others")
    assert "nobody has begun" in say("status", "sheet.json", "--ledger", "others/ledger.sqlite")
    assert "there is no such ledger" in refusal("status", "sheet.json", "--ledger", "none.sqlite")
    Path("others/ledger.sqlite").unlink()
    assert "the ledger is gone" in refusal("status", "sheet.json", "--run", "001", "--runs-dir", "others")


def test_a_sheet_with_items_that_nobody_drew_or_a_probability_that_is_none_is_refused(judged: Path) -> None:
    sheet = draw("--items", "4")
    check, _ = in_ledger()
    without = check.model_copy(update={"items": check.items[1:]})
    with pytest.raises(DataError, match=f"nobody drew item {sheet.items[0].id} of the sheet"):
        check_draw(without, sheet)
    for wrong in (0.0, 1.5, -0.1):
        odd = check.items[0].model_copy(update={"inclusion_probability": wrong})
        with pytest.raises(DataError, match=r"none of a draw is outside \(0, 1\]"):
            check_draw(check.model_copy(update={"items": (odd, *check.items[1:])}), sheet)


def test_a_dry_run_of_status_stores_nothing(judged: Path) -> None:
    answer(draw("--items", "4"), choices="11")
    assert "labels: 2, 2 of them new" in say("status", "sheet.json", "--run", "001", "--dry-run")
    assert in_ledger()[1] == []
