"""A file that rlaif wrote -> its values; one that is damaged or cannot be read is refused in a sentence.

The sentence names the file and the way out. Holds no file's layout: each reader brings its own.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from rlaif.errors import InputError, RunFolderError
from rlaif.files.file_errors import describe_file_error

T = TypeVar("T")
_REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
"""Errors of a file that is gone, or that something else is in the place of."""


def read_own(path: Path, parse: Callable[[bytes], T], *, fix: str, error: type[InputError] = RunFolderError) -> T:
    """What `parse` makes of the file's bytes; `parse` raises ValueError for bytes that it does not understand."""
    with refuse_damage(path, fix=fix, error=error):
        return parse(path.read_bytes())


def read_own_lines(path: Path, parse: Callable[[bytes], T], *, fix: str, noun: str = "the file") -> Iterator[T]:
    """What `parse` makes of each whole line; none where there is no file. A line torn by a kill does not count."""
    if not path.exists():
        return
    with refuse_damage(path, fix=fix, noun=noun):
        lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        with refuse_damage(path, fix=fix, line=number, noun=noun):
            value = parse(line)
        yield value


def json_of(kind: Any) -> Callable[[bytes], Any]:
    """A `parse` for JSON that holds what the type `kind` says, exactly: no text in the place of a number.

    Keys that a `TypedDict` does not name stay in the value.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def parse(data: bytes) -> Any:
        value = json.loads(data)
        adapter.validate_python(value, strict=True)
        return value

    return parse


@contextmanager
def refuse_damage(
    path: Path, *, fix: str, line: int | None = None, noun: str = "the file", error: type[InputError] = RunFolderError
) -> Iterator[None]:
    """Turn what the block raises about the bytes of the file into a sentence. For readers, whose errors are these."""
    where = str(path) if line is None else f"{path}:{line}"
    try:
        yield
    except OSError as cause:
        failure = describe_file_error(cause)
        fix = fix if cause.errno in _REPLACED else f"{failure.fix}, or {fix}"
        raise error(f"{noun} cannot be read: {failure.said}", where=where, fix=fix) from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{noun} is damaged ({_describe(cause)})", where=where, fix=fix) from cause


def _describe(error: ValueError | RecursionError) -> str:
    if isinstance(error, ValidationError):
        return _describe_first(error.errors(include_url=False, include_input=False)[0])
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else (str(error).splitlines() or [""])[0]


def _describe_first(found: ErrorDetails) -> str:
    at = ".".join(map(str, found["loc"]))
    return f"{found['msg']}{f' at {at}' if at else ''}"
