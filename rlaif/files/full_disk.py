"""Any exception -> whether a full disk caused it, whichever library wrapped the operating system's error.

Follows causes and contexts. Reads an error's words only where its library gives no number. Prints nothing.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from rlaif.errors import RlaifError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a full disk: no space, a quota that is used up, a file that may not grow."""
_WORDS = re.compile(
    rf"No space left on device|Disk quota exceeded|File too large|\(os error ({'|'.join(map(str, sorted(FULL)))})\)"
)


def describe_full_disk(error: BaseException) -> str | None:
    """The sentence for a user whose disk is full; None where the error has another cause."""
    chain = list(causes_of(error))
    if not any(map(_is_full, chain)):
        return None
    names = [one.where if isinstance(one, RlaifError) else _file_of(one) for one in chain]
    where = next((f" ({name})" for name in names if name), "")
    return f"the disk is full{where}: free some space, then run the same command again with --resume"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that caused it."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    if isinstance(error, RlaifError):
        return False  # its words may quote a model or a user; the error that caused it comes next in the chain
    if type(error).__name__ == "FullError":  # an error of apsw, which is not imported for this
        return True
    # safetensors, tokenizers and Arrow keep the system's words, and no number
    return isinstance(error, Exception) and _WORDS.search(str(error)) is not None


def _file_of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return str(name) if name else ""
