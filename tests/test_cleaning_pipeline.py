"""A run on a user's faulty prompts and demonstrations: cleaning, gates between stages, the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import ConfigError, GateClosed, RlaifError
from rlaif.frontdesk.replies import make_demonstrations
from rlaif.frontdesk.world import make_prompts

SMALL = {
    "prompts.path": "prompts.jsonl", "prompts.column": "messages", "prompts.test_fraction": 0.25,
    "sampling.num_samples": 2, "sampling.num_pairs": 1, "sampling.max_new_tokens": 20, "reward_model.num_epochs": 1,
    "reward_model.batch_size": 4, "ppo.num_steps": 1, "ppo.num_prompts_per_step": 2, "ppo.num_samples_per_prompt": 2,
    "ppo.num_reference_samples": 4, "ppo.value_warmup_steps": 0, "ppo.response_length": 16,
    "ppo.guards.num_prompts": 2, "evaluation.num_prompts": 4, "sft.demonstrations": "demonstrations.jsonl",
    "sft.batch_size": 4, "sft.test_fraction": 0.25,
    **{f"gates.{name}": "null" for name in ("min_win_rate", "min_accuracy", "max_flipped", "max_eos_drop")},
}  # fmt: skip
CLEANING = {
    "cleaning.duplicates": "drop",
    "cleaning.leakage": "drop",
    "cleaning.near_duplicates": "drop",
    "cleaning.near_leakage": "drop",
}


def run(command: str, *arguments: str, **options: object) -> str:
    settings = [part for key, value in {**SMALL, **options}.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(app, [command, "--run", "one", *arguments, *settings], env={"COLUMNS": "200"})
    if isinstance(result.exception, RlaifError):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """16 prompts, one of them twice and one nearly twice; 12 demonstrations, one of them nearly twice."""
    folder = tmp_path_factory.mktemp("cleaning")
    chats = make_prompts(seed=3, n=16)
    again = [{**chats[0][0]}, {**chats[0][1], "content": chats[0][1]["content"].upper()}]
    nearly = [{**chats[1][0]}, {**chats[1][1], "content": f"Hello. {chats[1][1]['content']}"}]
    rows: list[Any] = [*chats, again, nearly]
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in rows))
    shown = [[*one.messages, {"role": "assistant", "content": one.response}] for one in make_demonstrations(5, 12)]
    shown.append([*shown[0][:-1], {"role": "assistant", "content": f"{shown[0][-1]['content']}!"}])
    (folder / "demonstrations.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in shown))
    with chdir(folder):
        yield folder


@pytest.fixture(scope="module")
def done(folder: Path) -> Path:
    """The run, stopped by each gate in turn, resumed with the gate opened, and finished."""
    stage = folder / "runs" / "one" / "round_00"
    closed = {
        "gates.max_cleaned": ({"gates.max_cleaned": 0.01}, "most of them by cleaning.near_duplicates"),
        "gates.max_sft_loss": ({"gates.max_sft_loss": 0.001}, "the loss on"),
        "gates.min_accuracy_before_policy": ({"gates.min_accuracy_before_policy": 0.99}, "must lie above 0.99"),
    }
    arguments: list[str] = []
    opened: dict[str, object] = {}
    for gate, (options, words) in closed.items():
        with pytest.raises(RlaifError, match=words) as raised:
            run("run", *arguments, **CLEANING, **opened, **options)
        assert raised.value.exit_code == 1
        assert gate in raised.value.sentence
        assert json.loads((stage / "gates.json").read_text())[-1]["is_closed"]
        arguments = ["--resume"]
        opened[gate] = "null"
    assert not (stage / "6_policy").exists()
    run("run", "--resume", **CLEANING, **{**opened, "gates.min_answered": 0.5, "gates.max_sft_loss": 50})
    return stage


@pytest.mark.heavy
def test_gates_between_stages_stop_a_run_which_goes_on_once_they_are_opened(done: Path) -> None:
    said = {gate["name"]: gate["is_closed"] for gate in json.loads((done / "gates.json").read_text())}
    assert said["gates.min_answered"] is said["gates.max_sft_loss"] is False
    assert (done / "7_evaluation" / "report.html").is_file()


@pytest.mark.heavy
def test_what_cleaning_drops_is_in_the_stages_tallies(done: Path) -> None:
    tallies = {name: json.loads((done / name / "stage.json").read_text())["dropped"] for name in ("0_sft", "1_prompts")}
    assert tallies["0_sft"].pop("held_out") > 0
    assert tallies["0_sft"] == {"cleaning_near_duplicates": 1}
    assert sum(tallies["1_prompts"].values()) == 2
    assert {reason.partition("_")[0] for reason in tallies["1_prompts"]} == {"cleaning"}


@pytest.mark.heavy
def test_the_report_shows_what_cleaning_found_and_the_gates_that_were_passed(done: Path) -> None:
    report = json.loads((done / "7_evaluation" / "report.json").read_text())
    assert [one["noun"] for one in report["cleaning"]] == ["demonstrations", "prompts", "preferences"]
    page = (done / "7_evaluation" / "report.html").read_text()
    assert "What did cleaning find?" in page
    assert "gates.min_answered</b> after judgements: the judge's answer could be read for" in page.replace("&#39;", "'")


@pytest.mark.heavy
def test_options_of_cleaning_are_held_once_a_stage_has_cleaned(done: Path) -> None:
    with pytest.raises(RlaifError, match="cleaning.duplicates"):
        run("run", "--resume", **{**CLEANING, "cleaning.duplicates": "report"})


def test_a_gate_without_its_figure_is_refused_before_work_starts(folder: Path) -> None:
    with pytest.raises(ConfigError, match="set sft.test_fraction"):
        run("run", **{"sft.test_fraction": 0, "gates.max_sft_loss": 2})
    assert issubclass(GateClosed, RlaifError)
