"""Cells of studies that nobody trained, from curves that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rlaif.study.results import CellResult

BUDGETS = (80.0, 320.0, 1280.0, 5120.0)
SFT = (0.30, 0.50, 0.56, 0.565)
"""Levels off at .57."""
RL = (0.05, 0.20, 0.60, 0.95)
SFT_RL = (0.20, 0.45, 0.80, 0.97)
RL_SFT = (0.20, 0.42, 0.55, 0.57)
PLANTED = {"sft": SFT, "rl": RL, "sft+rl@0.4": SFT_RL, "rl+sft@0.4": RL_SFT}


def make_cell(recipe: str, budget: float, success: float, *, seed: int = 0, noise: float | None = 0.1) -> CellResult:
    return CellResult(
        recipe=recipe, budget=budget, noise=None if recipe == "rl" else noise, seed=seed, success=success,
        quality=success, kl=1.0, length=20.0, num_demonstrations=1, demonstration_tokens=10, num_responses=8,
        spent=budget, wall_s=1.0, cpu_s=1.0, measuring_s=1.0,
    )  # fmt: skip


def plant(
    means: Mapping[str, tuple[float, ...]] = PLANTED,
    *,
    num_seeds: int = 5,
    sd: float = 0.005,
    budgets: tuple[float, ...] = BUDGETS,
    keep: Callable[[CellResult], bool] = lambda _: True,
) -> list[CellResult]:
    """Every recipe at every budget, scattered about its mean."""
    rng = np.random.default_rng(1)
    cells = [
        make_cell(recipe, budget, mean + float(rng.normal(0, sd)), seed=seed)
        for seed in range(num_seeds)
        for recipe, curve in means.items()
        for budget, mean in zip(budgets, curve, strict=True)
    ]
    return [cell for cell in cells if keep(cell)]
