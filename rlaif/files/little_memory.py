"""A process that may use little memory -> a sentence, before libraries are loaded that would end it, or after an error.

Libraries of numbers end a process without a word of ours where its address space is short. Prints nothing.
"""

from __future__ import annotations

import re
import resource

from rlaif.errors import RlaifError
from rlaif.files.full_disk import causes_of

NEEDED = 1_500_000_000
"""Bytes of address space for torch and a small model; a larger model needs more."""
_FIX = "allow more memory (`ulimit -v unlimited`, or the limit of the container or job), or use a smaller model"
_WORDS = re.compile(
    r"[Cc]annot allocate memory|can't allocate memory|failed to map segment|cannot create shared .*memory"
    r"|can't start new thread|bad_alloc|malloc of size \d+ failed|\(os error 12\)|Unable to allocate"
)


def check_memory() -> None:
    """Refuse a limit of address space under which torch cannot be loaded."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < NEEDED:
        raise RlaifError(
            f"this process may use {soft >> 20} MB of address space, and torch with a small model needs about"
            f" {NEEDED >> 20} MB",
            fix=_FIX,
        )


def describe_little_memory(error: BaseException) -> str | None:
    """The sentence for an error that too little memory caused; None where it has another cause."""
    if not any(map(_is_of_memory, causes_of(error))):
        return None
    words = " ".join(str(error).split())[:200]
    return f"there is not enough memory ({words or type(error).__name__}): {_FIX}"


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, RlaifError):
        return False  # its words may quote a model or a user
    is_library_word = isinstance(error, ImportError | OSError | RuntimeError) and _WORDS.search(str(error)) is not None
    return isinstance(error, MemoryError) or is_library_word
