"""`torchrun -m rlaif train` on the front desk: one run folder, the models of one process, and resumed after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch import environment, find_free_port, torchrun
from made_once import make_once
from safetensors.torch import load_file

pytestmark = pytest.mark.heavy

SETTINGS = {
    "prompts.num_prompts": 24, "sampling.num_samples": 3, "reward_model.num_epochs": 1, "ppo.num_steps": 6,
    "ppo.num_prompts_per_step": 4, "ppo.num_samples_per_prompt": 2, "ppo.checkpoint_every": 1,
    "ppo.num_reference_samples": 8, "ppo.value_warmup_steps": 1,
}  # fmt: skip
FSDP = """
distributed_type: FSDP
num_machines: 1
num_processes: 2
mixed_precision: "no"
fsdp_config: {fsdp_version: 2, fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP}
"""


def rlaif(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rlaif", *arguments], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def train_together(folder: Path, *arguments: str, accelerate: str | None = None) -> subprocess.CompletedProcess[str]:
    """By torchrun, or by `accelerate launch` with this configuration."""
    module = ["-m", "rlaif", "train", *arguments]
    command = torchrun(module)
    if accelerate is not None:
        file = folder.with_suffix(".yaml")
        file.write_text(accelerate)
        port = ["--main_process_port", str(find_free_port())]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file), *port, *module]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its preferences."""

    def make(folder: Path) -> None:
        overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        done = rlaif(folder, "generate-prefs", "--run", "desk", *overrides)
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "judged", make)


@pytest.fixture(scope="module")
def alone(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, trained by one process."""

    def make(folder: Path) -> None:
        done = rlaif(shutil.copytree(judged, folder, dirs_exist_ok=True), "train")
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "trained_alone", make)


@pytest.fixture(scope="module")
def together(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, trained by two processes that torchrun starts, with what they printed."""

    def make(folder: Path) -> None:
        done = train_together(shutil.copytree(judged, folder / "run"))
        assert done.returncode == 0, done.stderr
        (folder / "printed.txt").write_text(done.stderr)

    return make_once(tmp_path_factory, "trained_together", make)


def weights(folder: Path, stage: str) -> Path:
    return folder / f"runs/desk/round_00/{stage}/model/model.safetensors"


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "runs/desk/metrics.jsonl").read_text().splitlines()]


def assert_as_alone(folder: Path, alone: Path, *, printed: str) -> None:
    """The folder of a run that two processes trained, against that of one process."""
    assert printed.count("policy: in ") == 1, "one process speaks"
    assert files_of(folder) == files_of(alone)
    for stage in ("5_reward_model", "6_policy"):
        expected, found = load_file(weights(alone, stage)), load_file(weights(folder, stage))
        for name, tensor in expected.items():
            assert float((found[name] - tensor).abs().max()) <= 1e-4, name
    rows = [(row["stage"], row["step"]) for row in metrics_of(folder)]
    assert rows == [(row["stage"], row["step"]) for row in metrics_of(alone)]
    assert rlaif(folder, "audit", "verify").returncode == 0


@pytest.mark.heavy(minutes=1.2)
def test_two_processes_leave_the_folder_that_one_leaves(together: Path, alone: Path) -> None:
    assert_as_alone(together / "run", alone, printed=(together / "printed.txt").read_text())


@pytest.mark.heavy(minutes=0.8)
def test_two_processes_that_share_the_weights_leave_the_folder_that_one_leaves(
    judged: Path, alone: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(judged, tmp_path / "together")
    done = train_together(folder, accelerate=FSDP)
    assert done.returncode == 0, done.stderr
    assert_as_alone(folder, alone, printed=done.stderr)


@pytest.mark.heavy(minutes=0.8)
def test_two_processes_that_were_killed_and_resumed_make_the_same_bytes(
    judged: Path, together: Path, tmp_path: Path
) -> None:
    whole = together / "run"
    killed = shutil.copytree(judged, tmp_path / "killed")
    process = subprocess.Popen(
        torchrun(["-m", "rlaif", "train"]), cwd=killed, env=environment(), stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    checkpoint = killed / "runs/desk/round_00/6_policy/checkpoints/step_000002/progress.json"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for worker in find_workers(killed):
        os.kill(worker, signal.SIGKILL)
    assert not weights(killed, "6_policy").exists()
    done = train_together(killed, "--resume")
    assert done.returncode == 0, done.stderr
    assert weights(killed, "6_policy").read_bytes() == weights(whole, "6_policy").read_bytes()
    assert [row["step"] for row in metrics_of(killed) if row["stage"] == "policy"] == list(range(6))


def find_workers(folder: Path) -> list[int]:
    """Processes that were started in this folder and live: torchrun gives each a session of its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.resolve() == folder:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.heavy(minutes=0.3)
def test_bad_input_ends_all_processes_with_one_sentence(alone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(alone, tmp_path / "done")
    done = train_together(folder)
    assert done.returncode == 1, "torchrun's own"
    assert done.stderr.count("6_policy of this run is done already") == 1
    assert "exitcode  : 2" in done.stderr
    assert "rlaif/cli" not in done.stderr, "no traceback of ours"
