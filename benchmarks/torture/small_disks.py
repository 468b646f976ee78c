"""Disks of every size: a run that finds its disk full says so, and ends as the unbroken run once there is space.

A limit of a file's size stands for the full disk; where the machine allows it (root under Linux), a real small file
system is used beside it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from case import Case, Draw, Part, Ran, find_faults, try_all
from killed import SETTINGS, differences, finish

SIZES = [int(4096 * 1.35**step) for step in range(28)]
"""Bytes, from one page to more than a run's largest file."""


def try_disks(draw: Draw, workers: int) -> Part:
    """Run the small loop on disks of these sizes, then go on where there is space."""
    unbroken = Path(os.environ["TORTURE_TMP"]) / "unbroken"
    unbroken.mkdir()
    finish(unbroken)
    cases = [Case(f"files of at most {size:,} bytes", _with_small_files(size, unbroken)) for size in SIZES]
    mounts = _can_mount(unbroken.parent)
    if mounts:
        cases += [Case(f"a file system of {4 * size:,} bytes", _on_small_disk(4 * size, unbroken)) for size in SIZES]
    part = try_all("runs on small disks, resumed with space", draw.of(cases), workers=workers)
    return part._replace(more={"real_file_systems": mounts})


def _with_small_files(size: int, unbroken: Path) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        ran = _run(folder, limit=size)
        return _judge(ran, folder, unbroken)

    return try_in


def _on_small_disk(size: int, unbroken: Path) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        with _mounted(folder, size):
            ran = _run(folder)
            subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
            return _judge(ran, folder, unbroken)

    return try_in


def _judge(ran: Ran, runs_dir: Path, unbroken: Path) -> list[str]:
    found = find_faults(ran)
    if ran.code and "disk is full" not in ran.printed:
        found.append(f"the full disk is not named: {ran.printed.strip()[-200:]!r}")
    began = (runs_dir / "k").exists()
    try:
        finish(runs_dir, *(["--resume"] if began else []))
    except AssertionError as error:
        return [*found, f"it could not be resumed: {str(error).strip()[-200:]}"]
    return found + differences(runs_dir, unbroken)


def _run(runs_dir: Path, *, limit: int | None = None) -> Ran:
    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    options = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "rlaif", "run", "--run", "k", "--runs-dir", str(runs_dir), *options]
    done = subprocess.run(command, preexec_fn=set_limit, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout + done.stderr)


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _can_mount(folder: Path) -> bool:
    probe = folder / "probe"
    probe.mkdir()
    try:
        with _mounted(probe, 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
