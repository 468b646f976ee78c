"""The map from the judge's labels to people's: swapped responses, known optima, and when nothing is gained."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.calibration.calibrate import (
    KINDS,
    PRIOR_SD,
    SLOPE_PRIOR,
    Observation,
    apply_map,
    as_arrays,
    assign_folds,
    calibrate,
    fit,
    length_difference,
)
from rlaif.calibration.mix import JudgedPair
from rlaif.records import CalibrationMap

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
