"""Several draws as one sample."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from rlaif.calibration.pooled import pool_draws
from rlaif.calibration.spot_check import FrameItem, draw_items, leave_out
from rlaif.errors import DataError
from rlaif.records import Design, SpotCheck


def make_frame(number: int) -> list[FrameItem]:
    rng = random.Random(0)
    return [FrameItem(f"p{i}", (f"a{i}", f"b{i}"), "overall", rng.random()) for i in range(number)]


def draw(
    frame: list[FrameItem], size: int, *, seed: int = 0, design: Design = "even", drawn_from: tuple[str, ...] = ("r/0",)
) -> SpotCheck:
    found = draw_items(frame, size=size, seed=seed, design=design)
    return SpotCheck(
        sheet_id=f"{seed}-{size}-{len(frame)}", runs=("r",), design=design, max_ratio=3.0, seed=seed,
        guideline_digest="", frame_digest=found.frame_digest, num_frame=found.num_frame, items=found.items,
        drawn_from=drawn_from,
    )  # fmt: skip


def draw_again(frame: list[FrameItem], first: SpotCheck, size: int, **more: object) -> SpotCheck:
    taken = {(item.sample_ids if item.sample_ids in pairs(frame) else item.sample_ids[::-1]) for item in first.items}
    left, _ = leave_out(frame, reasons={(pair, "overall"): "already_drawn" for pair in taken})
    return draw(left, size, **more)  # type: ignore[arg-type]


def pairs(frame: list[FrameItem]) -> set[tuple[str, str]]:
    return {item.sample_ids for item in frame}


def test_two_even_draws_are_one_of_both_sizes() -> None:
    frame = make_frame(40)
    first = draw(frame, 10)
    second = draw_again(frame, first, 15)
    assert second.items[0].inclusion_probability == pytest.approx(Fraction(15, 30))
    assert pool_draws([first, second]) == pytest.approx({first.id: 25 / 40, second.id: 25 / 40})


def test_draws_from_different_rounds_keep_their_own_probabilities() -> None:
    frame = make_frame(40)
    first, second = draw(frame, 10), draw(frame, 20, seed=1, drawn_from=("r/1",))
    assert pool_draws([first, second]) == {first.id: None, second.id: None}
    assert pool_draws([first]) == {first.id: None}


@pytest.mark.parametrize(
    ("more", "words"),
    [({"design": "focus"}, "one of them has a focus"), ({"drawn_from": ("r/0", "r/1")}, "from further rounds or runs")],
)
def test_draws_whose_common_probabilities_are_not_known_are_refused(more: dict[str, object], words: str) -> None:
    frame = make_frame(40)
    first = draw(frame, 10)
    with pytest.raises(DataError, match=words):
        pool_draws([first, draw_again(frame, first, 10, **more)])


def test_every_pair_is_in_one_of_two_draws_as_often_as_the_pooled_probability_says() -> None:
    frame = make_frame(12)
    times = dict.fromkeys(pairs(frame), 0)
    for seed in range(2000):
        first = draw(frame, 3, seed=seed)
        second = draw_again(frame, first, 3, seed=seed + 5000)
        for item in (*first.items, *second.items):
            times[item.sample_ids if item.sample_ids in times else item.sample_ids[::-1]] += 1
    assert all(abs(count / 2000 - 0.5) < 0.045 for count in times.values()), "4 standard errors"
