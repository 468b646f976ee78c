"""What a run paid for: what was asked, not what was found; failed calls too; unknown is not zero."""

from __future__ import annotations

from collections.abc import Callable

from rlaif.evaluation.cost import StageCost, cost_of_judging, cost_of_sampling, cost_of_training, total_cost
from rlaif.records import FailedJudgement, Judgement, Observed, Sample, Served
from rlaif.training.metrics import MetricsRow

PAID = Observed(latency_s=0.5, prompt_tokens=100, reply_tokens=20)


def judgement(k: int, observed: Observed = PAID, **fields: str) -> Judgement:
    return Judgement.model_validate(
        {"question_id": f"q{k}", "verdict": "first", "raw_reply": "first", "observed": observed.model_dump(), **fields}
    )


def test_a_failed_call_costs_as_an_answered_one_does_and_found_answers_cost_nothing() -> None:
    failure = FailedJudgement(question_id="q9", cause="unparsable", observed=PAID)
    cost = cost_of_judging("judging", [judgement(1), judgement(2)], failures=[failure], num_used=7)
    assert (cost.calls, cost.found) == (3, 5)
    assert (cost.prompt_tokens, cost.reply_tokens, cost.seconds) == (300, 60, 1.5)


def test_imported_verdicts_were_asked_by_nobody_here() -> None:
    cost = cost_of_judging("judging", [judgement(1, origin="imported")], failures=[], num_used=0)
    assert (cost.calls, cost.found) == (0, 0)


def test_samples_without_times_and_tokens_cost_an_unknown_amount(sample_of: Callable[..., Sample]) -> None:
    samples = [sample_of("p", "text", policy="a"), sample_of("p", "other", policy="a", index=1)]
    cost = cost_of_sampling("sampling", samples, num_used=2)
    assert (cost.calls, cost.prompt_tokens, cost.seconds) == (2, None, None)


def test_nothing_drawn_costs_nothing() -> None:
    cost = cost_of_sampling("sampling", [], num_used=40)
    assert (cost.calls, cost.found, cost.prompt_tokens, cost.seconds) == (0, 40, 0, 0.0)


def row(step: int, **numbers: float) -> MetricsRow:
    return MetricsRow(0, "policy", step, numbers)


def test_a_trainings_tokens_are_its_episodes_times_their_length() -> None:
    rows = [
        row(0, seconds=2.0, episode=64, **{"val/response_length": 10.0}),
        row(1, seconds=3.0, episode=128, **{"val/response_length": 20.0}),
    ]
    cost = cost_of_training("policy (PPO)", rows)
    assert (cost.calls, cost.reply_tokens, cost.seconds) == (2, 64 * 10 + 64 * 20, 5.0)


def test_a_training_that_did_not_take_the_time_of_every_step_has_no_time() -> None:
    cost = cost_of_training("reward model", [row(1, loss=0.7), row(2, loss=0.6, seconds=1.0)])
    assert (cost.calls, cost.reply_tokens, cost.seconds) == (2, None, None)


def test_the_total_adds_what_is_known_and_is_unknown_where_nothing_is() -> None:
    known = StageCost(name="a", unit="questions", calls=1, prompt_tokens=5, reply_tokens=2, seconds=1.0)
    unknown = StageCost(name="b", unit="steps", calls=1)
    assert total_cost([known, unknown]) == (5, 2, 1.0, None)
    assert total_cost([unknown]) == (None, None, None, None)


def test_money_is_what_each_answer_was_written_down_with() -> None:
    def paid(cost: float | None) -> Observed:
        return PAID.model_copy(update={"served": Served(host="server", cost=cost)})

    failure = FailedJudgement(question_id="q9", cause="unparsable", observed=paid(0.5))
    answers = [judgement(1, paid(0.25)), judgement(2, paid(None)), judgement(3)]
    cost = cost_of_judging("judging", answers, failures=[failure], num_used=3)
    assert cost.money == 0.75
    assert cost_of_judging("judging", [judgement(1)], failures=[], num_used=1).money is None
    assert total_cost([cost, cost, StageCost(name="b", unit="steps", calls=1)]).money == 1.5
