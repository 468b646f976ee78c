"""A ledger or a pack rewritten so that it is whole again: the hand of somebody who knows how everything is computed."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from rlaif.ledger.chain import GENESIS, Head, link
from rlaif.ledger.schema import LEDGER_TYPES
from rlaif.records import digest_text

TABLES = [kind.table for kind in LEDGER_TYPES]


def chain_again(file: apsw.Connection, *, after: int = 0) -> Head:
    """Make every head after a row again, from the rows as they are now; the new last head."""
    rows = [
        (seq, table, record_id, content, observed)
        for table in TABLES
        for seq, record_id, content, observed in file.execute(
            f"SELECT seq, id, content, observed FROM {table} WHERE seq > ?", (after,)
        )
    ]
    head = GENESIS if after == 0 else head_at(file, after)
    last = after
    with file:
        for seq, table, record_id, content, observed in sorted(rows):
            head = link(head, seq=seq, table=table, record_id=record_id, content=content, observed=observed)
            file.execute(f"UPDATE {table} SET head = ? WHERE seq = ?", (head, seq))
            last = seq
    return Head(last, head.hex())


def head_at(file: apsw.Connection, seq: int) -> bytes:
    found = [head for table in TABLES for (head,) in file.execute(f"SELECT head FROM {table} WHERE seq = ?", (seq,))]
    return bytes(found[0])


def open_file(path: Path) -> apsw.Connection:
    file = apsw.Connection(str(path))
    file.execute("PRAGMA synchronous=OFF")
    return file


class Pack:
    """A pack's files as values, to be changed and written again so that every digest fits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.about = json.loads((path / "pack.json").read_text())
        self.values = json.loads((path / "run.json").read_text())
        self.rows: list[list[Any]] = _read_lines(path / "chain.jsonl.gz")
        """Place, table, id, content, what was observed, and head."""
        self.texts: dict[str, str | None] = dict(_read_lines(path / "texts.jsonl.gz"))

    def is_used(self, row: list[Any]) -> bool:
        """Whether the run of the pack used a row."""
        return any(
            (use["run"], use["record_table"], use["record_id"]) == (self.about["run"], row[1], row[2])
            for use in (json.loads(other[3]) for other in self.rows if other[1] == "uses")
        )

    def replace(self, row: list[Any], content: dict[str, Any]) -> None:
        """Give a row another content, and it and all that names it the ids that follow."""
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        renamed = {row[2]: digest_text(f"{row[1]}\n{text}")[:32]}
        row[2], row[3] = renamed[row[2]], text
        for other in self.rows[self.rows.index(row) + 1 :]:
            named = [old for old in renamed if old in other[3]]
            for old in named:
                other[3] = other[3].replace(old, renamed[old])
            if named:
                renamed[other[2]] = digest_text(f"{other[1]}\n{other[3]}")[:32]
                other[2] = renamed[other[2]]

    def write(self, *, chain: bool = True) -> None:
        """Write the files. chain: with every head made again, in the printed heads too."""
        if chain:
            self._chain_again()
        files = {
            "chain.jsonl.gz": _to_lines(self.rows),
            "texts.jsonl.gz": _to_lines([list(item) for item in self.texts.items()]),
            "run.json": json.dumps(self.values).encode(),
        }
        for name, data in files.items():
            (self._path / name).write_bytes(data)
            self.about["files"][name] = sha256(data).hexdigest()
        (self._path / "pack.json").write_text(json.dumps(self.about))

    def _chain_again(self) -> None:
        head, heads = GENESIS, {}
        for row in self.rows:
            seq, table, record_id, content, observed, _ = row
            head = link(head, seq=seq, table=table, record_id=record_id, content=content, observed=observed)
            row[5] = heads[seq] = head.hex()
        self.about["head"] = head.hex()
        for printed in self.values["heads"]:
            printed[1] = heads[printed[0]]


def _read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def _to_lines(values: list[list[Any]]) -> bytes:
    return gzip.compress("".join(json.dumps(value) + "\n" for value in values).encode(), mtime=0)
