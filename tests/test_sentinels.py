"""What counts as drift of a judge, by hand values."""

from __future__ import annotations

import math

import pytest

from rlaif.records import FailedJudgement, Judgement, VerdictLogprob
from rlaif.sentinels import SentinelCheck, compare_answers, logit_of


def answer(logit: float | None, question: str = "q") -> Judgement:
    logprobs: tuple[VerdictLogprob, ...] = ()
    if logit is not None:
        p = 1 / (1 + math.exp(-logit))
        logprobs = (
            VerdictLogprob(verdict="first", logprob=math.log(p)),
            VerdictLogprob(verdict="second", logprob=math.log(1 - p)),
        )
    return Judgement(
        question_id=question, verdict="first" if logit is None or logit > 0 else "second", logprobs=logprobs,
        raw_reply="",
    )  # fmt: skip


def check(then: list[float], now: list[float], *, fields: tuple[str, ...] = ()) -> SentinelCheck:
    pairs = [(f"p{k}", answer(a), answer(b)) for k, (a, b) in enumerate(zip(then, now, strict=True))]
    return compare_answers(pairs, fingerprint_changed=fields, stored_now=False)


def test_the_same_answers_are_no_drift() -> None:
    found = check([2.0, -1.5, 0.1], [2.0, -1.5, 0.1])
    assert found.drift == ()
    assert found.mean_move is not None
    assert (found.mean_move.mean, found.largest_move, found.num_asked) == (0, 0, 3)


def test_a_near_verdict_may_turn_by_noise_and_a_clear_one_by_drift_alone() -> None:
    near = check([2.0, 0.03, -2.0], [2.0, -0.03, -2.0])
    assert near.verdicts_changed is not None
    assert near.verdicts_changed.mean == pytest.approx(1 / 3)
    assert (near.clear_changed, near.drift) == (0, ())
    clear = check([2.0] + [1.0] * 39, [-2.0] + [1.0] * 39)
    assert clear.clear_changed == 1
    assert clear.mean_move is not None
    assert clear.mean_move.mean == pytest.approx(0.1)
    assert clear.drift == ("1 verdicts turned that were not near",)


def test_logits_that_moved_without_turning_a_verdict_are_drift() -> None:
    found = check([2.0, -1.5], [1.5, -2.0])
    assert found.drift == ("logits moved by 0.50 on average, more than 0.1",)


def test_another_fingerprint_is_drift_though_nothing_turned() -> None:
    assert check([1.0], [1.0], fields=("weights",)).drift == ("the judge's fingerprint changed: weights",)


def test_a_question_that_fails_now_is_named_by_its_cause_and_is_no_number() -> None:
    failed = FailedJudgement(question_id="q", cause="low_mass")
    found = compare_answers(
        [("p", answer(1.0), failed), ("q", answer(1.0), answer(1.0))], fingerprint_changed=(), stored_now=True
    )
    assert found.failed_by_cause == {"low_mass": 1}
    assert found.verdicts_changed is not None
    assert (found.verdicts_changed.mean, found.verdicts_changed.n) == (0, 1)
    assert found.drift == ("1 questions that were answered then failed now (low_mass 1)",)


def test_verdicts_without_log_probabilities_drift_when_one_turns() -> None:
    turned = answer(None).changed(verdict="second")
    found = compare_answers([("p", answer(None), turned)], fingerprint_changed=(), stored_now=False)
    assert (found.clear_changed, found.mean_move) == (1, None)
    assert logit_of(turned, named="first") is None
