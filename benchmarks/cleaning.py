"""How much of what is planted in front-desk data each rule of `cleaning:` finds, and how fast.

    python benchmarks/cleaning.py [--rows 5000] [--seeds 3]

Exact and near duplicates (10 %), leaks from the evaluation (up to 120), mojibake (5 %) and decoys are planted in
prompts; duplicates, equal and nearly equal pairs in preferences. Each rule runs alone. Then pairs that are labelled by
the simulated truth get 5 % label flips, duplicates and mojibake: how many flips `label_flips` finds, and how well a
read-out of word counts, fitted before and after cleaning, orders clean pairs (`--only flips`: this part alone).
Writes benchmarks/results/cleaning.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # what is planted is what the tests plant

from planted_faults import Found, measure, misread, plant_preferences, plant_prompts  # noqa: E402

from rlaif.cleaning.alike import Plain  # noqa: E402
from rlaif.cleaning.clean import clean_rows  # noqa: E402
from rlaif.cleaning.kinds import PREFERENCES, PROMPTS, Kind  # noqa: E402
from rlaif.config.cleaning import RECOMMENDED, CleaningConfig  # noqa: E402
from rlaif.frontdesk.replies import make_demonstrations  # noqa: E402
from rlaif.frontdesk.truth import annotator_probability, measure_attributes  # noqa: E402
from rlaif.records import PreferenceRow, Prompt  # noqa: E402
from rlaif.stats.intervals import mean_interval  # noqa: E402

RESULTS = HERE / "results" / "cleaning.json"
TARGET = 0.95
FLIP_SEEDS, NUM_PAIRS, MARGINS, PENALTY = 3, 1000, (0.25, 0.5), 10.0
SETS: dict[str, tuple[Any, Kind[Any]]] = {
    "prompts": (plant_prompts, PROMPTS), "preferences": (plant_preferences, PREFERENCES),
}  # fmt: skip


def run(rows: int, seeds: int) -> dict[str, Any]:
    counted: dict[tuple[str, str], list[Found]] = defaultdict(list)
    result: dict[str, Any] = {"rows": rows, "seeds": seeds, "target": TARGET, "rules": [], "all_rules": []}
    for name, (plant, kind) in SETS.items():
        seconds, num = 0.0, 0
        for seed in range(seeds):
            planted = plant(rows, seed=100 + seed)
            for rule, found in measure(planted).items():
                counted[name, rule].append(found)
            started = time.process_time()
            clean_rows(planted.rows, kind=kind, config=RECOMMENDED, evaluated=planted.evaluated)
            seconds += time.process_time() - started
            num += len(planted.rows)
        result["all_rules"].append({"kind": name, "rows": num, "rows_per_s": round(num / seconds)})
    for (name, rule), found in counted.items():
        total = Found(*(sum(column) for column in zip(*found, strict=True)))
        result["rules"].append(
            {"kind": name, "rule": rule, **total._asdict(), "recall": total.recall, "precision": total.precision}
        )
    return result | measure_flips(FLIP_SEEDS)


def measure_flips(seeds: int) -> dict[str, Any]:
    """How many planted flips are found, and what dropping faults does to a reward model of word counts."""
    flips, accuracy = [], []
    for labels, sharp in (("sharp labels", True), ("drawn labels", False)):
        sets = [draw_pairs(seed, sharp=sharp) for seed in range(seeds)]
        for margin in MARGINS:
            counts = [0, 0, 0]
            for rows, flipped, _ in sets:
                found = drop(rows, CleaningConfig(duplicates="off", label_flips="drop", flip_margin=margin))
                dropped = set(range(len(rows))) - set(found.places)
                counts = [
                    n + more
                    for n, more in zip(counts, (len(flipped), len(dropped), len(dropped & flipped)), strict=True)
                ]
            total = Found(*counts)
            flips.append(
                {
                    "labels": labels,
                    "margin": margin,
                    **total._asdict(),
                    "recall": total.recall,
                    "precision": total.precision,
                }
            )
        arms: dict[str, list[float]] = defaultdict(list)
        for rows, flipped, held_out in sets:
            cleaned = CleaningConfig(duplicates="drop", near_duplicates="drop", mojibake="fix")
            kept = [row for place, row in enumerate(rows) if place not in flipped]
            arms["as they came"].append(fit_and_measure(rows, held_out))
            arms["cleaned, flips left"].append(fit_and_measure(drop(rows, cleaned).rows, held_out))
            both = cleaned.model_copy(update={"label_flips": "drop"})
            arms["cleaned, label_flips too"].append(fit_and_measure(drop(rows, both).rows, held_out))
            arms["cleaned, every flip left out by its truth"].append(
                fit_and_measure(drop(kept, cleaned).rows, held_out)
            )
        for name, shares in arms.items():
            found = mean_interval(shares)
            gain = 100 * float(np.mean(np.array(shares) - np.array(arms["as they came"])))
            accuracy.append(
                {"labels": labels, "rows": name, "mean": found.mean, "low": found.low, "high": found.high, "gain": gain}
            )
    return {"flip_seeds": seeds, "label_flips": flips, "accuracy": accuracy}


def drop(rows: list[PreferenceRow], config: CleaningConfig) -> Any:
    return clean_rows(rows, kind=PREFERENCES, config=config.model_copy(update={"leakage": "off"}))


def draw_pairs(seed: int, *, sharp: bool) -> tuple[list[PreferenceRow], set[int], list[PreferenceRow]]:
    """Pairs with faults, the places of the flipped ones, and clean pairs of other prompts, labelled by the truth."""
    rng, rows = random.Random(f"flips {seed}"), []
    for one, other in pairwise(make_demonstrations(300 + seed, 4 * NUM_PAIRS)):
        gap = _truth(one.messages, one.response) - _truth(one.messages, other.response)
        if not gap or one.response == other.response:
            continue
        is_held_out = len(rows) >= NUM_PAIRS
        is_first = gap > 0 if sharp or is_held_out else rng.random() < annotator_probability(gap)
        sides = (one.response, other.response) if is_first else (other.response, one.response)
        rows.append(PreferenceRow(prompt=Prompt.from_chat(one.messages), chosen=sides[0], rejected=sides[1]))
        if len(rows) == 2 * NUM_PAIRS:
            break
    rows, held_out = rows[:NUM_PAIRS], rows[NUM_PAIRS:]
    flipped = set(rng.sample(range(NUM_PAIRS), NUM_PAIRS // 20))
    for place in flipped:
        rows[place] = rows[place].model_copy(update={"chosen": rows[place].rejected, "rejected": rows[place].chosen})
    for place in rng.sample(range(NUM_PAIRS), NUM_PAIRS // 20):
        rows[place] = rows[place].model_copy(update={"chosen": misread(rows[place].chosen, rng)})
    for place in rng.sample(range(NUM_PAIRS), NUM_PAIRS // 10):
        if place in flipped:
            flipped.add(len(rows))
        rows.append(rows[place])
    return rows, flipped, held_out


def _truth(prompt: Any, response: str) -> float:
    found = measure_attributes(prompt, response)
    return found["courteous"] + found["calm"]


def fit_and_measure(rows: list[PreferenceRow], held_out: list[PreferenceRow]) -> float:
    """The share of clean pairs that a ridge read-out of word counts orders as their truth says."""
    counts = [
        (Counter(Plain.of(row.chosen).words), Counter(Plain.of(row.rejected).words)) for row in (*rows, *held_out)
    ]
    place = {
        word: at
        for at, word in enumerate(sorted({word for pair in counts[: len(rows)] for side in pair for word in side}))
    }
    differences = np.zeros((len(counts), len(place)))
    for row, sides in enumerate(counts):
        for side, sign in zip(sides, (1, -1), strict=True):
            for word, count in side.items():
                if word in place:
                    differences[row, place[word]] += sign * count
    seen = differences[: len(rows)]
    weights = np.linalg.solve(seen.T @ seen + PENALTY * np.eye(len(place)), seen.sum(axis=0))
    return float(np.mean(differences[len(rows) :] @ weights > 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("flips",), help="measure this part again and keep the others")
    options = parser.parse_args()
    if options.only:
        result = json.loads(RESULTS.read_text()) | measure_flips(FLIP_SEEDS)
    else:
        result = run(options.rows, options.seeds)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
