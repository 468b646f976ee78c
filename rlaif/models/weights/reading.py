"""What a library raises while it reads a model's folder -> one sentence that names the folder and its reason.

Nothing that stands in a folder may end in a traceback: configs, tokenizers, weights and adapters come from strangers.
Imports neither torch nor transformers until it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rlaif.errors import ModelError, RlaifError

_LONGEST = 300
_PANIC = "PanicException"
"""What Rust libraries raise for a bug of theirs. It derives from BaseException alone."""


@contextmanager
def reading(what: str, *, where: str, fix: str) -> Iterator[None]:
    """Turn whatever is raised inside into a ModelError that begins with `what`.

    Errors of rlaif, interruptions and a lack of memory pass: others describe them better.
    """
    try:
        with quiet_transformers():
            yield
    except (RlaifError, MemoryError):
        raise
    except ImportError as cause:
        raise ModelError(
            f"{what}: it needs a package that is not installed ({describe_cause(cause)})",
            where=where,
            fix="install that package, or use a model that does without it",
        ) from cause
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != _PANIC:
            raise
        raise ModelError(f"{what}: {describe_cause(cause)}", where=where, fix=fix) from cause


def describe_cause(cause: BaseException) -> str:
    """A library's reason in one line: where its first line only announces a list, the first item of that too."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if not lines:
        return type(cause).__name__
    text = lines[0]
    for further in lines[1:3]:
        if not text.endswith(":"):
            break
        text = f"{text} {further}"
    if isinstance(cause, KeyError | IndexError | AttributeError | TypeError):
        text = f"{type(cause).__name__}: {text}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Turn off progress bars and warnings of transformers: errors are raised anyway."""
    from transformers.utils import logging

    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
