"""A text file that a user wrote, read whole: refused in a sentence where it is no plain file, too large or not UTF-8.

Does not know what the text means.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rlaif.errors import InputError
from rlaif.files.file_errors import describe_file_error

MAX_BYTES = 1 << 23
"""Files of a text format here hold one to four bytes a character, and their own limit is in characters."""
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def read_text_file(
    path: Path, *, error: type[InputError], max_bytes: int = MAX_BYTES, may_be_pipe: bool = False
) -> str:
    """The file's text, without a byte order mark; every refusal is an `error` that names the file."""
    if not may_be_pipe:
        refuse_no_plain_file(path, error=error)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as cause:
        failure = describe_file_error(cause)
        raise error(f"the file cannot be read: {failure.said}", where=str(path), fix=failure.fix) from cause
    if len(data) > max_bytes:
        raise error(f"the file is larger than {max_bytes >> 10} KiB", where=str(path), fix="make it shorter")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data[: cause.start].count(b"\n") + 1
        raise error("the file is not UTF-8", where=f"{path}:{line}", fix="save it as UTF-8") from cause


def refuse_no_plain_file(path: Path, *, error: type[InputError]) -> None:
    """Refuse a pipe, a socket and a device: what a command reads, it and later ones read again. /dev/null is empty.

    A path that cannot be looked at, or a folder, is left to whoever opens it.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return
    if kind in _KINDS and str(path) != os.devnull:
        raise error(
            f"this is {_KINDS[kind]}, and not a plain file",
            where=str(path),
            fix="write it to a file: it is read more than once",
        )
