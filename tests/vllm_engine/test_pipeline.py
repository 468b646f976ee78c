"""The commands with vLLM for policy and judge: killed in every way and resumed, and a whole round."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import psutil
import pytest

pytestmark = pytest.mark.heavy
CONFIG = """
prompts: {num_prompts: 30}
sampling: {num_samples: 3, num_pairs: 2, batch_size: 24}
policy: {engine: vllm}
judge:
  model: {engine: vllm}
reward_model: {num_epochs: 1}
ppo:
  num_steps: 2
  num_prompts_per_step: 4
  num_samples_per_prompt: 2
  num_reference_samples: 8
  rollout: {engine: vllm, max_logprob_gap: 1e-3}
evaluation: {num_prompts: 6, best_of: 0}
"""


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "rlaif.yaml").write_text(CONFIG)
    return subprocess.Popen(
        [sys.executable, "-m", "rlaif", *args, "--run", "k"], cwd=folder, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def finish(folder: Path, *args: str) -> str:
    process = start(folder, *args)
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return out + errors


def wait_for_vllm(process: subprocess.Popen[str], *, that: Callable[[], bool]) -> psutil.Process:
    """The vLLM process of a command, once it runs and `that` holds."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        with suppress(psutil.NoSuchProcess):  # ended between two looks at it
            for child in psutil.Process(process.pid).children():
                if "models/vllm/worker.py" in " ".join(child.cmdline()) and that():
                    return child
        time.sleep(0.02)
    raise AssertionError("vLLM was never started")


def assert_gone(vllm: psutil.Process) -> None:
    psutil.wait_procs([vllm], timeout=10)
    assert not vllm.is_running() or vllm.status() == psutil.STATUS_ZOMBIE


def dataset_of(folder: Path) -> dict[str, str]:
    stage = folder / "runs" / "k" / "round_00" / "4_preferences"
    found = {
        str(path.relative_to(stage)): hashlib.sha256(path.read_bytes()).hexdigest() for path in stage.rglob("*.parquet")
    }
    assert found
    return found


def answers_of(folder: Path) -> dict[str, int]:
    connection = apsw.Connection(str(folder / "runs" / "ledger.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT q.id, count(j.seq) FROM questions q LEFT JOIN judgements j ON j.question_id = q.id GROUP BY q.id"
    )
    return dict(rows.fetchall())


def num_samples(folder: Path) -> int:
    ledger = folder / "runs" / "ledger.sqlite"
    if not ledger.is_file():
        return 0
    try:
        return int(apsw.Connection(str(ledger)).execute("SELECT count(*) FROM samples").get)
    except apsw.SQLError:
        return 0


def test_killed_at_every_stage_and_resumed_it_ends_as_the_unbroken_run(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    said = finish(unbroken, "run")
    assert "report:" in said
    round_dir = broken / "runs" / "k" / "round_00"

    process = start(broken, "generate-prefs")
    vllm = wait_for_vllm(process, that=lambda: num_samples(broken) > 0)
    vllm.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "vLLM was killed" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors

    process = start(broken, "generate-prefs", "--resume")
    vllm = wait_for_vllm(process, that=lambda: True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert_gone(vllm)

    process = start(broken, "generate-prefs", "--resume")
    vllm = wait_for_vllm(process, that=(round_dir / "3_judgements" / "questions_plan.json").is_file)
    time.sleep(2)
    process.kill()
    process.communicate()
    assert_gone(vllm)

    finish(broken, "generate-prefs", "--resume")
    assert dataset_of(broken) == dataset_of(unbroken)
    answers = answers_of(broken)
    assert answers
    assert set(answers.values()) == {1}
    assert set(answers) <= set(answers_of(unbroken))  # the unbroken run went on to its evaluation
