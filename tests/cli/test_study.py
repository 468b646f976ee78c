"""`rlaif study curves` as a user types it: refusals before anything is loaded, pages again, and a whole small study."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from planted_cells import plant

from rlaif.study.plan import Prices
from rlaif.study.results import CELLS_FILE, open_finished

PRICES = Prices(demo_cost=10, label_cost=1, judgement_cost=0.1, label_kind="thumb", algorithm="rloo")


def study(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rlaif", "study", "curves", "--out", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )


def store(folder: Path) -> None:
    with open_finished(folder, PRICES) as finished:
        for cell in plant(num_seeds=3):
            finished.add(cell)


def test_wrong_input_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    done = study("--budgets", "5", folder=tmp_path / "new")
    assert done.returncode == 2
    assert "a budget of 5 does not buy one demonstration of sft" in " ".join(done.stderr.split())
    assert not (tmp_path / "new").exists()


def test_a_used_folder_needs_resume(tmp_path: Path) -> None:
    store(tmp_path)
    done = study(folder=tmp_path)
    assert done.returncode == 2
    assert "this folder already holds a study" in done.stderr


def test_render_writes_the_pages_again_and_trains_nothing(tmp_path: Path) -> None:
    store(tmp_path)
    before = (tmp_path / CELLS_FILE).read_bytes()
    done = study("--render", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "demo noise 0.1, fine-tuning levels off: supported" in done.stdout
    assert "48 trainings, 3 whole seeds" in done.stdout
    assert (tmp_path / CELLS_FILE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("curves.*")) == ["curves.html", "curves.json", "curves.svg"]


@pytest.mark.heavy
def test_a_small_study_trains_by_the_methods_and_resumes_cell_by_cell(tmp_path: Path) -> None:
    """Eight demonstrations lift success by more than .15, and a cell that a kill cut off is trained again, the same."""
    options = ("--recipes", "sft,sft+rl@.5", "--budgets", "80", "--demo-noise", "0", "--label-kind", "rating")
    done = study(*options, "--seeds", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / CELLS_FILE).read_text().splitlines()
    start, sft, both = (json.loads(line) for line in lines[1:])
    assert (start["recipe"], start["kl"]) == ("start", pytest.approx(0.0, abs=1e-3))
    assert start["success"] < 0.1
    assert sft["success"] > start["success"] + 0.15
    assert sft["kl"] > 1
    assert (both["num_demonstrations"], both["num_responses"], both["spent"]) == (4, 40, 80)

    (tmp_path / CELLS_FILE).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:50])  # as a kill leaves it
    again = study(*options, "--seeds", "1", "--resume", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    resumed = [json.loads(line) for line in (tmp_path / CELLS_FILE).read_text().splitlines() if line.endswith("}")]
    assert [json.dumps(row) for row in resumed[1:-1]] == [json.dumps(json.loads(line)) for line in lines[1:-1]]
    observed = {"wall_s", "cpu_s", "measuring_s"}
    assert {name: resumed[-1][name] for name in both.keys() - observed} == {
        name: both[name] for name in both.keys() - observed
    }
