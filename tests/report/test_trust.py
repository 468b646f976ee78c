"""Whether the reward model can be believed, in words."""

from __future__ import annotations

from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_model import ScoredPair, compute_reward_model_quality
from rlaif.report.trust import reward_model_view
from rlaif.reward_model.held_out import Ensemble, HeldOut


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
