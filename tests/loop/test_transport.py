"""The calibration of earlier rounds on a round's fresh labels, by values that can be worked out by hand."""

from __future__ import annotations

import pytest

from rlaif.calibration.judged import JudgedPair
from rlaif.config.gates import GatesConfig
from rlaif.loop.gates import RoundFigures, describe_transport, find_closed_gates
from rlaif.loop.transport import check_labels_of_round
from rlaif.records import CalibrationMap, HumanLabel, TransportCheck, Verdict

NUM_PAIRS = 200
PAIRS = [(f"a{i:03}", f"b{i:03}") for i in range(NUM_PAIRS)]
P_FIRST = [0.8 if i % 2 else 0.2 for i in range(NUM_PAIRS)]
"""The judge is as sure of every pair, and takes the first of each second one."""


def check(*, num_right: int, swapped: bool = False, weights: tuple[float, float] = (1.0, 1.0)) -> TransportCheck:
    """People take the judge's side on `num_right` of every ten pairs; the first ten per cent has another weight."""
    labels = []
    for i, (pair, p) in enumerate(zip(PAIRS, P_FIRST, strict=True)):
        says_first = (p > 0.5) == (i // 2 % 10 < num_right)
        shown = pair[::-1] if swapped else pair
        choice: Verdict = "first" if says_first != swapped else "second"
        labels.append(
            HumanLabel(
                annotator="ann", prompt_id=f"p{i}", sample_ids=shown, choice=choice,
                inclusion_probability=1 / weights[i // 2 % 10 >= num_right],
            )
        )  # fmt: skip
    judged = {(pair, "overall"): JudgedPair(p, None) for pair, p in zip(PAIRS, P_FIRST, strict=True)}
    texts = {sample: "text" for pair in PAIRS for sample in pair}
    found = check_labels_of_round(labels, judged, map=CalibrationMap(), texts=texts)
    assert found is not None
    return found


@pytest.mark.parametrize("swapped", [False, True])
def test_a_judge_that_is_right_as_often_as_it_says_leaves_no_residual_in_either_order(swapped: bool) -> None:
    found = check(num_right=8, swapped=swapped)
    assert found.residual.mean == pytest.approx(0)
    assert (found.num_pairs, found.residual.n) == (200, 200)
    assert found.outcome == "undecided", "the interval of 200 labels is wider than 5 points"


def test_a_judge_that_is_right_less_often_than_it_says_does_not_hold() -> None:
    found = check(num_right=5)
    assert found.residual.mean == pytest.approx(-0.3)
    assert found.outcome == "does not hold"


def test_a_residual_counts_each_label_one_over_its_probability() -> None:
    found = check(num_right=5, weights=(1.0, 3.0))
    assert found.residual.mean == pytest.approx(0.25 - 0.8)


def test_labels_of_pairs_that_the_judge_did_not_compare_tell_nothing() -> None:
    label = HumanLabel(annotator="ann", prompt_id="p", sample_ids=("a", "b"), choice="first")
    assert check_labels_of_round([label], {}, map=CalibrationMap(), texts={}) is None


def test_the_gate_closes_where_the_calibration_does_not_hold_and_its_option_opens_it() -> None:
    figures = RoundFigures(
        win_rate=None, accuracy=None, num_questions=1, num_failed=0, num_compared=1, num_flipped=0, ended_before=None,
        ended_after=None, transport=check(num_right=5),
    )  # fmt: skip
    (closed,) = find_closed_gates(figures, config=GatesConfig(min_win_rate=None))
    assert closed.name == "gates.transport"
    assert "on 200 pairs" in closed.sentence
    assert "30.0 points less often than it predicts" in closed.sentence
    assert find_closed_gates(figures, config=GatesConfig(min_win_rate=None, transport=False)) == []


def test_an_undecided_check_is_told_and_closes_nothing() -> None:
    found = check(num_right=8)
    assert "do not tell whether it holds" in describe_transport(found)
