"""Drawing pairs for people to label: probabilities, strata, and what an item may say of itself."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from rlaif.calibration.spot_check import (
    FrameItem,
    Queued,
    draw_items,
    draw_systematic,
    find_probabilities,
    leave_out,
    name_strata,
)
from rlaif.errors import DataError


def make_frame(number: int = 200, *, principles: tuple[str, ...] = ("overall",), seed: int = 1) -> list[FrameItem]:
    rng = random.Random(seed)
    return [
        FrameItem(f"prompt{i // 2}", (f"a{i:04}", f"b{i:04}"), principle, rng.random(), flipped=rng.random() < 0.1)
        for principle in principles
        for i in range(number)
    ]


def test_an_even_draw_gives_every_item_one_probability_and_each_stratum_its_share_to_within_one_item() -> None:
    drawn = draw_items(make_frame(principles=("brief", "kind")), size=60, seed=0)
    assert len({item.item_id for item in drawn.items}) == 60
    assert {item.inclusion_probability for item in drawn.items} == {60 / 400}
    assert all(abs(taken - of * 60 / 400) < 1 for taken, of in drawn.by_stratum.values())
    assert len(drawn.by_stratum) > 10


def test_the_same_frame_in_any_order_and_the_same_seed_give_the_same_draw() -> None:
    frame = make_frame()
    assert draw_items(frame, size=30, seed=4) == draw_items(frame[::-1], size=30, seed=4)
    assert draw_items(frame, size=30, seed=4) != draw_items(frame, size=30, seed=5)


def test_items_are_drawn_as_often_as_their_probability_says() -> None:
    frame = make_frame(40)
    probabilities = find_probabilities(frame, size=12, design="focus", max_ratio=3.0)
    counts = Counter[str]()
    for seed in range(1000):
        counts.update(min(item.sample_ids) for item in draw_items(frame, size=12, seed=seed, design="focus").items)
    for item, probability in zip(frame, probabilities, strict=True):
        error = math.sqrt(probability * (1 - probability) / 1000)
        assert abs(counts[item.sample_ids[0]] / 1000 - probability) < 4.5 * error


@pytest.mark.parametrize("max_ratio", [1.0, 3.0, 10.0])
def test_focus_draws_doubtful_pairs_more_often_within_the_ratio(max_ratio: float) -> None:
    frame = [FrameItem("p", (f"a{i}", f"b{i}"), "overall", p) for i, p in enumerate([0.5, 0.999, 0.001, 0.9] * 50)]
    found = find_probabilities(frame, size=40, design="focus", max_ratio=max_ratio)
    assert math.isclose(math.fsum(found), 40)
    assert max(found) / min(found) <= max_ratio * (1 + 1e-12)
    assert found[0] == max(found)
    assert math.isclose(found[1], found[2])
    assert found[0] / found[1] > min(max_ratio, 2.8) - 1e-9


def test_a_flip_or_judges_who_differ_count_as_the_greatest_doubt_and_are_strata() -> None:
    sure = FrameItem("p", ("a", "b"), "overall", 0.999)
    frame = [
        sure,
        sure._replace(sample_ids=("c", "d"), flipped=True),
        sure._replace(sample_ids=("e", "f"), differ=True),
    ]
    plain, flipped, differ = find_probabilities(frame, size=1, design="focus", max_ratio=3.0)
    assert flipped == differ > plain
    assert name_strata(frame) == [
        "overall, sureness 1 of 1",
        "overall, sureness 1 of 1, order flips",
        "overall, sureness 1 of 1, judges differ",
    ]


def test_where_all_are_drawn_each_is_certain_and_more_are_refused() -> None:
    frame = make_frame(7)
    drawn = draw_items(frame, size=7, seed=0, design="focus")
    assert {item.inclusion_probability for item in drawn.items} == {1.0}
    with pytest.raises(DataError, match="8 items are wanted, and 7 can be drawn"):
        draw_items(frame, size=8, seed=0)
    with pytest.raises(DataError, match="1 items are wanted, and 0 can be drawn"):
        draw_items([], size=1, seed=0, design="focus")


def test_a_probability_is_cut_at_one_and_the_rest_makes_up_for_it() -> None:
    frame = [FrameItem("p", (f"a{i}", f"b{i}"), "overall", p) for i, p in enumerate([0.5, 1.0, 1.0, 1.0])]
    found = find_probabilities(frame, size=3, design="focus", max_ratio=3.0)
    assert found[0] == 1.0
    assert found[1:] == pytest.approx([2 / 3] * 3)


@pytest.mark.parametrize("start", [0.0, 0.25, 1 - 2**-53])
def test_a_systematic_pass_takes_the_wanted_number_whatever_rounding_does(start: float) -> None:
    for number, size in ((10, 3), (1000, 999), (7, 7), (12345, 60)):
        taken = draw_systematic([size / number] * number, size=size, start=start)
        assert len(taken) == len(set(taken)) == size


def test_earlier_draws_and_identical_texts_are_left_out_and_counted() -> None:
    frame = make_frame(10)
    first = draw_items(frame, size=4, seed=0)
    drawn = [(tuple(sorted(item.sample_ids)), item.principle_id) for item in first.items]
    reasons = dict.fromkeys(drawn, "already_drawn")
    assert not set(drawn) & {item.key for item in leave_out(frame, reasons=reasons)[0]}
    one_text = next(item.key for item in frame if item.key not in drawn)
    kept, tally = leave_out([*frame, frame[0]], reasons={**reasons, one_text: "identical"})
    assert (len(kept), tally.num_in, tally.dropped) == (5, 10, {"already_drawn": 4, "identical": 1})


def test_the_sheets_order_and_sides_say_nothing_of_the_judge() -> None:
    frame = [FrameItem("p", (f"a{i:03}", f"b{i:03}"), "overall", 0.5 + i / 1001) for i in range(500)]
    items = draw_items(frame, size=400, seed=3).items
    assert abs(sum(item.p_judge > 0.5 for item in items) - 200) < 50
    first, second = items[:200], items[200:]
    surer = [sum(abs(item.p_judge - 0.5) for item in half) / 200 for half in (first, second)]
    assert abs(surer[0] - surer[1]) < 0.05


def test_a_queue_is_drawn_more_often_beside_a_third_from_all_items_alike_and_stands_in_the_stratum() -> None:
    frame = make_frame(200)
    queued = Queued("order-flips", frozenset(item.key for item in frame[:50]))
    found = find_probabilities(frame, size=30, design="queue", max_ratio=3.0, queued=queued)
    assert math.isclose(math.fsum(found), 30)
    assert found[100] == pytest.approx(30 / 3 / 200), "a third of the sheet is spread over all items"
    assert found[0] == pytest.approx(30 / 3 / 200 + 20 / 50)
    drawn = draw_items(frame, size=30, seed=0, design="queue", queued=queued)
    inside = [item for item in drawn.items if item.stratum.endswith(", queue order-flips")]
    assert {item.inclusion_probability for item in inside} == {found[0]}
    assert abs(len(inside) - 50 * found[0]) <= 2
    assert all(item.prompt_id in {one.prompt_id for one in frame[:50]} for item in inside)


def test_a_small_queue_is_drawn_whole_and_the_rest_of_the_sheet_is_from_all_other_items() -> None:
    frame = make_frame(200)
    queued = Queued("reasons", frozenset(item.key for item in frame[:5]))
    found = find_probabilities(frame, size=30, design="queue", max_ratio=3.0, queued=queued)
    assert found[:5] == [1.0] * 5
    assert found[5:] == pytest.approx([25 / 195] * 195)


def test_labels_of_a_queue_weighted_by_their_probabilities_describe_all_items() -> None:
    frame = make_frame(60)
    queued = Queued("unsure", frozenset(item.key for item in frame[:12]))
    wrong = {item.sample_ids for item in frame[:9]}
    plain, weighted = [], []
    for seed in range(400):
        drawn = draw_items(frame, size=20, seed=seed, design="queue", queued=queued).items
        hits = [item for item in drawn if tuple(sorted(item.sample_ids)) in wrong]
        plain.append(len(hits) / 20)
        weighted.append(sum(1 / item.inclusion_probability for item in hits) / 60)
    assert sum(weighted) / 400 == pytest.approx(9 / 60, abs=0.01)
    assert sum(plain) / 400 > 0.3, "the plain share is that of the queue"


def test_a_queue_of_which_nothing_can_be_drawn_is_refused() -> None:
    with pytest.raises(DataError, match="none of the pairs that can be drawn is in the queue reasons"):
        draw_items(make_frame(), size=3, seed=0, design="queue", queued=Queued("reasons", frozenset()))
