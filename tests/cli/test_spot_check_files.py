"""`rlaif spot-check import, export`: labels from other tools and for them; and what is refused."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
from spot_checks import answer, draw, in_ledger, refusal, rows_of, say, spot_check

from rlaif.calibration.label_rows import as_csv
from rlaif.calibration.labels import read_labels
from rlaif.calibration.sheet import Sheet
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.loop.spot_labels import import_labels
from rlaif.records import Sample
from rlaif.reward_model.reward_bench import read_bench


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


def test_labels_in_rewardbench_format_are_read_back_with_the_side_that_people_took(
    labelled: Sheet, tmp_path: Path
) -> None:
    assert "in 20, kept 15, dropped 5 (tie 5)" in say("export", "b.jsonl", "--format", "reward-bench", "--run", "001")
    rows = datasets.load_dataset("json", data_files="b.jsonl", cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.column_names == ["prompt", "chosen", "rejected", "subset", "id"]
    assert (rows.features["prompt"].dtype, rows.features["id"].dtype) == ("string", "int64")
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        decided = [label for label in in_ledger()[1] if label.choice != "tie"]
        texts = ledger.find(Sample, [key for label in decided for key in label.sample_ids])
    sides = [
        [texts[key].text for key in label.sample_ids][:: 1 if label.choice == "first" else -1] for label in decided
    ]
    read = read_bench(Path("b.jsonl"))
    assert [(one.prompt.id, list(one.responses), one.subset) for one in read] == [
        (label.prompt_id, side, "overall") for label, side in zip(decided, sides, strict=True)
    ]


def test_labels_of_two_even_draws_are_exported_as_one_of_both_sizes_and_one_draw_alone(judged: Path) -> None:
    for name, size in (("a", 10), ("b", 15)):
        sheet = draw("--items", str(size), name=f"{name}.json")
        answer(sheet, choices="1" * (size - 1) + "2", folder=f"{name}.answers")
        say("status", f"{name}.json", "--run", "001")
    say("export", "both.jsonl", "--run", "001")
    say("export", "alone.jsonl", "--run", "001", "--sheet", "b.json")
    both, alone = (
        [json.loads(line)["inclusion_probability"] for line in Path(name).read_text().splitlines()]
        for name in ("both.jsonl", "alone.jsonl")
    )
    assert both == pytest.approx([25 / 40] * 25)
    assert alone == pytest.approx([15 / 30] * 15)


def test_labels_of_a_draw_with_a_focus_and_of_another_one_go_into_no_file(labelled: Sheet) -> None:
    sheet = draw("--items", "5", name="more.json")
    answer(sheet, choices="12121", folder="more.answers")
    say("status", "more.json", "--run", "001")
    assert "one of them has a focus" in refusal("export", "labels.jsonl", "--run", "001")
    assert "5 labels" in say("export", "labels.jsonl", "--run", "001", "--sheet", "more.json")


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


def test_tasks_for_label_studio_say_nothing_of_the_judge_and_show_each_side_first_about_equally(
    judged: Path,
) -> None:
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


def test_options_that_contradict_one_another_are_refused(judged: Path) -> None:
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
