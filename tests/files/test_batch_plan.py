"""The plan of batches: groups stay whole where they fit, nothing is lost, and a written plan is kept."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlaif.files.batch_plan import cut_into_batches, planned_batches, planned_groups


def test_a_group_that_would_be_cut_begins_the_next_batch() -> None:
    groups = [["a1", "a2"], ["b1", "b2", "b3"], ["c1"]]
    assert cut_into_batches(groups, size=lambda _: 10, budget=40) == [["a1", "a2"], ["b1", "b2", "b3", "c1"]]


def test_a_group_larger_than_the_budget_is_cut_where_the_budget_ends() -> None:
    groups = [["a1"], ["b1", "b2", "b3", "b4"]]
    assert cut_into_batches(groups, size=lambda _: 10, budget=30) == [["a1", "b1", "b2"], ["b3", "b4"]]


def test_an_item_larger_than_the_budget_is_a_batch_of_its_own() -> None:
    sizes = {"a": 5, "big": 50, "b": 5}
    assert cut_into_batches([["a"], ["big"], ["b"]], size=sizes.__getitem__, budget=20) == [["a"], ["big"], ["b"]]


@given(sizes=st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=8), budget=st.integers(1, 20))
def test_every_item_is_in_one_batch_in_order_and_within_the_budget(sizes: list[list[int]], budget: int) -> None:
    groups = [[(g, i, size) for i, size in enumerate(group)] for g, group in enumerate(sizes)]
    batches = cut_into_batches(groups, size=lambda item: item[2], budget=budget)
    assert [item for batch in batches for item in batch] == [item for group in groups for item in group]
    assert all(batch and (len(batch) == 1 or sum(item[2] for item in batch) <= budget) for batch in batches)


def test_a_written_plan_holds_whatever_is_missing_later(tmp_path: Path) -> None:
    path = tmp_path / "stage" / "plan.json"
    first = planned_groups(path, [["a", "b"], ["c"]], size=lambda _: 1, budget=2)
    assert first == [["a", "b"], ["c"]] == json.loads(path.read_text())
    assert planned_groups(path, [["c"]], size=lambda _: 1, budget=9) == first
    assert planned_batches(path, ["c"], batch_size=1) == first


def test_batches_of_a_number_of_items_are_cut_in_their_order(tmp_path: Path) -> None:
    assert planned_batches(tmp_path / "plan.json", list("abcde"), batch_size=2) == [["a", "b"], ["c", "d"], ["e"]]
