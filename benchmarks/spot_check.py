"""Whether the bounds and intervals of `rlaif spot-check status` hold on its own draws: python benchmarks/spot_check.py.

Frames of 400 pairs, 60 of them drawn by `rlaif.calibration.spot_check`. The adversary looks after every label and stops
at the first bound that is wrong. People and judges are SIMULATED. Writes benchmarks/results/spot_check.json; exits with
1 where a bound fails above 6.5 %, the 99.9 % Monte-Carlo limit of 5 % in 2,000 runs, where the whole 99.9 % Monte-Carlo
interval of an interval's coverage lies outside 93.5 to 97 %, or where a control, which is a mistake, does not fail.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.calibration.spot_check import FrameItem, draw_items
from rlaif.records import Design, DrawnItem
from rlaif.stats.betting import log_capitals, replaced_stream
from rlaif.stats.intervals import drawn_share, share_interval, wilson

RESULTS = Path(__file__).parent / "results" / "spot_check.json"
NUM_PAIRS, NUM_DRAWN, FIRST_LOOK = 400, 60, 20
MOST, RANGE = 0.065, (0.935, 0.97)
Z_999 = 3.2905
FIRST_SEED = 10_000
"""Of the draws: the interval was chosen by draws with smaller seeds."""
LEVEL = math.log(20)
Agree = Callable[[random.Random, float], float]
"""Draws whether people take the judge's side, 1, 1/2 or 0, by how sure the judge is."""


def as_sure(rng: random.Random, sure: float) -> float:
    return float(rng.random() < sure)


def with_ties(rng: random.Random, sure: float) -> float:
    return 0.5 if rng.random() < 0.2 else as_sure(rng, sure)


def rarely_wrong(rng: random.Random, sure: float) -> float:
    return float(rng.random() < (0.98 if sure > 0.7 else 0.6))


class World(NamedTuple):
    agree: Agree
    flipped: float = 0.0
    """Share of the pairs whose orders named different winners; they make small strata."""


WORLDS = {
    "right as often as it says": World(as_sure),
    "a fifth ties": World(with_ties),
    "wrong mostly where unsure": World(rarely_wrong),
    "wrong mostly where unsure, 15 % order flips": World(rarely_wrong, flipped=0.15),
}


def measure(world: World, design: Design, *, runs: int) -> dict[str, float]:
    """Shares of the runs in which a figure was wrong, and in which an interval covered the truth."""
    rng = random.Random(7)
    frame = [
        FrameItem(f"p{i // 2}", (f"a{i:03}", f"b{i:03}"), "overall", 1 / (1 + math.exp(-rng.gauss(0, 3))))
        for i in range(NUM_PAIRS)
    ]
    if world.flipped:
        frame = [item._replace(flipped=rng.random() < world.flipped) for item in frame]
    agreed = {item.sample_ids: world.agree(rng, max(item.p_first, 1 - item.p_first)) for item in frame}
    truth = math.fsum(agreed.values()) / len(agreed)
    sums: defaultdict[str, float] = defaultdict(float)
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        items = draw_items(frame, size=NUM_DRAWN, seed=seed, design=design).items
        values = [agreed[min(item.sample_ids), max(item.sample_ids)] for item in items]
        for name, found in _look(items, values, truth).items():
            sums[name] += found
    return {"truth": truth, **{name: round(count / runs, 4) for name, count in sums.items()}}


def _look(items: tuple[DrawnItem, ...], values: list[float], truth: float) -> dict[str, float]:
    probabilities = [item.inclusion_probability for item in items]
    chances = [item.inclusion_probability / NUM_DRAWN for item in items]
    stream = replaced_stream(values, probabilities=chances, list_size=NUM_PAIRS)
    closed = drawn_share(values, strata=[item.stratum for item in items], probabilities=probabilities)
    prompts, weights = [item.prompt_id for item in items], [1 / one for one in probabilities]
    weighted, plain = (share_interval(values, clusters=prompts, weights=given) for given in (weights, None))
    assert closed is not None
    assert weighted is not None
    assert plain is not None
    looks = [wilson(round(sum(values[:n])), n) for n in range(FIRST_LOOK, NUM_DRAWN + 1)]
    return {
        "false_above": bool(log_capitals(stream, null=truth, side="above").max() >= LEVEL),
        "false_below": bool(log_capitals(stream, null=truth, side="below").max() >= LEVEL),
        "covered": closed.low <= truth <= closed.high,
        "width": closed.high - closed.low,
        "plain_covered": weighted.low <= truth <= weighted.high,
        "plain_width": weighted.high - weighted.low,
        "looked_at_wrong": any(not look.low <= truth <= look.high for look in looks),
        "unweighted_covered": plain.low <= truth <= plain.high,
    }


def is_in_range(share: float, *, runs: int) -> bool:
    """Whether some of the 99.9 % Monte-Carlo interval (Wilson's) of a coverage lies in the range."""
    z2 = Z_999**2 / runs
    half = Z_999 * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs))
    return (share + z2 / 2 - half) / (1 + z2) <= RANGE[1] and (share + z2 / 2 + half) / (1 + z2) >= RANGE[0]


def find_missed(cells: list[dict[str, Any]], *, runs: int) -> list[str]:
    """What did not hold, and controls that did not fail."""
    missed = [
        f"{cell['world']}, {cell['design']}"
        for cell in cells
        if max(cell["false_above"], cell["false_below"]) > MOST or not is_in_range(cell["covered"], runs=runs)
    ]
    if max(cell["looked_at_wrong"] for cell in cells if cell["design"] == "even") <= MOST:
        missed.append("control: Wilson's interval looked at after every label")
    if min(cell["unweighted_covered"] for cell in cells if cell["design"] == "focus") >= RANGE[0]:
        missed.append("control: labels of a focused draw without weights")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    designs: tuple[Design, ...] = ("even", "focus")
    cells = [
        {"world": name, "design": design, **measure(world, design, runs=runs)}
        for name, world in WORLDS.items()
        for design in designs
    ]
    missed = find_missed(cells, runs=runs)
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
