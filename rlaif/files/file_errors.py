"""An error of the operating system -> what a person is told: the system's words, the file, and what to do.

For the command line, which prints it as one sentence, and for readers that know more of the file. Handles nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import RlaifError

_MISSING = "check the path; a folder or link on the way to it may be missing"
_FIXES: Mapping[int, str] = {
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EROFS: "give a path on a file system that can be written",
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: "check the path: a part of it is a file where a folder belongs",
    errno.EISDIR: "a folder is in the place of a file: rename it",
    errno.EEXIST: "rename what is there, or give another path",
    errno.ENOTEMPTY: "move away what is in it, or give another path",
    errno.ELOOP: "correct the links on the path, or give another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "allow more open files with `ulimit -n 4096`",
    errno.ENFILE: "close other programs, or have the machine's limit of open files raised",
    errno.ESTALE: "mount the network file system again",
    errno.EIO: "check the disk",
    errno.EXDEV: "give a path on the file system of the other files",
    errno.ENOMEM: "free some memory",
    errno.ENXIO: "give a plain file",
    errno.ENODEV: "give a plain file",
    errno.ESPIPE: "give a plain file",
}
_OTHERWISE = "check the path, and that a plain file or folder is there"
_NO_FILE = "check the machine's disks, memory and network"
_NO_TEMPORARY = "No usable temporary directory"


class FileFailure(NamedTuple):
    """The parts of a sentence, as `RlaifError` takes them."""

    what: str
    where: str
    fix: str
    said: str
    """The system's words alone, which are in `what`."""

    @property
    def sentence(self) -> str:
        return RlaifError(self.what, where=self.where, fix=self.fix).sentence


def describe_file_error(error: OSError) -> FileFailure:
    """What happened to which file. An error without the system's number is described by the first line it says."""
    names = [_show_name(name) for name in (error.filename, error.filename2) if name not in (None, "")]
    where = " -> ".join(names)
    said = _words_of(error)
    if said.startswith(_NO_TEMPORARY):
        return FileFailure(
            "there is no folder for temporary files", where, "set TMPDIR to one that can be written", said
        )
    if error.errno == errno.ENOENT and not names and _is_here_gone():
        return FileFailure("the current folder does not exist any more", "", "change to a folder that does", said)
    subject = "a file or folder cannot be used" if names else "the system refuses"
    fix = _FIXES.get(error.errno or 0, _OTHERWISE if names else _NO_FILE)
    return FileFailure(f"{subject}: {said}", where, fix, said)


def _words_of(error: OSError) -> str:
    """The system's words alone, without number and file."""
    said = error.strerror if isinstance(error.strerror, str) else str(error)
    return next(iter(said.strip().splitlines()), "") or type(error).__name__


def _show_name(name: Any) -> str:
    if isinstance(name, int):
        return f"file descriptor {name}"
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)


def _is_here_gone() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False
