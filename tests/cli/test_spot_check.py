"""`rlaif spot-check` for the owner of a run: draw, take in, see, import, export; and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
from click.testing import Result
from made_once import make_once
from recorded_run import make_recorded_run
from typer.testing import CliRunner

from rlaif.audit.spot_labels import import_labels
from rlaif.calibration.answer_file import AnswerFile, open_answers
from rlaif.calibration.label_rows import as_csv
from rlaif.calibration.labels import read_labels
from rlaif.calibration.sheet import Sheet, read_sheet
from rlaif.calibration.taken_in import check_draw
from rlaif.cli import app
from rlaif.errors import DataError, InputError, LedgerError, RlaifError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import HumanLabel, Sample, SpotCheck


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        make_recorded_run(folder)
        make_recorded_run(folder, name="002", pairs=20, seed=1)

    return make_once(tmp_path_factory, "recorded-runs", make)


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two judged runs: 001 with 40 pairs, 002 with 20."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def spot_check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["spot-check", *arguments], env={"COLUMNS": "100"})


def say(*arguments: str) -> str:
    result = spot_check(*arguments)
    assert result.exit_code == 0, result.exception
    return " ".join(result.stdout.split())


def refusal(*arguments: str) -> str:
    result = spot_check(*arguments)
    assert isinstance(result.exception, RlaifError), (result.exception, result.stdout)
    return result.exception.sentence


def draw(*arguments: str, name: str = "sheet.json", run: str = "001") -> Sheet:
    say("draw", name, "--run", run, *arguments)
    return read_sheet(Path(name))


def answer(sheet: Sheet, name: str = "ann", *, choices: str = "first", folder: str = "sheet.answers") -> None:
    """Answer items in their order: 1, 2, 0 and u are choices."""
    words = {"1": "first", "2": "second", "0": "tie", "u": "unclear"}
    with open_answers(sheet, Path(folder), annotator=name, rng=random.Random(0)) as answers:
        for key in choices:
            _answer_next(answers, words[key])


def _answer_next(answers: AnswerFile, choice: str) -> None:
    item = answers.next_item()
    assert item is not None
    answers.show(item)
    answers.answer(item, choice, seconds=2.0)  # type: ignore[arg-type]


def in_ledger() -> tuple[SpotCheck, list[HumanLabel]]:
    """The only draw, and the labels that count of it."""
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        (check,) = list_records(ledger, SpotCheck)
        return check, ledger.used(check.runs[0], 0, check.stage, HumanLabel)


def test_a_draw_leaves_its_owners_part_in_the_ledger_and_none_of_it_on_the_sheet(folder: Path) -> None:
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


def test_the_same_seed_draws_the_same_items_and_another_seed_others(folder: Path) -> None:
    for name in ("one", "other"):
        shutil.copytree("runs", name)
    drawn = [
        draw("--items", "10", "--seed", seed, "--runs-dir", runs, name=f"{runs}.json")
        for seed, runs in (("1", "runs"), ("1", "one"), ("2", "other"))
    ]
    assert drawn[0] == drawn[1]
    assert {item.a for item in drawn[0].items} != {item.a for item in drawn[2].items}


def test_a_dry_run_of_a_draw_writes_nothing(folder: Path) -> None:
    assert "dry run: nothing was written" in say("draw", "sheet.json", "--run", "001", "--items", "10", "--dry-run")
    assert not Path("sheet.json").exists()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, SpotCheck) == []


def test_a_later_draw_leaves_out_what_was_drawn_and_says_so(folder: Path) -> None:
    first = draw("--items", "30", name="a.json")
    said = say("draw", "b.json", "--run", "001", "--items", "10")
    assert "dropped 30 (already_drawn 30)" in said
    assert "these probabilities are about the items that remained" in said
    texts = [{(item.a, item.b), (item.b, item.a)} for item in first.items]
    assert not any((item.a, item.b) in pair for pair in texts for item in read_sheet(Path("b.json")).items)
    assert "1 items are wanted, and 0 can be drawn" in refusal("draw", "c.json", "--run", "001", "--items", "1")
    assert not Path("c.json").exists()


def test_one_draw_may_be_from_several_runs(folder: Path) -> None:
    said = say("draw", "sheet.json", "--run", "001", "--run", "002", "--items", "30")
    assert "run 001, 002: in 60, kept 60" in said
    sheet = read_sheet(Path("sheet.json"))
    assert len({item.messages[0].content[-3:] for item in sheet.items}) == 2
    answer(sheet, choices="1" * 30)
    say("status", "sheet.json", "--run", "002")
    for run in ("001", "002"):
        assert "30 labels" in say("export", f"{run}.jsonl", "--run", run)


def test_focus_draws_flipped_pairs_more_often_within_the_ratio(folder: Path) -> None:
    draw("--items", "12", "--focus")
    check, _ = in_ledger()
    by_stratum = {("flips" in item.stratum): item.inclusion_probability for item in check.items}
    assert by_stratum[True] / by_stratum[False] == pytest.approx(3.0)


def test_items_may_be_about_single_principles_and_under_the_owners_guideline(folder: Path) -> None:
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
    folder: Path, arguments: list[str], sentence: str
) -> None:
    Path("empty.txt").write_text(" \n")
    assert sentence in refusal("draw", "sheet.json", *(() if "--run" in arguments else ("--run", "001")), *arguments)
    assert not Path("sheet.json").exists()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, SpotCheck) == []


def test_where_the_ledger_cannot_be_written_no_sheet_stays_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(Ledger, "append", full)
    assert "the disk is full" in refusal("draw", "sheet.json", "--run", "001", "--items", "4")
    assert not Path("sheet.json").exists()


def test_a_sheet_never_replaces_a_file_of_the_users(folder: Path) -> None:
    Path("sheet.json").write_text("mine")
    assert "there is a file of this name already" in refusal("draw", "sheet.json", "--run", "001")
    assert Path("sheet.json").read_text() == "mine"


def test_status_takes_answers_in_with_their_probability_order_and_time_and_twice_changes_nothing(folder: Path) -> None:
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


def test_an_interval_is_shown_only_when_the_set_is_closed(folder: Path) -> None:
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


def test_agreement_is_weighted_by_the_probabilities(folder: Path) -> None:
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


def test_a_choice_undone_after_it_was_taken_in_is_overridden_and_an_undo_alone_withdraws_it(folder: Path) -> None:
    sheet = draw("--items", "4")
    answer(sheet, choices="111")
    say("status", "sheet.json", "--run", "001")
    with open_answers(sheet, Path("sheet.answers"), annotator="ann") as answers:
        answers.undo()
        _answer_next(answers, "second")
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


def test_a_label_that_changed_without_an_undo_is_refused(folder: Path) -> None:
    sheet = draw("--items", "4")
    answer(sheet, choices="1")
    say("status", "sheet.json", "--run", "001")
    path = Path("sheet.answers/ann.jsonl")
    path.write_text(path.read_text().replace('"choice":"first"', '"choice":"second"'))
    assert "ann labelled item" in refusal("status", "sheet.json", "--run", "001")
    assert [label.choice for label in in_ledger()[1]] == ["first"]


def test_a_sheet_of_another_ledger_is_refused(folder: Path) -> None:
    shutil.copytree("runs", "others")
    draw("--items", "4", "--runs-dir", "others")
    assert "nobody drew this sheet" in refusal("status", "sheet.json", "--run", "001")
    assert "nobody has begun" in say("status", "sheet.json", "--run", "001", "--runs-dir", "others")
    assert "nobody has begun" in say("status", "sheet.json", "--ledger", "others/ledger.sqlite")
    assert "there is no such ledger" in refusal("status", "sheet.json", "--ledger", "none.sqlite")
    Path("others/ledger.sqlite").unlink()
    assert "the ledger is gone" in refusal("status", "sheet.json", "--run", "001", "--runs-dir", "others")


def test_a_sheet_with_items_that_nobody_drew_or_a_probability_that_is_none_is_refused(folder: Path) -> None:
    sheet = draw("--items", "4")
    check, _ = in_ledger()
    without = check.model_copy(update={"items": check.items[1:]})
    with pytest.raises(DataError, match=f"nobody drew item {sheet.items[0].id} of the sheet"):
        check_draw(without, sheet)
    for wrong in (0.0, 1.5, -0.1):
        odd = check.items[0].model_copy(update={"inclusion_probability": wrong})
        with pytest.raises(DataError, match=r"none of a draw is outside \(0, 1\]"):
            check_draw(check.model_copy(update={"items": (odd, *check.items[1:])}), sheet)


def test_a_dry_run_of_status_stores_nothing(folder: Path) -> None:
    answer(draw("--items", "4"), choices="11")
    assert "labels: 2, 2 of them new" in say("status", "sheet.json", "--run", "001", "--dry-run")
    assert in_ledger()[1] == []


@pytest.fixture
def labelled(folder: Path) -> Sheet:
    sheet = draw("--items", "20", "--focus")
    answer(sheet, choices="1201" * 5)
    say("status", "sheet.json", "--run", "001")
    return sheet


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_exported_labels_are_read_as_human_labels_with_their_probabilities(labelled: Sheet, format: str) -> None:
    say("export", f"labels.{format}", "--format", format, "--run", "001")
    read = read_labels(Path(f"labels.{format}"), columns_path=None, digest="")
    _, labels = in_ledger()
    assert [(row.pair, row.choice, row.annotator, row.inclusion_probability, row.seconds) for row in read.rows] == [
        (label.sample_ids, label.choice, "ann", label.inclusion_probability, 2.0) for label in labels
    ]


def test_labels_that_are_there_already_are_imported_as_known_ones(labelled: Sheet) -> None:
    say("export", "labels.jsonl", "--run", "001")
    assert "in 20, kept 20, dropped 0, 0 of them new" in say("import", "labels.jsonl", "--run", "001")


def test_exported_preferences_are_a_data_set_and_leave_ties_out(labelled: Sheet, tmp_path: Path) -> None:
    assert "in 20, kept 15, dropped 5 (tie 5)" in say("export", "p.jsonl", "--format", "preferences", "--run", "001")
    rows = datasets.load_dataset("json", data_files="p.jsonl", cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.column_names == ["prompt", "chosen", "rejected"]
    assert rows[0]["prompt"][0]["role"] == "user"
    assert rows[0]["chosen"][0]["role"] == "assistant"
    tally = say("import", "p.jsonl", "--run", "002")
    assert "15 of them new" in tally


def test_an_export_never_replaces_a_file(labelled: Sheet) -> None:
    Path("labels.jsonl").write_text("mine")
    assert "there is a file of this name already" in refusal("export", "labels.jsonl", "--run", "001")
    assert Path("labels.jsonl").read_text() == "mine"


def test_a_csv_cell_that_a_spreadsheet_would_compute_is_made_text() -> None:
    (row,) = csv.DictReader(io.StringIO(as_csv([{"note": "=1+1", "seconds": -1.0}])))
    assert row == {"note": "'=1+1", "seconds": "-1.0"}


def test_the_round_trip_by_label_studio_keeps_choices_orders_items_and_probabilities(labelled: Sheet) -> None:
    answer(labelled, "bob", choices="2u10" * 5)
    say("export", "tasks.json", "--format", "label-studio", "--sheet", "sheet.json")
    assert "<Pairwise" in Path("tasks.xml").read_text()
    said = say("import", "tasks.json", "--sheet", "sheet.json", "--answers", "back")
    assert "ann: 20 of 20 items answered" in said
    for name in ("ann", "bob"):
        sides = []
        for folder in ("sheet.answers", "back"):
            lines = [json.loads(line) for line in Path(folder, f"{name}.jsonl").read_text().splitlines()]
            sides.append(sorted((e["item"], e["order"], e["choice"]) for e in lines if e["event"] == "answer"))
        assert sides[0] == sides[1]
    assert "labels: 35, 15 of them new" in say("status", "sheet.json", "--answers", "back", "--run", "001")
    assert {label.inclusion_probability for label in in_ledger()[1]} == {
        item.inclusion_probability for item in in_ledger()[0].items
    }
    assert "there are answers of ann already" in refusal(
        "import", "tasks.json", "--sheet", "sheet.json", "--answers", "back"
    )


def test_tasks_for_label_studio_say_nothing_of_the_judge_and_show_each_side_first_about_equally(folder: Path) -> None:
    sheet = draw("--items", "40")
    say("export", "tasks.json", "--format", "label-studio", "--sheet", "sheet.json")
    tasks = json.loads(Path("tasks.json").read_text())
    assert {frozenset(task) for task in tasks} == {frozenset(["data"])}
    assert tasks[0]["data"].keys() == {"sheet", "item", "question", "guideline", "prompt", "text1", "text2"}
    first = sum(task["data"]["text1"] == item.a for task, item in zip(tasks, sheet.items, strict=True))
    assert 8 <= first <= 32


def annotated(change: Any) -> None:
    """Tasks with one annotation, changed."""
    say("export", "tasks.json", "--format", "label-studio", "--sheet", "sheet.json")
    tasks = json.loads(Path("tasks.json").read_text())
    change(tasks)
    Path("changed.json").write_text(json.dumps(tasks))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tasks: tasks[0]["data"].update(item="other"), 'nobody drew an item "other"'),
        (lambda tasks: tasks[0]["data"].update(sheet="other"), "the task was made from another sheet"),
        (lambda tasks: tasks[0]["data"].update(text1="other"), "are not those of the sheet"),
        (lambda tasks: tasks[0]["data"].update(guideline="other"), "the task shows another guideline"),
        (lambda tasks: tasks[0]["annotations"].append(tasks[0]["annotations"][0]), "ann labelled item"),
        (lambda tasks: tasks[0]["annotations"][0].update(result=[]), "does not say one of left, right, tie"),
        (lambda tasks: tasks.append("x"), "this is no export of Label Studio as JSON"),
    ],
)
def test_tasks_that_are_not_this_sheets_are_refused_and_nothing_is_written(
    labelled: Sheet, change: Any, sentence: str
) -> None:
    annotated(change)
    assert sentence in refusal("import", "changed.json", "--sheet", "sheet.json", "--answers", "back")
    assert not Path("back").exists()


def rows_of(labels: list[HumanLabel], **more: object) -> str:
    return "".join(
        json.dumps(
            {"first_id": lb.sample_ids[0], "second_id": lb.sample_ids[1], "choice": lb.choice, "annotator": "eve"}
            | more
        )
        + "\n"
        for lb in labels
    )


def test_imported_labels_have_no_probability_unless_the_file_has_it_and_are_no_set_with_drawn_ones(
    labelled: Sheet,
) -> None:
    _, labels = in_ledger()
    Path("theirs.jsonl").write_text(rows_of(labels))
    assert "20 of them new" in say("import", "theirs.jsonl", "--run", "001", "--dry-run")
    assert "20 of them new" in say("import", "theirs.jsonl", "--run", "001")
    assert "0 of them new" in say("import", "theirs.jsonl", "--run", "001")
    assert "20 labels have an inclusion probability and 20 have none" in refusal("export", "all.jsonl", "--run", "001")
    say("export", "drawn.jsonl", "--labels", "drawn", "--run", "001")
    say("export", "imported.jsonl", "--labels", "imported", "--run", "001")
    found = [json.loads(line) for line in Path("imported.jsonl").read_text().splitlines()]
    assert {row["inclusion_probability"] for row in found} == {None}
    assert len(found) == 20


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"annotator": "ann", "choice": "first"}, "already, under overall, and chose otherwise"),
        ({"first_id": "0" * 32}, "20 of 20 labels name samples that nobody has"),
        ({"inclusion_probability": 1.5}, "no probability of being drawn"),
        ({"inclusion_probability": 0}, "no probability of being drawn"),
        ({"principle": "brief"}, "which is no principle of"),
        ({"choice": "left"}, "20 of 20 choices are none of"),
    ],
)
def test_labels_that_cannot_be_imported_are_refused_and_nothing_is_stored(
    labelled: Sheet, more: dict[str, object], sentence: str
) -> None:
    before = Path("runs/ledger.sqlite").stat().st_size
    Path("theirs.jsonl").write_text(rows_of(in_ledger()[1], **more))
    assert sentence in refusal("import", "theirs.jsonl", "--run", "001")
    assert Path("runs/ledger.sqlite").stat().st_size == before
    assert len(in_ledger()[1]) == 20


def test_label_studio_tasks_without_a_sheet_are_matched_by_their_texts(labelled: Sheet) -> None:
    say("export", "tasks.json", "--format", "label-studio", "--sheet", "sheet.json")
    tasks = json.loads(Path("tasks.json").read_text())
    for task in tasks:
        task["annotations"][0]["completed_by"] = 7
    Path("tasks.json").write_text(json.dumps(tasks))
    assert "in 20, kept 20, dropped 0, 20 of them new" in say("import", "tasks.json", "--run", "001")
    say("export", "imported.jsonl", "--labels", "imported", "--run", "001")
    found = [json.loads(line) for line in Path("imported.jsonl").read_text().splitlines()]
    drawn = {(lb.sample_ids, lb.choice) for lb in in_ledger()[1]}
    assert {((row["first_id"], row["second_id"]), row["choice"]) for row in found} == drawn
    assert {row["annotator"] for row in found} == {"user7"}


def test_options_that_contradict_one_another_are_refused(folder: Path) -> None:
    assert isinstance(spot_check("export", "x.json", "--format", "label-studio").exception, InputError)
    assert isinstance(spot_check("export", "x.json", "--sheet", "s.json").exception, InputError)
    assert isinstance(spot_check("export", "x.json", "--answers", "a").exception, InputError)
    assert isinstance(spot_check("import", "x.json", "--answers", "a").exception, InputError)
    assert "no labels were taken in or imported" in refusal("export", "x.jsonl", "--run", "001")


def test_a_few_hundred_labels_are_imported_in_less_than_a_third_of_a_second(labelled: Sheet) -> None:
    _, labels = in_ledger()
    Path("theirs.jsonl").write_text("".join(rows_of(labels, annotator=f"person{n}") for n in range(15)))
    seconds = []
    for dry_run in (True, True, False):  # the best of three: what else this process has to clean up is no part of it
        began = time.process_time()
        tally, num_new = import_labels(
            Path("theirs.jsonl"), columns=None, runs_dir=Path("runs"), run="001", dry_run=dry_run
        )
        seconds.append(time.process_time() - began)
    assert (tally.kept, num_new) == (300, 300)
    assert min(seconds) < 0.3
