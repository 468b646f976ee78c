"""What 100 simulated human labels mend of the front desk's judge: python benchmarks/calibration.py [--pairs 300].

Pairs of the shipped policy's replies to held-out prompts, asked under all principles and both poles, both orders,
wherever the truth decides. Labels are SIMULATED: drawn from the truth without bias, on half of the prompts; the
other half measures. Writes benchmarks/results/calibration.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rlaif.calibration.calibrate import KINDS, apply_map, calibrate
from rlaif.calibration.fits import Observation, as_arrays, fit
from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.judge_quality import Judged, judge_both_orders, policy_pairs
from rlaif.records import CalibrationMap
from rlaif.stats.logits import sigmoid

ACCURACY_GAIN, ABOVE_FLOOR = 0.04, 0.02
NUM_BINS = 10
RESULTS = Path(__file__).parent / "results" / "calibration.json"


class Case(NamedTuple):
    """A pair under one wording: the judge's debiased logit and the truth, for its first reply."""

    prompt: str
    logit: float
    length: float
    gap: float
    probability: float
    """Probability that the simulated annotator prefers the first."""


class Draw(NamedTuple):
    """One draw of labels, measured on the prompts that were not labelled."""

    kind: str
    accuracy: float
    error: float
    """Mean distance from the true probability."""
    error_known_kind: float
    """Figures of a map of temperature and length fitted on these labels without choosing among kinds."""
    ece: float
    """Expected calibration error on as many fresh labels."""
    ece_oracle: float
    """Figures of the true probabilities: what nobody can be below at this n."""


def make_cases(rows: Sequence[Judged], *, rng: random.Random) -> list[Case]:
    """The rows on which the truth decides; which reply stands first is drawn, so that no place means better."""
    cases = []
    for row in rows:
        if row.gap:
            sign = rng.choice((1.0, -1.0))
            gap = sign * row.gap
            probability = truth.annotator_probability(gap * truth.STEP)
            prompt = json.dumps(row.pair.messages)
            cases.append(Case(prompt, sign * row.debiased, sign * row.length, gap, probability))
    return cases


def measure_draw(labelled: Sequence[Case], held_out: Sequence[Case], *, num_labels: int, rng: random.Random) -> Draw:
    observations = [
        Observation(case.prompt, case.logit, case.length, float(rng.random() < case.probability))
        for case in rng.sample(labelled, num_labels)
    ]
    found = calibrate(observations, length_sd=truth.LENGTH_SD).map
    slope, length = fit(as_arrays(observations), "temperature_length")
    known = CalibrationMap(kind="temperature_length", slope=slope, length=length)
    fresh = rng.sample(held_out, num_labels)
    chosen = [float(rng.random() < case.probability) for case in fresh]
    return Draw(
        kind=found.kind,
        accuracy=accuracy(held_out, lambda case: label(found, case)),
        error=distance(held_out, lambda case: label(found, case)),
        error_known_kind=distance(held_out, lambda case: label(known, case)),
        ece=expected_calibration_error([label(found, case) for case in fresh], chosen),
        ece_oracle=expected_calibration_error([case.probability for case in fresh], chosen),
    )


def label(found: CalibrationMap, case: Case) -> float:
    return apply_map(found, logit=case.logit, length=case.length)


def accuracy(cases: Sequence[Case], predict: Callable[[Case], float]) -> float:
    return statistics.fmean((predict(case) - 0.5) * case.gap > 0 for case in cases)


def distance(cases: Sequence[Case], predict: Callable[[Case], float]) -> float:
    return statistics.fmean(abs(predict(case) - case.probability) for case in cases)


def expected_calibration_error(predicted: Sequence[float], chosen: Sequence[float]) -> float:
    """Ten equal bins: the weighted mean distance between a bin's mean label and its share of choices."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for p, y in zip(predicted, chosen, strict=True):
        bins.setdefault(min(int(p * NUM_BINS), NUM_BINS - 1), []).append((p, y))
    return sum(abs(math.fsum(p - y for p, y in found)) for found in bins.values()) / len(predicted)


def summarise(draws: Sequence[Draw], *, raw_accuracy: float) -> dict[str, Any]:
    """Means over the draws, with the standard deviation of each draw's own figure."""
    figures: dict[str, Any] = {}
    for name in Draw._fields[1:]:
        values = [getattr(draw, name) for draw in draws]
        figures[name] = {"mean": round(statistics.fmean(values), 4), "sd": round(statistics.stdev(values), 4)}
    figures["draws"] = len(draws)
    figures["accuracy_gain"] = round(figures["accuracy"]["mean"] - raw_accuracy, 4)
    figures["ece_above_oracle"] = round(figures["ece"]["mean"] - figures["ece_oracle"]["mean"], 4)
    figures["kinds"] = {kind: sum(draw.kind == kind for draw in draws) for kind in KINDS}
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=JUDGE_DIR.parent, help="folder with policy/ and judge/")
    parser.add_argument("--pairs", type=int, default=300, help="pairs; each is asked under every principle and pole")
    parser.add_argument("--labels", type=int, nargs="+", default=[30, 60, 100, 200, 400])
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    policy, judge = load_folder(options.models / "policy"), load_folder(options.models / "judge")
    rng = random.Random(f"calibration benchmark {options.seed}")
    pairs = policy_pairs(policy, seed=options.seed, n=options.pairs)
    judged, num_failed = judge_both_orders(judge, pairs, seed=options.seed)
    cases = make_cases(judged, rng=rng)
    prompts = sorted({case.prompt for case in cases})
    rng.shuffle(prompts)
    to_label = set(prompts[: len(prompts) // 2])
    labelled = [case for case in cases if case.prompt in to_label]
    held_out = [case for case in cases if case.prompt not in to_label]
    raw = {
        "accuracy": round(accuracy(held_out, lambda case: sigmoid(case.logit)), 4),
        "error": round(distance(held_out, lambda case: sigmoid(case.logit)), 4),
    }
    results: dict[str, Any] = {
        "simulated": "people are played by the front desk's truth",
        "seed": options.seed, "pairs": options.pairs, "cases": len(cases), "held_out_cases": len(held_out),
        "held_out_prompts": len(prompts) - len(to_label), "failed_judgements": num_failed, "raw": raw, "by_labels": {},
    }  # fmt: skip
    print(f"raw, debiased: {raw['accuracy']:.1%} right, {raw['error']:.3f} off, {len(held_out)} held-out cases")
    for num_labels in options.labels:
        draws = [measure_draw(labelled, held_out, num_labels=num_labels, rng=rng) for _ in range(options.draws)]
        figures = results["by_labels"][str(num_labels)] = summarise(draws, raw_accuracy=raw["accuracy"])
        print(
            f"{num_labels} labels: {figures['accuracy']['mean']:.1%} right (gain {figures['accuracy_gain']:+.1%}), "
            f"{figures['error']['mean']:.3f} off, the kind of map known {figures['error_known_kind']['mean']:.3f}; "
            f"ECE at this n {figures['ece']['mean']:.3f}, the truth's own {figures['ece_oracle']['mean']:.3f}; "
            f"{figures['kinds']}"
        )
    results["seconds"] = round(time.monotonic() - started, 1)
    checks: list[tuple[str, float, bool]] = []
    if (at := results["by_labels"].get("100")) is not None:
        checks = [
            ("accuracy gained by 100 labels", at["accuracy_gain"], at["accuracy_gain"] >= ACCURACY_GAIN),
            ("ECE above the truth's own", at["ece_above_oracle"], at["ece_above_oracle"] <= ABOVE_FLOOR),
        ]
    results["targets"] = {name: {"value": value, "met": met} for name, value, met in checks}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, value, met in checks:
        print(f"{'met   ' if met else 'MISSED'} {name}: {value:.3f}")
    return 0 if all(met for _, _, met in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
