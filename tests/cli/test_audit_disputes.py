"""`rlaif audit disputes` and `rlaif audit dispute` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import Comparison, Dispute


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments], env={"COLUMNS": "160"})


def find_comparisons() -> list[Comparison]:
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        return list_records(ledger, Comparison)


def test_a_decision_is_disputed_with_reason_note_author_and_the_head_that_stood(judged: Path) -> None:
    comparison = find_comparisons()[0]
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        head = ledger.head()
    said = audit("dispute", comparison.id[:16], "wrong", "--reason", "length", "--note", "only longer", "--as", "ann")
    assert said.stdout == f"ann: the judge was wrong, length, on {comparison.id}\n"
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        (stored,) = list_records(ledger, Dispute)
        assert verify(ledger).ok
    assert (stored.seen_seq, stored.seen_head) == (head.seq, head.hex)
    assert (stored.note, stored.reason) == ("only longer", "length")


def test_disputes_are_listed_as_values_and_filtered(judged: Path) -> None:
    one, other = find_comparisons()[:2]
    audit("dispute", one.id, "wrong", "--reason", "style", "--as", "ann")
    audit("dispute", other.judgement_ids[0], "right", "--as", "bea")
    found = json.loads(audit("disputes", "--json").stdout)
    assert [(row["author"], row["says"], row["comparison_id"]) for row in found["disputes"]] == [
        ("bea", "right", other.id),
        ("ann", "wrong", one.id),
    ]
    assert found["principles"] == {"kind": {"right": 1, "wrong": 1}}
    shown = audit("disputes", "--says", "wrong").stdout
    assert one.id[:12] in shown
    assert "style" in shown
    assert "bea" not in shown
    assert "kind: 1 wrong" in shown
    assert audit("disputes", "--principle", "other").stdout == "nothing found\n"


def test_a_note_that_is_too_long_and_an_id_of_nothing_are_refused(judged: Path) -> None:
    comparison = find_comparisons()[0]
    assert "at most 2000 characters" in str(audit("dispute", comparison.id, "wrong", "--note", "x" * 2001).exception)
    assert "no comparison, judgement or question" in str(audit("dispute", "ffff", "wrong").exception)
    assert audit("disputes").stdout == "nothing found\n"
