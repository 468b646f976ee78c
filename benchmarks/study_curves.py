"""Is fine-tuning steep first and training by rewards later, and does the order matter? On the front desk.

    python benchmarks/study_curves.py --folder DIR [--seeds 5]
    python benchmarks/study_curves.py --folder A --part 0 2     one process for each core: every second seed
    python benchmarks/study_curves.py --folder B --part 1 2
    python benchmarks/study_curves.py --folder A B --render     trains nothing, takes the cells of both

Runs `rlaif study curves` with its defaults, the panel of noisy demonstrations first, and continues what is there.
Writes benchmarks/results/study_curves.json and docs/which-method.svg, a part only its cells.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from rlaif.study.chart import study_svg
from rlaif.study.page import write_study
from rlaif.study.plan import Cell, Plan, Prices, make_plan
from rlaif.study.results import CellResult, read_finished
from rlaif.study.runner import run_study
from rlaif.study.summary import Study, study_data, summarise

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "study_curves.json"
PICTURE = ROOT / "docs" / "which-method.svg"
PRICES = Prices(demo_cost=10, label_cost=1, judgement_cost=0.1, label_kind="thumb", algorithm="rloo")
RECIPES, BUDGETS = "sft,rl,sft+rl@.4,rl+sft@.4", "80,320,1280,5120"
NOISES = (".1", "0,.1")
"""What is trained first, and then."""
TARGET_S = 2 * 3 * 3600
"""Seconds of one core for 4 recipes x 4 budgets x 5 seeds: three hours on two cores."""


class PartPlan(NamedTuple):
    """The seeds of a plan that one of several processes trains."""

    plan: Plan
    part: int
    num_parts: int

    @property
    def prices(self) -> Prices:
        return self.plan.prices

    def cells(self) -> list[Cell]:
        return [cell for cell in self.plan.cells() if cell.seed % self.num_parts == self.part]


def time_five_seeds(study: Study) -> float | None:
    """Seconds of one core that five seeds of one panel take to train; None without a whole seed."""
    noise = study.panels[-1].noise
    per_seed = [
        sum(cell.cpu_s for cell in study.trained if cell.seed == seed and cell.noise in (None, noise))
        for seed in study.panels[-1].curves["rl"].curve.seeds
        if all(seed in fitted.curve.seeds for fitted in study.panels[-1].curves.values())
    ]
    return 5 * sum(per_seed) / len(per_seed) if per_seed else None


def read_cells(folders: Sequence[Path], *, budgets: str) -> list[CellResult]:
    """The finished cells of all folders, each once, at these budgets; and the starting policy's."""
    wanted = {0.0, *map(float, budgets.split(","))}
    cells = {cell.key: cell for folder in folders for cell in read_finished(folder)[1] if cell.budget in wanted}
    return sorted(cells.values(), key=lambda cell: (cell.seed, cell.budget, cell.recipe))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, nargs="+", required=True, help="keeps the cells")
    parser.add_argument("--part", type=int, nargs=2, metavar=("K", "N"), help="train every Nth seed from K on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budgets", default=BUDGETS, help="others than these are neither trained nor reported")
    parser.add_argument("--render", action="store_true", help="train nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.render:
        for noises in NOISES:
            plan = make_plan(
                recipes=RECIPES, budgets=given.budgets, noises=noises, num_seeds=given.seeds, prices=PRICES
            )
            run_study(PartPlan(plan, *given.part) if given.part else plan, given.folder[0])
        if given.part:
            return
    study = summarise(read_cells(given.folder, budgets=given.budgets), PRICES)
    write_study(study, given.folder[0])
    result = {
        "command": f"python benchmarks/study_curves.py --folder DIR --budgets {given.budgets}",
        "five_seeds_cpu_s": time_five_seeds(study),
        "target_cpu_s": TARGET_S,
        **study_data(study),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(study_svg(study), encoding="utf-8")
    for panel in study.panels:
        for decision in panel.decisions:
            print(f"demo noise {panel.noise:g}, {decision.claim}: {decision.verdict}")


if __name__ == "__main__":
    main()
