"""The judge's steadiness by hand values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlaif.evaluation.policy import PolicyPair
from rlaif.judge_health.health import MASS_EDGES, compute_judge_health
from rlaif.records import Comparison, Constitution, FailedJudgement, Judgement, Observed, PrincipleKey, Sample


@pytest.fixture
def comparisons(
    sample_of: Callable[..., Sample], comparison_of: Callable[..., Comparison], constitution: Constitution
) -> list[Comparison]:
    made = []
    for k, p in enumerate((0.5, 0.62, 0.995, 0.001)):
        pair = PolicyPair(sample_of(f"p{k}", "a", policy="s"), sample_of(f"p{k}", "b", policy="t"))
        comparison = comparison_of(pair, constitution.principles[0], logit=0.0)
        made.append(comparison.changed(p_first=p, position_effect=0.4 + 0.2 * k, flipped=k == 0))
    return made


def test_flips_positions_and_labels_are_counted(comparisons: list[Comparison]) -> None:
    health = compute_judge_health(comparisons, judgements=[])
    assert health.flipped is not None
    assert health.position_effect is not None
    assert health.saturated is not None
    assert health.flipped.mean == 0.25
    assert health.position_effect.mean == pytest.approx(0.7)
    assert health.saturated.mean == 0.5
    assert health.confidence_bins == (1, 0, 1, 0, 0, 0, 0, 0, 0, 2)


def test_failures_are_counted_by_cause_and_are_no_judgements() -> None:
    failures = [FailedJudgement(question_id=f"q{k}", cause=c) for k, c in enumerate(("empty", "low_mass", "empty"))]
    health = compute_judge_health([], judgements=[], failures=failures)
    assert health.failed_by_cause == {"empty": 2, "low_mass": 1}
    assert health.num_judgements == 0


def test_one_order_tells_nothing_of_flips(comparisons: list[Comparison]) -> None:
    alone = [c.changed(debiased=False, flipped=None, position_effect=None) for c in comparisons]
    health = compute_judge_health(alone, judgements=[])
    assert (health.flipped, health.position_effect, health.num_one_order) == (None, None, 4)


def test_label_mass_is_averaged_and_its_least_value_kept() -> None:
    judgements = [
        Judgement(question_id=f"q{k}", verdict="first", raw_reply="", label_mass=mass)
        for k, mass in enumerate((0.9, 1.0 + 5e-7, None))
    ]
    health = compute_judge_health([], judgements=judgements)
    assert health.label_mass is not None
    assert health.label_mass.mean == pytest.approx(0.95)
    assert health.lowest_label_mass == 0.9


def test_label_mass_is_counted_in_bins_that_narrow_towards_one() -> None:
    masses = (0.3, 0.5, 0.96, 0.9995, 1.0)
    judgements = [
        Judgement(question_id=f"q{k}", verdict="first", raw_reply="", label_mass=mass) for k, mass in enumerate(masses)
    ]
    health = compute_judge_health([], judgements=judgements)
    assert MASS_EDGES == (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
    assert health.label_mass_bins == (1, 1, 0, 0, 1, 0, 2)
    assert compute_judge_health([], judgements=[]).label_mass_bins == ()


def test_each_principle_has_its_own_flips_and_place(comparisons: list[Comparison]) -> None:
    other = [c.changed(principle=PrincipleKey(id="brief", text_digest="t"), flipped=True) for c in comparisons[:2]]
    health = compute_judge_health([*comparisons, *other], judgements=[])
    assert {name: found.num_comparisons for name, found in health.by_principle.items()} == {"courteous": 4, "brief": 2}
    flipped = [found.flipped for found in health.by_principle.values()]
    assert [found.mean for found in flipped if found] == [0.25, 1.0]


def test_a_server_that_names_two_models_is_seen() -> None:
    judgements = [
        Judgement(question_id=f"q{k}", verdict="first", raw_reply="", observed=Observed(served_model=name))
        for k, name in enumerate(("a-1", "a-2", "a-1", ""))
    ]
    assert compute_judge_health([], judgements=judgements).served_models == {"a-1": 2, "a-2": 1}
