"""examples/human-labels over five seeds, down to the reward model: python benchmarks/people_example.py [--seeds 5].

For each seed the front desk's policy and judge make preferences as the example does, and 200 SIMULATED labels are drawn
by the example's annotator and mixed in by `--human-labels`. Reward models, linear read-outs of the policy's states, are
then fitted to the judge's rows, to people's, and to both. Accuracy is the share of pairs of sampled responses to
held-out prompts, of all pairs whose truths differ, that a model orders as the truth does. Writes
benchmarks/results/people_example.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlaif.frontdesk import POLICY_DIR, truth
from rlaif.models.weights.loading import load_causal_lm
from rlaif.preferences.pool import SplitRows, read_pool
from rlaif.records import PreferenceRow, Prompt, TrainingRow
from rlaif.reward_model.data import Item, Pair, encode_example
from rlaif.reward_model.human_weight import choose_weight, correct_or_weigh, mean_states, weigh_people
from rlaif.reward_model.pair_fit import fit_direction
from rlaif.stats.intervals import mean_interval

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "people_example.json"
ANNOTATOR = HERE.parent / "examples" / "human-labels" / "simulated_annotator.py"
CENTER = 0.01
NUM_PROMPTS = 250
"""Half of the example's, which takes half the time."""
RUN = "judged"
OVER_JUDGE, OVER_PEOPLE, CLOSED = 0.08, 0.02, 0.6
BOTH = "both, corrected or weighed"


class HeldOutPair(NamedTuple):
    prompt: Prompt
    texts: tuple[str, str]
    gap: float
    """By how much the first is better by the truth; never zero."""


def load_annotator() -> Any:
    spec = importlib.util.spec_from_file_location("simulated_annotator", ANNOTATOR)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{ANNOTATOR} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def call(folder: Path, arguments: Sequence[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")


def find_dataset(folder: Path) -> Path:
    return folder / "runs" / RUN / "round_00" / "4_preferences" / "dataset"


def read_rows(dataset: Path) -> SplitRows:
    return read_pool([dataset], test_fraction=0.1)


def mix_labels(folder: Path) -> None:
    """Make the preferences again with people's labels; the reward model that follows is not used, so it is small."""
    small = ("train=last_layers", "num_layers=0", "num_epochs=1")
    settings = [part for one in small for part in ("--set", f"reward_model.{one}")]
    labels = ["--human-labels", "labels.jsonl"]
    call(folder, ["-m", "rlaif", "train", "--run", RUN, "--stage", "reward-model", *labels, *settings])


def find_held_out_pairs(judged: Any, test: Sequence[TrainingRow]) -> list[HeldOutPair]:
    """Every two sampled responses to a held-out prompt whose truths differ."""
    held_out = {row.prompt.id for row in test}
    by_prompt: dict[str, list[str]] = {}
    for sample in judged.samples.values():
        if sample.prompt_id in held_out:
            by_prompt.setdefault(sample.prompt_id, []).append(sample.id)
    return [
        HeldOutPair(judged.prompts[prompt_id], (judged.samples[a].text, judged.samples[b].text), gap)
        for prompt_id, ids in by_prompt.items()
        for a, b in combinations(sorted(ids), 2)
        if (gap := judged.gap(a, b))
    ]


def label_every(judged: Any, rows: Sequence[TrainingRow], *, rng: random.Random) -> list[PreferenceRow]:
    """The rows as the simulated annotator would have chosen on each of them."""
    ids = {(sample.prompt_id, sample.text): sample.id for sample in judged.samples.values()}
    labelled = []
    for row in rows:
        if isinstance(row, PreferenceRow):
            gap = judged.gap(ids[row.prompt.id, row.chosen], ids[row.prompt.id, row.rejected])
            chosen = float(rng.random() < truth.annotator_probability(gap))
            labelled.append(row.model_copy(update={"label": chosen, "weight": 1.0, "source": "human"}))
    return labelled


class Fitter(NamedTuple):
    """Reward models as linear read-outs of the policy's states, as `reward_model.human_weight` fits them."""

    states: Tensor
    places: dict[tuple[str, str], int]
    """(prompt id, response) -> row of the states."""
    pairs: list[HeldOutPair]

    def items(self, rows: Sequence[TrainingRow]) -> list[Item]:
        return [
            Pair(
                row.prompt.id, self.places[row.prompt.id, row.chosen], self.places[row.prompt.id, row.rejected],
                label=row.label, weight=row.weight, source=row.source,
            )
            for row in rows if isinstance(row, PreferenceRow)
        ]  # fmt: skip

    def accuracy(self, items: Sequence[Item]) -> float:
        fitted = fit_direction(self.states, items, center_rewards_coefficient=CENTER)
        rewards = (self.states @ fitted.direction).tolist()
        right = []
        for pair in self.pairs:
            first, second = (rewards[self.places[pair.prompt.id, text]] for text in pair.texts)
            right.append((first - second) * pair.gap > 0)
        return statistics.fmean(right)


def make_fitter(judged: Any, pairs: list[HeldOutPair]) -> Fitter:
    base = load_causal_lm(str(POLICY_DIR))
    texts = list(dict.fromkeys((sample.prompt_id, sample.text) for sample in judged.samples.values()))
    sequences = [encode_example(judged.prompts[key], text, encoder=base.encoder) for key, text in texts]
    return Fitter(mean_states(base.model, sequences), {key: place for place, key in enumerate(texts)}, pairs)


def find_or_measure(seed: int, folder: Path, *, num_labels: int) -> dict[str, float]:
    """What was measured in a kept folder before, or is measured now."""
    kept = folder / f"found_{num_labels}.json"
    if not kept.is_file():
        found = measure_seed(seed, folder, num_labels=num_labels)
        kept.write_text(json.dumps(found), encoding="utf-8")
    told: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return told


def measure_seed(seed: int, folder: Path, *, num_labels: int) -> dict[str, float]:
    """Arm -> accuracy on held-out truth."""
    annotator = load_annotator()
    folder.mkdir(parents=True, exist_ok=True)
    if not find_dataset(folder).is_dir():
        sizes = ["--set", f"prompts.num_prompts={NUM_PROMPTS}"]
        call(folder, ["-m", "rlaif", "generate-prefs", "--run", RUN, "--seed", str(seed), *sizes])
    if not (by_judge := folder / "by_judge").is_dir():  # mixing labels in replaces the data set
        shutil.copytree(find_dataset(folder), by_judge)
    before = read_rows(by_judge)
    judged = annotator.read_run(folder / "runs", RUN)
    drawn = list(annotator.draw_labels(judged, num_labels=num_labels, num_annotators=1, seed=seed))
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in drawn), encoding="utf-8")
    mix_labels(folder)
    after = read_rows(find_dataset(folder))
    fitter = make_fitter(judged, find_held_out_pairs(judged, before.test))
    both = fitter.items(after.train)
    people = [item for item in both if item.source == "human"]
    weight = choose_weight(fitter.states, both, center_rewards_coefficient=CENTER)
    weighed = correct_or_weigh(fitter.states, both, found=weight, center_rewards_coefficient=CENTER)
    every = label_every(judged, before.train, rng=random.Random(seed))
    decided = [(pair, judged.gap(*pair)) for pair in judged.labels]
    return {
        "the judge's own labels": statistics.fmean(
            (judged.labels[pair].p_first - 0.5) * gap > 0 for pair, gap in decided if gap
        ),
        "the judge alone": fitter.accuracy(fitter.items(before.train)),
        "the judge, calibrated": fitter.accuracy([item for item in both if item.source != "human"]),
        "people alone": fitter.accuracy(people),
        "both, weight 5": fitter.accuracy(both),
        "both, weight chosen": fitter.accuracy(weigh_people(both, weight=weight.weight)),
        BOTH: fitter.accuracy(weighed.items),
        "people on every pair": fitter.accuracy(fitter.items(every)),
        "people's rows": float(len(people)),
        "held-out pairs": float(len(fitter.pairs)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep runs and figures here; what is here is not made again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        found = [
            find_or_measure(seed, (folder / f"seed-{seed}").resolve(), num_labels=options.labels)
            for seed in range(options.seeds)
        ]
    arms = {arm: mean_interval([one[arm] for one in found]) for arm in found[0]}
    mean = {arm: statistics.fmean(one[arm] for one in found) for arm in found[0]}
    reached = {
        "over_judge": (mean[BOTH] - mean["the judge alone"], OVER_JUDGE),
        "over_people": (mean[BOTH] - mean["people alone"], OVER_PEOPLE),
        "gap_closed": (
            (mean[BOTH] - mean["the judge alone"]) / (mean["people on every pair"] - mean["the judge alone"]), CLOSED,
        ),
    }  # fmt: skip
    result = {
        "command": "python benchmarks/people_example.py", "simulated": "people are drawn from the front desk's truth",
        "seeds": options.seeds, "labels": options.labels,
        "arms": {arm: one.model_dump() if one else {"mean": mean[arm]} for arm, one in arms.items()},
        "targets": {name: {"value": round(v, 4), "least": w, "met": v >= w} for name, (v, w) in reached.items()},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if all(v >= w for v, w in reached.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
