"""Which small judges can be trusted, and asked how: python benchmarks/choosing_a_judge.py --model NAME=DIR[:PAIRS] ...

Real instruct models, each asked in four modes about pairs whose better reply is known, by the code behind
`rlaif judge-check --pairs`. Three data sets: replies that the first model wrote under a system prompt or under its
contrary (four manners, the wanted reply the longer one in half of the pairs), HH-RLHF's harmless pairs and PandaLM's
majority labels (both in ../shared/data beside the checkout; one that is not there is skipped). Writes each cell to
benchmarks/results/choosing_a_judge.json as soon as it is known; cells that are there with as many pairs are not asked
again. Answers and sampled replies are kept in --work, from which an interrupted cell resumes.

PAIRS: the most pairs of a data set that the model is asked about; dearer modes are asked about fewer, see SHARES.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from choosing_pairs import MAX_CHARACTERS, load_data

from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.files.atomic import write_atomically
from rlaif.judge_health.comparing import LEDGER_NAME, ask_candidate, check_candidate
from rlaif.judge_health.labelled_pairs import LabelledPair
from rlaif.judge_health.trial import Trial, draw_numbers
from rlaif.judge_health.trial_figures import compute_length_row
from rlaif.judge_health.wordings import FRAMES
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.interface import TokenScorer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.weights.loading import free_memory, load_causal_lm

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "choosing_a_judge.json"
MODES = {"verdict": "pair_verdict", "contrast": "contrast", "score": "score_verdict", "reason then verdict": "pair"}
SHARES = {"verdict": 0.25, "contrast": 1.0, "score": 0.15, "reason then verdict": 0.05}
"""Share of a model's pairs that a mode is asked about; a mode that writes a reason takes twenty times as long."""
LEAST = {"reason then verdict": 8}
"""Fewest pairs of a cell by mode, where the model is asked about as many; 24 for the other modes."""


class Model(NamedTuple):
    name: str
    path: str
    most: int
    """Most pairs of a data set that it is asked about."""


def measure_cell(
    pairs: Sequence[LabelledPair], *, scorer: TokenScorer, model: Model, mode: str, work: Path, asked_again: int
) -> dict[str, Any]:
    config = JudgeConfig(model=JudgeModelConfig(path=model.path), template=MODES[mode])
    trial = Trial(pairs, None)
    candidate = check_candidate(trial, config, wordings=FRAMES if asked_again else ())
    with Ledger.open(work / LEDGER_NAME) as ledger:
        started, known = time.process_time(), count_answers(ledger)
        row = ask_candidate(
            trial, candidate, scorer=scorer, budget=Budget(), ledger=ledger, folder=work,
            asked_again=draw_numbers(pairs, asked_again),
        )  # fmt: skip
        spent, num_new = time.process_time() - started, count_answers(ledger) - known
    return {
        **row.model_dump(), "judge": model.name, "asked": len(pairs), "asked_again": asked_again,
        # Two questions a pair in every mode. An interrupted cell knows the cost of its last part alone.
        "cpu_seconds_a_pair": 2 * spent / num_new if num_new else None,
    }  # fmt: skip


def count_answers(ledger: Ledger) -> int:
    tables = ("judgements", "failed_judgements")
    return sum(ledger.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables)


def run(options: argparse.Namespace) -> None:
    result = json.loads(options.out.read_text()) if options.out.is_file() else {"cells": {}, "length": {}}
    result |= describe_machine()
    options.work.mkdir(parents=True, exist_ok=True)
    data = dict(load_data(options.data_sets, work=options.work, first=options.models[0].path))
    for name, pairs in data.items():
        most = max(model.most for model in options.models)
        if len(pairs[:most]) > result["length"].get(name, {}).get("num_pairs", 0):
            result["length"][name] = compute_length_row(pairs[:most]).model_dump()
    for model in options.models:
        wanted = [
            (mode, name, pairs[: count_pairs(mode, most=model.most)])
            for mode in options.modes
            for name, pairs in data.items()
        ]
        cells = result["cells"]
        wanted = [one for one in wanted if cells.get(key_of(model, *one[:2]), {}).get("asked", 0) < len(one[2])]
        if not wanted:
            continue
        scorer = TransformersEngine(load_causal_lm(model.path, dtype="float32"))
        for mode, name, pairs in wanted:
            cells[key_of(model, mode, name)] = measure_cell(
                pairs, scorer=scorer, model=model, mode=mode, work=options.work,
                asked_again=options.asked_again if name == "manner" and mode not in LEAST else 0,
            ) | {"data": name, "mode": mode}  # fmt: skip
            write_atomically(options.out, json.dumps(result, indent=1) + "\n")
            print(describe_cell(cells[key_of(model, mode, name)]), flush=True)
        del scorer
        free_memory()


def count_pairs(mode: str, *, most: int) -> int:
    return min(most, max(LEAST.get(mode, 24), round(most * SHARES[mode])))


def key_of(model: Model, mode: str, data: str) -> str:
    return f"{model.name} | {mode} | {data}"


def describe_cell(cell: dict[str, Any]) -> str:
    right, beyond = cell["right"], cell["beyond_length"]
    share = "no answer" if right is None else f"{right['mean']:.2f} [{right['low']:.2f}, {right['high']:.2f}]"
    more = "" if beyond is None else f", {beyond['mean']:+.2f} [{beyond['low']:+.2f}, {beyond['high']:+.2f}] on length"
    return f"{cell['judge']}, {cell['mode']}, {cell['data']}: {share}{more}, {cell['asked']} pairs"


def describe_machine() -> dict[str, Any]:
    import transformers

    return {
        "command": "python benchmarks/choosing_a_judge.py --model NAME=DIR:PAIRS",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__
        },
    }  # fmt: skip


def parse_model(text: str) -> Model:
    name, _, rest = text.partition("=")
    path, _, most = rest.rpartition(":") if rest.rpartition(":")[2].isdecimal() else (rest, "", "250")
    if not name or not Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: write NAME=DIR or NAME=DIR:PAIRS, with a model's folder")
    return Model(name, path, int(most))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", dest="models", action="append", type=parse_model, required=True)
    parser.add_argument("--modes", nargs="+", choices=[*MODES], default=[*MODES])
    names = ["manner", *MAX_CHARACTERS]
    parser.add_argument("--data-sets", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--asked-again", type=int, default=12, help="pairs of contrary manners asked again in three paraphrases"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "choosing_a_judge")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
