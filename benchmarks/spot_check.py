"""Whether the bounds and intervals of `rlaif spot-check status` hold on its own draws: python benchmarks/spot_check.py.

Frames of 400 pairs, 60 of them drawn by `rlaif.calibration.spot_check`. The adversary looks after every label and stops
at the first bound that is wrong. People and judges are SIMULATED. Writes benchmarks/results/spot_check.json; exits with
1 where a bound fails above 6.5 %, the 99.9 % Monte-Carlo limit of 5 % in 2,000 runs, an interval covers less than 93 %,
or a control, which is a mistake, does not fail.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.calibration.spot_check import FrameItem, draw_items
from rlaif.records import Design, DrawnItem
from rlaif.stats.betting import log_capitals, replaced_stream
from rlaif.stats.intervals import share_interval, wilson

RESULTS = Path(__file__).parent / "results" / "spot_check.json"
NUM_PAIRS, NUM_DRAWN, FIRST_LOOK = 400, 60, 20
MOST, LEAST = 0.065, 0.93
LEVEL = math.log(20)
Agree = Callable[[random.Random, float], float]
"""Draws whether people take the judge's side, 1, 1/2 or 0, by how sure the judge is."""


def as_sure(rng: random.Random, sure: float) -> float:
    return float(rng.random() < sure)


def with_ties(rng: random.Random, sure: float) -> float:
    return 0.5 if rng.random() < 0.2 else as_sure(rng, sure)


def rarely_wrong(rng: random.Random, sure: float) -> float:
    return float(rng.random() < (0.98 if sure > 0.7 else 0.6))


WORLDS: dict[str, Agree] = {
    "right as often as it says": as_sure,
    "a fifth ties": with_ties,
    "wrong mostly where unsure": rarely_wrong,
}


def measure(agree: Agree, design: Design, *, runs: int) -> dict[str, float]:
    """Shares of the runs in which a figure was wrong, and in which an interval covered the truth."""
    rng = random.Random(7)
    frame = [
        FrameItem(f"p{i // 2}", (f"a{i:03}", f"b{i:03}"), "overall", 1 / (1 + math.exp(-rng.gauss(0, 3))))
        for i in range(NUM_PAIRS)
    ]
    agreed = {item.sample_ids: agree(rng, max(item.p_first, 1 - item.p_first)) for item in frame}
    truth = math.fsum(agreed.values()) / len(agreed)
    counts = dict.fromkeys(("false_above", "false_below", "covered", "looked_at_wrong", "unweighted_covered"), 0)
    for seed in range(runs):
        items = draw_items(frame, size=NUM_DRAWN, seed=seed, design=design).items
        values = [agreed[min(item.sample_ids), max(item.sample_ids)] for item in items]
        for name, happened in _look(items, values, truth).items():
            counts[name] += happened
    return {"truth": truth, **{name: count / runs for name, count in counts.items()}}


def _look(items: tuple[DrawnItem, ...], values: list[float], truth: float) -> dict[str, bool]:
    chances = [item.inclusion_probability / NUM_DRAWN for item in items]
    stream = replaced_stream(values, probabilities=chances, list_size=NUM_PAIRS)
    prompts, weights = [item.prompt_id for item in items], [1 / item.inclusion_probability for item in items]
    fixed, plain = (share_interval(values, clusters=prompts, weights=given) for given in (weights, None))
    assert fixed is not None
    assert plain is not None
    looks = [wilson(round(sum(values[:n])), n) for n in range(FIRST_LOOK, NUM_DRAWN + 1)]
    return {
        "false_above": bool(log_capitals(stream, null=truth, side="above").max() >= LEVEL),
        "false_below": bool(log_capitals(stream, null=truth, side="below").max() >= LEVEL),
        "covered": fixed.low <= truth <= fixed.high,
        "looked_at_wrong": any(not look.low <= truth <= look.high for look in looks),
        "unweighted_covered": plain.low <= truth <= plain.high,
    }


def find_missed(cells: list[dict[str, Any]]) -> list[str]:
    """What did not hold, and controls that did not fail."""
    missed = [
        f"{cell['world']}, {cell['design']}"
        for cell in cells
        if max(cell["false_above"], cell["false_below"]) > MOST or cell["covered"] < LEAST
    ]
    if max(cell["looked_at_wrong"] for cell in cells if cell["design"] == "even") <= MOST:
        missed.append("control: Wilson's interval looked at after every label")
    if min(cell["unweighted_covered"] for cell in cells if cell["design"] == "focus") >= LEAST:
        missed.append("control: labels of a focused draw without weights")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    designs: tuple[Design, ...] = ("even", "focus")
    cells = [
        {"world": world, "design": design, **measure(agree, design, runs=runs)}
        for world, agree in WORLDS.items()
        for design in designs
    ]
    missed = find_missed(cells)
    found = {
        "command": "python benchmarks/spot_check.py", "simulated": "people and judges are drawn", "runs": runs,
        "pairs": NUM_PAIRS, "drawn": NUM_DRAWN, "python": platform.python_version(), "cells": cells, "missed": missed,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    for cell in cells:
        print(", ".join(f"{key} {value:.3f}" if isinstance(value, float) else value for key, value in cell.items()))
    for one in missed:
        print(f"missed: {one}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
