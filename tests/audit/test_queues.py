"""The queues of decisions with a sign that the judge may be wrong, and the pairs of one for a draw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledger_world import World, keep_world, make_world

from rlaif.audit.queue_index import QUEUES
from rlaif.audit.queues import count_queues, find_queued
from rlaif.audit.search import Search, find_decisions
from rlaif.audit.search_index import describe_lag, read_state, update_index
from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, EditTest, Judgement, Model, Record
from rlaif.stats.logits import canonical_pair

WORLD = make_world(0)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def keep(ledger: Ledger, world: World, *, comparison: Comparison | None = None, **changes: object) -> None:
    """The world without its test of an edit. changes: of both judgements."""
    judgements = [one.changed(**changes) if changes else one for one in world.judgements]
    made = (comparison or world.comparison).changed(judgement_ids=[one.id for one in judgements])
    ours: list[Record] = [
        record for record in world.records if not isinstance(record, EditTest | Comparison | Judgement)
    ]
    ledger.put_texts([world.template.source, *(p.text for p in world.constitution.principles)])
    ledger.append([record for record in ours if record.table not in ("uses", "preferences", "edit_outcomes")])
    ledger.append([*judgements, made])


def queues(ledger: Ledger) -> dict[str, int]:
    update_index(ledger)
    found = count_queues(ledger)
    assert found is not None
    assert [row.name for row in found] == list(QUEUES)
    return {row.name: row.length for row in found if row.length}


def lag(ledger: Ledger) -> str:
    state = read_state(ledger)
    return "" if state is None else describe_lag(ledger, state, runs_dir=ledger.path.parent)


def test_without_an_index_there_are_no_queues(ledger: Ledger) -> None:
    assert count_queues(ledger) is None
    with pytest.raises(InputError, match="no search index"):
        find_queued(ledger, "unsure")


def test_a_decision_without_a_sign_is_in_no_queue(ledger: Ledger) -> None:
    keep(ledger, WORLD)
    assert queues(ledger) == {}


def test_a_flip_with_the_order_is_queued(ledger: Ledger) -> None:
    keep(ledger, make_world(0, verdicts=("first", "first")))
    assert queues(ledger) == {"order-flips": 1}


@pytest.mark.parametrize(("p_first", "count"), [(0.59, 1), (0.41, 1), (0.5, 1), (0.6, 0), (0.4, 0)])
def test_a_winner_with_less_than_60_percent_is_queued(ledger: Ledger, p_first: float, count: int) -> None:
    keep(ledger, WORLD, comparison=WORLD.comparison.changed(p_first=p_first))
    assert queues(ledger).get("unsure", 0) == count


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"label_mass": 0.89}, 1),
        ({"label_mass": 0.9}, 0),
        ({"label_mass": None}, 0),
        ({"label_mass": None, "unlisted": ("tie",), "unlisted_at_most": -1.0}, 1),
        ({"label_mass": None, "unlisted": ("tie",), "unlisted_at_most": -9.0}, 0),
    ],
)
def test_answers_on_which_little_probability_lay_or_may_lie_are_queued(
    ledger: Ledger, changes: dict[str, object], count: int
) -> None:
    keep(ledger, WORLD, **changes)
    assert queues(ledger).get("low-mass", 0) == count


def test_two_judges_that_name_different_winners_are_queued_also_when_the_second_comes_later(ledger: Ledger) -> None:
    keep(ledger, WORLD)
    assert queues(ledger) == {}
    other = Model(engine="scripted", weights="other judge")
    ledger.append([other, WORLD.comparison.changed(judge_id=other.id, p_first=0.2)])
    assert queues(ledger) == {"judges-apart": 2}
    third = Model(engine="scripted", weights="third judge")
    undecided = make_world(1).comparison
    keep(ledger, make_world(1))
    ledger.append([third, undecided.changed(judge_id=third.id, p_first=0.5)])
    assert queues(ledger) == {"judges-apart": 2, "unsure": 1}, "a tie takes no side"


def test_a_reason_for_the_other_reply_is_queued(ledger: Ledger) -> None:
    keep(ledger, WORLD, reason="Reply B is better.")
    assert WORLD.judgements[0].verdict == "first"
    assert queues(ledger) == {"reasons": 1}


def test_the_flips_of_a_tested_edit_are_queued_where_their_principle_turned_them(ledger: Ledger) -> None:
    keep(ledger, WORLD)
    assert queues(ledger) == {}
    assert lag(ledger) == ""
    test = next(record for record in WORLD.records if isinstance(record, EditTest))
    of_another = test.flips[0].model_copy(update={"flipped_by": ("kind",)})
    ledger.append([test.changed(flips=(of_another,))])
    assert queues(ledger) == {}
    ledger.append([test])
    assert lag(ledger) == "tests of edits came since"
    assert queues(ledger) == {"edit-flips": 1}


def test_held_out_labels_that_a_reward_model_contradicts_are_queued_as_the_runs_reports_name_them(
    ledger: Ledger,
) -> None:
    keep(ledger, WORLD)
    keep(ledger, make_world(1))
    digests = [sample.text_digests["text"] for sample in WORLD.samples]
    miss = {"prompt_id": WORLD.prompt.id, "preferred": digests[0], "other": digests[1], "label": 0.75, "gap": 1.5}
    folder = ledger.path.parent / "001" / "round_00" / "7_evaluation"
    folder.mkdir(parents=True)
    for text, expected in (
        ("{", {}),
        (json.dumps({"reward_misses": [{**miss, "gap": "wide"}]}), {}),
        (json.dumps({"reward_misses": [{**miss, "other": "0" * 64}]}), {}),
        (json.dumps({"reward_misses": [miss]}), {"reward-model": 1}),
    ):
        (folder / "report.json").write_text(text)
        assert lag(ledger) == ("reports came since" if read_state(ledger) else "")
        assert queues(ledger) == expected


def test_a_queue_is_a_filter_of_the_search_and_gives_the_pairs_of_a_draw(ledger: Ledger) -> None:
    flipped = make_world(1, verdicts=("first", "first"))
    keep(ledger, WORLD)
    keep(ledger, flipped)
    update_index(ledger)
    rows = find_decisions(ledger, Search(queue="order-flips")).listing.rows
    assert [row[1] for row in rows] == [
        key[:12] for (key,) in ledger.rows("SELECT id FROM comparisons WHERE flipped = 1")
    ]
    pair = canonical_pair(*flipped.comparison.sample_ids)
    assert find_queued(ledger, "order-flips") == {(pair, "brief"), (pair, "overall")}
    with pytest.raises(InputError, match='there is no queue "flips"'):
        find_queued(ledger, "flips")
    with pytest.raises(InputError, match="no value of the filter queue"):
        find_decisions(ledger, Search(queue="flips"))


def test_the_queues_of_one_run_count_what_it_used(ledger: Ledger) -> None:
    world = make_world(1, verdicts=("first", "first"))
    keep_world(ledger, world)
    update_index(ledger)
    for run, length in (("001", 1), ("002", 0)):
        found = count_queues(ledger, run=run)
        assert found is not None
        assert {row.name: row.length for row in found}["order-flips"] == length
