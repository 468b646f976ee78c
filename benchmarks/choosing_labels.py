"""What 100 of people's labels make of each judge in docs/choosing-a-judge.md: python benchmarks/choosing_labels.py

For the judges that have people's pairs: those that benchmarks/choosing_a_judge.py asked (--work is its folder, nothing
is asked here), and two whose verdicts on PandaLM were published with it. Of the pairs on which people name a winner 100
have labels, drawn 500 times. How often the judge is right: `estimate_rate`, and people's labels alone beside it. Log
loss on the pairs without a label: of the judge's probability, after `calibrate`, and after a calibration that knows the
lengths alone. Writes benchmarks/results/choosing_labels.json.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from choosing_pairs import load_data
from numpy.typing import NDArray
from people_data import find_data, load_pandalm

from rlaif.calibration.calibrate import HARD_LABEL, apply_map, calibrate
from rlaif.calibration.fits import Observation
from rlaif.calibration.ppi import Rate, Rated, estimate_rate
from rlaif.constitution.render import load_template
from rlaif.judge_health.labelled_pairs import LabelledPair
from rlaif.ledger.store import Ledger
from rlaif.records import Prompt, Sample
from rlaif.stats.logits import sigmoid

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "choosing_labels.json"
LABELS = 100
MOST = 200
"""Pairs of a data set that docs/choosing-a-judge.md is about, the first ones in the order drawn by their texts."""
LENGTH_LIMIT = 2.0
VERDICT = math.log(1 / HARD_LABEL - 1)
Array = NDArray[np.float64]


class Judge(NamedTuple):
    """A judge on pairs of which people name the winner, as columns of shape (N,)."""

    data: str
    name: str
    mode: str
    logits: Array
    lengths: Array
    """By how many standard deviations of length, in words, the first reply is longer, within LENGTH_LIMIT."""
    people: Array
    prompts: NDArray[np.int64]
    unit: float
    """How large the log-odds are: their scale means nothing for a contrast."""


def read_contrasts(work: Path) -> list[Judge]:
    """The judge that was asked by contrast, from the ledger of benchmarks/choosing_a_judge.py."""
    scale = load_template("contrast").contrast.scale
    with Ledger.open(work / "ledger.sqlite", read_only=True) as ledger:
        rows = ledger.rows(
            "SELECT q.content, j.content FROM questions q JOIN judgements j "
            "ON json_extract(j.content, '$.question_id') = q.id WHERE json_extract(q.content, '$.mode') = 'contrast'"
        )
    scores: dict[tuple[str, str, str], float] = {}
    for question, judgement in rows:
        asked = json.loads(question)
        scores[asked["judge_id"], asked["sample_ids"][0], asked["principles"][0]["id"]] = json.loads(judgement)["score"]
    judges = {judge for judge, _, _ in scores}
    found = []
    for data, pairs in load_data(["HH-RLHF harmless", "PandaLM"], work=work, first=""):
        for judge in sorted(judges):
            keys = [[(judge, _sample_id(pair, text), pair.principle.id) for text in pair[1:3]] for pair in pairs]
            known = [number for number, key in enumerate(keys) if all(one in scores for one in key)][:MOST]
            if len(known) == MOST:
                logits = [(scores[keys[n][0]] - scores[keys[n][1]]) / scale for n in known]
                found.append(_make_judge(data, "SmolLM2-135M-Instruct", [pairs[n] for n in known], logits))
    return found


def _sample_id(pair: LabelledPair, text: str) -> str:
    prompt = Prompt(messages=pair.messages)
    return Sample(prompt_id=prompt.id, policy_id="labelled pairs", finish_reason="recorded", text=text).id


def _make_judge(data: str, name: str, pairs: Sequence[LabelledPair], logits: Sequence[float]) -> Judge:
    words = np.array([float(len(pair.first.split()) - len(pair.second.split())) for pair in pairs])
    places = {prompt: n for n, prompt in enumerate(dict.fromkeys(_prompt_of(pair) for pair in pairs))}
    found = np.array(logits)
    return Judge(
        data, name, "contrast", found, _as_lengths(words), np.array([pair.label for pair in pairs]),
        np.array([places[_prompt_of(pair)] for pair in pairs]), float(np.sqrt(np.mean(found**2))),
    )  # fmt: skip


def _prompt_of(pair: LabelledPair) -> str:
    return Prompt(messages=pair.messages).id


def _as_lengths(words: Array) -> Array:
    lengths: Array = np.clip(words / words.std(), -LENGTH_LIMIT, LENGTH_LIMIT)
    return lengths


def read_recorded() -> list[Judge]:
    """The judges whose verdicts were published with PandaLM; a verdict is read as a probability of .95."""
    data = load_pandalm()
    decided = data.majority != 0.5
    return [
        Judge(
            "PandaLM, all lengths", name, "recorded verdict",
            VERDICT * (2 * sides[decided] - 1),
            _as_lengths(data.lengths)[decided], data.majority[decided], data.prompts[decided], 1.0,
        )
        for name, sides in data.judges.items()
    ]  # fmt: skip


def measure(judge: Judge, *, draws: int) -> dict[str, Any]:
    rng = np.random.default_rng(100)
    right = 0.5 * (1 + np.sign(judge.logits) * (2 * judge.people - 1))
    without = judge._replace(logits=np.zeros(len(right)))
    rates, before, after, by_length, kinds = [], [], [], [], []
    for _ in range(draws):
        at = rng.choice(len(right), size=LABELS, replace=False)
        others = np.setdiff1d(np.arange(len(right)), at)
        rates.append(rate_judge(judge, right, at))
        before.append(log_loss([sigmoid(x) for x in judge.logits[others].tolist()], judge.people[others]))
        for one, losses in ((judge, after), (without, by_length)):
            found = calibrate([observe(one, int(n)) for n in at], length_sd=1.0, logit_unit=judge.unit).map
            labels = [apply_map(found, logit=one.logits[n], length=one.lengths[n]) for n in others.tolist()]
            losses.append(log_loss(labels, judge.people[others]))
            kinds += [found.kind] if one is judge else []
    truth = float(right.mean())
    return {
        "data": judge.data, "judge": judge.name, "mode": judge.mode, "pairs": len(right), "right": round(truth, 4),
        "first_draw": {name: _bounds(getattr(rates[0], name)) for name in ("estimate", "people")},
        "width": mean_of(rate.estimate.high - rate.estimate.low for rate in rates),
        "people_width": mean_of(rate.people.high - rate.people.low for rate in rates),
        "covered": mean_of(float(rate.estimate.low <= truth <= rate.estimate.high) for rate in rates),
        "log_loss_before": mean_of(before), "log_loss_after": mean_of(after), "log_loss_by_length": mean_of(by_length),
        "better_in": mean_of(float(a < b) for a, b in zip(after, before, strict=True)),
        "maps": {kind: kinds.count(kind) for kind in dict.fromkeys(sorted(kinds))},
    }  # fmt: skip


def rate_judge(judge: Judge, right: Array, at: NDArray[np.int64]) -> Rate:
    """How often the judge is right. What predicts it: how sure it is, and whether it takes the longer reply."""
    said = np.full(len(right), np.nan)
    said[at] = right[at]
    features = [np.abs(judge.logits) / judge.unit, np.sign(judge.logits) * judge.lengths, np.ones(len(right))]
    rate = estimate_rate(Rated(np.stack(features, axis=1), said, judge.prompts, np.ones(len(right))))
    assert rate is not None
    return rate


def observe(judge: Judge, number: int) -> Observation:
    return Observation(
        str(judge.prompts[number]), float(judge.logits[number]), float(judge.lengths[number]),
        chosen=float(judge.people[number]),
    )  # fmt: skip


def log_loss(predicted: Sequence[float], people: Array) -> float:
    p = np.clip(np.array(predicted), 1e-12, 1 - 1e-12)
    return float(-np.mean(people * np.log(p) + (1 - people) * np.log1p(-p)))


def mean_of(values: Any) -> float:
    return round(statistics.fmean(values), 4)


def _bounds(estimate: Any) -> dict[str, float]:
    return {name: round(getattr(estimate, name), 4) for name in ("mean", "low", "high")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "choosing_a_judge")
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    began = time.process_time()
    find_data("pandalm")
    rows = []
    for judge in [*read_contrasts(options.work), *read_recorded()]:
        rows.append(measure(judge, draws=options.draws))
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "command": "python benchmarks/choosing_labels.py", "labels": LABELS, "draws": options.draws,
        "python": sys.version.split()[0], "numpy": np.__version__, "rows": rows,
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
