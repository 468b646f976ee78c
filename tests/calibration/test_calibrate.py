"""The map from the judge's labels to people's: swapped responses, known optima, and when nothing is gained."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.calibration.calibrate import KINDS, apply_map, assign_folds, calibrate, length_difference
from rlaif.calibration.fits import PRIOR_SD, SLOPE_PRIOR, Observation, Part, as_arrays, fit, fit_map
from rlaif.calibration.judged import JudgedPair
from rlaif.records import CalibrationMap, PartMap

FINITE = st.floats(-50, 50)


def draw(n: int, *, over_confident: float = 1.0, length_bias: float = 0.0, seed: int = 0) -> list[Observation]:
    """People choose by a truth; the judge reports it, exaggerated, and favours the longer response."""
    rng = random.Random(seed)
    drawn = []
    for number in range(n):
        truth, length = rng.choice((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)), rng.uniform(-2, 2)
        chosen = float(rng.random() < 1 / (1 + math.exp(-truth)))
        logit = over_confident * truth + length_bias * length + rng.gauss(0, 0.1)
        drawn.append(Observation(f"prompt {number}", logit, length, chosen))
    return drawn


@given(st.floats(0, 5), FINITE, FINITE, st.floats(-2, 2))
def test_swapping_the_responses_swaps_the_label_exactly(
    slope: float, per_sd: float, logit: float, length: float
) -> None:
    found = CalibrationMap(kind="temperature_length", slope=slope, length=per_sd)
    forwards = apply_map(found, logit=logit, length=length)
    backwards = apply_map(found, logit=-logit, length=-length)
    assert forwards + backwards == 1.0


@given(st.integers(0, 10_000))
def test_the_fit_is_the_same_whichever_response_is_listed_first(seed: int) -> None:
    rows = draw(40, length_bias=0.7, seed=seed)
    turned = [Observation(r.prompt_id, -r.logit, -r.length, 1 - r.chosen, r.weight) for r in rows]
    for kind in KINDS:
        assert fit(as_arrays(rows), kind) == pytest.approx(fit(as_arrays(turned), kind), abs=1e-9)


def test_one_label_moves_the_slope_to_where_its_gradient_meets_the_priors() -> None:
    # one label "first" at logit 2: the posterior is largest where 2 * (1 - sigmoid(2a)) = (a - prior) / sd^2
    slope, length = fit(as_arrays([Observation("p", 2.0, 0.0, 1.0)]), "temperature")
    assert 2 * (1 - 1 / (1 + math.exp(-2 * slope))) == pytest.approx((slope - SLOPE_PRIOR) / PRIOR_SD**2)
    assert length == 0.0


def test_the_fit_is_the_one_that_a_slow_search_finds() -> None:
    rows = draw(60, over_confident=2.0, length_bias=0.5, seed=3)
    data = as_arrays(rows)

    def loss(slope: float, length: float) -> float:
        z = slope * data.logits + length * data.lengths
        prior = (slope - SLOPE_PRIOR) ** 2 + length**2
        return float((np.logaddexp(0, z) - data.chosen * z).sum() + prior / (2 * PRIOR_SD**2))

    grid = [(a / 100, b / 100) for a in range(0, 150, 2) for b in range(-150, 100, 2)]
    best = min(grid, key=lambda point: loss(*point))
    assert fit(data, "temperature_length") == pytest.approx(best, abs=0.03)


def test_an_overconfident_judge_that_likes_length_is_mended() -> None:
    found = calibrate(draw(2000, over_confident=2.0, length_bias=1.0), length_sd=8.0)
    assert found.map.kind == "temperature_length"
    assert found.map.slope == pytest.approx(0.5, abs=0.06)
    assert found.map.length == pytest.approx(-0.5, abs=0.15)
    assert found.map.length_sd == 8.0
    assert found.log_loss["temperature_length"] < found.log_loss["temperature"] < found.log_loss["identity"]


def test_an_overconfident_judge_without_a_bias_gets_a_temperature_alone() -> None:
    found = calibrate(draw(400, over_confident=3.0), length_sd=8.0)
    assert found.map.kind == "temperature"
    assert found.map.slope == pytest.approx(1 / 3, abs=0.06)


def test_a_judge_that_is_calibrated_already_is_left_alone() -> None:
    kinds = [calibrate(draw(150, seed=seed), length_sd=8.0).map.kind for seed in range(10)]
    assert kinds.count("identity") >= 8


def test_labels_on_few_prompts_change_nothing_and_say_so() -> None:
    rows = [row._replace(prompt_id=f"prompt {n % 9}") for n, row in enumerate(draw(200, over_confident=3.0))]
    found = calibrate(rows, length_sd=8.0)
    assert (found.map.kind, found.map.slope) == ("identity", 1.0)
    assert set(found.log_loss) == {"identity"}


def test_a_judge_that_reads_people_backwards_is_not_turned_round_but_silenced() -> None:
    rows = [row._replace(chosen=1 - row.chosen) for row in draw(200)]
    assert fit(as_arrays(rows), "temperature") == (0.0, 0.0)
    slope, _ = fit(as_arrays(rows), "temperature_length")
    assert slope == 0.0


def test_a_tie_is_half_a_label_for_each() -> None:
    rows = draw(50, seed=5)
    tied = [row._replace(chosen=0.5) for row in rows]
    both = [row._replace(chosen=chosen, weight=0.5) for row in rows for chosen in (0.0, 1.0)]
    ties = as_arrays(tied)
    halves = as_arrays(both)._replace(weights=np.full(100, 0.5))
    assert fit(ties, "temperature_length") == pytest.approx(fit(halves, "temperature_length"))


def test_a_pair_drawn_with_half_the_probability_counts_twice() -> None:
    rows = draw(30, seed=6)
    weighted = as_arrays([row._replace(weight=2.0 if n < 10 else 1.0) for n, row in enumerate(rows)])
    repeated = as_arrays([*rows[:10], *rows])
    # both are scaled to a mean weight of one, so the sums are made equal for the comparison
    repeated = repeated._replace(weights=repeated.weights * 30 / 40)
    assert fit(weighted, "temperature") == pytest.approx(fit(repeated, "temperature"))


def test_the_order_in_which_labels_come_changes_nothing() -> None:
    rows = draw(80, over_confident=2.0, length_bias=1.0, seed=7)
    mixed = random.Random(0).sample(rows, len(rows))
    one, other = calibrate(rows, length_sd=1.0), calibrate(mixed, length_sd=1.0)
    assert one.map.slope == pytest.approx(other.map.slope, abs=1e-9)
    assert one.log_loss == pytest.approx(other.log_loss, abs=1e-9)


def test_a_prompt_stands_in_one_fold_and_folds_are_about_as_large() -> None:
    prompts = [f"prompt {n % 23}" for n in range(100)]
    folds = assign_folds(prompts)
    assert len({(prompt, fold) for prompt, fold in zip(prompts, folds, strict=True)}) == 23
    sizes = [len({p for p, f in zip(prompts, folds, strict=True) if f == fold}) for fold in range(5)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]


def test_an_observation_is_mapped_by_a_fit_that_did_not_see_its_prompt() -> None:
    rows = draw(100, over_confident=3.0, seed=8)
    changed = [*rows[:-1], rows[-1]._replace(chosen=1 - rows[-1].chosen)]
    one, other = calibrate(rows, length_sd=1.0), calibrate(changed, length_sd=1.0)
    assert one.map.kind == other.map.kind == "temperature"
    assert one.map.slope != other.map.slope
    assert one.out_of_fold[-1] == other.out_of_fold[-1], "its own choice does not reach its own label"
    assert one.out_of_fold != other.out_of_fold


def test_a_verdict_without_log_probabilities_is_read_as_a_finite_logit() -> None:
    assert JudgedPair(1.0, None).read_logit == pytest.approx(math.log(19))
    assert JudgedPair(0.5, None).read_logit == 0.0
    assert JudgedPair(0.0, None).read_logit == -JudgedPair(1.0, None).read_logit


def test_the_difference_of_lengths_is_in_words_and_stops_at_its_limit() -> None:
    unit = CalibrationMap(length_sd=2.0, length_limit=2.0)
    assert length_difference("a b c", "a", map=unit) == 1.0
    assert length_difference("a", "a b c", map=unit) == -1.0
    assert length_difference("a " * 50, "a", map=unit) == 2.0


def test_nothing_to_calibrate_by_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="nothing to calibrate by"):
        calibrate([], length_sd=1.0)


SLOPES = {"polite": (1.0, 0.0), "brief": (0.4, -0.8), "true": (0.2, 0.5)}
"""Principle -> planted slope and length."""


def draw_parts(n: int, *, planted: dict[str, tuple[float, float]], by: str, seed: int = 0) -> list[Observation]:
    """Pairs judged under one principle, as a whole under all, or by all judges; people choose by what is planted.

    by: principle, whole or judge.
    """
    rng = random.Random(seed)
    drawn = []
    for number in range(n):
        names = [rng.choice([*planted])] if by == "principle" else [*planted]
        logits, length = [rng.gauss(0, 2.5) for _ in names], rng.uniform(-2, 2)
        share = 1 / len(names)
        z = sum(share * planted[name][0] * logit for name, logit in zip(names, logits, strict=True))
        z += length * sum(planted[name][1] for name in names) / len(names)
        parts = tuple(
            Part("p" if by == "judge" else name, name if by == "judge" else "j", share, logit)
            for name, logit in zip(names, logits, strict=True)
        )
        chosen = float(rng.random() < 1 / (1 + math.exp(-z)))
        drawn.append(Observation(f"prompt {number}", sum(p.share * p.logit for p in parts), length, chosen, 1.0, parts))
    return drawn


def test_principles_that_the_judge_reads_differently_get_slopes_of_their_own() -> None:
    found = calibrate(draw_parts(3000, planted=SLOPES, by="principle"), length_sd=1.0)
    assert found.map.kind == "pooled"
    by_name = {part.name: part for part in found.map.by_principle}
    for name, (slope, length) in SLOPES.items():
        assert by_name[name].slope == pytest.approx(slope, abs=0.1), name
        assert by_name[name].length == pytest.approx(length, abs=0.15), name
    assert found.log_loss["pooled"] < found.log_loss["temperature_length"]


def test_principles_that_are_read_alike_share_a_slope_and_few_labels_offer_no_other() -> None:
    alike = dict.fromkeys(SLOPES, (0.4, -0.5))
    kinds = [
        calibrate(draw_parts(400, planted=alike, by="principle", seed=seed), length_sd=1.0).map.kind
        for seed in range(12)
    ]
    assert kinds.count("temperature_length") >= 8
    assert "pooled" not in calibrate(draw_parts(199, planted=SLOPES, by="principle"), length_sd=1.0).log_loss


def test_labels_of_whole_pairs_tell_how_the_judge_reads_each_principle() -> None:
    found = calibrate(draw_parts(3000, planted=SLOPES, by="whole"), length_sd=1.0)
    assert found.map.kind == "pooled"
    by_name = {part.name: part.slope for part in found.map.by_principle}
    assert by_name == pytest.approx({name: slope for name, (slope, _) in SLOPES.items()}, abs=0.15)


def test_few_labels_of_a_principle_leave_it_near_the_others() -> None:
    rows = draw_parts(400, planted=dict.fromkeys(("a", "b", "c", "d"), (0.8, 0.0)), by="principle", seed=1)
    rare = [row._replace(chosen=1 - row.chosen) for row in rows if row.parts[0].principle_id == "d"][:3]
    rows = [row for row in rows if row.parts[0].principle_id != "d"] + rare
    near = fit_map(as_arrays(rows), "pooled", length_sd=1.0, spread=0.1)
    assert {part.name: part.slope for part in near.by_principle}["d"] == pytest.approx(0.8, abs=0.2)


def test_a_judge_that_knows_more_than_the_rest_of_its_panel_counts_more() -> None:
    planted = {"good": (1.6, 0.0), "middling": (0.8, 0.0), "coin": (0.0, 0.0)}
    found = calibrate(draw_parts(2000, planted=planted, by="judge", seed=1), length_sd=1.0)
    assert found.map.kind == "panel"
    by_name = {part.name: part.slope for part in found.map.by_judge}
    assert by_name == pytest.approx({name: slope for name, (slope, _) in planted.items()}, abs=0.2)
    assert all(part.slope >= 0 for part in found.map.by_judge)
    assert "panel" not in calibrate(draw_parts(99, planted=planted, by="judge"), length_sd=1.0).log_loss


def test_a_judge_that_reads_people_backwards_gets_no_vote_in_its_panel() -> None:
    rows = draw_parts(600, planted={"good": (1.0, 0.0), "backwards": (-1.0, 0.0)}, by="judge")
    found = fit_map(as_arrays(rows), "panel", length_sd=1.0)
    assert {part.name: part.slope for part in found.by_judge}["backwards"] == 0.0


@given(
    st.lists(st.tuples(st.sampled_from("abx"), st.floats(0.01, 1), FINITE), min_size=1, max_size=5), st.floats(-2, 2)
)
def test_swapping_the_responses_swaps_the_label_of_a_map_with_parts_exactly(
    rows: list[tuple[str, float, float]], length: float
) -> None:
    slopes = (PartMap(name="a", slope=0.3, length=-0.4), PartMap(name="b", slope=1.7, length=0.9))
    for found, principles in (
        (CalibrationMap(kind="pooled", slope=0.5, length=0.1, by_principle=slopes), True),
        (CalibrationMap(kind="panel", slope=0.5, length=0.1, by_judge=slopes), False),
    ):
        labels = []
        for sign in (1, -1):
            parts = [
                Part(name if principles else "p", "j" if principles else name, share, sign * logit)
                for name, share, logit in rows
            ]
            logit = sum(part.share * part.logit for part in parts)
            labels.append(apply_map(found, logit=logit, length=sign * length, parts=parts))
        assert sum(labels) == 1.0


def test_a_principle_that_no_label_is_about_has_the_common_slope_and_length() -> None:
    found = CalibrationMap(
        kind="pooled", slope=0.5, length=0.1, by_principle=(PartMap(name="a", slope=2.0, length=1.0),)
    )
    new = apply_map(found, logit=3.0, length=1.0, parts=(Part("new", "j", 1.0, 3.0),))
    assert new == apply_map(found, logit=3.0, length=1.0) == pytest.approx(1 / (1 + math.exp(-1.6)))
    known = apply_map(found, logit=3.0, length=1.0, parts=(Part("a", "j", 1.0, 3.0),))
    assert known == pytest.approx(1 / (1 + math.exp(-7.0)))


@pytest.mark.parametrize("size", [0.02, 50.0])
def test_a_contrasts_scale_is_found_however_large_its_log_odds_are(size: float) -> None:
    rows = [row._replace(logit=row.logit * size) for row in draw(600, seed=9)]
    plain, scaled = calibrate(rows, length_sd=1.0), calibrate(rows, length_sd=1.0, logit_unit=2.2 * size)
    assert scaled.map.kind == "temperature"
    assert scaled.map.slope * size == pytest.approx(1.0, abs=0.15)
    if size < 1:
        assert plain.map.slope * size < 0.5, "the prior of a slope near one half holds it back"


def test_a_map_without_parts_has_the_content_that_it_had_before_there_were_any() -> None:
    assert CalibrationMap().model_dump_json() == (
        '{"kind":"identity","slope":1.0,"length":0.0,"length_sd":1.0,"length_limit":2.0}'
    )
    pooled = CalibrationMap(kind="pooled", by_principle=(PartMap(name="a", slope=2.0),))
    assert CalibrationMap.model_validate_json(pooled.model_dump_json()) == pooled


def test_ten_thousand_pairs_are_calibrated_in_under_a_second() -> None:
    rows = draw_parts(10_000, planted=SLOPES, by="principle")
    began = time.process_time()
    calibrate(rows, length_sd=1.0)
    assert time.process_time() - began < 1.0
