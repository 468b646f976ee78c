"""What 300 people's labels add to 4,000 of a biased judge: python benchmarks/people_reward_model.py [--seeds 20].

A linear world: responses are 24 numbers, people choose by Bradley-Terry on a hidden direction, and the judge likes
length and two matters of style beside it, so that it agrees with people on about 70 %. In a second world the judge's
leanings are as large, but spread over all 24 numbers and not along length. Reward models are fitted as by
`reward_model.train: readout`. Accuracy is the share of 10,000 fresh pairs that a model orders as the hidden direction
does. Everything is SIMULATED. Writes benchmarks/results/people_reward_model.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlaif.calibration.calibrate import apply_map, calibrate
from rlaif.calibration.fits import Observation
from rlaif.reward_model.data import Item, Pair
from rlaif.reward_model.human_weight import CANDIDATES, choose_weight, correct_or_weigh, weigh_people
from rlaif.reward_model.pair_fit import fit_direction
from rlaif.stats.logits import sigmoid

RESULTS = Path(__file__).parent / "results" / "people_reward_model.json"
DIMENSIONS, LENGTH = 24, 0
BIAS = (0.8, 0.6, -0.6)
"""What the judge likes of length and two matters of style, in log-odds per deviation."""
FEW, MANY = "few leanings", "many leanings"
SIZE, JUDGE_NOISE, JUDGE_SCALE = 2.0, 1.0, 1.5
"""Length of the hidden direction; deviation of the judge's own noise; by how much the judge is too sure."""
NUM_FRESH = 10_000
OVER_JUDGE, OVER_PEOPLE, CLOSED = 0.08, 0.02, 0.6


class World(NamedTuple):
    features: Tensor
    """(2 * num_pairs, DIMENSIONS): the two responses of a pair stand beside each other."""
    truth: Tensor
    chosen: list[float]
    """1 where the person chose the first of a pair, else 0."""
    logits: list[float]
    """The judge's log-odds for the first."""

    @property
    def differences(self) -> Tensor:
        return self.features[0::2] - self.features[1::2]


def make_world(num_pairs: int, *, generator: torch.Generator, kind: str) -> World:
    features = torch.randn(2 * num_pairs, DIMENSIONS, dtype=torch.float64, generator=generator) / math.sqrt(2)
    truth = torch.randn(DIMENSIONS, dtype=torch.float64, generator=generator)
    truth *= SIZE / truth.norm()
    bias = torch.zeros(DIMENSIONS, dtype=torch.float64)
    bias[: len(BIAS)] = torch.tensor(BIAS, dtype=torch.float64)
    if kind == MANY:
        spread = torch.randn(DIMENSIONS, dtype=torch.float64, generator=generator)
        bias = spread * bias.norm() / spread.norm()
    differences = features[0::2] - features[1::2]
    margins = differences @ truth
    draws = torch.rand(num_pairs, dtype=torch.float64, generator=generator)
    noise = torch.randn(num_pairs, dtype=torch.float64, generator=generator) * JUDGE_NOISE
    return World(
        features, truth,
        chosen=(draws < torch.sigmoid(margins)).double().tolist(),
        logits=(JUDGE_SCALE * (margins + differences @ bias + noise)).tolist(),
    )  # fmt: skip


def calibrated(world: World, *, labelled: Sequence[int]) -> list[float]:
    """The judge's labels after calibration on people's choices."""
    lengths = world.differences[:, LENGTH].tolist()
    found = calibrate(
        [Observation(str(n), world.logits[n], lengths[n], world.chosen[n]) for n in labelled], length_sd=1.0
    ).map
    return [apply_map(found, logit=s, length=length) for s, length in zip(world.logits, lengths, strict=True)]


def make_pairs(labels: Sequence[float], people: dict[int, float]) -> list[Pair]:
    """People's choices where there are any, else the judge's labels."""
    return [
        Pair(
            str(n), 2 * n, 2 * n + 1, label=people.get(n, label), weight=1.0, source="human" if n in people else "judge"
        )
        for n, label in enumerate(labels)
    ]


class Measured(NamedTuple):
    accuracy: dict[str, float]
    """By arm."""
    weight: float
    """The weight that was chosen."""
    is_corrected: bool
    """Whether corrected labels of the judge predicted people better than every weight."""


def measure_seed(seed: int, *, kind: str, num_judge: int, num_people: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    world = make_world(num_judge, generator=generator, kind=kind)
    fresh = torch.randn(NUM_FRESH, DIMENSIONS, dtype=torch.float64, generator=generator)
    right = torch.sign(fresh @ world.truth)

    def accuracy(pairs: Sequence[Item]) -> float:
        fitted = fit_direction(world.features, pairs, center_rewards_coefficient=0.0)
        return float((torch.sign(fresh @ fitted.direction) == right).double().mean())

    people = {n: world.chosen[n] for n in range(num_people)}  # pairs are alike, so the first are as good as drawn ones
    raw = [sigmoid(logit) for logit in world.logits]
    mapped = calibrated(world, labelled=list(people))
    both = make_pairs(mapped, people)
    weight = choose_weight(world.features, both, center_rewards_coefficient=0.0)
    weighed = correct_or_weigh(world.features, both, found=weight, center_rewards_coefficient=0.0)
    found = {
        "the judge alone": accuracy(make_pairs(raw, {})),
        "the judge, calibrated": accuracy(make_pairs(mapped, {})),
        "people alone": accuracy(make_pairs(raw, people)[:num_people]),
        **{f"both, weight {w:g}": accuracy(weigh_people(both, weight=w)) for w in CANDIDATES},
        "both, corrected or weighed": accuracy(weighed.items),
        "people on every pair": accuracy(make_pairs(world.chosen, {})),
        "the judge with people": statistics.fmean(
            float((logit > 0) == (choice > 0.5)) for logit, choice in zip(world.logits, world.chosen, strict=True)
        ),
    }
    found["both, weight chosen"] = found[f"both, weight {weight.weight:g}"]
    return Measured(found, weight.weight, weighed.human_weight.num_leanings is not None)


def sum_up(runs: Sequence[Measured]) -> dict[str, Any]:
    """Means over the seeds, and what the judge's and people's labels together gain."""
    arms = {
        arm: {
            "mean": round(statistics.fmean(run.accuracy[arm] for run in runs), 4),
            "sd": round(statistics.pstdev([run.accuracy[arm] for run in runs]), 4),
        }
        for arm in runs[0].accuracy
    }
    judge, people, every = (arms[name]["mean"] for name in ("the judge alone", "people alone", "people on every pair"))
    gains = {}
    for way in ("both, weight chosen", "both, corrected or weighed"):
        both = arms[way]["mean"]
        gains[way] = {
            "over_judge": round(both - judge, 4),
            "over_people": round(both - people, 4),
            "gap_closed": round((both - judge) / (every - judge), 4),
        }
    return {
        "arms": arms,
        "gains": gains,
        "weights_chosen": {f"{w:g}": n for w, n in sorted(Counter(run.weight for run in runs).items())},
        "corrected": sum(run.is_corrected for run in runs),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--judge", type=int, default=4000, help="pairs that the judge labelled")
    parser.add_argument("--people", type=int, default=300, help="those of them that people labelled too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    worlds = {
        kind: sum_up(
            [
                measure_seed(seed, kind=kind, num_judge=options.judge, num_people=options.people)
                for seed in range(options.seeds)
            ]
        )
        for kind in (FEW, MANY)
    }
    least = {"over_judge": OVER_JUDGE, "over_people": OVER_PEOPLE, "gap_closed": CLOSED}
    reached = worlds[FEW]["gains"]["both, corrected or weighed"]
    targets = {name: {"value": reached[name], "least": one, "met": reached[name] >= one} for name, one in least.items()}
    result = {
        "command": "python benchmarks/people_reward_model.py",
        "simulated": "people, judge and responses are drawn from a linear world",
        "seeds": options.seeds, "judge_labels": options.judge, "people_labels": options.people, "worlds": worlds,
        "targets": targets,
        "cpu_seconds": round(time.process_time() - started, 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if all(one["met"] for one in targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
