"""Stacked weights of a panel: does a map that 100 labels fit predict people at least as well as the best judge alone?

    python benchmarks/panel.py [--seeds 40]

Everything is simulated. Five judges see a common utility with noise, a bias for the place and one for length, each of
its own; or five equal ones, for which the plain mean of their log-odds is hard to beat. Each pair is asked in both
orders, and the log-odds averaged. People's labels of 100 pairs choose and fit the map, as `rlaif` does it; its log loss
is then that on 4,000 other pairs. The best judge alone is calibrated by the same labels and chosen on the 4,000
afterwards, which favours it.

Writes benchmarks/results/panel.json; exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.calibration.calibrate import calibrate
from rlaif.calibration.fits import Observation, Part, as_arrays, log_losses, map_logits
from rlaif.files.atomic import write_atomically
from rlaif.records import CalibrationMap
from rlaif.stats.logits import sigmoids

RESULTS = Path(__file__).parent / "results" / "panel.json"
NUM_LABELS, NUM_HELD_OUT = 100, 4000
MAX_BIAS = 0.02


class Simulated(NamedTuple):
    """A simulated judge: its log-odds are slope * utility + place + length * difference + noise."""

    name: str
    slope: float
    noise: float
    place: float
    length: float


MIXED = (
    Simulated("careful", slope=1.0, noise=1.0, place=0.3, length=0.2),
    Simulated("noisy", slope=1.0, noise=2.5, place=0.5, length=0.0),
    Simulated("likes the first", slope=1.2, noise=1.5, place=1.5, length=0.3),
    Simulated("likes length", slope=0.8, noise=1.2, place=0.4, length=1.5),
    Simulated("too sure", slope=3.0, noise=4.0, place=0.8, length=0.5),
)
EQUAL = tuple(Simulated(f"equal {number}", slope=1.5, noise=1.0, place=0.3, length=0.0) for number in range(5))


def draw(judges: Sequence[Simulated], number: int, *, seed: int, both_orders: bool = True) -> list[Observation]:
    """Pairs with what each judge says of them and what a simulated person chose; the first response is shown first."""
    generator, rows = random.Random(seed), []
    for place in range(number):
        utility, length = generator.gauss(0, 1.2), generator.gauss(0, 1)
        chosen = float(generator.random() < 1 / (1 + math.exp(-1.5 * utility)))
        parts = []
        for judge in judges:
            orders = [
                judge.slope * utility + judge.length * length + sign * judge.place + generator.gauss(0, judge.noise)
                for sign in (1, -1)
            ]
            logit = statistics.fmean(orders) if both_orders else orders[0]
            parts.append(Part("overall", judge.name, 1 / len(judges), logit))
        mean = math.fsum(part.share * part.logit for part in parts)
        rows.append(Observation(f"prompt {place}", mean, length, chosen=chosen, parts=tuple(parts)))
    return rows


def alone(rows: Sequence[Observation], name: str) -> list[Observation]:
    """The same pairs with one judge's log-odds."""
    return [
        row._replace(logit=next(part.logit for part in row.parts if part.judge_id == name), parts=()) for row in rows
    ]


def measure_loss(found: CalibrationMap, rows: Sequence[Observation]) -> float:
    data = as_arrays(rows)
    return float(log_losses(map_logits(found, data), data.chosen).mean())


def measure_bias(found: CalibrationMap, rows: Sequence[Observation]) -> float:
    """By how much the labels favour the response that was shown first, beyond the people's choices."""
    data = as_arrays(rows)
    return float(sigmoids(map_logits(found, data)).mean() - data.chosen.mean())


class Drawn(NamedTuple):
    """What one draw of labels came to, in nats and as shares."""

    kind: str
    stacked: float
    best_alone: float
    mean: float
    """The loss of the judges' plain mean log-odds."""
    bias: float
    bias_of_one_order: float


def run_once(judges: Sequence[Simulated], *, seed: int) -> Drawn:
    labelled, held_out = draw(judges, NUM_LABELS, seed=seed), draw(judges, NUM_HELD_OUT, seed=10_000 + seed)
    found = calibrate(labelled, length_sd=1.0).map
    names = [judge.name for judge in judges]
    singles = [calibrate(alone(labelled, name), length_sd=1.0).map for name in names]
    data = as_arrays(held_out)
    return Drawn(
        kind=found.kind,
        stacked=measure_loss(found, held_out),
        best_alone=min(
            measure_loss(one, alone(held_out, name)) for one, name in zip(singles, names, strict=True)
        ),
        mean=float(log_losses(data.logits, data.chosen).mean()),
        bias=measure_bias(found, held_out),
        bias_of_one_order=measure_bias(found, draw(judges, NUM_HELD_OUT, seed=10_000 + seed, both_orders=False)),
    )  # fmt: skip


def summarise(runs: Sequence[Drawn]) -> dict[str, Any]:
    return {
        "kinds": dict(Counter(run.kind for run in runs)),
        **{name: statistics.fmean(getattr(run, name) for run in runs) for name in Drawn._fields if name != "kind"},
        "worse_than_best": sum(run.stacked > run.best_alone for run in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    num_seeds = parser.parse_args().seeds
    worlds = {}
    for name, judges in (("mixed", MIXED), ("equal", EQUAL)):
        worlds[name] = summarise([run_once(judges, seed=seed) for seed in range(num_seeds)])
        print(f"{name}: {worlds[name]}", flush=True)
    result = {
        "simulated": True, "num_seeds": num_seeds, "num_labels": NUM_LABELS, "num_held_out": NUM_HELD_OUT,
        "max_bias": MAX_BIAS, "worlds": worlds,
    }  # fmt: skip
    write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")
    met = all(world["stacked"] <= world["best_alone"] and abs(world["bias"]) < MAX_BIAS for world in worlds.values())
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
