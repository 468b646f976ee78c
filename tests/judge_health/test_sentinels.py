"""What counts as drift of a judge, by hand values."""

from __future__ import annotations

import math
import random

import pytest

from rlaif.judge_health.sentinels import Further, SentinelCheck, compare_answers, logit_of
from rlaif.records import FailedJudgement, Judgement, Observed, Served, VerdictLogprob


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


def test_a_verdict_alone_that_turned_is_counted_and_drift_only_where_the_judge_does_not_draw() -> None:
    turned = answer(None).changed(verdict="second")
    found = compare_answers([("p", answer(None), turned)], fingerprint_changed=(), stored_now=False)
    assert (found.clear_changed, found.mean_move, found.num_drawn, found.drift) == (1, None, 1, ())
    assert logit_of(turned, named="first") is None
    greedy = answer(None).model_copy(update={"observed": Observed(served=Served(host="h", temperature=0.0))})
    found = compare_answers([("p", greedy, turned)], fingerprint_changed=(), stored_now=False)
    assert (found.num_drawn, found.drift) == (0, ("1 verdicts turned that were not near",))


def drawn(logit: float | None, question: str = "q") -> Judgement:
    sampled = Observed(served=Served(host="h", temperature=0.7))
    return answer(logit, question).model_copy(update={"observed": sampled})


def test_a_judge_that_samples_its_reasons_moves_its_logits_by_chance() -> None:
    draw = random.Random(0)
    rows, further = [], []
    for number in range(40):
        said = [drawn(draw.gauss(2, 1.5)) for _ in range(4)]
        rows.append((f"p{number}", said[0], said[1]))
        further.append(Further((), said[2:]))
    found = compare_answers(rows, fingerprint_changed=(), stored_now=False, further=further)
    assert found.drift == ()
    assert found.mean_move is not None
    assert found.mean_move.mean > 1
    assert found.drawn_by_chance == pytest.approx(found.drawn_apart, rel=0.25)
    again = compare_answers(
        [(prompt, then, drawn(-2.0)) for prompt, then, _ in rows], fingerprint_changed=(), stored_now=False,
        further=[Further((), [drawn(-1.0), drawn(-3.0)])] * 40,
    )  # fmt: skip
    [sentence] = again.drift
    assert sentence.startswith("drawn answers of then and now are 0.")
    assert "where two answers of one time are 0." in sentence


def test_a_failure_of_a_judge_that_draws_is_drift_only_beyond_the_rate_of_the_run() -> None:
    failed = FailedJudgement(question_id="q", cause="unparsable")
    rows = [(f"p{n}", drawn(None), failed if n < 4 else drawn(None)) for n in range(40)]
    assert compare_answers(rows, fingerprint_changed=(), stored_now=False, failure_rate=0.1).drift == ()
    found = compare_answers(rows, fingerprint_changed=(), stored_now=False, failure_rate=0.01)
    assert found.drift == ("4 of 40 answers failed now (unparsable 4), where the run's failed at a rate of 1.0%",)


def test_a_contrast_changes_where_the_other_of_the_two_makes_the_response_likelier() -> None:
    then, same, turned = (
        Judgement(question_id="q", score=score, log_likelihoods=pair, num_response_tokens=10, raw_reply="")
        for score, pair in ((0.1, (-10.0, -11.0)), (0.12, (-10.0, -11.2)), (-0.1, (-11.0, -10.0)))
    )
    assert [logit_of(one, named="principle") for one in (then, same, turned)] == pytest.approx([1.0, 1.2, -1.0])
    for now, changed in ((same, 0.0), (turned, 1.0)):
        found = compare_answers([("p", then, now)], fingerprint_changed=(), stored_now=False)
        assert found.verdicts_changed is not None
        assert found.verdicts_changed.mean == changed
