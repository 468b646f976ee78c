"""A new run, or one that is there, opened for work: its folder locked, its ledger open, its log kept.

What the run was begun with is compared with what is asked of it now, before anything is done. Runs no stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif import __version__
from rlaif.config.base import RESOLVED
from rlaif.config.run import RunConfig
from rlaif.console import keep_log, say
from rlaif.constitution.principles import load_constitution
from rlaif.errors import InputError, RlaifError
from rlaif.files.atomic import digest_file
from rlaif.files.full_disk import describe_full_disk
from rlaif.judging.panel import template_digests
from rlaif.ledger.store import Ledger
from rlaif.models.ray.cluster import leave_cluster
from rlaif.models.slot import Slot
from rlaif.preferences.people import check_made, label_inputs, refuse_left_out
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
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.run.work import Work
from rlaif.training.team import ALONE, Team


@contextmanager
def open_work(
    config: RunConfig,
    *,
    run_name: str | None,
    runs_dir: Path,
    resume: bool,
    stages: Sequence[str] = (),
    recorded: Sequence[Path] = (),
    team: Team = ALONE,
    resolved: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
) -> Iterator[Work]:
    """A new run (or with `resume` the one that is there), or an existing one for further `stages`; locked.

    Further stages are done in the newest round that is ready for them.
    recorded: files of a run whose samples and verdicts exist already. team: processes that train together.
    resolved: options of `config` that were not given, and what they came to; the run keeps them by name.
    file: what the run keeps of its config file.
    """
    known = {RESOLVED: dict(resolved)} if resolved else {}
    inputs: dict[str, Any] = {**template_digests(config.judge)}
    if stages:
        run = open_run(runs_dir, run_name)
        # What the run was judged by stands in the ledger, so its file may have moved on; recorded runs asked no judge.
        inputs = run.config["inputs"] | ({} if "recorded" in run.config["inputs"] else inputs)
        refuse_left_out(run, config.human_labels)
        # As for the labels: what a reward model was trained with is fixed, and their file may have moved on.
        is_trained = any(run.path.glob("round_*/5_reward_model"))
        inputs |= {} if is_trained else label_inputs(config.human_labels)
        stored = _to_store(config, inputs, file=file) | known
    else:
        inputs["constitution"] = load_constitution(config.constitution).file_digest
        inputs |= label_inputs(config.human_labels)
        if recorded:
            inputs["recorded"] = {path.name: digest_file(path) for path in recorded if path.is_file()}
        stored = _to_store(config, inputs, file=file, recorded=recorded) | known
        run = create_run(runs_dir, run_name, resume=resume, config=stored)
    round = newest_round(run, stage=stages[0]) if stages else 0
    ledger_path = ledger_path_of(stored, runs_dir=runs_dir)
    is_new = not (stages or resume)
    with (
        lock_run(run),
        _open_ledger(run, ledger_path, is_new=is_new) as ledger,
        keep_log(next_attempt(run) / "log.txt"),
        Slot() as slot,
    ):
        if stages:
            refuse_begun(run, stages, resume=resume, round=round)
            if not is_trained:
                check_made(Work(config, run=run, ledger=ledger, round=round))
            update_config(run, stored)
        say(f"run {run.name} in {run.path}{f', round {round}' if round else ''}")
        try:
            work = Work(config, run=run, ledger=ledger, round=round)
            work.team, work.slot = team, slot
            yield work
        except InputError:
            if not stages:
                discard_run(run)  # refused before anything began: the corrected command gets the same number
            raise
        finally:
            leave_cluster()
            if run.path.is_dir():
                seq, head = ledger.head()
                write_manifest(run, ledger_seq=seq, ledger_head=head, version=__version__)


def _open_ledger(run: RunFolder, path: Path, *, is_new: bool) -> Ledger:
    """The run's ledger; where it is refused, a run that was only just made is removed. A full disk is no refusal."""
    try:
        return open_ledger(run, path)
    except RlaifError as error:
        if is_new and describe_full_disk(error) is None:
            discard_run(run)
        raise


def _to_store(
    config: RunConfig, inputs: dict[str, Any], *, file: Mapping[str, Any] | None, recorded: Sequence[Path] = ()
) -> dict[str, Any]:
    """What config.json holds: the options, the digests of what they name, and where the options came from."""
    stored: dict[str, Any] = {"config": config.model_dump(mode="json"), "inputs": inputs}
    stored |= {} if file is None else {"file": file}
    return stored | ({"recorded": [str(path) for path in recorded]} if recorded else {})
