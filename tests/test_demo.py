"""What the demo claims: on the front desk the trained policy keeps the named principles better than its start.

The negative control trains on the same pairs with chosen and rejected swapped: the same check must fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

NAMED = ("courteous", "brief")


def rlaif(folder: Path, *args: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", *args], cwd=folder, capture_output=True, text=True, check=False,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def evaluation(folder: Path, run: str) -> dict[str, Any]:
    path = folder / "runs" / run / "round_00" / "7_evaluation" / "report.json"
    report: dict[str, Any] = json.loads(path.read_text())["evaluation"]
    return report


def keeps_its_principles(report: dict[str, Any]) -> bool:
    """The claim: the judge prefers it, and each named measure rose, both clear of chance."""
    return report["win_rate"]["low"] > 0.5 and all(report["measures_change"][name]["low"] > 0 for name in NAMED)


def swap_preferences(source: Path, target: Path) -> None:
    for path in source.rglob("*.parquet"):
        table = pq.read_table(path)
        names = {"chosen": "rejected", "rejected": "chosen", "chosen_id": "rejected_id", "rejected_id": "chosen_id"}
        swapped = table.rename_columns([names.get(name, name) for name in table.column_names])
        out = target / path.relative_to(source)
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(swapped, out)


@pytest.mark.heavy(minutes=3)
def test_the_demo_improves_on_its_start_and_with_swapped_preferences_it_does_not(tmp_path: Path) -> None:
    rlaif(tmp_path, "run", "--run", "demo")
    demo = evaluation(tmp_path, "demo")
    assert keeps_its_principles(demo), demo

    swapped = tmp_path / "swapped"
    swap_preferences(tmp_path / "runs" / "demo" / "round_00" / "4_preferences" / "dataset", swapped)
    few = ("--set", "sampling.num_samples=2", "--set", "sampling.num_pairs=1")  # of its own pairs nothing is learnt
    rlaif(tmp_path, "run", "--run", "control", "--set", f"reward_model.preferences={swapped}", *few)
    control = evaluation(tmp_path, "control")
    assert not keeps_its_principles(control), control
    assert control["win_rate"]["high"] < 0.5, control
