"""Which principles a pair is asked under: each, all in one, or one that is drawn."""

from __future__ import annotations

from collections import Counter

import pytest

from rlaif.constitution.selection import TOGETHER, draw_principle, prepare_constitution, principles_of
from rlaif.records import Constitution, Principle

PRINCIPLES = (
    Principle(id="brief", text="Be brief.", weight=3.0),
    Principle(id="idle", text="Be idle.", weight=0.0),
    Principle(id="kind", text="Be kind.", weight=1.0),
)
CONSTITUTION = Constitution(name="c", principles=PRINCIPLES, source="text")
PAIRS = [(f"a{n}", f"b{n}") for n in range(4000)]


def test_together_all_that_count_stand_numbered_in_one_text_without_their_weights():
    joined = prepare_constitution(CONSTITUTION, mode="together")
    assert [(p.id, p.text, p.weight) for p in joined.principles] == [(TOGETHER, "1. Be brief.\n2. Be kind.", 1.0)]
    assert (joined.name, joined.source) == ("c", "text")
    assert joined.id != CONSTITUTION.id
    assert prepare_constitution(joined, mode="together") == joined


def test_a_single_principle_that_counts_is_asked_as_it_is():
    alone = Constitution(name="c", principles=PRINCIPLES[:2], source="")
    assert prepare_constitution(alone, mode="together") == alone


@pytest.mark.parametrize("mode", ["each", "sampled"])
def test_the_other_modes_leave_the_constitution_as_it_is(mode):
    assert prepare_constitution(CONSTITUTION, mode=mode) is CONSTITUTION


def test_without_a_seed_a_pair_needs_every_principle_that_counts():
    assert [p.id for p in principles_of(CONSTITUTION, ("a", "b"))] == ["brief", "kind"]


def test_principles_are_drawn_in_proportion_to_their_weights_in_either_order_of_the_pair():
    drawn = [principles_of(CONSTITUTION, pair, draw_seed=7) for pair in PAIRS]
    assert drawn == [principles_of(CONSTITUTION, pair[::-1], draw_seed=7) for pair in PAIRS]
    shares = Counter(principle.id for [principle] in drawn)
    # 3/4 of 4000, standard deviation 27
    assert shares.keys() == {"brief", "kind"}
    assert abs(shares["brief"] - 3000) < 110
    other = [principles_of(CONSTITUTION, pair, draw_seed=8) for pair in PAIRS]
    # Two independent draws agree in 9/16 + 1/16 of all pairs.
    assert abs(sum(a == b for a, b in zip(drawn, other, strict=True)) - 2500) < 130


def test_an_edited_text_moves_no_draw_and_a_changed_weight_draws_from_its_principle_alone():
    three = [Principle(id=name, text=name, weight=weight) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 1.0))]
    reworded = [principle.model_copy(update={"text": "other words"}) for principle in three]
    lighter = [three[0], Principle(id="b", text="b", weight=1.0), three[2]]
    moved = 0
    for pair in PAIRS:
        before = draw_principle(three, pair, seed=1)
        assert draw_principle(reworded, pair, seed=1).id == before.id
        after = draw_principle(lighter, pair, seed=1)
        moved += after.id != before.id
        assert after.id == before.id or before.id == "b"
    # b's share falls from 1/2 to 1/3
    assert abs(moved - 4000 / 6) < 100


def test_the_one_principle_of_all_has_an_opposite_where_each_of_them_has_one():
    warm = Principle(id="warm", text="Be warm.", opposite="Be cold.")
    brief = Principle(id="brief", text="Be brief.", opposite="Be wordy.")
    both = Constitution(name="c", principles=(warm, brief), source="")
    [together] = prepare_constitution(both, mode="together").principles
    assert together.opposite == "1. Be cold.\n2. Be wordy."
    lacking = both.changed(principles=(warm, brief.model_copy(update={"opposite": ""})))
    assert prepare_constitution(lacking, mode="together").principles[0].opposite == ""
