"""What calibration does, in words."""

from __future__ import annotations

import pytest

from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_model import ScoredPair, compute_reward_model_quality
from rlaif.records import Agreement, CalibrationCard, CalibrationMap, Estimate, PartMap
from rlaif.report.trust import calibration_view, describe_map, reward_model_view
from rlaif.reward_model.ensemble import Ensemble
from rlaif.reward_model.held_out import HeldOut


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


def agreement(share: float) -> Agreement:
    return Agreement(n=40, share=Estimate(mean=share, low=0.5, high=0.9, n=40), kappa=None, ac1=None, base_rates={})


def test_the_design_and_the_ties_are_said_beside_the_agreement() -> None:
    card = CalibrationCard(
        judge_id="j", constitution_id="c", labels_digest="d", num_labels=40, num_annotators=1, simulated=False,
        before=agreement(0.6), after=agreement(0.7), between_people=None, map=CalibrationMap(), log_loss={},
        human_weight=5.0,
    )  # fmt: skip
    said = calibration_view(card)
    assert said is not None
    assert said["design"] == []
    share = Estimate(mean=0.875, low=0.7, high=0.95, n=32)
    said = calibration_view(card.changed(effective_n=17.6, num_tied=8, before_decided=share, after_decided=share))
    assert said is not None
    [drawn, ties] = said["design"]
    assert "The 40 items tell as much as 18 drawn alike." in drawn
    assert ties.startswith(
        "On 8 items most people chose no side, and a label of the judge agrees with that within 0.01"
    )
    assert "87.5" in ties


def test_the_reward_model_is_shown_by_who_preferred_and_its_calibration_with_the_floor() -> None:
    rows = [("a", 1.0, "human"), ("b", 0.0, "human"), ("c", 0.9, "judge"), ("d", 0.6, "judge")]
    pairs = [ScoredPair(name, 1.0, 0.0, label, 5, 7, source=source) for name, label, source in rows]  # type: ignore[arg-type]
    view = reward_model_view(compute_reward_model_quality(pairs), compute_reward_calibration(pairs))
    assert view is not None
    assert [(row["name"], row["pairs"], row["accuracy"].mean) for row in view["sources"]] == [
        ("people", "2", "50.0\u202f%"), ("the judge", "2", "100.0\u202f%"),
    ]  # fmt: skip
    assert view["calibration"]["floor"].startswith("; where every claim is right, chance alone makes ")


def test_several_reward_models_are_shown_with_how_far_they_differ() -> None:
    quality = compute_reward_model_quality([ScoredPair("a", 1.0, 0.0, 0.9, length_first=3, length_second=4)])
    held_out = HeldOut(accuracy=None, num_pairs=1, num_ties=0, log_loss=None, log_loss_floor=None)
    members = Ensemble(num_members=4, bootstrap=False, held_out=held_out, accuracies=(0.7, None, 0.75), spread=0.4)
    view = reward_model_view(quality, None, ensemble=members)
    assert view is not None
    assert view["members"].startswith("The reward is the mean of 4 reward models, of which each alone orders 70.0")
    assert view["members"].endswith("On a held-out response they differ by 0.40 (standard deviation).")
    alone = reward_model_view(quality, None)
    assert alone is not None
    assert alone["members"] == ""
