"""A text -> the files below a folder that hold it or a part of it.

Looks into Parquet cells, and into the bytes of every other file for the text as it is, as JSON and as HTML quote it.
Weights are not searched. Changes nothing.
"""

from __future__ import annotations

import html
import json
import mmap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

MIN_PART, MAX_PART = 6, 120
"""Characters of a part of a text that is searched for. A shorter text would be found everywhere."""
NOT_SEARCHED = (".safetensors", ".bin", ".pt", ".gguf")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Holding(NamedTuple):
    """A file that holds a text or a part of it."""

    path: Path
    problem: str = ""
    """Why it could not be searched; empty where it was, and the text was found."""


def find_parts(text: str) -> tuple[str, ...]:
    """Up to three parts of a text, each within one line: the first, the longest and the last.

    They are what is searched for, because files break, cut and quote a text in their own ways. Empty where the text is
    too short to be searched for.
    """
    whole = "".join("\n" if unicodedata.category(c) in _HIDDEN else c for c in text)
    lines = [line.strip()[:MAX_PART] for line in whole.split("\n")]
    found = [line for line in lines if len(line) >= MIN_PART]
    if not found:
        return ()
    return tuple(dict.fromkeys((found[0], max(found, key=len), found[-1])))


def find_files(folder: Path, parts: Sequence[str], *, leave_out: Iterable[Path] = ()) -> list[Holding]:
    """The files below `folder` that hold one of the parts, sorted; links are not followed."""
    without = {path.resolve() for path in leave_out}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix in NOT_SEARCHED or path.resolve() in without:
            continue
        try:
            if _holds(path, parts):
                found.append(Holding(path))
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors and OSErrors
            found.append(Holding(path, f"it could not be searched: {error}"))
    return found


def _holds(path: Path, parts: Sequence[str]) -> bool:
    if path.suffix == ".parquet":
        return any(_is_in_table(path, parts))
    if not path.stat().st_size:
        return False
    forms = {form for part in parts for form in (*_find_forms(part), *_find_html(part))}
    needles = [form.encode("utf-8", "surrogatepass") for form in forms]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(needle) >= 0 for needle in needles)


def _find_forms(part: str) -> set[str]:
    """A part as it is, and as JSON writes it."""
    return {part, json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]}


def _find_html(part: str) -> set[str]:
    """A part as the two usual ways of escaping write it."""
    escaped = html.escape(part)
    return {escaped, escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}


def _is_in_table(path: Path, parts: Sequence[str]) -> Iterator[bool]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    needles = {
        form for part in parts for form in (part, json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
    }
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for column in batch.columns:
                for leaf in _find_leaves(column):
                    for needle in needles:
                        yield bool(pc.any(pc.match_substring(leaf, needle)).as_py())


def _find_leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The texts inside a column, however they are nested."""
    import pyarrow as pa

    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield array
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _find_leaves(array.flatten())
    elif pa.types.is_struct(array.type):
        for inner in array.flatten():
            yield from _find_leaves(inner)
