"""Rows of decisions -> a file that other programs read: annotated pairs, CSV, JSON lines, Parquet or RewardBench's.

Each file but RewardBench's says of which ledger, up to which row, and by which filter it was made. Texts come from
models and data sets: a CSV has no cell that a spreadsheet would compute. Writes no file: it returns the bytes.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rlaif.audit.decision_rows import DecisionRow, Rows, decide
from rlaif.calibration.label_rows import as_csv, as_jsonl
from rlaif.calibration.labels import OVERALL
from rlaif.errors import InputError
from rlaif.files.bench_rows import DecidedPair, bench_rows
from rlaif.records import Verdict, digest_text, split_of

Format = Literal["annotated-pairs", "csv", "jsonl", "parquet", "reward-bench"]
PAIRS_VERSION = "2.0"
REFERENCE_ID = "ba751e7b"
"""Id that feedback-forensics 0.5 expects of the annotator with whom all others are compared."""
_SIDES: dict[Verdict, str] = {"first": "a", "second": "b"}


class Exported(NamedTuple):
    """A file's bytes, and what is in it."""

    data: bytes
    num_rows: int
    """Rows, or pairs with annotators' choices."""
    num_ties: int
    """Choices that were left out because the format has no ties."""
    num_unlabelled: int = 0
    """Comparisons that were left out because their pair has no label."""


def export_rows(found: Rows, *, format: Format, at: str, test_fraction: float | None = None) -> Exported:
    """The file's bytes. at: when it was made, where the format has a place for it.

    test_fraction: the share of prompts that the run of the filter holds out, which RewardBench's subsets then tell
    apart; None where that is not known.
    """
    if not found.rows:
        raise InputError(f"no comparison passes the filter: {found.filter.describe()}", fix="leave a part of it out")
    if format == "annotated-pairs":
        return _as_pairs(found, at=at)
    if format == "reward-bench":
        return _as_bench(found, test_fraction=test_fraction)
    rows = [_flatten(row, found) for row in found.rows]
    if format == "parquet":
        return Exported(_as_parquet(rows, found, at=at), len(rows), 0)
    text = as_jsonl(rows) if format == "jsonl" else as_csv([_join_lists(row) for row in rows])
    return Exported(text.encode("utf-8", "surrogatepass"), len(rows), 0)


def _flatten(row: DecisionRow, found: Rows) -> dict[str, Any]:
    return {
        **row.model_dump(mode="json"),
        "people": [f"{one.annotator}, {one.principle_id}: {one.choice}" for one in row.people],
        "ledger_row": found.head.seq,
        "ledger_head": found.head.hex,
    }


def _join_lists(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for name, value in row.items()}  # fmt: skip


def _as_parquet(rows: Sequence[Mapping[str, Any]], found: Rows, *, at: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([dict(row) for row in rows])
    about = {"rlaif.filter": found.filter.describe(), "rlaif.ledger_head": found.head.hex, "rlaif.made_at": at}
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), sink)
    return sink.getvalue()


def _as_bench(found: Rows, *, test_fraction: float | None) -> Exported:
    """A row for each pair that has a label; subset: whose label it is, and whether the prompt is held out."""
    labelled = {row.preference_id: row for row in found.rows if row.label is not None}
    pairs = []
    for row in labelled.values():
        if (side := decide(row.label or 0.0)) == "tie":
            continue
        texts = (row.first_text, row.second_text) if side == "first" else (row.second_text, row.first_text)
        pairs.append(DecidedPair(row.messages, *texts, subset=_name_subset(row, test_fraction=test_fraction)))
    if not pairs:
        raise InputError("no pair has a label that says which reply is better", fix="export --format jsonl")
    text = as_jsonl(bench_rows(pairs))
    return Exported(
        text.encode("utf-8", "surrogatepass"),
        num_rows=len(pairs),
        num_ties=len(labelled) - len(pairs),
        num_unlabelled=sum(row.label is None for row in found.rows),
    )


def _name_subset(row: DecisionRow, *, test_fraction: float | None) -> str:
    who = "people" if row.label_source == "human" else "judge"
    if test_fraction is None:
        return who
    return f"{who}, {'held out' if split_of(row.prompt_id, test_fraction=test_fraction) == 'test' else 'trained on'}"


class _Pairs:
    """The parts of an annotated-pairs file, filled comparison by comparison."""

    def __init__(self, rows: Sequence[DecisionRow]) -> None:
        self.annotators: dict[str, dict[str, str]] = {}
        self.comparisons: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.num_ties = 0
        self._num_judges = len({row.judge_id for row in rows})
        self._chosen: Counter[str] = Counter()

    def add(self, row: DecisionRow) -> None:
        """The judge's choice of one comparison, the pair's label, and people's choices."""
        pair = self.comparisons.setdefault((row.prompt_id, row.first_id, row.second_id), _make_pair(row))
        name = f"{row.principle_id}{f' by {row.judge}' if self._num_judges > 1 else ''}"
        self._choose(pair, name, row.verdict, description=row.principle_text, kind="principle")
        if row.label is not None:
            label = "the label, over all principles and judges, or people's"
            self._choose(pair, "label", decide(row.label), description=label, kind="label")
        for one in row.people:
            under = "" if one.principle_id == OVERALL else f" on {one.principle_id}"
            self._choose(pair, f"{one.annotator}{under}", one.choice, description=f"a person{under}", kind="human")

    def _choose(self, pair: dict[str, Any], name: str, choice: Verdict, *, description: str, kind: str) -> None:
        key = digest_text(f"{kind}\n{name}\n{description}")[:8]
        if key in pair["annotations"]:
            return
        if choice == "tie":
            self.num_ties += 1
            return
        self.annotators[key] = {"name": name, "description": description, "type": kind}
        self._chosen[key] += 1
        pair["annotations"][key] = {"pref": _SIDES[choice]}

    def name_reference(self) -> None:
        """Give the annotator with whom others are compared, the label where there is one, its expected id."""
        if not self.annotators:
            return
        labels = [key for key, one in self.annotators.items() if one["type"] == "label"]
        key = labels[0] if labels else self._chosen.most_common(1)[0][0]
        self.annotators = {REFERENCE_ID: self.annotators.pop(key), **self.annotators}
        for pair in self.comparisons.values():
            if key in pair["annotations"]:
                pair["annotations"][REFERENCE_ID] = pair["annotations"].pop(key)


def _make_pair(row: DecisionRow) -> dict[str, Any]:
    return {
        "id": digest_text(f"{row.prompt_id}\n{row.first_id}\n{row.second_id}")[:16],
        "prompt": row.prompt,
        "response_a": {"text": row.first_text, "model": row.first_policy},
        "response_b": {"text": row.second_text, "model": row.second_policy},
        "annotations": {},
        "metadata": {"prompt_id": row.prompt_id, "first_id": row.first_id, "second_id": row.second_id},
    }


def _as_pairs(found: Rows, *, at: str) -> Exported:
    """annotated-pairs v2.0, as feedback-forensics reads it: an annotator for each person and each principle."""
    pairs = _Pairs(found.rows)
    for row in found.rows:
        pairs.add(row)
    pairs.name_reference()
    chosen = [pair for pair in pairs.comparisons.values() if pair["annotations"]]
    if not chosen:
        raise InputError("every choice is a tie, and annotated pairs have none", fix="export --format jsonl")
    whole = {
        "metadata": {
            "version": PAIRS_VERSION,
            "description": f"decisions of an rlaif ledger: {found.filter.describe()}; {pairs.num_ties} ties left out",
            "created_at": at,
            "dataset_name": f"rlaif, ledger row {found.head.seq}",
            "default_annotator": REFERENCE_ID,
            "available_metadata_keys_per_comparison": ["prompt_id", "first_id", "second_id"],
            "ledger_row": found.head.seq,
            "ledger_head": found.head.hex,
        },
        "annotators": pairs.annotators,
        "comparisons": chosen,
    }
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    return Exported(text.encode("utf-8", "surrogatepass"), len(chosen), pairs.num_ties)
