"""Which ledger an audit reads, and whether it still is what manifests, cards and reports print of it.

Finds and opens files; what a ledger says is read in the other files of this room. Writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rlaif.audit.heads import CARD, MANIFEST, REPORT, Printed, parse_head, read_printed
from rlaif.audit.signed_heads import SignedHead, compare_said
from rlaif.errors import InputError, LedgerError, RunFolderError
from rlaif.ledger.chain import PrintedHead
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Break, FoundHead, Verification, verify
from rlaif.run.folder import FoundRun, RunFolder, list_runs, open_run
from rlaif.run.state import ledger_path_of, open_ledger, printed_heads

KINDS = {MANIFEST: "manifests", CARD: "model cards", REPORT: "reports"}
GIVEN = "--head"
"""Place of a head that the user gave."""
T = TypeVar("T")


class VerifiedLedger(NamedTuple):
    """A ledger's file after every row of it was checked."""

    path: Path
    verification: Verification
    damaged: list[Break]
    """Files of the runs that print heads and are not as they were written."""
    num_heads: Counter[str]
    """How many heads it was compared with, by the kind of file that prints them."""
    given: dict[str, FoundHead]
    """Heads that the user gave and that the chain has."""
    said: list[Break] = []
    """Labels and disputes that are not as their author signed them."""

    @property
    def problems(self) -> list[Break]:
        """All that does not fit, the ledger's own first."""
        return [*self.verification.breaks, *self.said, *self.damaged]


def open_to_read(runs_dir: Path, *, run: str | None, ledger: Path | None) -> Ledger:
    """The file `ledger` as it is; without one the run's ledger, refused where it is not the one that the run left."""
    path = find_path(runs_dir, run=run, ledger=ledger)
    found = None if ledger is not None else _find_run(runs_dir, run)
    return Ledger.open(path, read_only=True) if found is None else open_ledger(found, path, read_only=True)


def open_to_write(runs_dir: Path, *, run: str | None, ledger: Path | None) -> Ledger:
    """The same ledger to be written; one that is not there is never made."""
    path = find_path(runs_dir, run=run, ledger=ledger)
    found = None if ledger is not None else _find_run(runs_dir, run)
    if found is not None:
        return open_ledger(found, path)
    if not path.is_file():
        raise InputError("there is no ledger", where=str(path), fix="name its file by --ledger, or the runs' folder")
    return Ledger.open(path)


def find_path(runs_dir: Path, *, run: str | None, ledger: Path | None) -> Path:
    """The file `ledger`; else that of the named or the newest run; else the one beside the runs."""
    if ledger is not None:
        return ledger
    found = _find_run(runs_dir, run)
    return runs_dir / "ledger.sqlite" if found is None else ledger_path_of(found.config, runs_dir=runs_dir)


def verify_file(
    runs_dir: Path,
    *,
    run: str | None,
    ledger: Path | None,
    given: Sequence[str] = (),
    signed: Sequence[SignedHead] = (),
) -> VerifiedLedger:
    """Check the ledger's rows against its chain, and the chain against heads: those that are `given` or `signed`, and
    those in the manifests, cards and reports of `run` or of all runs that use this ledger."""
    wanted = list(dict.fromkeys(map(parse_head, given)))
    path = find_path(runs_dir, run=run, ledger=ledger)
    heads, damaged = _find_printed(runs_dir, run, path)
    if heads and not path.is_file():
        raise LedgerError("the ledger is gone, and manifests print heads of it", where=str(path), fix="restore it")
    with Ledger.open(path, read_only=True) as opened:
        known = [head for one in signed for head in one.as_printed()]
        found = verify(opened, heads=[*heads, *known, *(PrintedHead(None, head, GIVEN) for head in wanted)])
        said = [found for one in signed for found in compare_said(opened, one)]
    kinds = Counter(KINDS[Path(head.where).name] for head in heads)
    covered = {head: found.found[head] for head in wanted if head in found.found}
    return VerifiedLedger(path, found, damaged, num_heads=kinds, given=covered, said=said)


def find_damaged(runs_dir: Path, *, with_manifests: bool = True) -> list[RunFolderError]:
    """Why runs of the folder are passed over where no run is named. with_manifests: also for a damaged manifest."""
    damages = [_find_damage(found) if with_manifests else found.damage for found in list_runs(runs_dir)]
    return [damage for damage in damages if damage is not None]


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


def _find_printed(runs_dir: Path, run: str | None, ledger: Path) -> Printed:
    """The heads of this ledger that the named run prints, or that all runs print whose config names the ledger."""
    undamaged = [] if run else [found.run for found in list_runs(runs_dir) if found.damage is None]
    folders = [open_run(runs_dir, run)] if run else undamaged
    printed = [read_printed(folder) for folder in folders if _uses(folder, ledger, runs_dir=runs_dir)]
    return Printed(_joined(one.heads for one in printed), _joined(one.damaged for one in printed))


def _uses(run: RunFolder, ledger: Path, *, runs_dir: Path) -> bool:
    return ledger_path_of(run.config, runs_dir=runs_dir).resolve() == ledger.resolve()


def _joined(lists: Iterable[list[T]]) -> list[T]:
    return [each for one in lists for each in one]
