"""The reward model's held-out quality by hand values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from rlaif.evaluation.policy import PolicyPair
from rlaif.evaluation.reward_model import ScoredPair, compute_proxy_win, compute_reward_model_quality
from rlaif.records import Sample


def scored(prompt: str, difference: float, label: float, *, lengths: tuple[int, int] = (5, 5)) -> ScoredPair:
    return ScoredPair(prompt, difference, 0.0, label, *lengths)


def test_accuracy_counts_agreement_equal_rewards_half_and_undecided_labels_not_at_all() -> None:
    quality = compute_reward_model_quality(
        [
            scored("a", 1, 0.9),
            scored("b", -1, 0.2),
            scored("c", 2, 0.1),
            scored("d", 0, 0.8),
            scored("e", 5, 0.5),
        ]
    )
    assert quality.accuracy is not None
    assert quality.accuracy.mean == (1 + 1 + 0 + 0.5) / 4
    assert (quality.num_pairs, quality.num_undecided) == (5, 1)


def test_the_log_loss_of_a_model_that_knows_the_labels_is_their_entropy() -> None:
    labels = [0.9, 0.3, 0.5, 0.75]
    quality = compute_reward_model_quality([scored(str(k), math.log(p / (1 - p)), p) for k, p in enumerate(labels)])
    assert quality.log_loss is not None
    assert quality.log_loss.mean == pytest.approx(quality.label_entropy)


def test_the_log_loss_of_a_model_that_knows_nothing_is_one_bit() -> None:
    quality = compute_reward_model_quality([scored("a", 0, 1.0), scored("b", 0, 0.3)])
    assert quality.log_loss is not None
    assert quality.log_loss.mean == pytest.approx(math.log(2))


def test_extreme_rewards_have_a_finite_loss() -> None:
    quality = compute_reward_model_quality([scored("a", 2000.0, 0.0), scored("b", -2000.0, 0.0)])
    assert quality.log_loss is not None
    assert quality.log_loss.mean == 1000.0
    assert quality.label_entropy == 0.0


def test_the_margin_points_in_the_direction_of_the_label() -> None:
    quality = compute_reward_model_quality([scored("a", 3, 0.9), scored("b", -1, 0.2)])
    assert quality.margin is not None
    assert quality.margin.mean == 2.0


def test_exchanging_the_two_responses_changes_nothing() -> None:
    pairs = [scored("a", 3, 0.9, lengths=(4, 9)), scored("b", -1, 0.2, lengths=(7, 2)), scored("c", 1, 0.4)]
    exchanged = [
        p._replace(
            score_first=p.score_second, score_second=p.score_first, label=1 - p.label,
            length_first=p.length_second, length_second=p.length_first,
        )
        for p in pairs
    ]  # fmt: skip
    a, b = compute_reward_model_quality(pairs), compute_reward_model_quality(exchanged)
    assert a.accuracy == b.accuracy
    assert a.accuracy_of_length == b.accuracy_of_length
    assert a.by_length_difference == b.by_length_difference


def test_pairs_are_put_in_thirds_by_their_difference_in_length() -> None:
    pairs = [scored(str(k), 1, 0.9 if k < 3 else 0.1, lengths=(10 + k, 10)) for k in range(6)]
    buckets = compute_reward_model_quality(pairs).by_length_difference
    assert [(b.low, b.high, b.num_pairs) for b in buckets] == [(0, 1, 2), (2, 3, 2), (4, 5, 2)]
    assert [b.accuracy.mean for b in buckets if b.accuracy] == [1.0, 0.5, 0.0]


def test_pairs_of_equal_difference_share_a_bucket() -> None:
    buckets = compute_reward_model_quality(
        [scored(str(k), 1, 0.9, lengths=(8, 5)) for k in range(7)]
    ).by_length_difference
    assert [(b.low, b.high, b.num_pairs) for b in buckets] == [(3, 3, 7)]


def test_without_pairs_nothing_is_known() -> None:
    quality = compute_reward_model_quality([])
    assert (quality.accuracy, quality.log_loss, quality.label_entropy, quality.num_pairs) == (
        None,
        None,
        None,
        0,
    )


def test_a_reward_that_is_not_finite_is_no_score() -> None:
    with pytest.raises(ValueError, match="not finite"):
        compute_reward_model_quality([scored("a", math.nan, 0.9)])


def test_the_proxy_counts_pairs_without_a_reward(sample_of: Callable[..., Sample]) -> None:
    pairs = [PolicyPair(sample_of(prompt, "old", policy="s"), sample_of(prompt, "new", policy="t")) for prompt in "abc"]
    rewards = {
        pairs[0].start.id: 1.0,
        pairs[0].trained.id: 3.0,
        pairs[1].start.id: 2.0,
        pairs[1].trained.id: 2.0,
    }
    win = compute_proxy_win(rewards, pairs=pairs)
    assert win is not None
    assert win.higher is not None
    assert (win.reward.mean_before, win.reward.mean_after, win.higher.mean, win.num_unscored) == (
        1.5,
        2.5,
        0.75,
        1,
    )
    assert compute_proxy_win({}, pairs=pairs) is None


def test_every_figure_of_held_out_preferences_is_weighted_as_their_rows_are() -> None:
    right, wrong = scored("a", 2, 0.9), scored("b", -2, 1.0)
    quality = compute_reward_model_quality([right._replace(weight=3.0), wrong])
    copies = compute_reward_model_quality([right, right, right, wrong])
    assert quality.accuracy is not None
    assert quality.accuracy.mean == 0.75
    for name in ("accuracy", "accuracy_of_length", "log_loss", "margin"):
        assert getattr(quality, name).mean == pytest.approx(getattr(copies, name).mean)
    assert quality.label_entropy == pytest.approx(copies.label_entropy)
    assert quality.is_weighted
    assert not copies.is_weighted


def test_rows_that_contradict_one_another_bound_the_accuracy() -> None:
    one = scored("a", 1, 1.0)._replace(responses=("x", "y"))
    other = scored("a", -1, 1.0)._replace(responses=("y", "x"))
    assert compute_reward_model_quality([one, one, other]).accuracy_at_most == pytest.approx(2 / 3)
    assert compute_reward_model_quality([one, one]).accuracy_at_most == 1
    assert compute_reward_model_quality([one, other._replace(prompt_id="b")]).accuracy_at_most == 1


def test_people_and_the_judge_are_measured_apart_where_people_are_there() -> None:
    of_people = [scored("a", 1, 1.0)._replace(source="human"), scored("b", 1, 0.0)._replace(source="human")]
    of_the_judge = [scored(name, 1, 0.9)._replace(source="judge") for name in "cde"]
    human, judge = compute_reward_model_quality([*of_the_judge, *of_people]).by_source
    assert (human.source, human.num_pairs, judge.source, judge.num_pairs) == ("human", 2, "judge", 3)
    assert human.accuracy is not None
    assert judge.accuracy is not None
    assert (human.accuracy.mean, judge.accuracy.mean) == (0.5, 1.0)
    assert human.label_entropy == 0.0
    assert judge.label_entropy == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert compute_reward_model_quality(of_the_judge).by_source == ()
