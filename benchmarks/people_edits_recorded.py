"""Edits on real judges and real people: python benchmarks/people_edits_recorded.py

The verdicts are those of GPT-3.5, GPT-4 and PandaLM-7B on PandaLM and LLMFAO, and a tenth of them is TURNED here, which
makes the edit: half of them for the better by people's choices, so that nothing may be certified, or more. People's
answer on a pair is one person's vote, drawn for each run, or the mean of everybody's. An adversary takes the answers in
after every label and stops at the first certificate. theta: the share of the flips that people decide and that the edit
moves to their side. Needs the files of both in ../shared/data. Writes benchmarks/results/people_edits_recorded.json;
exits with 1 where false certificates exceed 6.5 %, the 99.9 % Monte-Carlo limit of 5 % in 2,000 runs, or where labels
on flips are more than 1.3 times the share of flips times those on random pairs, up to theta .8.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from people_data import Recorded, load_llmfao, load_pandalm
from people_edits import MOST, MOST_LABELS, THETAS, first_certified

from rlaif.stats.betting import Side

Array = NDArray[np.float64]
Answers = Literal["one vote", "everybody's mean"]
RESULTS = Path(__file__).parent / "results" / "people_edits_recorded.json"
TURNED = 0.1
AT_ONCE = 100
NEAR = 0.01
"""The sum of the gains is at most so far from the null's, or as near as exchanges make it."""


def draw_votes(data: Recorded, answers: Answers, *, rng: np.random.Generator) -> Array:
    """People's side on every pair, of shape (N,)."""
    if answers == "one vote":
        numbers = rng.random(len(data.votes))
        return np.array([votes[int(x * len(votes))] for x, votes in zip(numbers, data.votes, strict=True)])
    return np.array([sum(votes) / len(votes) for votes in data.votes])


def find_gains(judged: Array, people: Array) -> Array:
    """u of every pair if its verdict were turned: 1 where that is the side people take, of shape (N,)."""
    return (1 + np.abs(judged - people) - np.abs(1 - judged - people)) / 2


def turn(gains: Array, *, number: int, theta: float, side: Side, rng: np.random.Generator) -> Array:
    """The gains of the pairs that an edit turns, in random order.

    Pairs on which people tie come as often as among all. Of the others the share theta is for the better, and one half
    is exact: where the sum is off, pairs change places with others until the null just holds for that side.
    """
    gains = rng.permutation(gains)
    kinds = [gains[gains > 0.5], gains[gains == 0.5], gains[gains < 0.5]]
    num_ties = round(number * len(kinds[1]) / len(gains))
    num_better = round(theta * (number - num_ties))
    num_worse = number - num_ties - num_better
    if min(len(kinds[0]) - num_better, len(kinds[2]) - num_worse) < 0:
        raise SystemExit(f"there are too few verdicts to turn for theta {theta}")
    chosen = np.concatenate([kinds[0][:num_better], kinds[1][:num_ties], kinds[2][:num_worse]])
    if theta == 0.5:
        left = np.concatenate([kinds[0][num_better:], kinds[2][num_worse:]])
        sign = 1 if side == "above" else -1
        chosen = sign * _move_to_null(sign * chosen, sign * rng.permutation(left), null=sign * 0.5)
    return rng.permutation(chosen)


def _move_to_null(chosen: Array, others: Array, *, null: float) -> Array:
    """Exchange gains for those of other pairs until their mean is just below the null, or on it."""
    most, total = len(chosen) * null + 1e-9, float(chosen.sum())
    for other in others.tolist():
        place = int(chosen.argmax() if total > most else chosen.argmin())
        after = total - float(chosen[place]) + other
        if other < chosen[place] if total > most else total < after <= most:
            chosen[place], total = other, after
        if most - NEAR <= total <= most:
            break
    if total > most:
        raise SystemExit("there are too few verdicts to turn for a null that holds")
    return chosen


def measure_false(data: Recorded, judge: str, answers: Answers, *, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng(17)
    judged, found = data.judges[judge], {}
    number = round(TURNED * len(judged))
    means = []
    for name, side in (("false_better", "above"), ("false_worse", "below")):
        rows = []
        for _ in range(runs):
            gains = find_gains(judged, draw_votes(data, answers, rng=rng))[judged != 0.5]
            rows.append(turn(gains, number=number, theta=0.5, side=side, rng=rng))
        means.append(float(np.mean(rows)))
        found[name] = float(np.isfinite(first_certified(np.array(rows), side=side)).mean())
    return {
        "data": data.name, "judge": judge, "answers": answers, "pairs": len(judged), "turned": number,
        "theta": [round(mean, 4) for mean in means], **found,
    }  # fmt: skip


def measure_labels(data: Recorded, judge: str, theta: float, *, runs: int) -> dict[str, Any]:
    """Labels until "better" is certified: on flips alone, and on random pairs, most of which do not flip."""
    rng = np.random.default_rng(18)
    judged = data.judges[judge]
    number = round(TURNED * len(judged))
    labels: dict[str, list[Array]] = {"flips": [], "random": []}
    for start in range(0, runs, AT_ONCE):
        rows = []
        for _ in range(min(AT_ONCE, runs - start)):
            gains = find_gains(judged, draw_votes(data, "one vote", rng=rng))[judged != 0.5]
            rows.append(turn(gains, number=number, theta=theta, side="above", rng=rng))
        flips = np.array(rows)
        pairs = np.concatenate([flips, np.full((len(flips), len(judged) - number), 0.5)], axis=1)
        labels["flips"].append(first_certified(flips, side="above"))
        labels["random"].append(first_certified(rng.permuted(pairs, axis=1), side="above"))
    taken = {name: np.concatenate(parts) for name, parts in labels.items()}
    medians = {name: float(np.median(one)) for name, one in taken.items()}
    return {
        "data": data.name, "judge": judge, "theta": theta, "share_of_flips": round(number / len(judged), 4),
        "certified": round(float(np.isfinite(taken["flips"]).mean()), 4),
        **{name: (None if np.isinf(one) else one) for name, one in medians.items()},
        "times_the_share": None
        if np.isinf(medians["random"]) else round(medians["flips"] / medians["random"] * len(judged) / number, 3),
    }  # fmt: skip


def find_missed(found: dict[str, Any]) -> list[str]:
    missed = [
        f"false certificates, {cell['data']}, {cell['judge']}, {cell['answers']}"
        for cell in found["false"]
        if max(cell["false_better"], cell["false_worse"]) > MOST
    ]
    return missed + [
        f"labels, {cell['data']}, {cell['judge']}, theta {cell['theta']}"
        for cell in found["labels"]
        if cell["theta"] <= 0.8 and (cell["times_the_share"] is None or cell["times_the_share"] > MOST_LABELS)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--power-runs", type=int, default=400)
    options = parser.parse_args()
    began, false, labels = time.process_time(), [], []
    kinds: tuple[Answers, ...] = ("one vote", "everybody's mean")
    for data in (load_pandalm(), load_llmfao()):
        for judge in data.judges:
            for answers in kinds:
                false.append(measure_false(data, judge, answers, runs=options.runs))
                print(json.dumps(false[-1]), flush=True)
            for theta in THETAS:
                labels.append(measure_labels(data, judge, theta, runs=options.power_runs))
                print(json.dumps(labels[-1]), flush=True)
    found = {
        "command": "python benchmarks/people_edits_recorded.py", "runs": options.runs,
        "power_runs": options.power_runs, "python": sys.version.split()[0], "numpy": np.__version__,
        "false": false, "labels": labels, "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    found["missed"] = find_missed(found)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"missed: {one}" for one in found["missed"]))
    return bool(found["missed"])


if __name__ == "__main__":
    sys.exit(main())
