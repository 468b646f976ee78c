"""A pack as a folder of files: written with a digest of each, and read again with every file compared.

The same content gives the same bytes. Does not know what the files say.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import DataError, LedgerError
from rlaif.files.atomic import digest_file, replace_directory
from rlaif.files.json_rows import MAX_LINE_BYTES
from rlaif.ledger.chain import Head
from rlaif.ledger.rows import KINDS, ChainRow
from rlaif.records import digest_bytes

FORMAT = "rlaif audit pack v1"
MANIFEST, CHAIN, TEXTS, RUN, README = "pack.json", "chain.jsonl.gz", "texts.jsonl.gz", "run.json", "README.md"
SIGNED = "signed"
"""Folder of signed heads in a pack."""
_FIX = "ask for the pack again"
_PLACES = {kind.table: place for place, kind in enumerate(KINDS)}
_ABOUT = """# What a judge decided, to be checked

This folder holds one run of rlaif: every question that its judges were asked, every answer, and the rows of the
ledger that they stand in. Whoever has it needs neither the run, nor its models, nor a network:

    pip install rlaif-pipeline
    rlaif audit verify --pack THIS_FOLDER

derives the comparisons, labels, preferences, the split and the training file from questions and answers alone, and
says of each whether it is what the run used. With `--allowed-signers FILE` the signed heads in `signed/` are checked
too: only they show that the whole folder was not made up at once. It proves nothing of rows after the last signed head,
and nothing of whether an answer is right.
"""


class Packed(NamedTuple):
    """What a pack holds."""

    run: str
    head: Head
    rows: list[ChainRow]
    texts: dict[str, str | None]
    """Texts by digest; None: redacted."""
    values: dict[str, Any]
    """Configuration, stages and printed heads of the run."""


def write_pack(path: Path, packed: Packed, *, version: str, signed: Iterable[Path]) -> int:
    """Write a pack into a new folder; the number of its bytes. signed: texts of heads, and their signatures."""
    files = {
        CHAIN: _zip([row.seq, KINDS[row.place].table, *row[2:5], row.head.hex()] for row in packed.rows),
        TEXTS: _zip([digest, text] for digest, text in sorted(packed.texts.items())),
        RUN: _to_json(packed.values),
        README: _ABOUT.encode(),
        **{f"{SIGNED}/{file.name}": file.read_bytes() for file in signed},
    }
    about = {
        "format": FORMAT, "rlaif": version, "run": packed.run, "seq": packed.head.seq, "head": packed.head.hex,
        "files": {name: digest_bytes(data) for name, data in sorted(files.items())},
    }  # fmt: skip
    files[MANIFEST] = _to_json(about)
    with replace_directory(path) as folder:
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
    return sum(map(len, files.values()))


def read_pack(path: Path) -> Packed:
    """A pack, refused where a file of it is missing, more or not as it was written."""
    about = _read_manifest(path)
    _compare_files(path, about["files"])
    try:
        rows = [_row(values) for values in _unzip(path / CHAIN)]
        texts = {str(digest): None if text is None else str(text) for digest, text in _unzip(path / TEXTS)}
        values = json.loads((path / RUN).read_bytes())
        if not {"config", "stages", "heads"} <= values.keys():
            raise ValueError(f"{RUN} lacks a part")
        values["heads"] = [(int(seq), str(digits), str(where)) for seq, digits, where in values["heads"]]
        return Packed(str(about["run"]), Head(int(about["seq"]), str(about["head"])), rows, texts, values)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"the pack cannot be read: {error}", where=str(path), fix=_FIX) from error


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        about = json.loads((path / MANIFEST).read_bytes())
        if about["format"] == FORMAT and {RUN, CHAIN, TEXTS} <= about["files"].keys():
            found: dict[str, Any] = about
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise DataError("this is no pack", where=str(path), fix="name a folder that `rlaif audit pack` wrote")


def _compare_files(path: Path, listed: Mapping[str, str]) -> None:
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()} - {MANIFEST}
    for name in sorted(there | listed.keys()):
        if name not in listed:
            what = "is not listed in it"
        elif name not in there:
            what = "is missing"
        elif digest_file(path / name) != listed[name]:
            what = "was changed after the pack was written"
        else:
            continue
        raise LedgerError(f"the pack is not as it was written: {name} {what}", where=str(path), fix=_FIX)


def _row(values: Any) -> ChainRow:
    seq, table, record_id, content, observed, head = values
    is_text = all(isinstance(part, str) for part in (table, record_id, content, head))
    if not (is_text and type(seq) is int and table in _PLACES and isinstance(observed, str | None)):
        raise ValueError(f"{CHAIN} holds something else than rows")
    return ChainRow(seq, _PLACES[table], id=record_id, content=content, observed=observed, head=bytes.fromhex(head))


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _zip(lines: Iterable[list[Any]]) -> bytes:
    data = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=data, mtime=0) as file:
        for line in lines:
            file.write((json.dumps(line, separators=(",", ":")) + "\n").encode())
    return data.getvalue()


def _unzip(path: Path) -> Iterator[Any]:
    """The values of a file, line by line; a line that would fill the memory is refused."""
    with gzip.open(path, "rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{path.name} has a line of over {MAX_LINE_BYTES >> 20} MiB")
            yield json.loads(line)
