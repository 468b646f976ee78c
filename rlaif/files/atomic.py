"""Files and folders written as a whole: aside, synced, renamed into place.

A kill or a full disk at any moment leaves the old content or the new one, never a mixture and never
nothing. Files that the new content does not replace are kept beside it: they may be a user's.
Also the digest of a file, and the current time as files hold it. Knows nothing of runs.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rlaif.console import say

_AT_CWD = -100
_SWAP = 2
"""RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS."""
KEPT = re.compile(r"\.kept-[0-9]+$")
"""End of the name of a folder that keeps a user's files, which were in a folder that was written again."""
_SHARDS = (".parquet", ".safetensors")
"""Endings of data and weights, whose files have other names when their number or content changes."""


def utc_now() -> str:
    """The current time: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file as a whole: beside it, synced, renamed over it."""
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """A new folder, which is synced and takes the place of `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}.part-*"):
        shutil.rmtree(stale)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    part.mkdir()
    try:
        yield part
        _sync_tree(part)
        _keep_foreign(path, new=part)
        _put_in_place(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(path.parent)
    shutil.rmtree(part, ignore_errors=True)


def _keep_foreign(path: Path, *, new: Path) -> None:
    """Move the files of `path` that `new` does not replace into a folder beside it."""
    is_folder = path.is_dir() and not path.is_symlink()
    foreign = [file.relative_to(path) for file in path.rglob("*") if _is_foreign(file, old=path, new=new)]
    if not os.path.lexists(path) or (is_folder and not foreign):
        return
    number = next(n for n in itertools.count(1) if not os.path.lexists(path.with_name(f"{path.name}.kept-{n}")))
    kept = path.with_name(f"{path.name}.kept-{number}")
    if is_folder:
        for name in foreign:
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).rename(kept / name)
    else:
        path.rename(kept)
    say(f"{path} is written again; what was there and is not from rlaif is kept in {kept}")


def _put_in_place(part: Path, path: Path) -> None:
    if not path.exists():
        part.rename(path)
    elif not _swap(part, path):
        # Where the file system cannot swap two folders, a kill between these two lines leaves the old
        # folder under its other name.
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        path.rename(old)
        part.rename(path)
        shutil.rmtree(old)


def _is_foreign(path: Path, *, old: Path, new: Path) -> bool:
    is_file = path.is_symlink() or not path.is_dir()
    return is_file and path.suffix not in _SHARDS and not os.path.lexists(new / path.relative_to(old))


def _swap(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where this system or file system cannot."""
    library = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            return bool(library.renamex_np(*names, _SWAP) == 0)
        return bool(library.renameat2(_AT_CWD, names[0], _AT_CWD, names[1], _SWAP) == 0)
    except AttributeError:  # a C library without that call
        return False


def _sync_tree(folder: Path) -> None:
    entries = sorted(folder.rglob("*"))
    for file in entries:
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    for inner in (*(entry for entry in entries if entry.is_dir()), folder):
        sync_folder(inner)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a power cut, and not only the bytes of its files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
