"""Alarms: each goes beyond its limit, by the number that a person would compute, and not at it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlaif.config.ppo_guards import GuardsConfig
from rlaif.policy.ppo.guards import (
    Evaluation,
    Vitals,
    compute_repetition,
    find_eos_drop,
    find_evaluation_alarm,
    find_held_out_drop,
    find_high_kl,
    find_length_drift,
    find_repetition,
    find_step_alarm,
    find_win_rate_drop,
)

USUAL = Vitals(kl=1.0, length=20.0, eos_rate=0.9, repetition=0.1)


def vitals(**numbers: float) -> Vitals:
    return USUAL.model_copy(update=numbers)


def test_a_repeated_three_token_sequence_is_counted_within_its_own_response_alone() -> None:
    assert compute_repetition([[1, 2, 3, 1, 2, 3]]) == pytest.approx(1 / 4)  # 123 231 312 123
    assert compute_repetition([[7, 7, 7, 7, 7]]) == pytest.approx(2 / 3)
    assert compute_repetition([[1, 2, 3], [1, 2, 3]]) == 0
    assert compute_repetition([[1, 2], []]) == 0


def test_a_kl_above_the_ceiling_is_an_alarm() -> None:
    assert find_high_kl(20.0, ceiling=20.0) is None
    found = find_high_kl(20.1, ceiling=20.0)
    assert found is not None
    assert found.sentence == "the KL is 20.1 nats per response, above ppo.guards.kl_ceiling 20"


@pytest.mark.parametrize(("length", "drift", "word"), [(61.0, 3.05, "many"), (6.5, 20 / 6.5, "few")])
def test_length_may_drift_by_the_factor_both_ways(length: float, drift: float, word: str) -> None:
    assert find_length_drift(60.0, first=20.0, factor=3.0) is None
    assert find_length_drift(20.0 / 3, first=20.0, factor=3.0 + 1e-9) is None
    found = find_length_drift(length, first=20.0, factor=3.0)
    assert found is not None
    assert found.value == pytest.approx(drift)
    assert f"3 times as {word}" in found.sentence


def test_a_policy_that_no_longer_ends_its_responses_is_an_alarm() -> None:
    assert find_eos_drop(0.5, first=0.9, most=0.4) is None
    found = find_eos_drop(0.45, first=0.9, most=0.4)
    assert found is not None
    assert found.value == pytest.approx(0.45)
    assert "ends 45.0% of its responses itself and the first step's did 90.0%" in found.sentence
    assert find_eos_drop(1.0, first=0.2, most=0.4) is None


def test_a_policy_that_says_the_same_again_is_an_alarm() -> None:
    assert find_repetition(0.4, first=0.1, most=0.3000001) is None
    found = find_repetition(0.45, first=0.1, most=0.3)
    assert found is not None
    assert found.value == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("bad", "option"),
    [
        ({"kl": 21.0}, "kl_ceiling"), ({"length": 81.0}, "max_length_factor"), ({"length": 4.9}, "max_length_factor"),
        ({"eos_rate": 0.4}, "max_eos_drop"), ({"repetition": 0.6}, "max_repetition_rise"),
    ],
)  # fmt: skip
def test_each_number_gives_its_own_alarm_which_its_option_turns_off(bad: dict[str, float], option: str) -> None:
    alarm = find_step_alarm(USUAL, [vitals(**bad)] * 3, step=7, config=GuardsConfig())
    assert alarm is not None
    assert (alarm.name, alarm.step) == (option, 7)
    assert f"ppo.guards.{option}" in alarm.sentence
    assert find_step_alarm(USUAL, [vitals(**bad)] * 3, step=7, config=GuardsConfig(**{option: None})) is None
    assert find_step_alarm(USUAL, [USUAL] * 3, step=7, config=GuardsConfig()) is None


def test_one_odd_step_is_no_alarm_but_for_the_kl() -> None:
    odd = vitals(length=100.0, eos_rate=0.4, repetition=0.6)
    assert find_step_alarm(USUAL, [USUAL, USUAL, odd], step=7, config=GuardsConfig()) is None
    assert find_step_alarm(USUAL, [USUAL, USUAL, vitals(kl=21.0)], step=7, config=GuardsConfig()) is not None
    assert find_step_alarm(USUAL, [vitals(kl=21.0), USUAL, USUAL], step=7, config=GuardsConfig()) is None


@pytest.mark.parametrize(
    ("rates", "drop"),
    [
        ([0.5, 0.7, 0.6, 0.6], None),  # at the limit
        ([0.5, 0.7, 0.55, 0.59], 0.11), ([0.5, 0.7, 0.55, 0.61], None), ([0.5, 0.7, 0.55], None), ([0.5, 0.3], None),
    ],
)  # fmt: skip
def test_a_fall_of_the_win_rate_must_last(rates: list[float], drop: float | None) -> None:
    found = find_win_rate_drop(rates, most=0.1 + 1e-12, patience=2)
    assert (None if found is None else found.value) == (None if drop is None else pytest.approx(drop))


def test_a_fall_of_the_win_rate_that_few_prompts_make_by_chance_is_no_alarm() -> None:
    def alarm(half_width: float) -> bool:
        evaluations = [
            Evaluation(
                step=5 * n,
                numbers={
                    "eval/win_rate": rate, "eval/win_rate_low": rate - half_width,
                    "eval/win_rate_high": rate + half_width,
                },
            )
            for n, rate in enumerate([0.5, 0.7, 0.58, 0.57])
        ]  # fmt: skip
        return find_evaluation_alarm(evaluations, config=GuardsConfig(judge_every=5, max_win_rate_drop=0.1)) is not None

    assert alarm(0.05)
    assert not alarm(0.12), "two rates with this interval often lie so far apart"


RISING = [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("held_out", "scores", "standard_error", "goes"),
    [
        ([0.0, 0.5, 1.0, 0.7, 0.75], RISING, 0.0, True),
        ([0.0, 0.5, 1.0, 0.7, 0.85], RISING, 0.0, False),  # back above
        ([0.0, 0.5, 1.0, 0.7, 0.75], [0.0, 1.0, 2.0, 1.5, 1.9], 0.0, False),  # both rewards fall: no over-optimisation
        ([0.0, 0.5, 1.0, 0.7, 0.75], RISING, 0.15, False),  # within the noise
        ([0.0, -0.1, -0.2], RISING[:3], 0.04, True),  # it never gained anything
        ([0.0, -0.1, -0.2], RISING[:3], 0.06, False),
        ([0.0, -0.5], RISING[:2], 0.0, False),  # too few to tell
    ],
)
def test_over_optimisation_is_a_rising_proxy_over_a_falling_held_out_reward(
    held_out: Sequence[float], scores: Sequence[float], standard_error: float, goes: bool
) -> None:
    found = find_held_out_drop(held_out, scores=scores, standard_error=standard_error, share=0.2, patience=2)
    assert (found is not None) == goes


def evaluation(step: int, **numbers: float) -> Evaluation:
    return Evaluation(step=step, numbers={f"eval/{name}": value for name, value in numbers.items()})


def test_the_win_rate_is_looked_at_in_those_evaluations_that_asked_the_judge() -> None:
    found = [0.5, None, 0.8, None, 0.6, None, 0.6]
    course = [
        evaluation(step, scores=1.0, **({} if rate is None else {"win_rate": rate})) for step, rate in enumerate(found)
    ]
    alarm = find_evaluation_alarm(course, config=GuardsConfig())
    assert alarm is not None
    assert (alarm.name, alarm.step) == ("max_win_rate_drop", 6)
    assert find_evaluation_alarm(course[:-1], config=GuardsConfig()) is None, "it told of no new win rate"
    assert find_evaluation_alarm(course, config=GuardsConfig(max_win_rate_drop=None)) is None


def test_a_falling_held_out_reward_is_an_alarm_of_an_evaluation() -> None:
    course = [
        evaluation(step, scores=float(step), held_out=value, held_out_se=0.01)
        for step, value in enumerate([0.0, 1.0, 0.5, 0.4])
    ]
    alarm = find_evaluation_alarm(course, config=GuardsConfig())
    assert alarm is not None
    assert alarm.name == "max_held_out_drop"
    assert "is 0.400 and was 1.000 at its best, a fall of more than 0.200" in alarm.sentence
    assert "the training reward rose from 1.000 to 3.000" in alarm.sentence
    assert find_evaluation_alarm(course, config=GuardsConfig(max_held_out_drop=None)) is None
