"""`rlaif audit report` and `rlaif audit export` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import DataError, InputError


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
