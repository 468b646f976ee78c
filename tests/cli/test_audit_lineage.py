"""`rlaif audit lineage` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from ledger_world import make_world
from lineage_world import keep_round, make_trained
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.run.folder import create_run

WORLD = make_world(0)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    config = {"config": {"ledger": {"path": None}, "prompts": {"test_fraction": 0.0}}, "inputs": {}}
    create_run(tmp_path / "runs", "loop", resume=False, config=config)
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite") as ledger:
        keep_round(ledger, WORLD, make_trained(0), number=0)
    return tmp_path / "runs"


def lineage(runs_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", "lineage", *arguments, "--runs-dir", str(runs_dir)])


def test_without_a_name_the_newest_run_is_traced(runs_dir: Path) -> None:
    shown = lineage(runs_dir).stdout
    assert "round 0 of run loop" in shown
    assert "principle  brief, weight 1: Prefer the shorter reply." in shown


def test_json_holds_the_same_values(runs_dir: Path) -> None:
    back = json.loads(lineage(runs_dir, "--run", "loop", "--json").stdout)
    assert [one["preferences"] for one in back["rounds"]] == [{"judge": 1}]
    on = json.loads(lineage(runs_dir, "--principle", "brief", "--json").stdout)
    assert [one["num_train"] for one in on["rounds"] if one["run"] == "loop"] == [1]
    decided = json.loads(lineage(runs_dir, "--decision", WORLD.comparison.id[:12], "--json").stdout)
    assert decided["subject"] == f"comparison {WORLD.comparison.id}"


@pytest.mark.parametrize(
    "arguments",
    [("--principle", "brief", "--decision", "ab"), (".", "--run", "loop"), ("--principle", "brief", "--round", "0")],
)
def test_questions_that_contradict_one_another_are_refused(runs_dir: Path, arguments: tuple[str, ...]) -> None:
    assert isinstance(lineage(runs_dir, *arguments).exception, InputError)


def test_a_hostile_principle_is_no_markup(tmp_path: Path) -> None:
    hostile = "[bold]x[/bold] \x1b[2J \u202e"
    world = make_world(0)
    principle = world.constitution.principles[0].model_copy(update={"text": hostile})
    changed = world.constitution.changed(principles=(principle,))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([changed])
        keep_round(ledger, world._replace(constitution=changed), make_trained(0), number=0)
    shown = (
        CliRunner()
        .invoke(app, ["audit", "lineage", "--run", "loop", "--ledger", str(tmp_path / "ledger.sqlite")])
        .stdout
    )
    assert "[bold]x[/bold]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
