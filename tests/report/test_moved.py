"""Which measures the report shows as asked for, as drift, and not at all."""

from __future__ import annotations

from rlaif.evaluation.policy import Change, compute_change
from rlaif.records import Constitution, Principle
from rlaif.report.moved import list_moved


def changed(*after: float) -> Change:
    return compute_change([50.0, 40.0, 60.0], list(after), prompt_ids=["a", "b", "c"])


def mirror(*after: float) -> Change:
    return compute_change([50.0, 60.0, 40.0], [100 - value for value in after], prompt_ids=["a", "b", "c"])


def test_tags_name_measures_and_the_rest_is_drift_by_size(constitution: Constitution) -> None:
    measures = {
        "calm": changed(51, 41, 62),
        "brief": changed(70, 55, 85),
        "helpful": changed(5, 4, 6),
        "courteous": changed(80, 90, 70),
    }
    moved = list_moved(measures, constitution=constitution)
    assert [(row.name, row.principles) for row in moved.named] == [
        ("courteous", ("courteous",)),
        ("brief", ("brief",)),
    ]
    assert [row.name for row in moved.unnamed] == ["helpful", "calm"]


def test_the_opposite_pole_of_a_named_measure_is_left_out_and_said(constitution: Constitution) -> None:
    measures = {"curt": mirror(80, 90, 70), "courteous": changed(80, 90, 70)}
    moved = list_moved(measures, constitution=constitution)
    assert [row.name for row in moved.named] == ["courteous"]
    assert moved.unnamed == []
    assert moved.mirrored == {"curt": "courteous"}


def test_two_named_poles_are_both_shown() -> None:
    torn = Constitution(
        name="torn",
        principles=(
            Principle(id="a", text="x", tags=("courteous",)),
            Principle(id="b", text="y", tags=("curt",)),
        ),
        source="",
    )
    moved = list_moved({"curt": mirror(80, 90, 70), "courteous": changed(80, 90, 70)}, constitution=torn)
    assert ([row.name for row in moved.named], moved.mirrored) == (["courteous", "curt"], {})


def test_a_measure_that_only_moves_the_other_way_is_no_mirror(constitution: Constitution) -> None:
    measures = {"courteous": changed(80, 90, 70), "loud": mirror(80, 90, 71)}
    assert list_moved(measures, constitution=constitution).mirrored == {}


def test_a_principle_that_weighs_nothing_asks_for_nothing() -> None:
    weightless = Constitution(name="x", principles=(Principle(id="a", text="x", tags=("calm",), weight=0),), source="")
    moved = list_moved({"calm": changed(80, 90, 70)}, constitution=weightless)
    assert (len(moved.named), len(moved.unnamed)) == (0, 1)


def test_a_tag_with_a_minus_sign_asks_for_less() -> None:
    brief = Constitution(name="x", principles=(Principle(id="brief", text="x", tags=("-words",)),), source="")
    for after, is_as_asked in (((20, 10, 30), True), ((80, 70, 90), False)):
        moved = list_moved({"words": changed(*after)}, constitution=brief)
        [row] = moved.named
        assert (row.principles, row.clear, moved.lowered) == (("brief",), True, {"words"})
        assert (moved.is_as_asked(row), moved.is_against(row)) == (is_as_asked, not is_as_asked)
    [unclear] = list_moved({"words": changed(51, 39, 60)}, constitution=brief).named
    assert not moved.is_as_asked(unclear)
    assert not moved.is_against(unclear)


def test_a_change_whose_interval_holds_zero_is_not_clear(constitution: Constitution) -> None:
    moved = list_moved({"calm": changed(50, 41, 59), "loud": changed(1, 2, 3)}, constitution=constitution)
    assert {row.name: row.clear for row in moved.unnamed} == {"calm": False, "loud": True}
