"""In a ledger of 200 rows every changed field, removed row, reordering and cut is found, and found at its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
from ledger_world import make_world

from rlaif.ledger.chain import Head
from rlaif.ledger.rows import KINDS, ChainRow, rows_in_order
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Break, verify

NUM_ROWS = 200
TABLES = [kind.table for kind in KINDS]


class Place(NamedTuple):
    """A row of the chain."""

    table: str
    seq: int


class Copy:
    """A ledger in memory that is changed, verified and made whole again."""

    def __init__(self, path: Path) -> None:
        with Ledger.open(path) as ledger:
            for number in range(NUM_ROWS):
                world = make_world(number, is_signed=True)
                ledger.put_texts([world.template.source, *(p.text for p in world.constitution.principles)])
                for record in world.records:
                    if ledger.head().seq < NUM_ROWS:
                        ledger.append([record])
        self._whole = apsw.Connection(str(path))
        self.file = apsw.Connection(":memory:")
        self.restore()
        self.ledger = Ledger(path, self.file)
        self.head: Head = self.ledger.head()
        self.rows: list[ChainRow] = list(rows_in_order(self.ledger))

    def restore(self) -> None:
        with self.file.backup("main", self._whole, "main") as backup:
            backup.step()

    def breaks(self, *statements: tuple[str, tuple[Any, ...]]) -> tuple[Break, ...]:
        """What is found after these statements, which are undone."""
        for statement in statements:
            self.file.execute(*statement)
        found = verify(self.ledger, heads=[self.head]).breaks
        self.restore()
        return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("everywhere") / "ledger.sqlite")


def table_of(row: ChainRow) -> str:
    return KINDS[row.place].table


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every single value in a nested one."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def with_other(text: str, path: tuple[Any, ...]) -> str:
    """The JSON text with another value at a path."""
    root = json.loads(text)
    inner = root
    for key in path[:-1]:
        inner = inner[key]
    value = inner[path[-1]]
    inner[path[-1]] = (
        not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else f"{value}x"
    )
    return json.dumps(root, separators=(",", ":"), ensure_ascii=False)


def test_the_ledger_is_whole_and_has_200_rows_of_every_kind(copy: Copy) -> None:
    assert copy.breaks() == ()
    assert (copy.head.seq, len(copy.rows)) == (NUM_ROWS, NUM_ROWS)
    assert {table_of(row) for row in copy.rows} == set(TABLES) - {"redactions"}


@pytest.mark.heavy
def test_every_value_of_every_row_is_found_at_its_row_and_column(copy: Copy) -> None:
    tried = 0
    for row in copy.rows:
        place = Place(table_of(row), row.seq)
        for column, text in (("content", row.content), ("observed", row.observed)):
            for path in leaves(json.loads(text)) if text else ():
                changed = with_other(text, path)
                found = copy.breaks((f"UPDATE {place.table} SET {column} = ? WHERE seq = ?", (changed, row.seq)))
                assert Place(*found[0][:2]) == place, (column, path, found)
                of_content = any("id is not" in one.what or "its text" in one.what for one in found)
                if not KINDS[row.place].has_own_id:
                    assert of_content == (column == "content"), (column, path, found)
                    assert ("its content fits its id" in found[0].what) == (column == "observed")
                tried += 1
        other_head = bytes([row.head[0] ^ 1]) + row.head[1:]
        observed = None if row.observed else "{}"
        for column, value in (("id", row.id[::-1]), ("head", other_head), ("observed", observed)):
            found = copy.breaks((f"UPDATE {place.table} SET {column} = ? WHERE seq = ?", (value, row.seq)))
            assert Place(*found[0][:2]) == place, (column, found)
            tried += 1
    assert tried > 10 * NUM_ROWS


def remove(row: ChainRow) -> tuple[str, tuple[Any, ...]]:
    return f"DELETE FROM {table_of(row)} WHERE seq = ?", (row.seq,)


def close_gap(seq: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give every row after a removed one the number before its own, and its short texts too."""
    for table, column, by, first in (
        *((table, "seq", 1, seq) for table in TABLES),
        ("short_texts", "place", 8, 8 * seq),
    ):
        yield f"UPDATE {table} SET {column} = -({column} - {by}) WHERE {column} > ?", (first + by - 1,)
        yield f"UPDATE {table} SET {column} = -{column} WHERE {column} < 0", ()


@pytest.mark.heavy
def test_every_removed_row_is_missed_at_its_place_with_its_gap_or_without(copy: Copy) -> None:
    for row in copy.rows:
        after = copy.breaks(remove(row))
        chain = [one for one in after if one.table not in ("texts", "short_texts", "listing")]
        if row.seq < NUM_ROWS:
            assert chain[0].seq == row.seq + 1, after
            assert f"row {row.seq} is missing before it" in chain[0].what
        else:
            assert chain[0] == Break(
                "", row.seq, f"a head was printed for this row, and the ledger ends at row {row.seq - 1}"
            )
        texts = ("DELETE FROM short_texts WHERE place BETWEEN ? AND ?", (8 * row.seq, 8 * row.seq + 7))
        closed = copy.breaks(texts, remove(row), *close_gap(row.seq))
        if row.seq < NUM_ROWS:
            assert any(one.seq == row.seq and "head does not fit" in one.what for one in closed), closed
        assert any(one.seq == NUM_ROWS and "the ledger ends at row" in one.what for one in closed)


@pytest.mark.heavy
def test_every_two_neighbours_that_changed_places_are_found_at_both(copy: Copy) -> None:
    for one, other in zip(copy.rows, copy.rows[1:], strict=False):
        a, b = table_of(one), table_of(other)
        found = copy.breaks(
            (f"UPDATE {a} SET seq = -1 WHERE seq = ?", (one.seq,)),
            (f"UPDATE {b} SET seq = ? WHERE seq = ?", (one.seq, other.seq)),
            (f"UPDATE {a} SET seq = ? WHERE seq = -1", (other.seq,)),
        )
        at = {one.seq for one in found if "head does not fit" in one.what}
        assert {one.seq, other.seq} <= at, (one.seq, found)


@pytest.mark.heavy
def test_every_cut_shows_against_the_head_and_says_where_the_ledger_ends(copy: Copy) -> None:
    for last in range(NUM_ROWS):
        found = copy.breaks(*((f"DELETE FROM {table} WHERE seq > ?", (last,)) for table in TABLES))
        assert Break("", NUM_ROWS, f"a head was printed for this row, and the ledger ends at row {last}") in found
