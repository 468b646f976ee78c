"""Torture: kill chains, disks of every size, hostile servers, mutilated files, fuzzers. Too long for every day.

    python benchmarks/torture [PART...] [--size N | --share X] [--seed S] [--only WORDS] [--workers W]

Each part draws its cases by the seed and says how many it tried and what was wrong; without names all parts run. With
all of them the table is written to benchmarks/results/torture.json. The exit status is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # what the tests share: forked.py, killed.py

from case import Draw, Part  # noqa: E402
from fuzzers import try_fuzzers  # noqa: E402
from hostile_servers import try_servers  # noqa: E402
from kill_chains import try_kills  # noqa: E402
from mutilated_files import try_models, try_rows, try_runs  # noqa: E402
from small_disks import try_disks  # noqa: E402

RESULTS = HERE.parent / "results" / "torture.json"
PARTS = {
    "kills": (try_kills, 25),
    "disks": (try_disks, 56),
    "servers": (try_servers, 800),
    "models": (try_models, 500),
    "runs": (try_runs, 500),
    "rows": (try_rows, 500),
    "fuzzers": (try_fuzzers, 20),
}
"""Each part: its function and its size. Of the fuzzers the size is how many times their examples are tried."""


def main() -> None:
    """Run the named parts, print what was wrong, write the table where all were run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--size", type=int, help="cases of each part, in place of its own number")
    parser.add_argument("--share", type=float, default=1.0, help="this share of each part's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="WORDS", help="only cases whose names contain these words")
    parser.add_argument("--workers", type=int, default=2, help="cases at a time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlaif-torture-") as folder:
        os.environ["TORTURE_TMP"] = folder
        sys.exit(torture(given, parser))


def torture(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """The exit status."""
    done: dict[str, Part] = {}
    for name in given.parts or PARTS:
        if name not in PARTS:
            parser.error(f'there is no part "{name}"; the parts are: {", ".join(PARTS)}')
        run, size = PARTS[name]
        done[name] = part = run(
            Draw(given.size or max(1, round(size * given.share)), seed=given.seed, only=given.only), given.workers
        )
        print(f"{name}: {part.what}: tried {part.tried}, {len(part.faults)} faults, {part.seconds:.0f} s", flush=True)
        for fault in part.faults:
            print(f"    {fault}", flush=True)
    if not (given.parts or given.size or given.only):
        table = {
            "command": f"python benchmarks/torture --seed {given.seed} --share {given.share:g}",
            "cores": os.cpu_count(),
        }
        parts = {name: part._asdict() for name, part in done.items()}
        RESULTS.write_text(json.dumps({**table, "parts": parts}, indent=1) + "\n")
    return int(any(part.faults for part in done.values()))


if __name__ == "__main__":
    main()
