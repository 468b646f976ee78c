"""`rlaif audit report` and `rlaif audit export` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import DataError, InputError
from rlaif.reward_model.reward_bench import read_bench


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


def test_a_report_is_a_new_file_and_never_overwrites_one(judged: Path) -> None:
    shown = audit("report", "--flipped", "--run", "001", "--limit", "3", "--out", "page.html").stdout
    assert shown == "3 decisions in page.html; more pass the filter than --limit 3\n"
    assert "3 decisions" in Path("page.html").read_text()
    again = audit("report", "--flipped", "--out", "page.html")
    assert isinstance(again.exception, DataError)


def test_ids_and_filters_do_not_go_together(judged: Path) -> None:
    assert isinstance(audit("report", "abc", "--flipped", "--out", "page.html").exception, InputError)


def test_an_export_says_what_is_in_it_and_up_to_which_row(judged: Path) -> None:
    first, second = audit("export", "--format", "jsonl", "--run", "001", "--out", "rows.jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert first == f"{len(rows)} comparisons in rows.jsonl, run 001"
    assert second == f"head {rows[0]['ledger_row']} {rows[0]['ledger_head']}"
    assert {row["principle_id"] for row in rows} == {"kind"}


def test_recorded_pairs_are_annotated_pairs_too(judged: Path) -> None:
    audit("export", "--format", "annotated-pairs", "--out", "pairs.json")
    whole = json.loads(Path("pairs.json").read_text())
    named = {key for pair in whole["comparisons"] for key in pair["annotations"]}
    assert named == set(whole["annotators"])


def test_labels_of_a_run_are_rows_of_rewardbench_that_say_what_is_held_out(judged: Path) -> None:
    said = audit("export", "--format", "reward-bench", "--run", "001", "--out", "bench.jsonl").stdout
    rows = read_bench(Path("bench.jsonl"))
    assert said.startswith(f"{len(rows)} pairs in bench.jsonl, run 001")
    exported = pq.read_table(next(Path("runs/001").rglob("4_preferences/dataset"))).to_pylist()
    wanted = {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in exported if row["label"] != 0.5}
    assert {one.responses for one in rows} == wanted
    assert {one.subset for one in rows} == {"judge, trained on"}  # this run holds out no prompt
    audit("export", "--format", "reward-bench", "--out", "all.jsonl")
    assert {one.subset for one in read_bench(Path("all.jsonl"))} == {"judge"}
