"""`rlaif audit replay` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import InputError


def replay(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", "replay", *arguments])


def test_a_sample_says_the_share_of_equal_verdicts_with_its_interval(edited: Path) -> None:
    before = Path("runs/ledger.sqlite").read_bytes()
    result = replay("--num", "30", "--run", "001")
    assert result.exit_code == 0, result.exception
    assert "asked again: 30 questions of edit_judges:by_text, each prompt proven byte for byte" in result.stdout
    assert "same verdict: 100.0% (95 % interval" in result.stdout
    assert "prompt tokens (measured)" in result.stderr
    assert Path("runs/ledger.sqlite").read_bytes() == before


def test_one_decision_shows_both_answers_of_each_order(edited: Path) -> None:
    listed = CliRunner().invoke(app, ["audit", "list", "--run", "001", "--limit", "1"]).stdout
    key = listed.splitlines()[1].split()[1]
    shown = replay(key).stdout
    assert shown.count("the same verdict, logit moved by 0.0000") == 2
    assert shown.count("  then  ") == shown.count("  now   ") == 2
    found = json.loads(replay(key, "--json").stdout)
    assert [one["is_same"] for one in found["replayed"]] == [True, True]


def test_a_dry_run_asks_nobody(edited: Path) -> None:
    assert replay("--num", "5", "--run", "001", "--dry-run").stdout.endswith("nobody was asked\n")


@pytest.mark.parametrize("arguments", [(), ("abc", "--num", "3"), ("abc", "--principle", "manner")])
def test_questions_that_contradict_one_another_are_refused(edited: Path, arguments: tuple[str, ...]) -> None:
    assert isinstance(replay(*arguments).exception, InputError)
