"""Which ledger an audit reads, and whether it still is what manifests print of it.

Finds and opens files; what a ledger says is read in the other files of this room. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlaif.errors import LedgerError, RunFolderError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Verification, verify
from rlaif.run.folder import FoundRun, RunFolder, list_runs, open_run
from rlaif.run.state import ledger_path_of, open_ledger, printed_heads


class VerifiedLedger(NamedTuple):
    """A ledger's file after every row of it was checked."""

    path: Path
    verification: Verification
    num_heads: int
    """Heads in manifests that it was compared with."""


def open_to_read(runs_dir: Path, *, run: str | None, ledger: Path | None) -> Ledger:
    """The file `ledger` as it is; without one the run's ledger, refused where it is not the one that the run left."""
    path = find_path(runs_dir, run=run, ledger=ledger)
    found = None if ledger is not None else _find_run(runs_dir, run)
    return Ledger.open(path, read_only=True) if found is None else open_ledger(found, path, read_only=True)


def find_path(runs_dir: Path, *, run: str | None, ledger: Path | None) -> Path:
    """The file `ledger`; else that of the named or the newest run; else the one beside the runs."""
    if ledger is not None:
        return ledger
    found = _find_run(runs_dir, run)
    return runs_dir / "ledger.sqlite" if found is None else ledger_path_of(found.config, runs_dir=runs_dir)


def verify_file(runs_dir: Path, *, run: str | None, ledger: Path | None) -> VerifiedLedger:
    """Check the ledger's rows against its chain, and the chain against the heads in the manifests of `run` or of all
    runs that use this ledger."""
    path = find_path(runs_dir, run=run, ledger=ledger)
    heads = list(_printed_heads(runs_dir, run, path))
    if heads and not path.is_file():
        raise LedgerError("the ledger is gone, and manifests print heads of it", where=str(path), fix="restore it")
    with Ledger.open(path, read_only=True) as opened:
        return VerifiedLedger(path, verify(opened, heads=heads), len(heads))


def find_damaged(runs_dir: Path) -> list[RunFolderError]:
    """Why runs of the folder are passed over where no run is named."""
    return [damage for found in list_runs(runs_dir) if (damage := _find_damage(found)) is not None]


def _find_damage(found: FoundRun) -> RunFolderError | None:
    if found.damage is not None:
        return found.damage
    try:
        printed_heads(found.run)
    except RunFolderError as damage:
        return damage
    return None


def _find_run(runs_dir: Path, run: str | None) -> RunFolder | None:
    """The named run, or the newest that is not damaged; None where there is none yet."""
    if run is not None:
        return open_run(runs_dir, run)
    return next((found.run for found in reversed(list_runs(runs_dir)) if _find_damage(found) is None), None)


def _printed_heads(runs_dir: Path, run: str | None, ledger: Path) -> Iterator[tuple[int, str]]:
    """The heads in the manifests of the named run, or of all runs that use this ledger and are not damaged."""
    if run is not None:
        folders = [open_run(runs_dir, run)]
    else:
        folders = [found.run for found in list_runs(runs_dir) if _find_damage(found) is None]
    for folder in folders:
        if ledger_path_of(folder.config, runs_dir=runs_dir).resolve() == ledger.resolve():
            yield from printed_heads(folder)
