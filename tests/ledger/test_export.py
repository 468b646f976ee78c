"""A stage's output as a table: the columns it always had, and a rare field's only where a record has it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from rlaif.ledger.export import write_records
from rlaif.records import Judgement, VerdictLogprob

LISTED = Judgement(
    question_id="q", verdict="first", raw_reply="A",
    logprobs=(VerdictLogprob(verdict="first", logprob=-0.1), VerdictLogprob(verdict="second", logprob=-2.5)),
)  # fmt: skip


def test_bounds_are_columns_only_where_a_verdict_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "judgements.parquet"
    write_records([LISTED], path)
    before = pq.read_table(path).column_names
    assert {"logprobs", "choice_logprobs", "label_mass"} <= set(before)
    assert not {"unlisted", "unlisted_at_most"} & set(before)
    write_records([LISTED, LISTED.changed(question_id="r", unlisted=("tie",), unlisted_at_most=-3.0)], path)
    table = pq.read_table(path)
    assert set(table.column_names) == {*before, "unlisted", "unlisted_at_most"}
    assert table.column("unlisted_at_most").to_pylist() == [None, -3.0]
