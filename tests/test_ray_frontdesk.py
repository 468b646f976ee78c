"""`rlaif generate-prefs --engine ray` on the front desk: real models on two workers, the records of a local run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.ledger.store import Ledger
from rlaif.records import Judgement, Sample

pytestmark = pytest.mark.heavy(minutes=1)

SETTINGS = {
    "prompts.num_prompts": 12,
    "sampling.num_samples": 3,
    "sampling.batch_size": 12,
    "scale.batch_size": 40,
}


def generate(folder: Path, run: str, *extra: str) -> subprocess.CompletedProcess[str]:
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", "generate-prefs", "--run", run, *overrides, *extra],
        cwd=folder, capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def records(folder: Path, run: str) -> tuple[list[Sample], list[Judgement]]:
    with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
        return ledger.used(run, 0, "2_samples", Sample), ledger.used(run, 0, "3_judgements", Judgement)


def test_workers_give_the_samples_and_verdicts_of_a_local_engine(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    generate(here, "r")
    done = generate(there, "r", "--engine", "ray")
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert "ray: starting a cluster of 2 workers" in lines
    assert not [line for line in lines if "Warning" in line or "WARNING" in line or "raylet" in line], done.stderr
    assert not [line for line in lines if line.startswith("loading the ")], "no weights are loaded at the driver"

    local_samples, local = records(here, "r")
    samples, judgements = records(there, "r")
    assert [sample.content_json for sample in samples] == [sample.content_json for sample in local_samples]
    assert len(samples) == 36
    by_question = {judgement.question_id: judgement for judgement in local}
    assert {judgement.question_id for judgement in judgements} == set(by_question)
    assert len(judgements) == len(local) == 12 * 3 * 2 * 2
    for judgement in judgements:
        other = by_question[judgement.question_id]
        assert (judgement.reason, judgement.raw_reply) == (other.reason, other.raw_reply)
        for a, b in zip(judgement.logprobs, other.logprobs, strict=True):
            assert (a.verdict, a.logprob) == (b.verdict, pytest.approx(b.logprob, abs=1e-3))
