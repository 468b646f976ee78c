"""The decision rules on curves whose answer is known."""

from __future__ import annotations

import pytest
from planted_cells import BUDGETS, PLANTED, RL_SFT, SFT_RL, make_cell, plant

from rlaif.study.curves import find_curves
from rlaif.study.results import CellResult
from rlaif.study.rules import Decision, decide

STRAIGHT = (0.1, 0.3, 0.5, 0.7)


def decisions(cells: list[CellResult]) -> dict[str, Decision]:
    return {decision.name: decision for decision in decide(find_curves(cells, noise=0.1))}


def test_all_three_are_supported_where_the_hypothesis_was_planted() -> None:
    assert {name: one.verdict for name, one in decisions(plant()).items()} == {
        "H1a": "supported", "H1b": "supported", "H1c": "supported",
    }  # fmt: skip


def test_all_three_are_refuted_where_the_opposite_was_planted() -> None:
    opposite = {"sft": STRAIGHT, "rl": (0.2, 0.5, 0.9, 0.98), "sft+rl@0.4": RL_SFT, "rl+sft@0.4": SFT_RL}
    assert {one.verdict for one in decisions(plant(opposite)).values()} == {"refuted"}


def test_nothing_is_decided_where_seeds_differ_more_than_recipes() -> None:
    assert {one.verdict for one in decisions(plant(sd=0.3)).values()} == {"undecided"}


def test_nothing_is_decided_by_one_seed() -> None:
    found = decisions(plant(num_seeds=1))
    assert {one.verdict for one in found.values()} == {"undecided"}
    assert {one.note for one in found.values()} == {"needs two seeds or more"}


def test_levelling_off_is_a_quarter_of_the_steepest_gain() -> None:
    def sft(last: float) -> list[CellResult]:
        values = (0.1, 0.5, 0.6, 0.6 + last)  # the steepest gain is .4 a step, a quarter of it .1
        return [
            make_cell("sft", budget, value + shift, seed=seed)
            for seed, shift in enumerate((0.0, 0.01, 0.02))
            for budget, value in zip(BUDGETS, values, strict=True)
        ]

    [below], [above] = (decisions(sft(last))["H1a"].findings for last in (0.09, 0.11))
    assert (below.verdict, above.verdict) == ("supported", "refuted")
    assert "22% of the steepest" in below.about
    assert below.estimate is not None
    assert below.estimate.mean == pytest.approx(0.01 / 1.3863, rel=1e-3)


def test_the_order_needs_to_beat_both_the_other_order_and_rewards_alone() -> None:
    found = decisions(plant(PLANTED | {"rl": (*SFT_RL[:3], 0.99)}))["H1c"]
    assert [finding.verdict for finding in found.findings] == ["supported", "refuted"]
    assert found.verdict == "refuted"


def test_a_recipe_that_is_missing_is_named() -> None:
    found = decisions(plant({"rl": STRAIGHT}))
    assert found["H1a"].note == "needs the recipe sft at three budgets or more"
    assert found["H1b"].note == "needs the recipes sft and sft+rl at two budgets or more"
    assert found["H1c"].note == "needs sft+rl and rl+sft with the same share"
    assert {one.verdict for one in found.values()} == {"undecided"}
