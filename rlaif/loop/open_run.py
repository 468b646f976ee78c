"""A new run, or one that is there, opened for work: its folder locked, its ledger open, its log kept.

What the run was begun with is compared with the options and files of now, before anything is done. Runs no stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rlaif import __version__
from rlaif.config.base import RESOLVED
from rlaif.config.run import RunConfig
from rlaif.console import keep_log, say
from rlaif.constitution.principles import load_constitution
from rlaif.errors import FileError, InputError, RlaifError
from rlaif.files.atomic import digest_file
from rlaif.files.file_errors import describe_file_error
from rlaif.files.full_disk import describe_full_disk
from rlaif.judging.bench import Bench
from rlaif.judging.panel import template_digests
from rlaif.ledger.sign_offs import state_head
from rlaif.ledger.store import Ledger
from rlaif.models.ray.cluster import leave_cluster
from rlaif.models.slot import Slot
from rlaif.preferences.people import label_inputs, load_labels
from rlaif.preferences.stage import check_late_labels, refuse_left_out
from rlaif.run.book import Book
from rlaif.run.folder import (
    RunFolder,
    create_run,
    discard_run,
    lock_run,
    newest_round,
    next_attempt,
    open_run,
    refuse_begun,
    write_manifest,
)
from rlaif.run.options import update_config
from rlaif.run.round import Round, find_round_constitution
from rlaif.run.shelf import Shelf
from rlaif.run.stages import REWARD_MODEL, Stage
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.training.team import ALONE, Team


class OpenRun(NamedTuple):
    """A run that is open for work."""

    round: Round
    """The round that the command works in, or begins with."""
    book: Book
    shelf: Shelf
    bench: Bench


@contextmanager
def open_work(
    config: RunConfig,
    *,
    run_name: str | None,
    runs_dir: Path,
    resume: bool,
    stages: Sequence[Stage] = (),
    recorded: Sequence[Path] = (),
    team: Team = ALONE,
    resolved: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
) -> Iterator[OpenRun]:
    """A new run (or with `resume` the one that is there), or an existing one for further `stages`; locked.

    Further stages are done in the newest round that is ready for them.
    recorded: files of a run whose samples and verdicts exist already. team: processes that train together.
    resolved: options of `config` that were not given, and what they came to; the run keeps them by name.
    file: what the run keeps of its config file.
    """
    if stages:
        run = open_run(runs_dir, run_name)
        stored = _store_further(run, config, file=file, resolved=resolved)
    else:
        stored = _store_new(config, recorded=recorded, file=file, resolved=resolved)
        run = create_run(runs_dir, run_name, resume=resume, config=stored)
    number = newest_round(run, stage=stages[0]) if stages else 0
    is_new = not (stages or resume)
    with (
        lock_run(run),
        _open_ledger(run, ledger_path_of(stored, runs_dir=runs_dir), is_new=is_new) as ledger,
        keep_log(next_attempt(run) / "log.txt"),
        Slot() as slot,
    ):
        if stages:
            refuse_begun(run, stages, resume=resume, round=number)
        opened = _open(config, run=run, ledger=ledger, number=number, team=team, slot=slot)
        if stages:
            if not _is_trained(run):
                check_late_labels(opened.round, opened.book, opened.bench, load_labels(config.human))
            update_config(run.path, stored)
        say(f"run {run.name} in {run.path}{f', round {number}' if number else ''}")
        with _at_work():
            try:
                yield opened
            except InputError:
                if not stages:
                    discard_run(run)  # refused before anything began: the corrected command gets the same number
                raise
            finally:
                leave_cluster()
                if run.path.is_dir():
                    write_manifest(run, stated=state_head(ledger), version=__version__)


@contextmanager
def _at_work() -> Iterator[None]:
    """From here on an error of a file is a failed run, and no longer bad input."""
    try:
        yield
    except OSError as error:
        failure = describe_file_error(error)
        fix = f"{failure.fix}; then run the same command again with --resume"
        raise FileError(failure.what, where=failure.where, fix=fix) from error


def _open(config: RunConfig, *, run: RunFolder, ledger: Ledger, number: int, team: Team, slot: Slot) -> OpenRun:
    constitution = find_round_constitution(config, run=run, ledger=ledger, number=number)
    return OpenRun(
        Round(config, run=run, ledger=ledger, constitution=constitution, number=number, team=team),
        Book(run, ledger),
        Shelf(config, run, round=number, slot=slot),
        Bench(config, ledger=ledger, find_stage_dirs=lambda: run.stage_dirs, slot=slot),
    )


def _is_trained(run: RunFolder) -> bool:
    """Whether a reward model was begun: what it was trained with is fixed, and the labels' file may have moved on."""
    return any(run.path.glob(f"round_*/{REWARD_MODEL.folder}"))


def _open_ledger(run: RunFolder, path: Path, *, is_new: bool) -> Ledger:
    """The run's ledger; where it is refused, a run that was only just made is removed. A full disk is no refusal."""
    try:
        return open_ledger(run, path)
    except RlaifError as error:
        if is_new and describe_full_disk(error) is None:
            discard_run(run)
        raise


def _store_new(
    config: RunConfig, *, recorded: Sequence[Path], file: Mapping[str, Any] | None, resolved: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What config.json of a new run holds."""
    inputs: dict[str, Any] = {**template_digests(config.judge)}
    inputs["constitution"] = load_constitution(config.constitution).file_digest
    inputs |= label_inputs(config.human)
    if recorded:
        inputs["recorded"] = {path.name: digest_file(path) for path in recorded if path.is_file()}
    stored = _to_store(config, inputs, file=file, resolved=resolved)
    return stored | ({"recorded": [str(path) for path in recorded]} if recorded else {})


def _store_further(
    run: RunFolder, config: RunConfig, *, file: Mapping[str, Any] | None, resolved: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What config.json holds once further stages begin."""
    # What the run was judged by is in the ledger, so its file may have moved on; recorded runs asked no judge.
    inputs = run.config["inputs"] | ({} if run.is_recorded else template_digests(config.judge))
    refuse_left_out(run, config.human)
    inputs |= {} if _is_trained(run) else label_inputs(config.human)
    return _to_store(config, inputs, file=file, resolved=resolved)


def _to_store(
    config: RunConfig,
    inputs: dict[str, Any],
    *,
    file: Mapping[str, Any] | None,
    resolved: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The options, the digests of what they name, and where the options came from."""
    stored: dict[str, Any] = {"config": config.model_dump(mode="json"), "inputs": inputs}
    stored |= {} if file is None else {"file": file}
    return stored | ({RESOLVED: dict(resolved)} if resolved else {})
