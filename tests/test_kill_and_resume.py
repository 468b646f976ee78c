"""kill -9 at any moment, then --resume: nothing acknowledged is lost, paid twice, or different.

Real processes, a real ledger, the real loop on the front desk, with settings small enough that a
whole run takes well under 20 seconds.
"""

from __future__ import annotations

import hashlib
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from forked import Forked, start_rlaif
from made_once import make_once

from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify

SETTINGS = {
    "prompts.num_prompts": 40,
    "sampling.num_samples": 3,
    "sampling.num_pairs": 3,
    "sampling.batch_size": 24,
    "judge.batch_tokens": 4096,
    "reward_model.num_epochs": 2,
    "reward_model.checkpoint_every": 4,
    "ppo.num_steps": 6,
    "ppo.num_reference_samples": 16,
    "ppo.num_prompts_per_step": 8,
    "ppo.num_samples_per_prompt": 2,
    "ppo.checkpoint_every": 2,
    "evaluation.num_prompts": 12,
}
WATCHED = ("2_samples", "3_judgements", "5_reward_model", "6_policy")
KILLS_IN_A_ROW = 3  # of each stage in each run
MIN_KILLS, MIN_KILLS_PER_STAGE, MAX_RUNS = 30, 5, 8


def start(runs_dir: Path, *extra: str) -> Forked:
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return start_rlaif(["run", "--run", "k", "--runs-dir", str(runs_dir), *overrides, *extra])


def finish(runs_dir: Path, *extra: str) -> None:
    done = start(runs_dir, *extra).wait()
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "killed_never", finish)


def stage_under_way(round_dir: Path) -> str | None:
    """The stage whose folder is there and whose stage.json is not."""
    for stage in ("1_prompts", "2_samples", "3_judgements", "4_preferences", "5_reward_model", "6_policy"):
        if not (round_dir / stage / "stage.json").exists():
            return stage if (round_dir / stage).exists() else None
    return None


def written(runs_dir: Path, stage: str) -> set[tuple[str, int]]:
    """Each file that work in this stage writes, with the time of its last change."""
    folder = runs_dir / "k" / "round_00" / stage
    files = [*folder.rglob("*"), runs_dir / "ledger.sqlite-wal", runs_dir / "k" / "metrics.jsonl"]
    found = set()
    for path in files:
        with suppress(FileNotFoundError):  # renamed or removed between two looks at it
            found.add((str(path), path.stat().st_mtime_ns))
    return found


def kill_within(runs_dir: Path, stage: str, *, delay: float, resume: bool) -> str | None:
    """Start the run, kill -9 it `delay` seconds after it wrote in the stage; the stage it died in, None if it ended."""
    before = written(runs_dir, stage)
    process = start(runs_dir, *(["--resume"] if resume else []))
    round_dir = runs_dir / "k" / "round_00"
    while not process.has_ended and (stage_under_way(round_dir) != stage or written(runs_dir, stage) == before):
        if (round_dir / stage / "stage.json").exists():
            break
        time.sleep(0.005)
    time.sleep(delay)
    died_in = stage_under_way(round_dir)
    if not process.has_ended:
        process.send(signal.SIGKILL)
    done = process.wait()
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    return died_in if done.returncode else None


def outcome(runs_dir: Path) -> dict[str, str]:
    """Digest of every byte of the dataset and of the trained weights."""
    round_dir = runs_dir / "k" / "round_00"
    files = [
        *sorted((round_dir / "4_preferences").rglob("*.parquet")),
        round_dir / "4_preferences" / "dataset" / "README.md",
        *sorted((round_dir / "5_reward_model").glob("model/*.safetensors")),
        *sorted((round_dir / "6_policy").glob("model/*.safetensors")),
    ]
    assert len(files) >= 5
    return {str(f.relative_to(round_dir)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def questions_and_answers(runs_dir: Path) -> dict[str, int]:
    connection = apsw.Connection(str(runs_dir / "ledger.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT q.id, count(j.seq) FROM questions q LEFT JOIN judgements j ON j.question_id = q.id GROUP BY q.id"
    )
    return dict(rows.fetchall())


@pytest.mark.heavy(minutes=1)
def test_a_run_killed_thirty_times_ends_as_the_unbroken_run(unbroken: Path, tmp_path: Path) -> None:
    expected, asked = outcome(unbroken), questions_and_answers(unbroken)
    assert asked
    assert set(asked.values()) == {1}

    rng = random.Random(0)
    kills = dict.fromkeys(WATCHED, 0)
    for attempt in range(MAX_RUNS):
        runs_dir = tmp_path / f"killed_{attempt}"
        for stage in [stage for stage in WATCHED for _ in range(KILLS_IN_A_ROW)]:
            if (runs_dir / "k" / "round_00" / stage / "stage.json").exists():
                continue  # ended between the last process's last write and its kill
            died_in = kill_within(runs_dir, stage, delay=rng.uniform(0, 0.3), resume=(runs_dir / "k").exists())
            if died_in in kills:
                kills[died_in] += 1
        finish(runs_dir, "--resume")
        assert outcome(runs_dir) == expected
        assert questions_and_answers(runs_dir) == asked
        with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
            assert verify(ledger).ok
        if sum(kills.values()) >= MIN_KILLS and min(kills.values()) >= MIN_KILLS_PER_STAGE:
            break
    print(f"killed while under way: {kills}")
    assert sum(kills.values()) >= MIN_KILLS, kills
    assert min(kills.values()) >= MIN_KILLS_PER_STAGE, kills


@pytest.mark.heavy
def test_a_run_told_to_end_while_its_policy_trains_writes_where_it_stands_and_ends_as_the_unbroken_run(
    unbroken: Path, tmp_path: Path
) -> None:
    runs_dir = tmp_path / "ended"
    options = ("--set", "ppo.checkpoint_every=100")  # so that only its end can have written a later step
    process = start(runs_dir, *options)
    metrics = runs_dir / "k" / "metrics.jsonl"
    while not process.has_ended and not (metrics.is_file() and '"stage": "policy", "step": 2' in metrics.read_text()):
        time.sleep(0.005)
    process.send(signal.SIGTERM)
    done = process.wait()
    assert done.returncode == 130, done.stderr
    assert re.search(
        r"error: stopped on request after [345] of 6 steps.*run the same command again with --resume", done.stderr
    )
    checkpoints = (runs_dir / "k" / "round_00" / "6_policy" / "checkpoints").glob("step_*")
    assert max(path.name for path in checkpoints) > "step_000002"
    finish(runs_dir, *options, "--resume")
    assert outcome(runs_dir) == outcome(unbroken)
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
