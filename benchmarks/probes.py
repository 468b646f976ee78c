"""How well the probes tell what the front desk's judge understands: python benchmarks/probes.py [--per-meaning 2].

Lists of wordings made of words that it knows are checked as `rlaif constitution check` checks a principle. Prints
a table and writes benchmarks/results/probes.json. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.probe import MAX_FLIPS, MIN_RIGHT
from rlaif.constitution.probe_file import PROBE_FILE, load_probes
from rlaif.constitution.render import load_template
from rlaif.frontdesk import JUDGE_DIR
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.frontdesk.probe_quality import Checked, check_wording, draw_clear_pairs, probe_table, summarise
from rlaif.frontdesk.probe_wordings import LISTS, UNDERSTOOD, make_list
from rlaif.judging.ask_now import make_probe_judge

RESULTS = Path(__file__).parent / "results" / "probes.json"
MIN_PASSED = 0.95
"""Share of the wordings that the judge understands."""


def describe(rows: Sequence[Checked]) -> list[dict[str, object]]:
    return [
        {
            "text": row.wording.text, "wanted": row.wording.wanted, "read_as": row.read_as,
            "accuracy": row.accuracy, "flips": round(row.flips, 3),
            "declared": row.declared or "passed", "undeclared": row.undeclared or "passed",
        }
        for row in rows
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=JUDGE_DIR, help="folder of the judge and its probes")
    parser.add_argument("--probes", type=Path, help="probe file; by default the judge's own")
    parser.add_argument("--per-meaning", type=int, default=2, help="wordings of each meaning in each list")
    parser.add_argument("--pairs", type=int, default=12, help="clear pairs per attribute, for the judge's accuracy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    template = load_template(PAIR_TEMPLATE)
    judge = make_probe_judge(load_folder(options.judge), template=template, config=JudgeConfig())
    probes = load_probes(options.probes or options.judge / PROBE_FILE)
    clear = draw_clear_pairs(seed=options.seed, per_attribute=options.pairs)
    start, figures, rows = time.monotonic(), {}, {}
    for name in LISTS:
        wordings = make_list(name, seed=options.seed, per_meaning=options.per_meaning)
        rows[name] = [check_wording(wording, probes=probes, clear=clear, judge=judge) for wording in wordings]
        figures[name] = summarise(rows[name])
        print(f"{name}: {Counter(row.declared or 'passed' for row in rows[name])}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - start
    print(probe_table(figures))
    print(f"{sum(f.n for f in figures.values())} wordings, {len(probes)} probe pairs, {seconds:.0f} s")
    met = all(min(figures[name].passed_declared, figures[name].passed_undeclared) >= MIN_PASSED for name in UNDERSTOOD)
    print(f"understood wordings passed: {'met' if met else 'MISSED'}, at least {MIN_PASSED:.0%}")
    result = {
        "max_flips": MAX_FLIPS, "min_right": MIN_RIGHT, "num_probes": len(probes), "seconds": round(seconds, 1),
        "met": met, "lists": {name: figures[name]._asdict() for name in LISTS},
        "wordings": {name: describe(rows[name]) for name in LISTS},
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
