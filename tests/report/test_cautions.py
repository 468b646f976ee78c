"""Cautions: each is raised by its own sign and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rlaif.evaluation.policy import Change
from rlaif.judge_health.panel import CheckedJudge
from rlaif.records import CalibrationCard, Estimate
from rlaif.report.cautions import find_cautions
from rlaif.report.input import ReportInput


def estimate(mean: float, half: float = 0.01, n: int = 120) -> Estimate:
    return Estimate(mean=mean, low=mean - half, high=mean + half, n=n)


def change(before: float, after: float, half: float = 1.0) -> Change:
    difference = after - before
    return Change(
        before=estimate(before, half), after=estimate(after, half), change=estimate(difference, half),
        mean_before=before, mean_after=after,
    )  # fmt: skip


@pytest.fixture
def sound(full_report: ReportInput, calibration_of: Callable[..., CalibrationCard]) -> ReportInput:
    """A report without a fault: people agree, the judge is steady, what was asked for rose and nothing else moved."""
    parts = full_report
    assert parts.judge_health is not None
    assert parts.reward_model is not None
    assert parts.behaviour is not None
    assert parts.win_rate is not None
    return parts.model_copy(
        update={
            "calibration": calibration_of(simulated=False),
            "measures": {"courteous": change(20, 60), "brief": change(50, 70), "calm": change(80, 81, half=3)},
            "win_rate": parts.win_rate.model_copy(update={"num_failed": 0}),
            "judges": (),
            "panel": None,
            "judge_health": parts.judge_health.model_copy(
                update={"flipped": estimate(0.1), "failed_by_cause": {}, "saturated": estimate(0.1)}
            ),
            "reward_model": parts.reward_model.model_copy(
                update={"accuracy": estimate(0.8), "accuracy_of_length": estimate(0.5)}
            ),
            "behaviour": parts.behaviour.model_copy(
                update={"distinct_before": 0.9, "distinct_after": 0.8, "response_tokens": change(20, 18)}
            ),
        }
    )


def changed(report: ReportInput, part: str, **values: Any) -> ReportInput:
    return report.model_copy(update={part: getattr(report, part).model_copy(update=values)})


def test_a_sound_report_raises_none(sound: ReportInput) -> None:
    assert find_cautions(sound) == ()


def only(report: ReportInput) -> str:
    (caution,) = find_cautions(report)
    return caution


def test_a_judge_that_nobody_checked(sound: ReportInput) -> None:
    assert only(sound.model_copy(update={"calibration": None})).startswith("Nobody checked the judge")


def test_labels_that_no_person_gave(sound: ReportInput, calibration_of: Callable[..., CalibrationCard]) -> None:
    assert "simulated" in only(sound.model_copy(update={"calibration": calibration_of(simulated=True)}))


def test_a_calibration_of_another_runs_responses(sound: ReportInput) -> None:
    assert "fitted to labels of another run" in only(sound.model_copy(update={"calibration_is_applied": True}))


def test_a_reward_that_rose_while_what_was_asked_for_did_not(sound: ReportInput) -> None:
    still = {"courteous": change(20, 21, half=3), "brief": change(50, 45)}
    caution = only(sound.model_copy(update={"measures": still}))
    assert caution.startswith("The reward rose and courteous and brief did not")


def test_a_reward_that_rose_while_the_judge_saw_no_gain_and_nothing_was_measured(sound: ReportInput) -> None:
    unmeasured = changed(sound.model_copy(update={"measures": {}}), "win_rate", soft=estimate(0.5))
    assert only(unmeasured).startswith("The reward rose and the judge sees no clear gain")


def test_a_policy_that_says_the_same_to_all(sound: ReportInput) -> None:
    caution = only(changed(sound, "behaviour", distinct_after=0.4))
    assert "40\u202f% of its responses differ, 90\u202f% of the starting policy's did" in caution


def test_responses_that_grew_by_half(sound: ReportInput) -> None:
    assert "20 to 31 tokens" in only(changed(sound, "behaviour", response_tokens=change(20, 31)))
    assert find_cautions(changed(sound, "behaviour", response_tokens=change(20, 29))) == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"flipped": estimate(0.26)}, "changed its verdict with the order in 26.0"),
        ({"num_one_order": 3}, "3 comparisons were asked in one order only"),
        ({"failed_by_cause": {"empty": 5}}, "5 of 205 judgements failed"),
        ({"served_models": {"a-1": 3, "a-2": 5}}, 'answered as more than one model, "a-1" and "a-2"'),
        ({"saturated": estimate(0.6)}, "60\u202f% of the labels are surer than .99"),
    ],
)
def test_an_unsteady_judge(sound: ReportInput, values: dict[str, Any], said: str) -> None:
    assert said in only(changed(sound, "judge_health", **values))


def test_pairs_that_are_missing_from_the_win_rate(sound: ReportInput) -> None:
    assert "2 of 120 pairs are not in the win rate" in only(changed(sound, "win_rate", num_failed=2))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"accuracy": estimate(0.55, half=0.1)}, "not clearly better than a coin on 150 held-out pairs"),
        ({"accuracy_of_length": estimate(0.85)}, 'The rule "the longer one"'),
        ({"accuracy_of_length": estimate(0.15)}, 'The rule "the shorter one"'),
    ],
)
def test_a_reward_model_that_learnt_too_little(sound: ReportInput, values: dict[str, Any], said: str) -> None:
    assert said in only(changed(sound, "reward_model", **values))


def test_a_comparison_on_few_prompts(sound: ReportInput) -> None:
    assert "rests on 12 prompts" in only(changed(sound, "win_rate", soft=estimate(0.7, n=12)))


def test_drift_of_what_nobody_asked_for(sound: ReportInput) -> None:
    measures = {**sound.measures, "calm": change(80, 60), "helpful": change(50, 45)}
    assert only(sound.model_copy(update={"measures": measures})) == (
        "What no principle names moved as well: calm \u221220."
    ), "5 points are shown in the plot and raise no caution"


def test_of_several_judges_the_unsteady_one_is_named_and_agreement_by_chance_is_told(
    sound: ReportInput, full_report: ReportInput
) -> None:
    assert sound.judge_health is not None
    steady = CheckedJudge(name="a 1", judge_id="1", health=sound.judge_health)
    failed = sound.judge_health.model_copy(update={"failed_by_cause": {"empty": 5}})
    judges = (steady, CheckedJudge(name="b 2", judge_id="2", health=failed))
    assert only(sound.model_copy(update={"judges": judges})).startswith("5 of 205 judgements of the judge b 2 failed")
    assert full_report.panel is not None
    for low, count in ((-0.1, 1), (0.1, 0)):
        alpha = Estimate(mean=0.2, low=low, high=0.4, n=50)
        panel = full_report.panel.model_copy(update={"alpha": alpha})
        told = list(find_cautions(sound.model_copy(update={"judges": (steady, steady), "panel": panel})))
        assert len(told) == count
        assert all("hardly more than by chance (Krippendorff's alpha 0.20)" in said for said in told)
