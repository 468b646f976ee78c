"""People's choices with recorded judges' verdicts on the same pairs, for the benchmarks: PandaLM and LLMFAO.

Reads files that lie beside the repository, and are not always there. A side is 1 for the first reply, 0 for the second,
and one half for a tie; a judge's reply without a verdict is a tie here.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
Array = NDArray[np.float64]
SIDES = {"0": 0.5, "1": 1.0, "2": 0.0, "Tie": 0.5, "garbage": 0.5, "left": 1.0, "right": 0.0, "tie": 0.5}


class Recorded(NamedTuple):
    """Pairs as columns of shape (N,)."""

    name: str
    prompts: NDArray[np.int64]
    lengths: Array
    """Characters of the first reply less those of the second; zeros where no texts were read."""
    votes: list[list[float]]
    """The sides that people took, one list for each pair."""
    judges: dict[str, Array]

    @property
    def majority(self) -> Array:
        """The side that most people took; one half where two sides are as frequent."""
        return np.array([_most_frequent(votes) for votes in self.votes])


def _most_frequent(votes: list[float]) -> float:
    first, *others = Counter(votes).most_common(2)
    return 0.5 if others and others[0][1] == first[1] else first[0]


def find_data(name: str) -> Path:
    """The folder of a data set, beside this repository or beside the one that this work tree belongs to."""
    for root in (DATA, DATA.parent.parent.parent / "shared" / "data"):
        if (root / name).is_dir():
            return root / name
    raise SystemExit(f"{name} is not at {DATA / name}: copy it there first")


def load_pandalm() -> Recorded:
    """999 pairs of 170 prompts, three people each, and the verdicts of GPT-3.5 and PandaLM-7B, in one order."""
    folder = find_data("pandalm")
    rows, gpt, panda = (
        json.loads((folder / f"{name}testset-v1.json").read_text(encoding="utf-8"))
        for name in ("", "gpt-3.5-turbo-", "pandalm-7b-")
    )
    if not [row["idx"] for row in rows] == [row["idx"] for row in gpt] == [row["idx"] for row in panda]:
        raise SystemExit(f"{folder}: the three files do not have the same rows")
    return Recorded(
        "PandaLM",
        prompts=_number([f"{row['instruction']}\n{row['input']}" for row in rows]),
        lengths=np.array([float(len(str(row["response1"])) - len(str(row["response2"]))) for row in rows]),
        votes=[[SIDES[str(row[f"annotator{number}"])] for number in (1, 2, 3)] for row in rows],
        judges={
            "GPT-3.5": np.array([SIDES[str(row["gpt_result"])] for row in gpt]),
            "PandaLM-7B": np.array([SIDES[str(row["pandalm_result"])] for row in panda]),
        },
    )


def load_llmfao() -> Recorded:
    """2,139 pairs, some four votes of a crowd each, and the verdicts of GPT-3.5 and GPT-4, in one order."""
    folder = find_data("llmfao")
    votes: dict[str, list[float]] = defaultdict(list)
    for row in _read_csv(folder / "crowd-comparisons.csv"):
        votes[row["id"]].append(SIDES[row["winner"]])
    judges = {}
    for name, file in (("GPT-3.5", "gpt3-crowd-comparisons.csv"), ("GPT-4", "gpt4-crowd-comparisons.csv")):
        rows = {row["id"]: row for row in _read_csv(folder / file)}
        judges[name] = np.array([SIDES[rows[pair]["winner"]] for pair in votes])
    prompts = _number([rows[pair]["prompt"] for pair in votes])
    return Recorded("LLMFAO", prompts, np.zeros(len(votes)), list(votes.values()), judges)


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(names: list[str]) -> NDArray[np.int64]:
    """The number of each name, from 0."""
    places = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)
