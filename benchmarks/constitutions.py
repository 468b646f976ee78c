"""How often a judge is right on the examples of the shipped constitutions: each principle asked about its own.

    python benchmarks/constitutions.py MODEL --template contrast

MODEL is a folder or a hub id. Asks as `rlaif constitution check` does, refuses nothing, and adds the judge's row to
benchmarks/results/constitutions.json, which keeps the rows of other judges. Probes are few: they tell a judge that
understands a principle from one that guesses, not a good judge from a better one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from rlaif.config.generate import JudgeConfig, JudgeModelConfig
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.probe import Reading
from rlaif.constitution.shipped import known_names
from rlaif.judging.probing import probe_judge
from rlaif.stats.intervals import wilson

RESULTS = Path(__file__).parent / "results" / "constitutions.json"
NAMES = [name for name in known_names("constitutions", ".yaml") if "/" not in name]


def describe(reading: Reading) -> dict[str, object]:
    share = wilson(reading.num_right, reading.num_expected)
    return {
        "right": reading.num_right, "n": reading.num_expected, "flips": reading.num_flipped,
        "failed": reading.failed.total(), "longer": reading.num_longer,
        "low": round(share.low, 3), "high": round(share.high, 3), "fault": reading.find_fault(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub id of the judge")
    parser.add_argument("--template", default="contrast", help="judge template")
    parser.add_argument("--name", help="name of the model in the table; by default the folder's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shipped = {name: load_constitution(name) for name in NAMES}
    owner = {principle.id: name for name, one in shipped.items() for principle in one.principles}
    everything = shipped[NAMES[0]].changed(
        principles=tuple(principle for one in shipped.values() for principle in one.principles)
    )
    config = JudgeConfig(model=JudgeModelConfig(path=options.model), template=options.template)
    start = time.process_time()
    readings = probe_judge(everything, config=config).readings
    rows = {f"{owner[one.principle.id]}: {one.principle.id}": describe(one) for one in readings if one.num_expected}
    name = options.name or Path(options.model).name
    done = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {"judges": {}}
    done["command"] = "python benchmarks/constitutions.py MODEL --template TEMPLATE"
    done["judges"][f"{name}, {options.template}"] = {
        "cpu_seconds": round(time.process_time() - start), "principles": rows,
    }  # fmt: skip
    options.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    for principle, row in rows.items():
        print(f"{principle:32} right {row['right']} of {row['n']}, flips {row['flips']}, longer {row['longer']}")


if __name__ == "__main__":
    main()
