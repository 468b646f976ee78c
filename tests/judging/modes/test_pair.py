"""Both orders of a pair combined, against hand values and for all log-probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.judging.modes.pair import combine_orders, compare
from rlaif.records import Judgement, PrincipleKey, Verdict, VerdictLogprob

PRINCIPLE = PrincipleKey(id="brief", text_digest="0" * 64)


def asked(question_id: str = "q", **probabilities: float) -> Judgement:
    logprobs = {verdict: math.log(p) for verdict, p in probabilities.items()}
    return with_logprobs(logprobs, question_id=question_id)


def with_logprobs(logprobs: dict[str, float], *, question_id: str = "q") -> Judgement:
    return Judgement(
        question_id=question_id,
        verdict=max(logprobs, key=logprobs.__getitem__),
        logprobs=tuple(VerdictLogprob(verdict=v, logprob=x) for v, x in logprobs.items()),
        raw_reply="",
    )


def hard(verdict: Verdict, question_id: str = "q") -> Judgement:
    return Judgement(question_id=question_id, verdict=verdict, raw_reply="", origin="imported")


def test_two_orders_without_ties_average_their_logits() -> None:
    # Shown first, A gets .8 (logit log 4); shown second it gets .5 (logit 0): together logit log 2, p = 2/3.
    result = combine_orders(asked(first=0.8, second=0.2), asked(first=0.5, second=0.5))
    assert result.logit == pytest.approx(math.log(2))
    assert result.p_first == pytest.approx(2 / 3)


def test_the_position_effect_is_half_the_sum_of_the_logits_of_being_first() -> None:
    result = combine_orders(asked(first=0.8, second=0.2), asked(first=0.5, second=0.5))
    assert result.position_effect == pytest.approx(math.log(4) / 2)


def test_a_judge_that_only_looks_at_the_place_says_nothing_of_the_pair() -> None:
    result = combine_orders(asked(first=0.9, second=0.1), asked(first=0.9, second=0.1))
    assert result.p_first == 0.5
    assert result.logit == 0.0
    assert result.position_effect == pytest.approx(math.log(9))
    assert result.flipped is True


def test_half_of_a_ties_probability_goes_to_each_response() -> None:
    # One order: first .5, second .2, tie .3: p = .5 + .15.
    result = combine_orders(asked(first=0.5, second=0.2, tie=0.3), None)
    assert result.p_first == pytest.approx(0.65)
    assert result.logit == pytest.approx(math.log(0.65 / 0.35))


def test_verdicts_are_averaged_as_logits_before_the_tie_is_split() -> None:
    # Geometric means over the orders: A sqrt(.6*.4), B sqrt(.1*.2), tie sqrt(.3*.4); then the tie is split.
    a, b, tie = math.sqrt(0.6 * 0.4), math.sqrt(0.1 * 0.2), math.sqrt(0.3 * 0.4)
    result = combine_orders(asked(first=0.6, second=0.1, tie=0.3), asked(first=0.2, second=0.4, tie=0.4))
    assert result.p_first == pytest.approx((a + tie / 2) / (a + b + tie))


def test_log_probabilities_need_not_sum_to_one() -> None:
    whole = combine_orders(asked(first=0.8, second=0.2), None)
    part = combine_orders(asked(first=0.4, second=0.1), None)
    assert part.p_first == pytest.approx(whole.p_first)


@pytest.mark.parametrize(
    ("listed", "swapped", "p_first", "flipped"),
    [
        ("first", None, 1.0, None),
        ("second", None, 0.0, None),
        ("tie", None, 0.5, None),
        ("first", "second", 1.0, False),
        ("second", "first", 0.0, False),
        ("first", "first", 0.5, True),
        ("second", "second", 0.5, True),
        ("tie", "tie", 0.5, False),
        ("first", "tie", 0.75, False),
        ("tie", "first", 0.25, False),
    ],
)
def test_hard_verdicts_count_one_zero_or_a_half(
    listed: Verdict, swapped: Verdict | None, p_first: float, flipped: bool | None
) -> None:
    result = combine_orders(hard(listed), hard(swapped) if swapped else None)
    assert result[:4] == (p_first, None, None, flipped)


def test_beside_an_order_that_gave_a_verdict_alone_the_other_ones_probability_stays_soft() -> None:
    result = combine_orders(asked(first=0.6, second=0.4), hard("second"))
    assert result[:4] == (pytest.approx((0.6 + 1) / 2), None, None, False)
    assert [order.logit for order in result.orders] == [pytest.approx(math.log(1.5)), None]


def test_one_order_is_marked_as_not_debiased_and_has_no_position_effect() -> None:
    comparison = compare(
        prompt_id="p", sample_ids=("a", "b"), principle=PRINCIPLE, judge_id="j",
        listed=asked(first=0.7, second=0.3), swapped=None,
    )  # fmt: skip
    assert (comparison.debiased, comparison.position_effect, comparison.flipped) == (False, None, None)


def test_the_comparison_is_sorted_by_sample_id_and_its_probability_with_it() -> None:
    comparison = compare(
        prompt_id="p", sample_ids=("b", "a"), principle=PRINCIPLE, judge_id="j",
        listed=asked(first=0.7, second=0.3), swapped=None,
    )  # fmt: skip
    assert comparison.sample_ids == ("a", "b")
    assert comparison.p_first == pytest.approx(0.3)
    assert comparison.logit == pytest.approx(math.log(3 / 7))


def test_a_score_cannot_be_compared_as_a_pair() -> None:
    score = Judgement(question_id="q", score=3.0, raw_reply="")
    with pytest.raises(ValueError, match="pair"):
        combine_orders(score, None)


LOGPROB = st.floats(min_value=-1e308, max_value=0.0)


@st.composite
def verdict_tables(draw: st.DrawFn, *, with_tie: bool) -> Judgement:
    verdicts = ["first", "second", "tie"] if with_tie else ["first", "second"]
    question_id = draw(st.sampled_from(["q1", "q2"]))
    return with_logprobs({verdict: draw(LOGPROB) for verdict in verdicts}, question_id=question_id)


TWO_ORDERS = st.booleans().flatmap(lambda tie: st.tuples(verdict_tables(with_tie=tie), verdict_tables(with_tie=tie)))


@given(TWO_ORDERS)
def test_swapping_the_responses_swaps_the_verdict_exactly(orders: tuple[Judgement, Judgement]) -> None:
    one, other = orders
    ab, ba = combine_orders(one, other), combine_orders(other, one)
    assert ab.p_first + ba.p_first == 1.0
    assert ab.logit == -ba.logit
    assert ab.position_effect == ba.position_effect
    assert ab.flipped == ba.flipped


@given(TWO_ORDERS)
def test_the_record_does_not_depend_on_which_order_is_called_the_listed_one(
    orders: tuple[Judgement, Judgement],
) -> None:
    one, other = orders
    ab = compare(prompt_id="p", sample_ids=("a", "b"), principle=PRINCIPLE, judge_id="j", listed=one, swapped=other)
    ba = compare(prompt_id="p", sample_ids=("b", "a"), principle=PRINCIPLE, judge_id="j", listed=other, swapped=one)
    assert ab == ba
    assert ab.id == ba.id


@given(TWO_ORDERS)
def test_a_probability_is_finite_and_on_the_side_of_its_logit(orders: tuple[Judgement, Judgement]) -> None:
    result = combine_orders(*orders)
    assert result.logit is not None
    assert math.isfinite(result.logit)
    assert 0.0 <= result.p_first <= 1.0
    assert (result.p_first - 0.5) * result.logit >= 0


@given(st.floats(-20, 0), st.floats(-20, 0), st.floats(-3, 3))
def test_an_added_position_bias_is_recovered_and_leaves_the_probability(a: float, b: float, bias: float) -> None:
    plain = combine_orders(
        with_logprobs({"first": a - 3, "second": b - 3}), with_logprobs({"first": b - 3, "second": a - 3})
    )
    biased = combine_orders(
        with_logprobs({"first": a - 3 + bias, "second": b - 3}),
        with_logprobs({"first": b - 3 + bias, "second": a - 3}),
    )
    assert biased.p_first == pytest.approx(plain.p_first)
    assert biased.position_effect == pytest.approx(bias, abs=1e-12)
