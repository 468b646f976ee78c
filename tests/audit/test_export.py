"""Decisions as files for other programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ledger_world import World, keep_world, make_world
from lineage_world import find_preference, keep_round, make_trained

from rlaif.audit.decision_rows import Filter, read_rows
from rlaif.audit.export import REFERENCE_ID, Format, export_rows
from rlaif.audit.redaction import plan_redaction, redact
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import HumanLabel, split_of

WORLDS = [make_world(0), make_world(1, verdicts=("first", "first"))]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for number, world in enumerate(WORLDS):
            keep_round(ledger, world, make_trained(number), number=number)
        yield ledger


def export(ledger: Ledger, format: Format, **filter: object) -> bytes:
    return export_rows(read_rows(ledger, Filter(**filter)), format=format, at="now").data  # type: ignore[arg-type]


def test_a_row_holds_the_pair_both_orders_the_label_and_what_people_said(ledger: Ledger) -> None:
    row, other = read_rows(ledger, Filter()).rows
    world = WORLDS[0]
    assert (row.comparison_id, row.first_id, row.second_id) == (world.comparison.id, *world.comparison.sample_ids)
    assert (row.first_text, row.second_text) == tuple(sample.text for sample in world.samples)
    assert (row.prompt, row.principle_text) == (world.prompt.messages[0].content, "Prefer the shorter reply.")
    assert (row.verdict, row.p_first, row.verdicts) == ("first", 0.75, ("first", "second"))
    assert row.reasons == tuple(judgement.reason for judgement in world.judgements)
    assert (row.label, row.label_source, row.preference_id) == (0.75, "judge", find_preference(world).id)
    assert [(one.annotator, one.choice) for one in row.people] == [("ann", "first")]
    assert (other.flipped, row.flipped) == (True, False)


@pytest.mark.parametrize(
    ("filter", "found"), [(Filter(flipped=True), [1]), (Filter(run="loop"), [0, 1]), (Filter(verdict="second"), [])]
)
def test_a_filter_leaves_out_what_does_not_pass(ledger: Ledger, filter: Filter, found: list[int]) -> None:
    assert [row.comparison_id for row in read_rows(ledger, filter).rows] == [WORLDS[n].comparison.id for n in found]


def test_more_rows_than_a_page_come_in_their_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.audit.decision_rows.PAGE", 1)
    assert [row.comparison_id for row in read_rows(ledger, Filter()).rows] == [w.comparison.id for w in WORLDS]


def test_what_a_person_said_is_turned_to_the_order_of_the_pair(ledger: Ledger) -> None:
    first, second = WORLDS[0].samples
    turned = HumanLabel(
        annotator="bob", prompt_id=WORLDS[0].prompt.id, sample_ids=(second.id, first.id), choice="first"
    )
    ledger.append([turned, turned.changed(choice="second", replaces=turned.id)])
    row = read_rows(ledger, Filter()).rows[0]
    assert [(one.annotator, one.choice) for one in row.people] == [("ann", "first"), ("bob", "first")]


def test_every_format_names_the_head_of_the_ledger(ledger: Ledger) -> None:
    head = ledger.head()
    lines = [json.loads(line) for line in export(ledger, "jsonl").splitlines()]
    assert {(line["ledger_row"], line["ledger_head"]) for line in lines} == {head}
    table = list(csv.DictReader(io.StringIO(export(ledger, "csv").decode())))
    assert {(int(line["ledger_row"]), line["ledger_head"]) for line in table} == {head}
    found = pq.read_table(io.BytesIO(export(ledger, "parquet")))
    assert found.schema.metadata[b"rlaif.ledger_head"].decode() == head.hex
    assert [row["comparison_id"] for row in found.to_pylist()] == [row["comparison_id"] for row in lines]
    assert json.loads(export(ledger, "annotated-pairs"))["metadata"]["ledger_head"] == head.hex


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, begin: str) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, with_text(make_world(0), f"{begin}HYPERLINK(1)"))
        table = list(csv.DictReader(io.StringIO(export(ledger, "csv").decode(), newline="")))
    assert f"'{begin}HYPERLINK(1)" in (table[0]["first_text"], table[0]["second_text"])
    assert not [cell for row in table for name, cell in row.items() if cell.startswith(begin) and not is_number(cell)]


def with_text(world: World, text: str) -> World:
    """The world with its first sample changed, and the comparison naming the changed one."""
    changed = world.samples[0].changed(text=text)
    pair = sorted((changed.id, world.samples[1].id))
    comparison = world.comparison.changed(sample_ids=pair)
    records = [r for r in world.records if r.id not in (world.samples[0].id, world.comparison.id)]
    return world._replace(records=[*records, changed, comparison])


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_annotated_pairs_have_an_annotator_for_the_label_each_principle_and_each_person(ledger: Ledger) -> None:
    whole = json.loads(export(ledger, "annotated-pairs"))
    assert (whole["metadata"]["version"], whole["metadata"]["default_annotator"]) == ("2.0", REFERENCE_ID)
    annotators = whole["annotators"]
    assert sorted((one["type"], one["name"]) for one in annotators.values()) == [
        ("human", "ann"), ("label", "label"), ("principle", "brief"),
    ]  # fmt: skip
    assert annotators[REFERENCE_ID]["type"] == "label"
    first = whole["comparisons"][0]
    assert first["prompt"] == WORLDS[0].prompt.messages[0].content
    assert first["response_a"]["text"] == WORLDS[0].samples[0].text
    assert {json.dumps(one) for one in first["annotations"].values()} == {'{"pref": "a"}'}
    assert set(first["annotations"]) == set(annotators)


def test_ties_are_left_out_of_annotated_pairs_and_counted(ledger: Ledger) -> None:
    tied = make_world(2)
    ledger.append([*tied.records[:9], *tied.judgements, tied.comparison.changed(p_first=0.5, logit=0.0)])
    exported = export_rows(read_rows(ledger, Filter()), format="annotated-pairs", at="now")
    assert (exported.num_rows, exported.num_ties) == (2, 1)


def test_without_labels_a_principle_is_the_one_that_others_are_compared_with(tmp_path: Path) -> None:
    world = make_world(0)
    kept = [r for r in world.records if r.table not in ("preferences", "human_labels")]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, world._replace(records=kept))
        annotators = json.loads(export(ledger, "annotated-pairs"))["annotators"]
    assert [(key, one["type"]) for key, one in annotators.items()] == [(REFERENCE_ID, "principle")]


def test_a_redacted_text_is_redacted_in_every_export(ledger: Ledger) -> None:
    sample = WORLDS[0].samples[0]
    redact(ledger, plan_redaction(ledger, [sample.id], runs_dir=None), reason="private", author="ann")
    assert json.loads(export(ledger, "jsonl").splitlines()[0])["first_text"] == "[redacted]"
    assert json.loads(export(ledger, "annotated-pairs"))["comparisons"][0]["response_a"]["text"] == "[redacted]"


def test_a_filter_that_nothing_passes_is_refused_in_words(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no comparison passes the filter: principle brief, verdict second"):
        export(ledger, "csv", principle="brief", verdict="second")


def test_rewardbench_rows_are_labelled_pairs_with_the_preferred_reply_first(ledger: Ledger) -> None:
    """The label of each pair is .75 for its first reply."""
    unlabelled = make_world(2)
    ledger.append([r for r in unlabelled.records if r.table != "preferences"])
    found = read_rows(ledger, Filter())
    exported = export_rows(found, format="reward-bench", at="now", test_fraction=0.7)
    rows = [json.loads(line) for line in exported.data.splitlines()]
    assert [(row["prompt"], row["chosen"], row["rejected"], row["id"]) for row in rows] == [
        (world.prompt.messages[0].content, *(sample.text for sample in world.samples), number)
        for number, world in enumerate(WORLDS)
    ]
    splits = [split_of(world.prompt.id, test_fraction=0.7) for world in WORLDS]
    assert [row["subset"] for row in rows] == [
        "judge, held out" if split == "test" else "judge, trained on" for split in splits
    ]
    assert (exported.num_rows, exported.num_ties, exported.num_unlabelled) == (2, 0, 1)
