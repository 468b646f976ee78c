"""The ledger's tables: one per record class, and one for texts.

A row has its place in the chain, its id, its content, what was observed, and the chain's head after it.
Columns to search by are generated from the content, so no fact is stored twice. Opens no file.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from rlaif.ledger.listing import COUNT_TRIGGERS, LISTING_DDL, LISTING_TABLES
from rlaif.ledger.texts import TEXTS_DDL, KeptText, Redaction
from rlaif.records import RECORD_TYPES, Record

SCHEMA_VERSION = 1
APPLICATION_ID = 0x524C4149  # "RLAI"

LEDGER_TYPES: tuple[type[Record], ...] = (*RECORD_TYPES, KeptText, Redaction)


class Column(NamedTuple):
    """A column to search by: one field of the content."""

    name: str
    path: str = ""
    """JSON path in the content; empty: the field of the column's name."""
    kind: Literal["TEXT", "INTEGER", "REAL"] = "TEXT"
    indexed: bool = True


class Table(NamedTuple):
    columns: tuple[Column, ...] = ()
    key: str = "id"
    """Attribute and column that no two records may share: the id, or the key of the request."""
    indexes: tuple[str, ...] = ()
    """Further indexes, over several columns."""


TABLES: dict[str, Table] = {
    "prompts": Table((Column("source", indexed=False),)),
    "demonstrations": Table((Column("prompt_id"),)),
    "models": Table(),
    "samples": Table((Column("prompt_id"), Column("policy_id", indexed=False), Column("request_key")), "request_key"),
    "constitutions": Table((Column("name", indexed=False),)),
    "panels": Table(),
    "questions": Table((Column("prompt_id"), Column("principle_id", "$.principles[0].id"))),
    "judgements": Table((Column("question_id"), Column("verdict", indexed=False)), "question_id"),
    "failed_judgements": Table((Column("question_id"), Column("cause"))),
    "comparisons": Table(
        (
            Column("prompt_id"),
            Column("principle_id", "$.principle.id"),
            Column("listed_id", "$.judgement_ids[0]"),
            Column("swapped_id", "$.judgement_ids[1]"),
            Column("flipped", kind="INTEGER"),
            Column("p_first", kind="REAL", indexed=False),
        )
    ),
    "human_labels": Table((Column("prompt_id"), Column("principle_id"), Column("annotator", indexed=False))),
    "spot_checks": Table((Column("sheet_id"),)),
    "edit_tests": Table((Column("sheet_id"),)),
    "edit_outcomes": Table((Column("test_id"),)),
    "disputes": Table((Column("comparison_id"), Column("says", indexed=False))),
    "sign_offs": Table(),
    "calibrations": Table((Column("labels_digest", indexed=False),)),
    "preferences": Table((Column("prompt_id"), Column("source", indexed=False))),
    "reward_models": Table((Column("model_id"),)),
    "policies": Table((Column("model_id"),)),
    "evaluations": Table((Column("policy_model_id"),)),
    "uses": Table(
        (
            Column("record_id"),
            Column("run", indexed=False),
            Column("round", kind="INTEGER", indexed=False),
            Column("stage", indexed=False),
            Column("record_table", indexed=False),
        ),
        indexes=("run, round, stage, record_table",),
    ),
    "kept_texts": Table(),
    "redactions": Table((Column("digest"),), "digest"),
}


ADDED_TABLES = (
    "calibrations", "panels", "spot_checks", "edit_tests", "edit_outcomes", "disputes", "sign_offs", *LISTING_TABLES
)  # fmt: skip
"""Tables that a ledger of this schema version may lack, because it is older than they are."""


def schema_statements() -> list[str]:
    """Everything that makes an empty file a ledger."""
    return [
        *TEXTS_DDL,
        *LISTING_DDL,
        *COUNT_TRIGGERS.values(),
        *(statement for kind in LEDGER_TYPES for statement in table_statements(kind.table)),
    ]


def table_statements(name: str) -> list[str]:
    """The statements that make one of the tables, the table's own first."""
    if name in LISTING_TABLES:
        triggers = COUNT_TRIGGERS.values() if name == LISTING_TABLES[-1] else ()
        return [LISTING_DDL[LISTING_TABLES.index(name)], *triggers]
    table = TABLES[name]
    generated = "".join(
        f",\n  {column.name} {column.kind} GENERATED ALWAYS AS"
        f" (json_extract(content, '{column.path or f'$.{column.name}'}')) VIRTUAL"
        for column in table.columns
    )
    statements = [
        f"CREATE TABLE {name} (\n  seq INTEGER PRIMARY KEY,\n  id TEXT NOT NULL UNIQUE,\n"
        f"  content TEXT NOT NULL,\n  observed TEXT,\n  head BLOB NOT NULL{generated}\n) STRICT"
    ]
    for column in table.columns:
        if column.indexed:
            unique = "UNIQUE " if column.name == table.key else ""
            statements.append(f"CREATE {unique}INDEX {name}_{column.name} ON {name} ({column.name})")
    for index in table.indexes:
        statements.append(f"CREATE INDEX {name}_{index.replace(', ', '_')} ON {name} ({index})")
    return statements


READ_HEAD = (
    "SELECT seq, head FROM ("
    + " UNION ALL ".join(
        f"SELECT * FROM (SELECT seq, head FROM {record_type.table} ORDER BY seq DESC LIMIT 1)"
        for record_type in LEDGER_TYPES
    )
    + ") ORDER BY seq DESC LIMIT 1"
)
FIND_HEAD = " UNION ALL ".join(f"SELECT head FROM {record_type.table} WHERE seq = ?1" for record_type in LEDGER_TYPES)
"""Statement for the head after one row, whichever table holds the row."""
INSERT_ROW = {name: f"INSERT INTO {name} (seq, id, content, observed, head) VALUES (?, ?, ?, ?, ?)" for name in TABLES}
"""Statement by table that inserts a row."""
FIND_KEYS = {
    name: f"SELECT {table.key}, id FROM {name} WHERE {table.key} IN (SELECT value FROM json_each(?))"
    for name, table in TABLES.items()
}
"""Statement by table that finds which of some keys are stored, and under which ids."""
