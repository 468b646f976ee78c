"""kill -9 at any moment, then --resume: nothing acknowledged is lost, paid twice, or different."""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from killed import WATCHED, differences, finish, kill_and_resume, questions_and_answers, start
from made_once import make_once

MIN_KILLS, MIN_KILLS_PER_STAGE, MAX_RUNS = 30, 5, 8


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "killed_never", finish)


@pytest.mark.heavy(minutes=1)
def test_a_run_killed_thirty_times_ends_as_the_unbroken_run(unbroken: Path, tmp_path: Path) -> None:
    asked = questions_and_answers(unbroken)
    assert asked
    assert set(asked.values()) == {1}

    rng = random.Random(0)
    kills: Counter[str] = Counter()
    for attempt in range(MAX_RUNS):
        runs_dir = tmp_path / f"killed_{attempt}"
        kills += kill_and_resume(runs_dir, rng)
        assert differences(runs_dir, unbroken) == []
        if kills.total() >= MIN_KILLS and min(kills[stage] for stage in WATCHED) >= MIN_KILLS_PER_STAGE:
            break
    print(f"killed while under way: {dict(kills)}")
    assert kills.total() >= MIN_KILLS, kills
    assert min(kills[stage] for stage in WATCHED) >= MIN_KILLS_PER_STAGE, kills


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
    assert differences(runs_dir, unbroken) == []
