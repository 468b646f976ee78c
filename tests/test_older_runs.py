"""A run that rlaif 0.1 began, killed with 8 of its 24 questions answered, resumes, is evaluated and verified.

tests/data/run_of_0_1 holds its folder and its ledger as the kill left them, but for the lock. No version of rlaif may
need it to be made again: what cannot resume it cannot resume the runs of its users.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from made_once import make_once

pytestmark = pytest.mark.heavy

KEPT = Path(__file__).parent / "data" / "run_of_0_1"
RUN = "begun"
SETTINGS = {
    "prompts.num_prompts": 6, "prompts.test_fraction": 0.25, "sampling.num_samples": 2, "sampling.num_pairs": 1,
    "sampling.max_new_tokens": 20, "judge.batch_tokens": 700, "reward_model.num_epochs": 1,
    "reward_model.batch_size": 4, "ppo.num_steps": 2, "ppo.num_prompts_per_step": 4, "ppo.num_samples_per_prompt": 2,
    "ppo.num_reference_samples": 4, "ppo.value_warmup_steps": 0, "ppo.response_length": 16,
    "ppo.guards.num_prompts": 4, "ppo.checkpoint_every": 1, "evaluation.num_prompts": 4, "evaluation.best_of": 2,
    **{f"gates.{name}": "null" for name in ("min_win_rate", "min_accuracy", "max_flipped", "max_eos_drop")},
}  # fmt: skip
"""The settings of the command that began the run."""
TABLES = ("prompts", "models", "samples", "constitutions", "questions", "judgements")


def rlaif(runs_dir: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", *arguments, "--runs-dir", str(runs_dir)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def rows(runs_dir: Path) -> dict[str, dict[str, tuple[int, str, bytes]]]:
    """Place, content and head of every record, by table and id."""
    connection = apsw.Connection(str(runs_dir / "ledger.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    return {
        table: {row[0]: row[1:] for row in connection.execute(f"SELECT id, seq, content, head FROM {table}")}
        for table in TABLES
    }


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, resumed to its end."""

    def resume(folder: Path) -> None:
        overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        rlaif(Path(shutil.copytree(KEPT, folder / "runs")), "run", "--run", RUN, "--resume", *overrides)

    return make_once(tmp_path_factory, "older", resume) / "runs"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[int, str, bytes]]]:
    """The records of the run as it was kept; read from a copy, since opening a ledger writes beside it."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copy(KEPT / "ledger.sqlite", folder)
    return rows(folder)


def test_an_older_run_keeps_its_records_and_asks_only_what_was_open(
    runs_dir: Path, before: dict[str, dict[str, tuple[int, str, bytes]]]
) -> None:
    after = rows(runs_dir)
    assert (len(before["samples"]), len(before["questions"]), len(before["judgements"])) == (12, 8, 8)
    for table in TABLES:
        assert before[table].items() <= after[table].items(), table
    answered = [json.loads(content)["question_id"] for _, content, _ in after["judgements"].values()]
    assert len(answered) == len(set(answered))
    assert before["questions"].keys() < set(answered)
    assert len(after["constitutions"]) == 1, "its constitution is still the same one"


def test_an_older_run_is_trained_and_evaluated_to_the_end(runs_dir: Path) -> None:
    round_dir = runs_dir / RUN / "round_00"
    assert [path.name for path in sorted(round_dir.iterdir())] == [
        "1_prompts", "2_samples", "3_judgements", "4_preferences", "5_reward_model", "6_policy", "7_evaluation",
    ]  # fmt: skip
    assert (round_dir / "6_policy" / "model" / "model.safetensors").is_file()
    rlaif(runs_dir, "evaluate", "--run", RUN, "--resume")
    assert json.loads((round_dir / "7_evaluation" / "report.json").read_text())


def test_an_older_runs_decisions_are_verified_listed_and_proven(
    runs_dir: Path, before: dict[str, dict[str, tuple[int, str, bytes]]]
) -> None:
    rlaif(runs_dir, "audit", "verify", "--run", RUN)
    assert "24 judgements, 0 failed" in rlaif(runs_dir, "judge-check", "--run", RUN)
    decision = next(iter(before["judgements"]))
    shown = rlaif(runs_dir, "audit", "show", decision)
    assert "proven: sha256 matches" in shown
