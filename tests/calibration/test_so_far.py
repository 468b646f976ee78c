"""Labels of a draw that may not be finished: figures by hand, and bounds that hold whenever somebody stops."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from rlaif.calibration.answers import Answer, Answered, Choice
from rlaif.calibration.sheet import SheetItem, make_sheet
from rlaif.calibration.so_far import SoFar, sum_up
from rlaif.calibration.spot_check import FrameItem, draw_items
from rlaif.calibration.taken_in import take_in
from rlaif.records import Design, DrawnItem, SpotCheck
from rlaif.stats.intervals import drawn_share, share_interval


def make_check(items: Sequence[DrawnItem], *, num_frame: int) -> SpotCheck:
    return SpotCheck(
        sheet_id=make_sheet(sheet_items(items), guideline="x").id, runs=("001",), design="even", max_ratio=3.0, seed=0,
        guideline_digest=make_sheet((), guideline="x").guideline_digest, frame_digest="", num_frame=num_frame,
        items=tuple(items),
    )  # fmt: skip


def sheet_items(items: Sequence[DrawnItem]) -> tuple[SheetItem, ...]:
    return tuple(SheetItem(id=item.item_id, question="?", messages=(), a="a", b="b") for item in items)


def item(number: int, *, p_judge: float = 0.9, probability: float = 0.1, prompt: str = "") -> DrawnItem:
    return DrawnItem(
        item_id=f"item{number}", prompt_id=prompt or f"p{number}", sample_ids=(f"a{number}", f"b{number}"),
        principle_id="overall", stratum="s", inclusion_probability=probability, p_judge=p_judge,
    )  # fmt: skip


def answered(check: SpotCheck, choices: str, *, name: str = "ann") -> Answered:
    """1, 2, 0, u: choices in the order ab; a dot leaves the item out."""
    words: dict[str, Choice] = {"1": "first", "2": "second", "0": "tie", "u": "unclear"}
    answers = {
        drawn.item_id: Answer(drawn.item_id, words[key], "ab", 1.0, note="", at="t", guideline=check.guideline_digest,
                              is_override=False)
        for drawn, key in zip(check.items, choices, strict=False)
        if key != "."
    }  # fmt: skip
    return Answered(
        name, answers, orders={}, skips={}, last_undone=None, undone=frozenset(), history=tuple(answers),
        firsts=answers, notes={},
    )  # fmt: skip


def sum_of(check: SpotCheck, *states: Answered) -> SoFar:
    sheet = make_sheet(sheet_items(check.items), guideline="x")
    return sum_up(check, states, take_in(check, sheet, states, before=()).labels)


def test_agreement_is_the_weighted_mean_of_the_sides_in_which_judge_and_people_meet() -> None:
    items = [item(0), item(1, probability=0.2), item(2, p_judge=0.5), item(3, p_judge=0.2)]
    found = sum_of(make_check(items, num_frame=40), *[answered(make_check(items, num_frame=40), "1200")])
    # judge: a, a, neither, b; people: a, b, tie, tie
    assert found.agreement == pytest.approx((10 * 1 + 5 * 0 + 10 * 1 + 10 * 0.5) / 35)
    assert found.is_closed
    assert found.interval is not None
    assert found.bounds is None


def test_two_people_on_an_item_count_as_their_mean_and_their_own_agreement_is_shown_when_all_is_done() -> None:
    check = make_check([item(0), item(1), item(2)], num_frame=30)
    found = sum_of(check, answered(check, "112"), answered(check, "121", name="bob"))
    assert found.agreement == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found.between_people is not None
    assert found.between_people.mean == pytest.approx(1 / 3)


def test_a_set_is_closed_only_when_everybody_has_answered_everything() -> None:
    check = make_check([item(0), item(1)], num_frame=20)
    assert not sum_of(check, answered(check, "1")).is_closed
    assert not sum_of(check, answered(check, "11"), answered(check, "1", name="bob")).is_closed
    assert sum_of(check, answered(check, "1u")).is_closed
    assert not sum_of(check).is_closed
    assert sum_of(check).agreement is None


def test_the_interval_of_a_closed_set_is_about_the_pairs_that_could_be_drawn() -> None:
    some, all_of_them = (
        make_check([item(i, probability=p) for i in range(20)], num_frame=num) for p, num in ((0.1, 200), (1.0, 20))
    )
    found, whole = (sum_of(check, answered(check, "1112" * 5)).interval for check in (some, all_of_them))
    assert found is not None
    assert whole is not None
    assert found.low < 0.6 < 0.75 < found.high
    assert (whole.low, whole.mean, whole.high) == (0.75, 0.75, 0.75)


@pytest.mark.parametrize("design", ["even", "focus"])
def test_the_interval_of_a_closed_set_holds_the_truth_as_often_as_it_says(design: Design) -> None:
    rng = random.Random(6)
    frame = [FrameItem(f"p{i // 2}", (f"a{i:03}", f"b{i:03}"), "overall", rng.random()) for i in range(120)]
    right = {one.sample_ids: float(rng.random() < max(one.p_first, 1 - one.p_first)) for one in frame}
    truth, num_held, width, plain_width = sum(right.values()) / len(right), 0, 0.0, 0.0
    for seed in range(200):
        items = draw_items(frame, size=40, seed=seed, design=design).items
        values = [right[min(one.sample_ids), max(one.sample_ids)] for one in items]
        probabilities = [one.inclusion_probability for one in items]
        found = drawn_share(values, strata=[one.stratum for one in items], probabilities=probabilities)
        plain = share_interval(values, weights=[1 / one for one in probabilities])
        assert found is not None
        assert plain is not None
        num_held += found.low <= truth <= found.high
        width, plain_width = width + found.high - found.low, plain_width + plain.high - plain.low
    assert 0.9 <= num_held / 200 <= 0.985
    assert width < 0.95 * plain_width


def test_an_item_that_is_skipped_or_unclear_counts_against_both_bounds() -> None:
    check = make_check([item(i) for i in range(60)], num_frame=600)
    whole = sum_of(check, answered(check, "1" * 30)).bounds
    gaps = sum_of(check, answered(check, "1." * 5 + "1" * 20)).bounds
    unclear = sum_of(check, answered(check, "1u" * 5 + "1" * 20)).bounds
    assert whole is not None
    assert gaps == unclear
    assert gaps is not None
    assert gaps.low < whole.low
    assert (whole.high, gaps.high) == (1.0, 1.0)
    assert whole.low > 0.8


def test_items_that_wait_for_a_second_annotator_have_no_value_yet() -> None:
    check = make_check([item(i) for i in range(40)], num_frame=400)
    alone = sum_of(check, answered(check, "1" * 30)).bounds
    both = sum_of(check, answered(check, "1" * 30), answered(check, "1" * 10, name="bob")).bounds
    assert alone is not None
    assert both is not None
    assert (alone.n, both.n) == (30, 10)


def test_the_labels_needed_for_ten_points_are_named_from_ten_labels_on() -> None:
    check = make_check([item(i) for i in range(40)], num_frame=400)
    assert sum_of(check, answered(check, "1" * 9)).num_for_half_width is None
    assert sum_of(check, answered(check, "12" * 10)).num_for_half_width == 97  # .25 x (1.96 / .1) ** 2


@pytest.mark.parametrize("design", ["even", "focus"])
def test_an_adversary_who_looks_after_every_label_is_seldom_told_a_bound_that_is_wrong(design: Design) -> None:
    """The truth is the agreement over all pairs, the draws are real ones, and bounds are the best of all looks.

    Bounds for a fixed number of labels, looked at so often, would be wrong in about a fifth of the runs.
    """
    rng = random.Random(5)
    frame = [FrameItem(f"p{i // 2}", (f"a{i:03}", f"b{i:03}"), "overall", rng.random()) for i in range(200)]
    right = {one.sample_ids: rng.random() < max(one.p_first, 1 - one.p_first) for one in frame}
    truth = sum(right.values()) / len(right)
    num_wrong = 0
    for seed in range(40):
        check = make_check(draw_items(frame, size=30, seed=seed, design=design).items, num_frame=200)
        agrees = [right[min(one.sample_ids), max(one.sample_ids)] for one in check.items[:29]]
        sides = zip(agrees, check.items, strict=False)
        keys = "".join("1" if is_right == (one.p_judge > 0.5) else "2" for is_right, one in sides)
        bounds = sum_of(check, answered(check, keys)).bounds
        num_wrong += bounds is None or not bounds.low <= truth <= bounds.high
    assert num_wrong <= 5
