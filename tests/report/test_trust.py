"""Whether the reward model can be believed, in words."""

from __future__ import annotations

from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_model import ScoredPair, compute_reward_model_quality
from rlaif.report.trust import reward_model_view


def test_the_reward_model_is_shown_by_who_preferred_and_its_calibration_with_the_floor() -> None:
    rows = [("a", 1.0, "human"), ("b", 0.0, "human"), ("c", 0.9, "judge"), ("d", 0.6, "judge")]
    pairs = [ScoredPair(name, 1.0, 0.0, label, 5, 7, source=source) for name, label, source in rows]  # type: ignore[arg-type]
    view = reward_model_view(compute_reward_model_quality(pairs), compute_reward_calibration(pairs))
    assert view is not None
    assert [(row["name"], row["pairs"], row["accuracy"].mean) for row in view["sources"]] == [
        ("people", "2", "50.0\u202f%"), ("the judge", "2", "100.0\u202f%"),
    ]  # fmt: skip
    assert view["calibration"]["floor"].startswith("; where every claim is right, chance alone makes ")
