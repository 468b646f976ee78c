"""Edit a principle, see the behaviour move: one table and one plot, all policies from the same start.

    python examples/steering/steer.py                      the shipped constitutions, five seeds: under an hour
    python examples/steering/steer.py courteous_and_brief mine.yaml --seeds 1
                                                           one of them beside your own: minutes

Every row is a whole training: new samples, new reward model, new PPO per seed. Stopped at any time, the same
command goes on where it stood. Runs on the embedded front desk, whose truth is known.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rlaif.console import console, notes, say, show_text
from rlaif.errors import RlaifError
from rlaif.files.atomic import write_atomically

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHIPPED = (
    "courteous_and_brief", "curt_and_brief",
    "thorough_and_helpful", "sparing_and_helpful",
    "discreet_and_correct", "indiscreet_and_correct",
)  # fmt: skip


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "constitutions", nargs="*", help="files, or names from constitutions/; none: the three shipped and their flips"
    )
    parser.add_argument("--seeds", type=_at_least_one, default=5, help="training seeds per constitution (5)")
    parser.add_argument("--jobs", type=_at_least_one, default=2, help="trainings at a time, one core each (2)")
    parser.add_argument("--out", type=Path, default=Path("runs/steering"), help="folder of runs and results")
    parser.add_argument("--config", type=Path, default=HERE / "rlaif.yaml", help="settings of all runs")
    parser.add_argument(
        "--placebo", action=argparse.BooleanOptionalAction, default=None,
        help="a row trained on the first constitution's verdicts, shuffled; by default with the shipped ones only",
    )  # fmt: skip
    parser.add_argument(
        "--publish", action="store_true",
        help="also write benchmarks/results/steering.json, docs/steering.md and docs/steering.svg",
    )  # fmt: skip
    return parser.parse_args(argv)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def steer(arguments: argparse.Namespace) -> None:
    say("loading torch and transformers")  # seconds in which nothing else would be seen
    from steer_plan import plan
    from steer_plot import render_plot
    from steer_pool import run_all
    from steer_show import Made, render_markdown, show_table
    from steer_table import Table
    from steer_targets import as_json, check_targets

    started = time.monotonic()
    planned = plan(
        arguments.constitutions or SHIPPED, config_path=arguments.config, num_seeds=arguments.seeds,
        placebo=not arguments.constitutions if arguments.placebo is None else arguments.placebo, out=arguments.out,
    )  # fmt: skip
    finished = run_all(planned, num_workers=arguments.jobs, out=arguments.out)
    table = Table(
        tuple(planned.steered), tuple(finished.starts), tuple(finished.rows),
        num_choices=planned.seeds[0][0].config.evaluation.best_of,
    )  # fmt: skip
    made = Made.of(
        table, wall_s=None if finished.num_found else time.monotonic() - started, num_workers=arguments.jobs,
        command=" ".join(["python examples/steering/steer.py", *(sys.argv[1:] if __name__ == "__main__" else [])]),
    )  # fmt: skip
    whole = not arguments.constitutions and arguments.jobs == 2
    targets = check_targets(table, minutes=made.minutes if whole else None)
    texts = {
        "steering.json": json.dumps({**made.as_json(), **as_json(table, targets)}, indent=1) + "\n",
        "steering.md": render_markdown(table, targets, made=made),
        "steering.svg": render_plot(table),
    }
    for name, text in texts.items():
        write_atomically(arguments.out / name, text)
    if arguments.publish:
        for name, text in texts.items():
            write_atomically(
                (ROOT / "benchmarks" / "results" if name.endswith(".json") else ROOT / "docs") / name, text
            )
    show_table(table, targets, console=console)
    console.print(show_text(f"table and plot: {arguments.out / 'steering.md'}, {arguments.out / 'steering.svg'}"))


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, _terminate)
    try:
        steer(parse_arguments())
    except RlaifError as error:
        notes.print(show_text(f"error: {error.sentence}"))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        notes.print(show_text("interrupted: what is finished is kept, and the same command goes on"))
        # A pool whose workers were ended may wait for them for ever.
        guard = threading.Timer(10.0, os._exit, (130,))
        guard.daemon = True
        guard.start()
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
