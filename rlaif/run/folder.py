"""Run folders: where a run keeps its stages, who works in it, and how far it is.

Knows no stage's content.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from typing_extensions import TypedDict

from rlaif.errors import RunFolderError, RunFolderInUse, describe_names
from rlaif.files.atomic import utc_now, write_atomically
from rlaif.files.own_files import json_of, read_own, refuse_damage
from rlaif.ledger.sign_offs import StatedHead
from rlaif.run.finished import read_stage, read_stage_values
from rlaif.run.names import NAME, check_name, refuse_reserved
from rlaif.run.options import read_config, update_config
from rlaif.run.stages import Stage, find_stage, stage_before

ROUND = re.compile(r"round_(\d{2,})")
"""Name of a round's folder."""
_ATTEMPT = re.compile(r"attempt_(\d+)")
MANIFEST_FIX = "restore it from a copy, or start a new run"


class _Head(TypedDict):
    seq: int
    head: str


class _Manifest(TypedDict):
    """The layout of manifest.json, as far as it is read."""

    ledger_heads: list[_Head]


_MANIFEST = json_of(_Manifest)


class RunFolder(NamedTuple):
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def stage_dir(self, round: int, stage: Stage) -> Path:
        """Where a stage's folder is, or would be."""
        return self.path / f"round_{round:02d}" / stage.folder

    def absolute(self) -> RunFolder:
        """The same folder for a process that may work elsewhere."""
        return RunFolder(self.path.resolve())

    @property
    def stage_dirs(self) -> list[Path]:
        """The folders of all stages that have begun, in the order of the rounds."""
        found = self.path.glob("round_*/*")
        return sorted(path for path in found if ROUND.fullmatch(path.parent.name) and find_stage(path.name))

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds: the options that the run was started with, and the digests of its inputs."""
        return read_config(self.path)

    @property
    def is_recorded(self) -> bool:
        """Whether responses and verdicts were brought along: no judge of the configuration gave them."""
        return "recorded" in self.config["inputs"]


def create_run(runs_dir: Path, name: str | None, *, resume: bool, config: Mapping[str, Any]) -> RunFolder:
    """A new run folder, or with `resume` the one that is there; its config.json is `config`, as far as it may change.

    A folder, link or file of that name that holds no run is refused: it belongs to the user.
    """
    if name is not None:
        check_name(name)
    runs_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(runs_dir):
        if name is None and resume:
            run = open_run(runs_dir, None)
        else:
            run = RunFolder(runs_dir / (name or _next_number(runs_dir)))
        refuse_run(runs_dir, run.name, resume=resume)
        if holds_run(run.path):
            update_config(run.path, config, resume=True)
            return run
        order = 1 + max((found.order for found in list_runs(runs_dir)), default=0)
        # Under another name until it is whole: a kill leaves a hidden folder behind, never half a run.
        made = Path(tempfile.mkdtemp(prefix=".new-run-", dir=runs_dir))
        try:
            made.chmod(0o777 & ~_umask())
            write_atomically(made / "order", f"{order}\n")
            write_atomically(made / "config.json", json.dumps(config, indent=2))
            made.rename(run.path)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return run


def holds_run(path: Path) -> bool:
    """Whether a folder is a run's, damaged or not.

    Many folders hold a config.json, models above all: a run's names its inputs.
    """
    try:
        stored = json.loads((path / "config.json").read_bytes())
    except FileNotFoundError:
        return (path / "order").is_file() and (path / "logs").is_dir()
    except NotADirectoryError:
        return False
    except (OSError, ValueError, RecursionError):
        stored = None
    is_whole = isinstance(stored, dict) and {"config", "inputs"} <= stored.keys()
    return is_whole or (path / "order").is_file()  # only a run has its place in the order of the runs beside it


def refuse_run(runs_dir: Path, name: str | None, *, resume: bool) -> None:
    """Refuse a name under which no run can be made or, with `resume`, continued. Changes nothing."""
    refuse_run_as_parent(runs_dir)
    if name is None:
        if resume:
            open_run(runs_dir, None)
        return
    check_name(name)
    path = runs_dir / name
    if not os.path.lexists(path):
        refuse_reserved(name)
        return
    if holds_run(path):
        if os.path.lexists(path / "lock"):
            _hold(RunFolder(path)).close()  # a run that is under way is told apart from one that has ended
        if resume:
            return
        raise RunFolderError(
            "this run folder is already used", where=str(path), fix="add --resume, or give another --run NAME"
        )
    kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
    raise RunFolderError(
        f"a {kind} of this name is there already, and it holds no run",
        where=str(path),
        fix="give another --run NAME, or another --runs-dir",
    )


def refuse_run_as_parent(runs_dir: Path) -> None:
    """Refuse a folder of runs that is itself a run, whose files a run in it would lie between."""
    if holds_run(runs_dir):
        whole = runs_dir.absolute()
        raise RunFolderError(
            "this is the folder of one run, not a folder of runs",
            where=str(runs_dir),
            fix=f"give --runs-dir {whole.parent} --run {whole.name}",
        )


def discard_run(run: RunFolder) -> None:
    """Remove a run of which its first attempt made everything that is there; any other file keeps the folder.

    An earlier attempt would have left its log or the manifest.
    """
    made = {"order", "config.json", "lock", "logs", "logs/attempt_1", "logs/attempt_1/log.txt"}
    if {path.relative_to(run.path).as_posix() for path in run.path.rglob("*")} <= made:
        shutil.rmtree(run.path)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def find_runs(runs_dir: Path) -> list[Path]:
    """The folders in `runs_dir` that hold a run, in no order."""
    return [path for path in runs_dir.glob("*") if NAME.fullmatch(path.name) and holds_run(path)]


def _next_number(runs_dir: Path) -> str:
    numbers = [int(name) for name in os.listdir(runs_dir) if re.fullmatch("[0-9]+", name)]
    return f"{max(numbers, default=0) + 1:03d}"


class FoundRun(NamedTuple):
    """A run in its folder of runs."""

    order: int
    """Which run of its folder it is by age: counted, for clocks jump and copies lose their dates. 0: not known."""
    run: RunFolder
    damage: RunFolderError | None
    """Why it cannot be opened; None where its place in the order and its config.json can be read."""


def list_runs(runs_dir: Path) -> list[FoundRun]:
    """The runs of a folder, oldest first. A damaged one stops nobody from reading those beside it."""
    refuse_run_as_parent(runs_dir)
    return sorted(map(_look_at, find_runs(runs_dir)), key=lambda found: (found.order, found.run.name))


def _look_at(path: Path) -> FoundRun:
    run, order = RunFolder(path), 0
    try:
        order = _order(path)
        read_config(path)
    except RunFolderError as damage:
        return FoundRun(order, run, damage)
    return FoundRun(order, run, None)


def _order(run_path: Path) -> int:
    path = run_path / "order"
    fix = "write the run's number among the others into it, or name a run by --run"
    return read_own(path, _parse_order, fix=fix) if os.path.lexists(path) else 0


def _parse_order(data: bytes) -> int:
    if not re.fullmatch(rb"\s*[0-9]{1,9}\s*", data):
        raise ValueError("it holds no number")
    return int(data)


def open_run(runs_dir: Path, name: str | None) -> RunFolder:
    """The named run, or the newest."""
    if name is not None:
        check_name(name)
        run = RunFolder(runs_dir / name)
        if not holds_run(run.path):
            refuse_run_as_parent(runs_dir)
            raise RunFolderError(f'there is no run "{name}"', where=str(runs_dir), fix=_describe_runs(runs_dir, name))
        return run
    found = list_runs(runs_dir)
    if not found:
        raise RunFolderError("there is no run yet", where=str(runs_dir), fix=_NO_RUN)
    if (unknown := next((one.damage for one in found if one.damage is not None and not one.order), None)) is not None:
        raise unknown  # it may be the newest
    return found[-1].run


_NO_RUN = "start one with `rlaif generate-prefs`, or name the folder that holds the runs with --runs-dir"


def _describe_runs(runs_dir: Path, name: str) -> str:
    """What a run's name that does not exist may have meant."""
    runs = sorted(path.name for path in find_runs(runs_dir))
    return f"{describe_names(name, runs, noun='the runs')}; another folder is named by --runs-dir" if runs else _NO_RUN


def newest_round(run: RunFolder, *, stage: Stage) -> int:
    """The newest round in which the stage before this one is finished; 0 where there is none, and for the first."""
    before = stage_before(stage)
    if before is None:
        return 0
    found = (ROUND.fullmatch(path.parent.parent.name) for path in run.path.glob(f"round_*/{before.folder}/stage.json"))
    return max((int(match[1]) for match in found if match), default=0)


def refuse_begun(run: RunFolder, stages: Sequence[Stage], *, resume: bool, round: int = 0) -> None:
    """Without `resume`, a stage that was begun and not finished, or nothing left to do, is refused."""
    folders = [run.stage_dir(round, stage) for stage in stages]
    broken_off = [folder.name for folder in folders if folder.is_dir() and read_stage(folder) is None]
    if not resume and broken_off:
        raise RunFolderError(
            f"{broken_off[0]} of this run was begun and not finished", where=str(run.path), fix="add --resume"
        )
    if not resume and all(read_stage(folder) is not None for folder in folders):
        raise RunFolderError(
            f"{stages[-1].folder} of this run is done already",
            where=str(run.path),
            fix="start a new run with `rlaif generate-prefs`, or name another with --run",
        )


@contextmanager
def lock_run(run: RunFolder) -> Iterator[None]:
    """Hold the run folder; a second process is told who holds it. The kernel frees it when a holder dies."""
    with _one_at_a_time(run.path.parent):
        file = _hold(run)
    with file:
        file.truncate(0)
        file.write(f"pid {os.getpid()}, boot {_boot_id()}")
        file.flush()
        yield
        file.truncate(0)


def _hold(run: RunFolder) -> TextIO:
    """The lock file, held until it is closed."""
    path = run.path / "lock"
    with refuse_damage(path, fix="move it away where no other process works in this run"):
        file = path.open("a+", encoding="utf-8", errors="replace")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            holder = file.read().strip() or "unknown"
        raise RunFolderInUse(
            f"another process works in this run folder ({holder})",
            where=str(run.path),
            fix="wait for it, or give another --run NAME",
        ) from None
    return file


@contextmanager
def _one_at_a_time(runs_dir: Path) -> Iterator[None]:
    """Between processes that make or take runs of one folder: waits, for moments only."""
    handle = os.open(runs_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else "unknown"


def next_attempt(run: RunFolder) -> Path:
    """A new folder for this attempt's log."""
    logs = run.path / "logs"
    found = map(_ATTEMPT.fullmatch, (path.name for path in logs.glob("attempt_*")))
    number = 1 + max((int(match[1]) for match in found if match), default=0)
    folder = logs / f"attempt_{number}"
    folder.mkdir(parents=True)
    return folder


def write_manifest(run: RunFolder, *, stated: StatedHead, version: str) -> None:
    """manifest.json: every finished stage with its digests, the ledger's head and the signed ones. Written last."""
    stages = {
        f"{folder.parent.name}/{folder.name}": stage
        for folder in run.stage_dirs
        if (stage := read_stage_values(folder)) is not None
    }
    heads: list[Any] = [*read_heads(run), {"seq": stated.seq, "head": stated.hex, "at": utc_now()}]
    manifest: dict[str, Any] = {"run": run.name, "rlaif": version, "ledger_heads": heads, "stages": stages}
    if stated.signed:
        manifest["signed_heads"] = [one._asdict() for one in stated.signed]
    write_atomically(run.path / "manifest.json", json.dumps(manifest, indent=2))


def read_heads(run: RunFolder) -> list[_Head]:
    """The heads printed so far: each one proves that nothing before it was changed or cut off."""
    path = run.path / "manifest.json"
    if not os.path.lexists(path):
        return []
    heads: list[_Head] = read_own(path, _MANIFEST, fix=MANIFEST_FIX)["ledger_heads"]
    return heads
