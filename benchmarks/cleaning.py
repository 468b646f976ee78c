"""How much of what is planted in front-desk data each rule of `cleaning:` finds, and how fast.

    python benchmarks/cleaning.py [--rows 5000] [--seeds 3]

Exact and near duplicates (10 %), leaks from the evaluation (up to 120), mojibake (5 %) and decoys are planted in
prompts; duplicates, equal and nearly equal pairs and 5 % label flips in preferences. Each rule runs alone. Writes
benchmarks/results/cleaning.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # what is planted is what the tests plant

from planted_faults import Found, measure, plant_preferences, plant_prompts  # noqa: E402

from rlaif.cleaning.clean import clean_rows  # noqa: E402
from rlaif.cleaning.kinds import PREFERENCES, PROMPTS, Kind  # noqa: E402
from rlaif.config.cleaning import RECOMMENDED  # noqa: E402

RESULTS = HERE / "results" / "cleaning.json"
TARGET = 0.95
SETS: dict[str, tuple[Any, Kind[Any]]] = {
    "prompts": (plant_prompts, PROMPTS), "preferences": (plant_preferences, PREFERENCES),
}  # fmt: skip


def run(rows: int, seeds: int) -> dict[str, Any]:
    counted: dict[tuple[str, str], list[Found]] = defaultdict(list)
    result: dict[str, Any] = {"rows": rows, "seeds": seeds, "target": TARGET, "rules": [], "all_rules": []}
    for name, (plant, kind) in SETS.items():
        seconds, num, flips, flips_found = 0.0, 0, 0, 0
        for seed in range(seeds):
            planted = plant(rows, seed=100 + seed)
            for rule, found in measure(planted).items():
                counted[name, rule].append(found)
            started = time.process_time()
            cleaned = clean_rows(planted.rows, kind=kind, config=RECOMMENDED, evaluated=planted.evaluated)
            seconds += time.process_time() - started
            num += len(planted.rows)
            flipped = planted.truth.get("label_flips", frozenset())
            flips += len(flipped)
            flips_found += len(flipped - set(cleaned.places))
        result["all_rules"].append({"kind": name, "rows": num, "rows_per_s": round(num / seconds)})
        if flips:
            result["label_flips"] = {"planted": flips, "found": flips_found}
    for (name, rule), found in counted.items():
        total = Found(*(sum(column) for column in zip(*found, strict=True)))
        result["rules"].append(
            {"kind": name, "rule": rule, **total._asdict(), "recall": total.recall, "precision": total.precision}
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    result = run(options.rows, options.seeds)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
