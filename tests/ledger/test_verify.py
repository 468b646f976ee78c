"""Whatever is changed in a ledger is found, and the place is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from ledger_world import keep_world, make_world

from rlaif.ledger.chain import GENESIS, Head, link
from rlaif.ledger.schema import LEDGER_TYPES
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Break, Verification, verify
from rlaif.records import digest_text

Row = tuple[Any, ...]
TABLES = [kind.table for kind in LEDGER_TYPES]
COLUMNS = ("seq", "id", "content", "observed", "head")


class Tampered:
    """A whole ledger, and a second hand on its file."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger.open(path)
        keep_world(self.ledger, make_world(is_signed=True))
        self.ledger.append(make_world(1, is_signed=True).records)
        self.ledger.put_texts(["a text that is no longer to be read"])
        self.ledger.redact_text(
            digest_text("a text that is no longer to be read"),
            reason="private",
            author="ann",
            at="2026-01-01",
        )
        self.head = self.ledger.head()
        self.file = apsw.Connection(str(path))
        self.file.execute("PRAGMA synchronous=OFF")

    def rows(self, table: str) -> list[Row]:
        return self.file.execute(f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY seq").fetchall()

    def replace(self, table: str, rows: list[Row]) -> None:
        """Put these rows where the table's rows were."""
        with self.file:
            self.file.execute(f"DELETE FROM {table}")
            for row in rows:
                self.file.execute(f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?)", row)

    def breaks_with(self, table: str, rows: list[Row]) -> tuple[Break, ...]:
        """What is found with these rows in the table; the true rows are put back."""
        before = self.rows(table)
        self.replace(table, rows)
        found = verify(self.ledger, heads=[self.head]).breaks
        self.replace(table, before)
        return found

    def all_rows(self) -> Iterator[tuple[str, list[Row], int]]:
        """Every row as (table, the table's rows, index)."""
        for table in TABLES:
            rows = self.rows(table)
            assert rows, f"the test's ledger has no row in {table}"
            for index in range(len(rows)):
                yield table, rows, index


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory) -> Tampered:
    return Tampered(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")


def place(breaks: tuple[Break, ...]) -> set[tuple[str, int | None]]:
    return {(found.table, found.seq) for found in breaks}


def test_a_whole_ledger_verifies_against_every_head_printed_on_the_way(tmp_path: Path) -> None:
    heads = [Head(0, GENESIS.hex())]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for record in make_world(is_signed=True).records:
            ledger.append([record])
            heads.append(ledger.head())
        verified = verify(ledger, heads=heads)
    # the questions name a template and a principle that were not kept here, which the chain need not know
    assert verified == Verification(len(heads) - 1, heads[-1], ())


def changed_values(column: str, value: Any) -> list[Any]:
    match column:
        case "seq":
            return [value + 1000]
        case "id":
            return ["0" * 32, value[:-1], value.upper() if value.upper() != value else value + "0"]
        case "head":
            return [bytes(32), value[:-1], value[::-1]]
        case "observed":
            return [None if value else "{}", (value or "").replace("0", "1") + " "]
        case _:
            return [value + " ", *changed_contents(value)]


def changed_contents(content: str) -> Iterator[str]:
    """The content with one field changed, for each of its fields; and with one field more."""
    fields = json.loads(content)
    for name, value in fields.items():
        match value:
            case bool():
                other: Any = not value
            case int() | float():
                other = value + 1
            case _:
                other = None if value == "f" * 64 else "f" * 64
        yield json.dumps({**fields, name: other}, separators=(",", ":"))
    yield json.dumps({**fields, "more": 1}, separators=(",", ":"))


def test_every_changed_field_of_every_row_is_found_at_its_place(tampered: Tampered) -> None:
    tried = 0
    for table, rows, index in tampered.all_rows():
        row = rows[index]
        for at, column in enumerate(COLUMNS):
            for value in changed_values(column, row[at]):
                changed = (*row[:at], value, *row[at + 1 :])
                breaks = tampered.breaks_with(table, [*rows[:index], changed, *rows[index + 1 :]])
                assert (table, changed[0]) in place(breaks), (table, column, value, breaks)
                if column == "head" and row[0] != tampered.head.seq:
                    assert len(breaks) == 1, "one changed head is one break"
                tried += 1
    assert tried > 500
    assert verify(tampered.ledger, heads=[tampered.head]).ok


def test_every_removed_row_is_missed_at_its_place(tampered: Tampered) -> None:
    for table, rows, index in tampered.all_rows():
        seq = rows[index][0]
        breaks = tampered.breaks_with(table, rows[:index] + rows[index + 1 :])
        assert any(f"row {seq} is missing" in str(found) or found.seq == seq for found in breaks), (
            table,
            seq,
        )


def test_every_row_removed_with_its_gap_closed_is_found(tampered: Tampered) -> None:
    for table, rows, index in tampered.all_rows():
        seq = rows[index][0]
        if index + 1 < len(rows) and rows[index + 1][0] == seq + 1:
            moved = (seq, *rows[index + 1][1:])
            breaks = tampered.breaks_with(table, [*rows[:index], moved, *rows[index + 2 :]])
            assert (table, seq) in place(breaks)


def test_two_rows_that_changed_places_are_both_found(tampered: Tampered) -> None:
    for table in TABLES:
        rows = tampered.rows(table)
        for index in range(len(rows) - 1):
            one, other = rows[index], rows[index + 1]
            for kept in (1, 4):  # with everything but their place swapped; with their heads left as well
                swapped = [(one[0], *other[1:]), (other[0], *one[1:])]
                if kept == 4:
                    swapped = [(*swapped[0][:4], one[4]), (*swapped[1][:4], other[4])]
                breaks = tampered.breaks_with(table, [*rows[:index], *swapped, *rows[index + 2 :]])
                assert {(table, one[0]), (table, other[0])} <= place(breaks)


def test_a_row_copied_under_another_number_is_found(tampered: Tampered) -> None:
    rows = tampered.rows("questions")
    seq = tampered.head.seq + 1
    forged = (seq, "0" * 32, *rows[0][2:])
    assert ("questions", seq) in place(tampered.breaks_with("questions", [*rows, forged]))


def test_a_place_taken_twice_is_found(tampered: Tampered) -> None:
    rows = tampered.rows("models")
    taken = tampered.rows("samples")[0][0]
    breaks = tampered.breaks_with("models", [*rows, (taken, "0" * 32, *rows[0][2:])])
    assert any(found.seq == taken for found in breaks)


def copy_of(tampered: Tampered, path: Path) -> apsw.Connection:
    target = apsw.Connection(str(path))
    with target.backup("main", tampered.file, "main") as backup:
        backup.step()
    return target


@pytest.mark.parametrize("cut", [1, 2, 7, 1000])
def test_a_cut_tail_shows_against_a_printed_head_and_only_there(tampered: Tampered, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.sqlite"
    last = max(tampered.head.seq - cut, 0)
    with copy_of(tampered, path) as file:
        for table in TABLES:
            file.execute(f"DELETE FROM {table} WHERE seq > ?", (last,))
    file.close()
    with Ledger.open(path) as ledger:
        breaks = verify(ledger, heads=[tampered.head]).breaks
        assert (
            Break("", tampered.head.seq, f"a head was printed for this row, and the ledger ends at row {last}")
            in breaks
        )
        chain = [found for found in verify(ledger).breaks if "head" in found.what or "missing before" in found.what]
        assert chain == []


def test_a_history_written_anew_shows_against_a_printed_head(tampered: Tampered, tmp_path: Path) -> None:
    path = tmp_path / "forged.sqlite"
    file = copy_of(tampered, path)
    changed = file.execute("SELECT seq, content FROM human_labels ORDER BY seq").fetchall()[0]
    content = changed[1].replace('"choice":"first"', '"choice":"second"')
    assert content != changed[1]
    new_id = digest_text(f"human_labels\n{content}")[:32]
    file.execute("UPDATE human_labels SET content = ?, id = ? WHERE seq = ?", (content, new_id, changed[0]))
    rows = [(table, *row) for table in TABLES for row in
            file.execute(f"SELECT seq, id, content, observed FROM {table}").fetchall()]  # fmt: skip
    head = GENESIS
    for table, seq, record_id, content, observed in sorted(rows, key=lambda row: row[1]):
        head = link(head, seq=seq, table=table, record_id=record_id, content=content, observed=observed)
        file.execute(f"UPDATE {table} SET head = ? WHERE seq = ?", (head, seq))
    file.close()
    with Ledger.open(path) as ledger:
        assert verify(ledger).ok
        breaks = verify(ledger, heads=[tampered.head]).breaks
        assert [(found.seq, found.what) for found in breaks] == [
            (
                tampered.head.seq,
                "its head is not the one that was printed; the first row that differs is one of 1 to "
                f"{tampered.head.seq}, and every head after it was made again",
            )
        ]


Change = tuple[str, tuple[Any, ...]]


def text_breaks(tampered: Tampered, change: Change) -> tuple[Break, ...]:
    """What is found after one statement on the texts; they are put back."""
    kept = {t: tampered.file.execute(f"SELECT * FROM {t}").fetchall() for t in ("texts", "short_texts")}
    tampered.file.execute(*change)
    found = verify(tampered.ledger).breaks
    with tampered.file:
        for table, rows in kept.items():
            tampered.file.execute(f"DELETE FROM {table}")
            tampered.file.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return found


def test_every_changed_text_is_found_by_its_digest(tampered: Tampered) -> None:
    tried = 0
    for table in ("texts", "short_texts"):
        for digest, text in tampered.file.execute(f"SELECT digest, text FROM {table}").fetchall():
            other = bytes([digest[0] ^ 1]) + digest[1:]
            for change in (
                (f"UPDATE {table} SET text = ? WHERE digest = ?", (f"{text} ", digest)),
                (f"UPDATE {table} SET text = ? WHERE digest = ?", ("", digest)),
                (f"UPDATE {table} SET digest = ? WHERE digest = ?", (other, digest)),
                (f"DELETE FROM {table} WHERE digest = ?", (digest,)),
            ):
                breaks = text_breaks(tampered, change)
                assert any(digest.hex() in found.what for found in breaks), (change, breaks)
                tried += 1
    assert tried > 40


def test_every_short_text_put_in_another_place_is_found(tampered: Tampered) -> None:
    for place, digest in tampered.file.execute("SELECT place, digest FROM short_texts").fetchall():
        for elsewhere in (place + 2, -place, 10**9):
            breaks = text_breaks(tampered, ("UPDATE short_texts SET place = ? WHERE place = ?", (elsewhere, place)))
            assert any(digest.hex() in found.what for found in breaks)


def test_a_text_removed_without_a_redaction_is_found(tampered: Tampered) -> None:
    for table in ("texts", "short_texts"):
        breaks = text_breaks(tampered, (f"UPDATE {table} SET text = NULL", ()))
        assert any("removed without a redaction" in found.what for found in breaks)


def test_a_text_that_was_slipped_in_is_found(tampered: Tampered) -> None:
    digest = bytes.fromhex(digest_text("slipped in"))
    breaks = text_breaks(tampered, ("INSERT INTO texts VALUES (?, ?)", (digest, "slipped in")))
    assert [found.what for found in breaks] == [f"no record names text {digest.hex()}"]
    breaks = text_breaks(tampered, ("INSERT INTO short_texts VALUES (?, ?, ?)", (10**9, digest, "slipped in")))
    assert breaks == (Break("short_texts", 10**9, "no record names this text"),)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX samples_prompt_id",
        "CREATE TRIGGER quiet AFTER INSERT ON judgements BEGIN DELETE FROM judgements; END",
        "CREATE TABLE more (x)",
        "DROP TABLE human_labels",
    ],
)
def test_a_changed_schema_is_found(tampered: Tampered, tmp_path: Path, statement: str) -> None:
    path = tmp_path / "schema.sqlite"
    file = copy_of(tampered, path)
    file.execute(statement)
    file.close()
    with Ledger.open(path, read_only=True) as ledger:
        assert not verify(ledger).ok


def test_a_damaged_file_is_said_to_be_damaged(tampered: Tampered, tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite"
    file = copy_of(tampered, path)
    page = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'judgements'").get
    file.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : (page - 1) * 4096 + 12] = b"\xff" * 12
    path.write_bytes(data)
    with Ledger.open(path) as ledger:
        assert not verify(ledger).ok
