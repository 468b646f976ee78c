"""The one rule that makes a label of several: exact when the responses are exchanged, and rising with each of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.records.odds import log_odds, mean_label, share_of_lead, sigmoid

LOGIT = st.floats(-300, 300)
LABEL = LOGIT.map(lambda x: (sigmoid(x), x)) | st.floats(0, 1).map(lambda p: (p, None))
WEIGHT = st.floats(0.01, 100)
WEIGHED = st.lists(st.tuples(LABEL, WEIGHT), min_size=1, max_size=6)
Label = tuple[float, float | None]


def exchanged(label: Label) -> Label:
    return 1 - label[0], None if label[1] is None else -label[1]


@given(LOGIT)
def test_a_sigmoid_and_that_of_the_negative_sum_to_exactly_one(x: float) -> None:
    assert sigmoid(x) + sigmoid(-x) == 1.0
    assert sigmoid(x) == pytest.approx(1 / (1 + math.exp(-x)), abs=1e-15)


@given(st.floats(-0.5, 0.5))
def test_the_shares_of_a_lead_and_of_its_negative_sum_to_exactly_one(lead: float) -> None:
    assert share_of_lead(lead) + share_of_lead(-lead) == 1.0


@given(st.floats(0, 1))
def test_the_log_odds_of_a_share_and_of_the_rest_are_exactly_opposite(p: float) -> None:
    rest = 1 - p
    assert log_odds(rest, least=1e-15) == -log_odds(1 - rest, least=1e-15)
    assert log_odds(0.9, least=1e-15) == pytest.approx(math.log(9))


@given(WEIGHED)
def test_exchanging_the_responses_in_every_label_exchanges_them_in_the_mean(rows: list[tuple[Label, float]]) -> None:
    labels, weights = [label for label, _ in rows], [weight for _, weight in rows]
    forth, back = mean_label(labels, weights=weights), mean_label(list(map(exchanged, labels)), weights=weights)
    assert forth[0] + back[0] == 1.0
    assert (forth[1] is None) == (back[1] is None) == any(logit is None for _, logit in labels)


@given(WEIGHED, st.floats(0, 50))
def test_the_mean_never_falls_when_one_of_its_labels_rises(rows: list[tuple[Label, float]], by: float) -> None:
    labels, weights = [label for label, _ in rows], [weight for _, weight in rows]
    p, logit = labels[0]
    risen = (min(1.0, p + by / 50), None) if logit is None else (sigmoid(logit + by), logit + by)
    before, after = mean_label(labels, weights=weights), mean_label([risen, *labels[1:]], weights=weights)
    assert after[0] >= before[0] - 1e-12


def test_labels_with_log_odds_average_them_and_beside_verdicts_their_probabilities() -> None:
    assert mean_label([(0.8, math.log(4)), (0.5, 0.0)], weights=[1, 1]) == (
        pytest.approx(2 / 3),
        pytest.approx(math.log(2)),
    )
    assert mean_label([(0.6, math.log(1.5)), (1.0, None)], weights=[1, 3]) == (pytest.approx(0.9), None)
