"""What a calibration and people's labels did, in words."""

from __future__ import annotations

import pytest

from rlaif.evaluation.leanings import Leaning
from rlaif.evaluation.people import CalibrationEffect
from rlaif.evaluation.policy import Change
from rlaif.records import CalibrationMap, Estimate, PartMap
from rlaif.report.calibrated import (
    describe_effect,
    describe_liking,
    describe_map,
    describe_readout,
    leanings_view,
    trials_view,
)
from rlaif.report.input import ReadoutLoss
from rlaif.report.moved import Moved
from rlaif.reward_model.source_trials import SourceTrial


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CalibrationMap(), "left as they are"),
        (CalibrationMap(kind="temperature", slope=0.7), "made less sure (their log-odds times 0.70)."),
        (CalibrationMap(kind="temperature", slope=1.3), "made surer (their log-odds times 1.30)."),
        (
            CalibrationMap(kind="temperature_length", slope=1.3, length=0.5, length_sd=10),
            "gains 0.50 log-odds for every 10.0 words that it is longer, up to 20 words: the judge had liked length l",
        ),
        (
            CalibrationMap(kind="temperature_length", slope=1.3, length=-0.5, length_sd=10),
            "loses 0.50 log-odds for every 10.0 words that it is longer, up to 20 words: the judge had liked length m",
        ),
        (
            CalibrationMap(kind="pooled", slope=0.7, by_principle=(PartMap(name="polite", slope=0.9, length=-0.25),)),
            "its own slope and weight of length: polite times 0.90 and \N{MINUS SIGN}0.25 for length.",
        ),
        (
            CalibrationMap(kind="panel", slope=0.7, by_judge=(PartMap(name="0123456789abcdef", slope=0.9),)),
            "each judge has its own slope: 0123456789ab times 0.90, and the longer response gains 0.00",
        ),
    ],
)
def test_the_map_that_was_chosen_is_said_in_words(found: CalibrationMap, said: str) -> None:
    assert said in describe_map(found)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CalibrationMap(), ""),
        (CalibrationMap(kind="temperature", slope=0.7), ""),
        (CalibrationMap(kind="temperature_length", slope=0.0, length=-0.5, length_sd=5), ""),
        (
            CalibrationMap(kind="temperature_length", slope=0.5, length=-0.3, length_sd=5),
            "The judge's liking for length was taken away: 1.20 of its log-odds for every 10 words that a response is "
            "longer.",
        ),
        (
            CalibrationMap(kind="temperature_length", slope=1.0, length=0.3, length_sd=10),
            "The judge's dislike of length was taken away: 0.30 of its log-odds for every 10 words that a response is "
            "longer.",
        ),
        (
            CalibrationMap(kind="pooled", slope=1.0, length_sd=10, by_principle=(
                PartMap(name="polite", slope=0.5, length=-0.25), PartMap(name="brief", slope=1.0, length=0.25),
            )),
            "The judge's liking for length, in its log-odds for every 10 words, was polite +0.50 and brief "
            "\N{MINUS SIGN}0.25.",
        ),
    ],
)  # fmt: skip
def test_the_liking_that_is_taken_away_is_said_in_the_judges_own_log_odds(found: CalibrationMap, said: str) -> None:
    assert describe_liking(found) == said


def change(before: float, after: float, *, half: float = 1.0) -> Change:
    def around(mean: float) -> Estimate:
        return Estimate(mean=mean, low=mean - half, high=mean + half, n=40)

    return Change(
        before=around(before), after=around(after), change=around(after - before), mean_before=before, mean_after=after
    )


def test_what_a_calibration_changed_is_said_in_counts() -> None:
    effect = CalibrationEffect(
        num_pairs=200, num_turned=50, by_principle={"polite": (3, 100)}, longer=change(0.68, 0.44, half=0.1)
    )
    assert list(describe_effect(effect)) == [
        "Of 200 pairs that the judge labelled in this round, 50 (25.0\u202f%) changed side.",
        "Comparisons under one principle that changed side: polite 3 of 100.",
        "The longer response of a pair was given 68\u202f% on average, and 44\u202f% after calibration.",
    ]
    assert list(describe_effect(None)) == []


@pytest.mark.parametrize(
    ("labels", "policy", "said"),
    [
        (
            change(3.1, -2.0),
            change(40, 12),
            "People's labels turned into its opposite the judge's liking for words, which no principle names: the "
            "preferred response of a pair had 3.1 more of it than the other one, and now has 2.0 less; the policy went "
            "from 40.0 to 12.0.",
        ),
        (
            change(3.1, 0.4),
            change(40, 60),
            "People's labels took away the judge's liking for words, which no principle names: the preferred response "
            "of a pair had 3.1 more of it than the other one, and now has 0.4 more; the policy did not clearly follow "
            "(from 40.0 to 60.0).",
        ),
        (
            change(0.4, -3.0),
            change(40, 12),
            "brought in, where the judge had none, a dislike of words, which",
        ),
    ],
)
def test_a_measure_whose_direction_changed_is_said_with_what_the_policy_did(
    labels: Change, policy: Change, said: str
) -> None:
    view = leanings_view([Leaning(name="words", labels=labels, policy=policy)], Moved([], [], {}))
    assert view is not None
    (turn,) = view["turns"]
    assert said in turn


def test_labels_that_only_lean_more_or_less_turn_nothing() -> None:
    view = leanings_view([Leaning(name="words", labels=change(3.1, 6.0), policy=change(40, 12))], Moved([], [], {}))
    assert view is not None
    assert view["turns"] == []
    assert view["rows"][0]["unit"] == "per response"


def test_what_peoples_rows_are_worth_is_said_where_it_was_measured_and_else_how_to() -> None:
    assert "reward_model.human_weight=cross_validated" in describe_readout(None)
    said = describe_readout(ReadoutLoss(with_people=0.55, without=0.625, weight=5))
    assert "of 0.625 by the judge's rows alone, and of 0.550 with people's rows, which count 5 each." in said


def test_the_table_of_people_s_rows_has_a_row_for_each_source_and_the_difference_in_points() -> None:
    def share(mean: float) -> Estimate:
        return Estimate(mean=mean, low=mean - 0.02, high=mean + 0.02, n=40)

    trial = SourceTrial(
        source="human", num_pairs=52, accuracy_with=share(0.9), accuracy_without=share(0.85), gain=share(0.05)
    )
    (row,) = trials_view(ReadoutLoss(with_people=0.55, without=0.625, weight=5, by_source=(trial,)))
    assert (row["name"], row["pairs"]) == ("pairs of people", "52")
    assert (row["gain"].mean, row["gain"].interval, row["gain"].n) == ("+5.0", "+3.0 to +7.0", "40 prompts")
    assert trials_view(None) == []
