"""False certificates of `rlaif constitution test`, and the labels it takes: python benchmarks/people_edits.py.

Edits that flip 100 of 600 decisions. The adversary takes the answers in after every label and stops at the first
certificate. People are SIMULATED: each flip has the side that they take. Writes benchmarks/results/people_edits.json;
exits with 1 where false certificates exceed 6.5 %, the 99.9 % Monte-Carlo limit of 5 % in 2,000 runs, where labels on
flips are more than 1.3 times the share of flips times those on random pairs, up to theta .8, or where a control, which
is a mistake, does not fail.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.calibration.edit_test import gain
from rlaif.records import EditItem
from rlaif.stats.betting import Side, even_stream, log_capitals

RESULTS = Path(__file__).parent / "results" / "people_edits.json"
NUM_FLIPS, NUM_PAIRS = 100, 600
MOST, MOST_LABELS = 0.065, 1.3
LEVEL = math.log(20)
FIRST_LOOK, SKIPPED = 20, 0.3
THETAS = (0.6, 0.7, 0.8, 0.9)
Array = NDArray[np.float64]
_FLIP = EditItem(item_id="", prompt_id="", sample_ids=("a", "b"), old="first", new="second", lengths=(0, 0))
NEW, TIE, OLD = (gain(_FLIP, side) for side in (0.0, 0.5, 1.0))


class World(NamedTuple):
    """Flips of which as many move to the side people take as away from it, or a little fewer."""

    name: str
    flips: Array


def make_flips(theta: float, *, ties: float = 0.0, number: int = NUM_FLIPS) -> Array:
    """The value of every flip: `ties` of them undecided, and the share theta of the others for the better."""
    num_ties = round(ties * number)
    num_new = round(theta * (number - num_ties))
    return np.array([NEW] * num_new + [TIE] * num_ties + [OLD] * (number - num_new - num_ties))


WORLDS = (
    World("100 flips, half for the better", make_flips(0.5)),
    World("100 flips, a fifth ties", make_flips(0.5, ties=0.2)),
    World("30 flips", make_flips(0.5, number=30)),
    World("400 flips", make_flips(0.5, number=400)),
    World("100 flips, half of them from or to a tie", np.array([0.75, 0.25] * 25 + [NEW, OLD] * 25)),
)


def shuffle(values: Array, *, runs: int, rng: np.random.Generator) -> Array:
    """The values in a random order for each run."""
    return rng.permuted(np.broadcast_to(values, (runs, len(values))), axis=1)


def first_certified(values: Array, *, side: Side, list_size: int | None = None) -> Array:
    """How many labels each run takes until its certificate; infinite where there is none."""
    size = values.shape[1] if list_size is None else list_size
    reached = log_capitals(even_stream(values, list_size=size), null=0.5, side=side) >= LEVEL
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)


def measure_false(world: World, *, runs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Shares of runs with a certificate that is false, and with one by a mistake."""
    orders = shuffle(world.flips, runs=runs, rng=rng)
    better, worse = (np.isfinite(first_certified(orders, side=side)) for side in ("above", "below"))
    return {"world": world.name, "false_better": float(better.mean()), "false_worse": float(worse.mean())}


def measure_skips(*, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Three in ten of the flips that speak against the edit are skipped: counted against it, and dropped."""
    orders = shuffle(make_flips(0.5, number=400), runs=runs, rng=rng)
    skipped = (orders == OLD) & (rng.random(orders.shape) < SKIPPED)
    counted = np.isfinite(first_certified(orders, side="above")).mean()  # a skipped flip has its worst value, OLD
    dropped = [
        np.isfinite(first_certified(row[~skip][None], side="above", list_size=len(row)))[0]
        for row, skip in zip(orders[:200], skipped, strict=False)
    ]
    return {"skips_counted_against": float(counted), "skips_dropped": float(np.mean(dropped))}


def measure_wilson(*, runs: int, rng: np.random.Generator) -> float:
    """The control: one-sided 95 % Wilson bounds, looked at after every label from the twentieth on."""
    found = shuffle(make_flips(0.5, number=400), runs=runs, rng=rng).cumsum(axis=1)
    n = np.arange(1, found.shape[1] + 1)
    share, z2 = found / n, 1.645**2
    low = (share + z2 / (2 * n) - 1.645 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return float((low[:, FIRST_LOOK - 1 : -1] > 0.5).any(axis=1).mean())


def measure_labels(theta: float, *, ties: float, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Labels until the certificate, on flips alone and on random pairs, of which five in six do not flip."""
    flips = make_flips(theta, ties=ties)
    pairs = np.concatenate([flips, np.full(NUM_PAIRS - NUM_FLIPS, TIE)])
    found: dict[str, float] = {"theta": theta, "ties": ties}
    for name, values in (("flips", flips), ("random", pairs)):
        labels = first_certified(shuffle(values, runs=runs, rng=rng), side="above")
        found[name] = float(np.median(labels))
        found[f"{name}_p90"] = float(np.quantile(labels, 0.9))
    found["ratio"] = found["flips"] / found["random"]
    return found


def find_missed(found: dict[str, Any]) -> list[str]:
    """What did not hold, and controls that did not fail."""
    missed = [cell["world"] for cell in found["false"] if max(cell["false_better"], cell["false_worse"]) > MOST]
    allowed = MOST_LABELS * NUM_FLIPS / NUM_PAIRS
    missed += [
        f"labels at theta {cell['theta']}"
        for cell in found["labels"]
        if cell["theta"] <= 0.8 and cell["ratio"] > allowed
    ]
    if found["skips"]["skips_counted_against"] > MOST:
        missed.append("skips that count against the edit")
    if found["skips"]["skips_dropped"] <= MOST:
        missed.append("control: skipped flips are dropped")
    if found["wilson_looked_at"] <= MOST:
        missed.append("control: Wilson's bound looked at after every label")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(16)
    began = time.process_time()
    found: dict[str, Any] = {
        "command": "python benchmarks/people_edits.py", "simulated": "people are drawn", "runs": runs,
        "flips": NUM_FLIPS, "pairs": NUM_PAIRS, "python": platform.python_version(),
        "false": [measure_false(world, runs=runs, rng=rng) for world in WORLDS],
        "skips": measure_skips(runs=runs, rng=rng),
        "wilson_looked_at": measure_wilson(runs=runs, rng=rng),
        "labels": [
            measure_labels(theta, ties=ties, runs=runs, rng=rng)
            for theta, ties in (*((theta, 0.0) for theta in THETAS), (0.7, 0.2), (0.9, 0.2))
        ],
    }  # fmt: skip
    found["cpu_s"] = round(time.process_time() - began, 1)
    found["missed"] = find_missed(found)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=1))
    return bool(found["missed"])


if __name__ == "__main__":
    sys.exit(main())
