"""A sentence in ordinary English, and a real model behaves differently: the table that shows it, and what fails.

    python steering.py                       three principles, their flips, one that fails, and a placebo
    python steering.py warm cold --seeds 1   two of them: minutes
    python steering.py mine.yaml             a principle of yours; --measure says what it should move

Every row is a whole training of SmolLM2-135M-Instruct: `python fetch_model.py` makes its folder. Stopped at any time,
the same command continues. Replies of finished trainings are kept, so the table is made again without training;
those of the published table are benchmarks/results/real_model_replies.jsonl.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from real_arms import HERE, PLACEBO, ROOT, Arm, train_arm

from rlaif.console import Progress, console, notes, say, show_text
from rlaif.errors import RlaifError
from rlaif.files.atomic import write_atomically

PUBLISHED = ROOT / "benchmarks" / "results" / "real_model_replies.jsonl"
ARMS = ("warm", "cold", "brief", "wordy", "formal", "casual", "gives_an_example")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="*", help=f"of {', '.join(ARMS)}, or principle files; none: all, and a placebo")
    parser.add_argument("--seeds", type=_at_least_one, default=3, help="training seeds per principle (3)")
    parser.add_argument("--through", choices=("judge", "model"), default="judge", help="what gives the rewards (judge)")
    parser.add_argument("--jobs", type=_at_least_one, default=1, help="trainings at a time (1: each takes all cores)")
    parser.add_argument("--out", type=Path, default=Path("runs/real-model"), help="folder of runs and results")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="an option of all trainings, a.b=x")
    parser.add_argument("--measure", default="", help="for a file of yours: what it should raise; -NAME: lower")
    parser.add_argument("--reader", type=Path, help="another model's folder: it reads the replies too; slow")
    parser.add_argument("--table-only", action="store_true", help="make the table of what is finished, train nothing")
    parser.add_argument(
        "--publish", action="store_true", help="add to the replies and the table in benchmarks/results and docs"
    )
    return parser.parse_args(argv)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def find_constitution(arm: str) -> str:
    """A flip beside this file, a file of the user's, or a name from constitutions/."""
    flip = HERE / "flips" / f"{arm}.yaml"
    return str(flip) if flip.is_file() else str(Path(arm).resolve()) if arm.endswith(".yaml") else arm


def plan_arms(arguments: argparse.Namespace) -> list[Arm]:
    """Every training of the table, seed by seed; the placebo follows the arm whose scores it shuffles."""
    names = [*(arguments.arms or ARMS), *([] if arguments.arms or arguments.through == "model" else [PLACEBO])]
    return [
        Arm(
            name=Path(name).stem, constitution=find_constitution(names[0] if name == PLACEBO else name), seed=seed,
            through=arguments.through, out=arguments.out.resolve(), settings=tuple(arguments.settings),
        )
        for seed in range(1, arguments.seeds + 1)
        for name in names
    ]  # fmt: skip


def train_all(arms: Sequence[Arm], *, jobs: int) -> None:
    """Train what is not finished. A training that fails is named, and the others are done all the same."""
    waiting = [arm for arm in arms if not arm.row_path.is_file()]
    say(f"{len(arms)} trainings, {len(arms) - len(waiting)} of them finished; logs in {arms[0].log_path.parent}")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    failed: list[str] = []
    with Progress("trainings", len(arms), unit="trainings") as progress:
        progress.count_known(len(arms) - len(waiting))
        for batch in ([one for one in waiting if one.name != PLACEBO], [one for one in waiting if one.name == PLACEBO]):
            # A process each, so that the memory of one training is free for the next.
            pool = ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1)
            running = {pool.submit(train_arm, arm, threads=threads): arm for arm in batch}
            for done in as_completed(running):
                if (error := done.exception()) is not None:
                    failed.append(f"{running[done].run_name}: {str(error).splitlines()[0]}")
                progress.advance(1, failed=int(error is not None))
            pool.shutdown()
    for line in failed:
        notes.print(show_text(f"failed: {line}"))


def make_table(arms: Sequence[Arm], arguments: argparse.Namespace) -> None:
    """The table of every training that is finished in this folder."""
    from real_readers import render_readings
    from real_rows import merge_rows, publish_rows, read_finished, read_published
    from real_table import INSTRUMENTS, Instrument, as_json, compute_figures, render_markdown

    instruments = dict(INSTRUMENTS)
    if arguments.measure:
        own = Instrument(arguments.measure.removeprefix("-"), -1 if arguments.measure.startswith("-") else 1)
        instruments |= {arm.name: own for arm in arms if arm.name not in INSTRUMENTS}
    rows = read_finished(arguments.out)
    if arguments.publish:
        rows = merge_rows(rows, read_published(PUBLISHED))
    if not rows:
        notes.print(show_text("no training is finished: there is no table yet"))
        return
    figures = compute_figures(rows, instruments=instruments)
    command = describe_command(arguments)
    readings = read_by_other(rows, arguments) if arguments.reader else []
    more = "\n".join(render_readings(readings, reader=arguments.reader.name)) if arguments.reader else ""
    results = {"command": command, "arms": as_json(figures), "readings": [one._asdict() for one in readings]}
    texts = {
        "real_model.json": json.dumps(results, indent=1) + "\n",
        "real-model.md": "# A real model, steered\n\n" + render_markdown(figures, rows, command=command, more=more),
    }
    for name, text in texts.items():
        write_atomically(arguments.out / name, text)
        if arguments.publish:
            folder = ROOT / "benchmarks" / "results" if name.endswith(".json") else ROOT / "docs"
            write_atomically(folder / name, text)
    if arguments.publish:
        publish_rows(rows, PUBLISHED)
    for one in figures:
        console.print(show_text(f"{one.through:6} {one.arm:17} {len(one.seeds)} seeds: {one.verdict}"))
    console.print(show_text(f"table and replies: {arguments.out / 'real-model.md'}"))


def describe_command(arguments: argparse.Namespace) -> str:
    """What trains these rows: without the folder, and without what changes no reply."""
    through = ["--through", arguments.through] if arguments.through != "judge" else []
    settings = [word for setting in arguments.settings for word in ("--set", setting)]
    return " ".join(["python examples/real-model/steering.py", *through, *arguments.arms, *settings])


def read_by_other(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> list[Any]:
    """What the model of `--reader` makes of the replies."""
    from real_readers import read_rows

    constitutions = {row["arm"]: find_constitution(row["arm"]) for row in rows if row["arm"] in ARMS}
    constitutions |= {Path(arm).stem: find_constitution(arm) for arm in arguments.arms}
    folder = arguments.out / "readers" / arguments.reader.name
    return read_rows(rows, reader=arguments.reader, constitutions=constitutions, folder=folder)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _leave() -> NoReturn:
    """End within seconds, with the trainings that run: a pool whose workers were ended may wait for them for ever."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    guard = threading.Timer(10.0, os._exit, (130,))
    guard.daemon = True
    guard.start()
    sys.exit(130)


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, _terminate)
    arguments = parse_arguments()
    try:
        arms = plan_arms(arguments)
        if not arguments.table_only:
            train_all(arms, jobs=arguments.jobs)
        make_table(arms, arguments)
    except RlaifError as error:
        notes.print(show_text(f"error: {error.sentence}"))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        notes.print(show_text("interrupted: what is finished is kept; the same command continues"))
        _leave()
    sys.exit(0)


if __name__ == "__main__":
    main()
