"""`rlaif audit redact` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Sample


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


def find_sample() -> Sample:
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        return list_records(ledger, Sample)[0]


def test_a_dry_run_names_the_files_and_changes_nothing(judged: Path) -> None:
    sample = find_sample()
    before = Path("runs/ledger.sqlite").read_bytes()
    shown = audit("redact", sample.id, "--reason", "private", "--dry-run").stdout
    assert f"would be redacted: {sample.text_digests['text']}" in shown
    assert "2_samples/samples.parquet" in shown
    assert shown.endswith("nothing was changed\n")
    assert Path("runs/ledger.sqlite").read_bytes() == before


def test_a_redacted_text_is_redacted_in_every_view_and_the_ledger_verifies(judged: Path) -> None:
    sample = find_sample()
    done = json.loads(audit("redact", sample.id, "--reason", "private", "--as", "ann", "--json").stdout)
    assert (done["is_done"], done["is_out_of_log"]) == (True, True)
    assert find_sample().text == "[redacted]"
    assert audit("verify").exit_code == 0
    again = audit("redact", sample.id, "--reason", "private")
    assert "redacted already, by ann" in str(again.exception)


def test_a_pair_with_a_redacted_reply_is_not_drawn_for_people(judged: Path) -> None:
    sample = find_sample()
    audit("redact", sample.id, "--reason", "private")
    drawn = CliRunner().invoke(app, ["spot-check", "draw", "s.json", "--items", "5", "--run", "001", "--dry-run"])
    assert "redacted 1" in drawn.stdout


def test_preferences_that_are_made_again_leave_out_pairs_with_a_redacted_text(edited: Path) -> None:
    sample = find_sample()
    stage = Path("runs/001/round_00/4_preferences")
    before = json.loads((stage / "stage.json").read_text())
    assert audit("redact", sample.id, "--reason", "private", "--run", "001").exit_code == 0
    (stage / "stage.json").unlink()
    done = CliRunner().invoke(app, ["generate-prefs", "--run", "001", "--resume"])
    assert done.exit_code == 0, done.exception
    after = json.loads((stage / "stage.json").read_text())
    assert after["in"] == before["in"]
    assert after["dropped"] == {**before["dropped"], "redacted": 1}
    rows = [row for path in stage.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert "[redacted]" not in json.dumps([row for row in rows if "chosen" in row])
