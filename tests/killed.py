"""A small run of the whole loop that is killed with kill -9 in a stage, resumed, and compared with an unbroken one.

Real processes, a real ledger, the front desk; an unbroken run takes well under 20 seconds. A test kills a few dozen
times, `make torture` some hundreds.
"""

from __future__ import annotations

import hashlib
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import apsw
from forked import Forked, start_rlaif

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
KILLS_IN_A_ROW = 3
"""Kills of each stage in each run."""


def start(runs_dir: Path, *extra: str) -> Forked:
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return start_rlaif(["run", "--run", "k", "--runs-dir", str(runs_dir), *overrides, *extra])


def finish(runs_dir: Path, *extra: str) -> None:
    done = start(runs_dir, *extra).wait()
    assert done.returncode == 0, done.stderr


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
        round_dir / "4_preferences" / "README.md",
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


def kill_and_resume(runs_dir: Path, rng: random.Random) -> Counter[str]:
    """Kill a new run a few times in each stage, then let it end; how often it died in which stage."""
    kills: Counter[str] = Counter()
    for stage in [stage for stage in WATCHED for _ in range(KILLS_IN_A_ROW)]:
        if (runs_dir / "k" / "round_00" / stage / "stage.json").exists():
            continue  # ended between the last process's last write and its kill
        died_in = kill_within(runs_dir, stage, delay=rng.uniform(0, 0.3), resume=(runs_dir / "k").exists())
        if died_in in WATCHED:
            kills[died_in] += 1
    finish(runs_dir, "--resume")
    return kills


def differences(runs_dir: Path, unbroken: Path) -> list[str]:
    """What of a resumed run is not as in the unbroken one: bytes, questions, answers, the ledger's chains."""
    made, expected = outcome(runs_dir), outcome(unbroken)
    found = [f"{name} has other bytes" for name in sorted({*made, *expected}) if made.get(name) != expected.get(name)]
    if questions_and_answers(runs_dir) != questions_and_answers(unbroken):
        found.append("questions or the number of their answers differ")
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        if not verify(ledger).ok:
            found.append("the ledger does not verify")
    return found
