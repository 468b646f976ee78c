"""What 200 people's labels do to a policy, and whether the report says it: python benchmarks/people_policy.py.

Two runs on the front desk with one seed and the constitution "confident and calm": trained on the judge's labels alone,
and on those with 200 SIMULATED labels of examples/human-labels, which take the judge's liking for length away. No
principle names length. Written down are the simulated truths at the start and after each training, and the sentences of
the report about it. Writes benchmarks/results/people_policy.json; exits with 1 when the report does not say it.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "people_policy.json"
CONSTITUTION = HERE / "confident_and_calm.yaml"
ANNOTATOR = HERE.parent / "examples" / "human-labels" / "simulated_annotator.py"
SIZES = ("prompts.num_prompts=300", "evaluation.num_prompts=100", "evaluation.num_samples=2", "evaluation.best_of=0")
UNNAMED = "brief"
"""The measure that no principle names and that length is about."""
LEAST_CHANGE = 30
"""Points by which the labels must move it beside training without them, or there is nothing to say."""


def run(folder: Path, arguments: Sequence[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")


def run_both(folder: Path, *, seed: int, num_labels: int) -> None:
    """The run with people's labels, then the one without, which finds its samples and judgements in the ledger."""
    sizes = [part for size in (f"constitution={CONSTITUTION}", *SIZES) for part in ("--set", size)]
    settings = ["--seed", str(seed), *sizes]
    run(folder, ["-m", "rlaif", "generate-prefs", "--run", "people", *settings])
    run(folder, [str(ANNOTATOR), "label", "--run", "people", "--num-labels", str(num_labels)])
    run(folder, ["-m", "rlaif", "train", "--run", "people", "--human-labels", "labels.jsonl"])
    run(folder, ["-m", "rlaif", "evaluate", "--run", "people"])
    run(folder, ["-m", "rlaif", "run", "--run", "judge", *settings])


def read_report(folder: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """The evaluation, and what the report says that people's labels did to a measure."""
    place = folder / "runs" / name / "round_00" / "7_evaluation"
    evaluation: dict[str, Any] = json.loads((place / "report.json").read_text(encoding="utf-8"))["evaluation"]
    page = (place / "report.html").read_text(encoding="utf-8")
    plain = html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)))
    lines = (" ".join(line.split()) for line in plain.split("\n"))
    return evaluation, [line for line in lines if re.match("People's labels (turned|took|brought)", line)]


def summarise(folder: Path, *, seed: int, num_labels: int) -> dict[str, Any]:
    people, said = read_report(folder, "people")
    judge, said_without = read_report(folder, "judge")
    names = [name for name in people["measures_before"] if name in judge["measures_after"]]
    truth = {
        name: {
            "start": round(people["measures_before"][name]["mean"], 1),
            "judge": round(judge["measures_after"][name]["mean"], 1),
            "people": round(people["measures_after"][name]["mean"], 1),
        }
        for name in names
    }
    moved = truth[UNNAMED]["people"] - truth[UNNAMED]["judge"]
    is_said = any(UNNAMED in line and "which no principle names" in line and "the policy went" in line for line in said)
    return {
        "command": "python benchmarks/people_policy.py", "seed": seed, "labels": num_labels,
        "simulated": "people are drawn from the front desk's truth", "truth": truth, "unnamed": UNNAMED,
        "moved_by_labels": round(moved, 1), "said": said, "said_without_labels": said_without,
        "met": abs(moved) >= LEAST_CHANGE and is_said and not said_without,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--labels", type=int, default=200)
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        run_both(Path(temporary), seed=options.seed, num_labels=options.labels)
        result = summarise(Path(temporary), seed=options.seed, num_labels=options.labels)
    result["seconds"] = round(time.perf_counter() - started)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
