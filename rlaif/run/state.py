"""What a run noted of its own state, compared with what is there now: its ledger, and what its stages used of it.

A ledger that was lost, or replaced by an older copy, is refused before anything builds on it. One row is looked up,
whatever the ledger's size; `rlaif audit verify` checks all of them. Changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlaif.errors import LedgerError, RunFolderError
from rlaif.ledger.chain import Head
from rlaif.ledger.store import Ledger
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, find_runs, read_heads
from rlaif.run.stages import Stage

FIX = "restore it from a copy, or start a new run"


def ledger_path_of(stored: dict[str, Any], *, runs_dir: Path) -> Path:
    """The ledger's file that a run's config.json names; by default all runs of a folder share one beside them."""
    path = stored["config"].get("ledger", {}).get("path")
    return Path(path) if path else runs_dir / "ledger.sqlite"


def open_ledger(run: RunFolder, path: Path, *, read_only: bool = False) -> Ledger:
    """The run's ledger, refused where it is not the one that the run left; made where no run has one there yet."""
    noted = last_head(run)
    if not path.is_file():
        _refuse_lost(run, path, noted)
    ledger = Ledger.open(path, read_only=read_only)
    try:
        if noted is not None:
            _compare(ledger, noted, run=run)
    except BaseException:
        ledger.close()
        raise
    return ledger


def last_head(run: RunFolder) -> Head | None:
    """The newest head that the run's manifest printed; None where none was printed, as after a kill."""
    try:
        heads = printed_heads(run)
    except RunFolderError as error:
        what = "the run's manifest cannot be read, so its ledger cannot be compared with it"
        raise RunFolderError(f"{what}: {error.what}", where=error.where, fix=error.fix) from error
    return heads[-1] if heads and heads[-1].seq > 0 else None


def printed_heads(run: RunFolder) -> list[Head]:
    """All heads that the run's manifest printed, oldest first; none where there is no manifest."""
    return [Head(head["seq"], head["head"]) for head in read_heads(run)]


def _compare(ledger: Ledger, noted: Head, *, run: RunFolder) -> None:
    found = ledger.head_at(noted.seq)
    if found == noted.hex:
        return
    what = "is missing" if found is None else "is another one"
    raise LedgerError(
        f"the ledger is not the one that run {run.name} left: row {noted.seq}, which its manifest notes, {what}",
        where=str(ledger.path),
        fix=f"{FIX}; `rlaif audit verify` says what is gone",
    )


def _refuse_lost(run: RunFolder, path: Path, noted: Head | None) -> None:
    """An empty ledger is never made beside a run that had one there."""
    fix = FIX
    if noted is not None:
        what = f"run {run.name} noted row {noted.seq} of it"
    elif any(run.path.glob("round_*")):
        what = f"run {run.name} was begun with it"
    elif (other := _user_of(path, beside=run)) is not None:
        what, fix = f"run {other.name} beside this one uses it", "restore it, or set ledger.path to a new file"
    else:
        return
    raise LedgerError(f"the ledger is gone, and {what}", where=str(path), fix=fix)


def _user_of(path: Path, *, beside: RunFolder) -> RunFolder | None:
    """Another run of the folder whose manifest notes rows of this ledger."""
    for folder in sorted(find_runs(beside.path.parent)):
        other = RunFolder(folder)
        try:
            is_its = ledger_path_of(other.config, runs_dir=folder.parent).resolve() == path.resolve()
            if is_its and folder != beside.path and last_head(other) is not None:
                return other
        except (RunFolderError, ValueError, KeyError, TypeError):  # a damaged run beside this one is its own matter
            continue
    return None


def check_used(run: RunFolder, *, round: int, stage: Stage, table: str, num_found: int, where: Path) -> None:
    """Refuse where a finished stage used more records of a table than the ledger still says it did."""
    finished = read_stage(run.stage_dir(round, stage))
    if finished is None:
        return
    if finished.used is not None:
        num_used = finished.used.get(table, 0)
    else:
        num_used = int(finished.tally.kept > 0 and stage.table == table)
    if num_found < num_used:
        at_least = "" if finished.used is not None else "at least "
        raise LedgerError(
            f"the ledger has lost records: {stage.folder} of run {run.name}, round {round}, used {at_least}{num_used} "
            f"{table.replace('_', ' ')}, and it holds {num_found}",
            where=str(where),
            fix=FIX,
        )
