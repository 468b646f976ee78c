"""Verdicts that already exist, through the commands a user types: five rows of ours, and PandaLM's test set."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import datasets
import pytest
from families import build_family
from forked import run_rlaif

from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, FailedJudgement, Judgement

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "recorded-verdicts"
PANDALM = ROOT.parent / "shared" / "data" / "pandalm"


def rlaif(folder: Path, *args: str) -> str:
    done = run_rlaif(args, cwd=folder, environ={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_five_recorded_rows_become_preferences_and_decisions_one_can_open(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example")
    folder = tmp_path / "example"
    said = rlaif(
        folder, "generate-prefs", "--samples", "samples.jsonl", "--judgements", "verdicts.jsonl",
        "--columns", "columns.yaml", "--run", "recorded",
    )  # fmt: skip
    assert "unparsable 1" in said
    with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
        judgements = ledger.used("recorded", 0, "3_judgements", Judgement)
        failed = ledger.used("recorded", 0, "3_judgements", FailedJudgement)
    assert (len(judgements), len(failed)) == (9, 1)
    listed = rlaif(folder, "audit", "list")
    assert judgements[0].id[:12] in listed or judgements[-1].id[:12] in listed
    assert judgements[0].raw_reply.strip() in rlaif(folder, "audit", "show", judgements[0].id)
    rlaif(folder, "audit", "verify", "--run", "recorded")


@pytest.mark.skipif(not PANDALM.is_dir(), reason="PandaLM's test set is not beside this checkout")
@pytest.mark.parametrize(
    ("verdicts", "columns", "num_failed"),
    [
        ("gpt-3.5-turbo-testset-v1.json", "pandalm-gpt-3.5-turbo.yaml", 25),
        ("pandalm-7b-testset-v1.json", "pandalm-7b.yaml", 0),
    ],
)
def test_both_judges_of_pandalm_are_opened_exported_and_trained_on(
    tmp_path: Path, verdicts: str, columns: str, num_failed: int
) -> None:
    build_family("chatml", tmp_path / "model")
    rlaif(
        tmp_path, "generate-prefs", "--run", "pandalm", "--samples", str(PANDALM / "testset-v1.json"),
        "--judgements", str(PANDALM / verdicts), "--columns", str(EXAMPLE / columns),
    )  # fmt: skip
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        judgements = ledger.used("pandalm", 0, "3_judgements", Judgement)
        failed = ledger.used("pandalm", 0, "3_judgements", FailedJudgement)
        comparisons = ledger.used("pandalm", 0, "3_judgements", Comparison)
    assert (len(judgements), len(failed)) == (999 - num_failed, num_failed)
    assert {j.origin for j in judgements} == {"imported"}
    assert {f.cause for f in failed} <= {"unparsable"}
    assert not any(c.debiased for c in comparisons), "one order was recorded"
    round_dir = tmp_path / "runs" / "pandalm" / "round_00"
    rows = datasets.load_dataset(str(round_dir / "4_preferences" / "dataset"))
    assert sum(split.num_rows for split in rows.values()) == len(comparisons)
    rlaif(
        tmp_path, "train", "--run", "pandalm", "--stage", "reward-model", "--set", f"policy.path={tmp_path / 'model'}",
        "--set", "reward_model.num_epochs=1",
    )  # fmt: skip
    stage = json.loads((round_dir / "5_reward_model" / "stage.json").read_text())
    assert stage["kept"] > 100
    shown = rlaif(tmp_path, "audit", "show", judgements[0].id)
    assert "imported" in shown
    assert "not known" in shown, "the exact prompt of a recorded verdict is not known"
