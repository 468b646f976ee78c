"""Jobs -> their rows, on several cores: one process and one thread each, the earliest seed first.

A seed's trainings begin once its samples and judgements are there, so nothing is drawn or asked twice.
What is finished already is read, not run.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

from steer_plan import Job, Planned
from steer_rows import STEPS_OF_ROW, prepare_seed, read_done, train_row
from steer_table import Row, Start, Steered

from rlaif.console import Progress, say
from rlaif.errors import StageError

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


class Finished(NamedTuple):
    starts: list[Start]
    rows: list[Row]
    num_found: int
    """Rows that an earlier command had finished."""


def run_all(planned: Planned, *, num_workers: int, out: Path) -> Finished:
    """Every start and every row, by seed and in the order of the table."""
    every = [job for jobs in planned.seeds for job in jobs]
    rows = {job.row_path: row for job in every if (row := read_done(job.row_path, Row)) is not None}
    num_found = len(rows)
    if num_found:
        say(f"{num_found} of {len(every)} trainings were finished before")
    starts: dict[Path, Start] = {}
    waiting = []
    for jobs in planned.seeds:
        start = read_done(jobs[0].start_path, Start)
        if start is not None and all(job.row_path in rows for job in jobs):
            starts[jobs[0].start_path] = start
        else:
            waiting.append(jobs)
    num_steps = sum(len(jobs) + 1 for jobs in waiting) + STEPS_OF_ROW * (len(every) - num_found)
    if num_steps:
        with Progress("steering", num_steps, unit="steps") as progress:
            _run(waiting, starts, rows, planned.steered, progress, num_workers=num_workers, logs=out / "logs")
    return Finished(
        [starts[jobs[0].start_path] for jobs in planned.seeds], [rows[j.row_path] for j in every], num_found
    )


def _run(
    waiting: list[list[Job]],
    starts: dict[Path, Start],
    rows: dict[Path, Row],
    steered: Sequence[Steered],
    progress: Progress,
    *,
    num_workers: int,
    logs: Path,
) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    os.environ |= ONE_THREAD
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    preparing: dict[Future[Start], list[Job]] = {}
    training: dict[Future[Row], Job] = {}
    ready: list[Job] = []
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_begin_worker, initargs=(messages, logs))
    try:
        while waiting or ready or preparing or training:
            while len(preparing) + len(training) < num_workers and (ready or waiting):
                if ready:
                    job = ready.pop(0)
                    training[pool.submit(_train, job)] = job
                else:
                    jobs = waiting.pop(0)
                    preparing[pool.submit(_prepare, jobs)] = jobs
            done, _ = wait([*preparing, *training], timeout=1.0, return_when=FIRST_COMPLETED)
            _tell_news(messages, progress)
            for future in [future for future in preparing if future in done]:
                jobs = preparing.pop(future)
                starts[jobs[0].start_path] = future.result()
                ready += [job for job in jobs if job.row_path not in rows]
                progress.advance(1)
            for finished in [finished for finished in training if finished in done]:
                job = training.pop(finished)
                rows[job.row_path] = finished.result()
                say(_describe_row(rows[job.row_path], steered, starts[job.start_path]))
                progress.advance(1)
    except BaseException as error:
        for worker in multiprocessing.active_children():
            worker.terminate()  # a run killed at any moment goes on where it stood
        if isinstance(error, BrokenProcessPool):
            raise StageError(
                "a worker ended without a word", where=str(logs), fix="the same command goes on; with fewer --jobs "
                "it needs less memory",
            ) from error  # fmt: skip
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_messages: Any = None  # a worker's way to the main process


def _begin_worker(messages: Any, logs: Path) -> None:
    """One thread; what a worker says goes into a file of its own."""
    global _messages
    _messages = messages
    log = (logs / f"worker_{os.getpid()}.txt").open("a", encoding="utf-8", buffering=1)
    os.dup2(log.fileno(), sys.stderr.fileno())
    import torch

    torch.set_num_threads(1)


def _prepare(jobs: Sequence[Job]) -> Start:
    return prepare_seed(jobs, tell=lambda news, steps: _messages.put((news, steps)))


def _train(job: Job) -> Row:
    return train_row(job, tell=lambda news, steps: _messages.put((news, steps)))


def _tell_news(messages: Any, progress: Progress) -> None:
    """What the workers have begun with since the last look."""
    while True:
        try:
            news, steps = messages.get_nowait()
        except Empty:
            return
        progress.advance(steps, note=news)


def _describe_row(row: Row, steered: Sequence[Steered], start: Start) -> str:
    (asked,) = (s.asked for s in steered if s.name == row.constitution)
    moves = ", ".join(f"{a.attribute} {start.truth[a.attribute]:.0f} to {row.truth[a.attribute]:.0f}" for a in asked)
    shuffled = ", verdicts shuffled" if row.placebo else ""
    note = f"; {row.note}" if row.note else ""
    return f"seed {row.seed}, {row.constitution}{shuffled}: {moves}; {sum(row.seconds.values()):.0f} s{note}"
