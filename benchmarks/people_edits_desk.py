"""Edits that sharpen, blur, negate and swap principles on the front desk: python benchmarks/people_edits_desk.py

The front desk's judge compares 600 pairs under an old file and, by `rlaif constitution test`, under the edited one. The
flips are those that the command finds. People are SIMULATED: they want politeness and correct facts alike, take the
better side by the truth with probability .7, .8 or .9, and tie where it names none. At .5 they cannot tell, and no edit
helps. Their answers are drawn for each of 2,000 runs, in the random order of the test. An adversary takes them in after
every label and stops at the first certificate; it is false where that run's answers on all flips say otherwise. theta:
the share of flips that moves to people's side. Some runs are checked by the command's own function. Writes
benchmarks/results/people_edits_desk.json; exits with 1 where more than 6.5 % of the runs have a false certificate, or
where labels on flips (those of the uniform share are counted apart) are more than 1.3 times the share of flips times
those on random pairs, for an expected theta from .2 to .8.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from people_edits import MOST, MOST_LABELS, first_certified

from rlaif import pipeline
from rlaif.audit.edit_refusals import Fixed
from rlaif.audit.edit_tests import load_edit, make_test
from rlaif.calibration.answers import Answer, Answered, Choice
from rlaif.calibration.edit_test import FLIPS_TO_ONE, asked_items, gain, stand
from rlaif.config.load import load_config
from rlaif.frontdesk.truth import measure_attributes
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work
from rlaif.records import EditItem, EditTest, Prompt, Sample
from rlaif.stats.betting import Side

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "people_edits_desk.json"
NUM_PROMPTS = 300
"""With four replies each, in two pairs."""
WANTED = ("courteous", "correct")
"""What people look for."""
RIGHT = (0.5, 0.7, 0.8, 0.9)
AT_ONCE, NUM_CHECKED = 200, 5
POLITE, CORRECT, WRONG, THOROUGH = (
    "Prefer the reply that is polite.", "The better reply is correct.", "The better reply is wrong.",
    "The better reply is thorough.",
)  # fmt: skip
FILES = {
    "wanted": ((POLITE, 1), (CORRECT, 1)), "vague": ((POLITE, 1), (THOROUGH, 1)), "negated": ((POLITE, 1), (WRONG, 1)),
    "polite first": ((POLITE, 2), (CORRECT, 1)), "correct first": ((POLITE, 1), (CORRECT, 2)),
}  # fmt: skip


class Edit(NamedTuple):
    name: str
    what: str
    old: str
    new: str


EDITS = (
    Edit("sharpen", "`is thorough` becomes `is correct`, which people want", "vague", "wanted"),
    Edit("blur", "`is correct` becomes `is thorough`", "wanted", "vague"),
    Edit("negate", "`is correct` becomes `is wrong`", "wanted", "negated"),
    Edit("swap", "two principles of weights 2 and 1 change weights", "polite first", "correct first"),
)


class Desk(NamedTuple):
    """A test that the command began, and the side that is better by the truth: 1 for a, 1/2 for neither."""

    test: EditTest
    truth: dict[str, float]


def write_file(folder: Path, name: str) -> str:
    """A principle file."""
    rows = [
        f"  - {{id: p{number}, text: {text}, weight: {weight}}}\n" for number, (text, weight) in enumerate(FILES[name])
    ]
    path = folder / f"{name.replace(' ', '_')}.yaml"
    path.write_text(f"name: desk\nprinciples:\n{''.join(rows)}")
    return str(path)


def begin(edit: Edit, folder: Path) -> Desk:
    """Judge by the old file, unless a run did already, and begin the test."""
    old, new = (write_file(folder, name) for name in (edit.old, edit.new))
    run = edit.old.replace(" ", "_")
    with contextlib.chdir(folder):
        if not (folder / "runs" / run).exists():
            config = load_config(overrides=[
                f"constitution={old}", f"prompts.num_prompts={NUM_PROMPTS}", "sampling.num_samples=4",
                "sampling.num_pairs=2", "seed=16",
            ])  # fmt: skip
            with open_work(config, run_name=run, runs_dir=Path("runs"), resume=False) as work:
                pipeline.generate_preferences(work)
        made = make_test(
            *load_edit(old, new), path=Path(f"{edit.name}.json"), run=run, runs_dir=Path("runs"), fixed=Fixed(),
            dry_run=False,
        )  # fmt: skip
        assert made.test is not None
        with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
            prompts = {prompt.id: prompt for prompt in list_records(ledger, Prompt)}
            samples = {sample.id: sample for sample in list_records(ledger, Sample)}
    pairs = [*made.test.flips, *made.test.rest]
    return Desk(made.test, {item.item_id: _find_better(item, prompts, samples) for item in pairs})


def _find_better(item: EditItem, prompts: dict[str, Prompt], samples: dict[str, Sample]) -> float:
    chat = prompts[item.prompt_id].as_chat()
    a, b = (measure_attributes(chat, samples[one].text) for one in item.sample_ids)
    gap = math.fsum(a[name] - b[name] for name in WANTED)
    return 0.5 if gap == 0 else float(gap > 0)


def draw_gains(desk: Desk, *, right: float, runs: int, rng: np.random.Generator) -> Array:
    """u of every flip by the answers of each run, of shape (runs, flips)."""
    items = desk.test.flips
    table = np.array([[gain(item, side) for side in (0.0, 0.5, 1.0)] for item in items])
    sides = draw_sides(desk, right=right, runs=runs, rng=rng)
    return table[np.arange(len(items)), (2 * sides).astype(int)]


def draw_sides(desk: Desk, *, right: float, runs: int, rng: np.random.Generator) -> Array:
    truth = np.array([desk.truth[item.item_id] for item in desk.test.flips])
    is_right = rng.random((runs, len(truth))) < right
    return np.where(is_right, truth, 1 - truth)


def measure(edit: Edit, desk: Desk, *, right: float, runs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Certificates, those of them that are false, and labels on flips and on random pairs."""
    num_pairs = len(desk.test.flips) + len(desk.test.rest)
    parts: dict[str, list[Array]] = {name: [] for name in ("gains", "above", "below", "random")}
    expected = float(draw_gains(desk, right=right, runs=20_000, rng=np.random.default_rng(1)).mean())
    helps: Side = "above" if expected >= 0.5 else "below"
    for start in range(0, runs, AT_ONCE):
        gains = rng.permuted(draw_gains(desk, right=right, runs=min(AT_ONCE, runs - start), rng=rng), axis=1)
        rest = np.full((len(gains), num_pairs - gains.shape[1]), 0.5)
        pairs = rng.permuted(np.concatenate([gains, rest], axis=1), axis=1)
        parts["gains"].append(gains.mean(axis=1))
        parts["above"].append(first_certified(gains, side="above"))
        parts["below"].append(first_certified(gains, side="below"))
        parts["random"].append(first_certified(pairs, side=helps))
    thetas, above, below, random = (np.concatenate(parts[name]) for name in ("gains", "above", "below", "random"))
    share = len(desk.test.flips) / num_pairs
    flips, others = float(np.median(above if helps == "above" else below)), float(np.median(random))
    is_decided = math.isfinite(flips) and math.isfinite(others)
    return {
        "edit": edit.name, "what": edit.what, "people_right": right, "flips": len(desk.test.flips), "pairs": num_pairs,
        "theta": round(expected, 3),
        "better": round(float(np.isfinite(above).mean()), 4), "worse": round(float(np.isfinite(below).mean()), 4),
        "false_better": round(float((np.isfinite(above) & (thetas <= 0.5)).mean()), 4),
        "false_worse": round(float((np.isfinite(below) & (thetas >= 0.5)).mean()), 4),
        "labels": flips if is_decided else None, "uniform_labels": flips // FLIPS_TO_ONE if is_decided else None,
        "random_labels": others if is_decided else None,
        "times_the_share": round(flips / others / share, 3) if is_decided else None,
    }  # fmt: skip


def check(desk: Desk, *, right: float, rng: np.random.Generator) -> int:
    """How many of a few runs `stand`, given every answer in turn, decides otherwise or at another label."""
    num_wrong = 0
    for sides in draw_sides(desk, right=right, runs=NUM_CHECKED, rng=rng):
        order = rng.permutation(len(sides))
        test = desk.test.model_copy(update={"flips": tuple(desk.test.flips[place] for place in order)})
        said = dict(zip((item.item_id for item in test.flips), sides[order].tolist(), strict=True))
        gains = np.array([[gain(item, said[item.item_id]) for item in test.flips]])
        at = {side: first_certified(gains, side=side)[0] for side in ("above", "below")}
        first = min(at.values())
        last = len(gains[0]) if math.isinf(first) else int(first)
        decisions = [stand(test, [answer(test, said, num)]).decision for num in (last - 1, last)]
        expected = "undecided" if math.isinf(first) else "better" if at["above"] == first else "worse"
        num_wrong += decisions != ["undecided", expected]
    return num_wrong


def answer(test: EditTest, said: dict[str, float], num_flips: int) -> Answered:
    """The answers to the sheet up to that many flips."""
    words: dict[float, Choice] = {1.0: "first", 0.5: "tie", 0.0: "second"}
    answers: dict[str, Answer] = {}
    for item in asked_items(test):
        num_flips -= item.item_id in said
        if num_flips < 0:
            break
        choice = words[said.get(item.item_id, 0.5)]
        answers[item.item_id] = Answer(
            item.item_id, choice, "ab", 1.0, note="", at="t", guideline="", is_override=False
        )
    return Answered(
        "ann", answers, orders={}, skips={}, last_undone=None, undone=frozenset(), history=(), firsts=answers
    )


def find_missed(cells: list[dict[str, Any]]) -> list[str]:
    missed = []
    for cell in cells:
        name = f"{cell['edit']}, people right in {cell['people_right']:.0%}"
        if max(cell["false_better"], cell["false_worse"]) > MOST:
            missed.append(f"false certificates: {name}")
        if (
            0.2 <= cell["theta"] <= 0.8
            and cell["times_the_share"] is not None
            and cell["times_the_share"] > MOST_LABELS
        ):
            missed.append(f"labels: {name}")
        if cell["decided_otherwise"]:
            missed.append(f"the command decides otherwise: {name}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    began, cells, rng = time.process_time(), [], np.random.default_rng(16)
    with tempfile.TemporaryDirectory() as folder:
        for edit in EDITS:
            desk = begin(edit, Path(folder))
            for right in RIGHT:
                cells.append(measure(edit, desk, right=right, runs=runs, rng=rng))
                cells[-1]["decided_otherwise"] = check(desk, right=right, rng=rng)
                print(json.dumps(cells[-1]), flush=True)
    found = {
        "command": "python benchmarks/people_edits_desk.py", "simulated": "people are drawn by the desk's truth",
        "runs": runs, "checked": NUM_CHECKED, "python": sys.version.split()[0], "torch": torch.__version__,
        "cells": cells, "missed": find_missed(cells), "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"missed: {one}" for one in found["missed"]))
    return bool(found["missed"])


if __name__ == "__main__":
    sys.exit(main())
