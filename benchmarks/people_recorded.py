"""What people say on all of PandaLM, by 100 of its labels and a recorded judge: python benchmarks/people_recorded.py

People and judges are real. 1,000 times, 100 pairs have labels (the majority of three people) and the judge's verdict is
known on all; the 95 % interval of `estimate_rate` should hold the mean of all labels, and be narrower than that of the
labels alone. Three ways to resample. Labels on other pairs of the one list, each pair a unit: the mean is this list's.
The same, each prompt a unit: the interval is that of the prompts the list was drawn from, so wider than the list's
mean needs. Other prompts too, each prompt a unit. Needs PandaLM's files in ../shared/data.
Writes benchmarks/results/people_recorded.json; exits with 1 where an interval covers less than 93 or more than 97 %, is
not narrower, or where the control, the judge's own mean, does not fail.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from people_data import Recorded, load_pandalm

from rlaif.calibration.ppi import Rated, estimate_rate

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "people_recorded.json"
LABELS = 100
RANGE = (0.93, 0.97)
VERDICT = 2.0
"""Log-odds of a verdict, which has none: any number serves, because its slope is fitted."""


class Design(NamedTuple):
    """What changes from one resample to the next, and what counts as one unit."""

    name: str
    new_prompts: bool
    by_prompt: bool


DESIGNS = (
    Design("labels, pairs as units", new_prompts=False, by_prompt=False),
    Design("labels, prompts as units", new_prompts=False, by_prompt=True),
    Design("prompts and labels, prompts as units", new_prompts=True, by_prompt=True),
)


class Question(NamedTuple):
    """A share of people's answers, and what the judge and the texts say of each pair."""

    what: str
    people: Array
    judged: Array
    """The judge's answers, which are its prediction of people's."""
    lengths: Array
    prompts: NDArray[np.int64]


def ask(data: Recorded, judge: str) -> list[Question]:
    """Three shares about people, with one judge: two about the replies, one about the judge itself."""
    people, judged, lengths = data.majority, data.judges[judge], data.lengths
    (other,) = (verdicts for name, verdicts in data.judges.items() if name != judge)
    differ = lengths != 0
    longer = lengths > 0
    return [
        Question("the first reply is better", people, judged, lengths, data.prompts),
        Question(
            "the longer reply is better",
            np.where(longer, people, 1 - people)[differ], np.where(longer, judged, 1 - judged)[differ],
            np.abs(lengths)[differ], data.prompts[differ],
        ),
        # what predicts that a judge is right is here the other judge, where it says the same
        Question(
            "the judge is right", 1 - np.abs(judged - people), 1 - np.abs(judged - other),
            np.where(judged == 0.5, 0.0, np.where(longer, 1, -1) * (2 * judged - 1) * np.abs(lengths)), data.prompts,
        ),
    ]  # fmt: skip


def draw(question: Question, design: Design, *, rng: np.random.Generator) -> Rated:
    """The list, or as many of its prompts drawn with replacement, with labels on 100 pairs."""
    rows, prompts = np.arange(len(question.people)), question.prompts
    if design.new_prompts:
        by_prompt = [np.flatnonzero(question.prompts == number) for number in np.unique(question.prompts)]
        drawn = [by_prompt[number] for number in rng.integers(len(by_prompt), size=len(by_prompt))]
        rows = np.concatenate(drawn)
        prompts = np.repeat(np.arange(len(drawn)), [len(one) for one in drawn])
    lengths = np.sign(question.lengths) * np.log1p(np.abs(question.lengths))
    logits = VERDICT * (2 * question.judged - 1)
    said = np.full(len(rows), np.nan)
    at = rng.choice(len(rows), size=LABELS, replace=False)
    said[at] = question.people[rows[at]]
    features = np.stack([logits[rows], lengths[rows] / lengths.std(), np.ones(len(rows))], axis=1)
    return Rated(features, said, prompts if design.by_prompt else np.arange(len(rows)), np.ones(len(rows)))


def measure(question: Question, design: Design, *, judge: str, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng(999)
    truth = float(question.people.mean())
    rates = []
    for _ in range(runs):
        rate = estimate_rate(draw(question, design, rng=rng))
        assert rate is not None
        rates.append(rate)
    ours, people = (
        np.array([[one.low, one.high] for one in found])
        for found in ([rate.estimate for rate in rates], [rate.people for rate in rates])
    )
    width, people_width = (float((bounds[:, 1] - bounds[:, 0]).mean()) for bounds in (ours, people))
    coverage = covers(ours, truth)
    return {
        "judge": judge, "what": question.what, "resampled": design.name,
        "pairs": len(question.people), "truth": round(truth, 4), "coverage": round(coverage, 4),
        "people_coverage": round(covers(people, truth), 4), "width": round(width, 4),
        "people_width": round(people_width, 4), "times_as_many_labels": round((people_width / width) ** 2, 3),
        "uses_judge": round(float(np.mean([rate.uses_judge for rate in rates])), 4),
        "met": RANGE[0] <= coverage <= RANGE[1] and width < people_width,
    }  # fmt: skip


def covers(bounds: Array, truth: float) -> float:
    return float(np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])))


def measure_naive(question: Question, *, judge: str, runs: int) -> dict[str, Any]:
    """The control: the judge's mean over resampled prompts with its own standard error, taken for people's."""
    rng = np.random.default_rng(998)
    truth, held = float(question.people.mean()), 0
    for _ in range(runs):
        features = draw(question, DESIGNS[-1], rng=rng).features
        judged = (features[:, 0] / VERDICT + 1) / 2
        half = 1.96 * float(judged.std(ddof=1)) / math.sqrt(len(judged))
        held += abs(float(judged.mean()) - truth) <= half
    return {
        "judge": judge, "what": question.what, "judged": round(float(question.judged.mean()), 4),
        "truth": round(truth, 4), "coverage": round(held / runs, 4),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    started, data = time.process_time(), load_pandalm()
    cells, controls = [], []
    for judge in data.judges:
        for question in ask(data, judge):
            for design in DESIGNS:
                cells.append(measure(question, design, judge=judge, runs=runs))
                print(json.dumps(cells[-1]), flush=True)
        controls.append(measure_naive(ask(data, judge)[1], judge=judge, runs=runs))
        print(json.dumps(controls[-1]), flush=True)
    found = {
        "command": "python benchmarks/people_recorded.py", "runs": runs, "labels": LABELS,
        "python": sys.version.split()[0], "numpy": np.__version__, "cells": cells, "controls": controls,
        "cpu_s": round(time.process_time() - started, 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if all(cell["met"] for cell in cells) and min(one["coverage"] for one in controls) < RANGE[0] else 1


if __name__ == "__main__":
    sys.exit(main())
