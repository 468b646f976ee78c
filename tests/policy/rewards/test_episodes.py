"""Scores, KL estimators, per-token rewards and the adaptive coefficient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import pytest
import torch

from rlaif.errors import TrainingError
from rlaif.policy.ppo.shaping import compute_rewards, estimate_kl, next_kl_coef
from rlaif.policy.rewards.episodes import (
    Episode,
    RewardFailure,
    Scored,
    ScoreScale,
    WeightedReward,
    measure_scale,
    measure_scales,
    read_reward,
    score_episodes,
)
from rlaif.records import Message, Prompt

PROMPT = Prompt(messages=(Message(role="user", content="when do you open?"),))
P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
KL = 0.5 * math.log(2.5) + 0.3 * math.log(1.5) + 0.2 * math.log(1 / 3)


def ask(
    *rewards: WeightedReward,
    episodes: Sequence[Episode],
    scales: Mapping[str, ScoreScale] | None = None,
    max_failed: float = 0.5,
) -> Scored:
    return score_episodes(rewards, episodes, scales=scales or {}, max_failed=max_failed, where="step 3")


def score(answers: Sequence[float | RewardFailure], *, max_failed: float = 0.5) -> Scored:
    episodes = [Episode(PROMPT, f"reply {i}") for i in range(len(answers))]
    return ask(WeightedReward("source", lambda _: answers), episodes=episodes, max_failed=max_failed)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_mean_of_either_estimator_is_the_exact_kl(estimator: Literal["k1", "k3"]) -> None:
    estimates = estimate_kl(P.log(), Q.log(), estimator=estimator)
    assert float((P * estimates).sum()) == pytest.approx(KL, abs=1e-12)


def test_k2_is_half_the_squared_log_ratio() -> None:
    found = estimate_kl(torch.tensor([-1.0, 0.0]), torch.tensor([-3.0, 0.5]), estimator="k2")
    assert found.tolist() == [2.0, 0.125]


def test_k1_may_be_negative_and_k3_never_is() -> None:
    assert float(estimate_kl(P.log(), Q.log(), estimator="k1").min()) < 0
    assert float(estimate_kl(P.log(), Q.log(), estimator="k3").min()) >= 0


@pytest.mark.parametrize(("estimator", "of_the_kl"), [("k1", 0.0), ("k2", 1.0)])
def test_as_a_loss_k2_has_the_gradient_of_the_kl_and_k1_has_none(
    estimator: Literal["k1", "k2"], of_the_kl: float
) -> None:
    """Means over all tokens, under the policy that drew them; why k1 belongs into the reward."""
    logits = P.log().clone().requires_grad_(True)
    estimates = estimate_kl(torch.log_softmax(logits, dim=0), Q.log(), estimator=estimator)
    (found,) = torch.autograd.grad((P * estimates).sum(), logits)
    logprobs = torch.log_softmax(logits, dim=0)
    (exact,) = torch.autograd.grad((logprobs.exp() * (logprobs - Q.log())).sum(), logits)
    torch.testing.assert_close(found, of_the_kl * exact, atol=1e-12, rtol=0)
    assert float(exact.abs().max()) > 0.1


def test_sampled_estimates_come_to_the_exact_kl() -> None:
    tokens = torch.multinomial(P, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    for estimator in ("k1", "k3"):
        mean = float(estimate_kl(P.log()[tokens], Q.log()[tokens], estimator=estimator).mean())
        assert mean == pytest.approx(KL, abs=0.01)


def test_the_score_stands_at_the_last_real_token_and_the_penalty_at_each() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    kl = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 0.0]])
    rewards = compute_rewards(torch.tensor([10.0, 20.0]), kl, mask, kl_coef=0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, -0.2, 10.1], [19.95, 0.0, 0.0]]))


def test_failed_rewards_are_dropped_and_counted_by_cause() -> None:
    answers = [1.0, RewardFailure("endpoint"), 3.0, RewardFailure("refused"), RewardFailure("endpoint"), 2.0]
    scored = score(answers)
    assert scored.kept == [0, 2, 5]
    assert scored.scores == [1.0, 3.0, 2.0]
    assert scored.failures == {"source/endpoint": 2, "source/refused": 1}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_failure_not_a_number(number: float) -> None:
    scored = score([1.0, number])
    assert scored.kept == [0]
    assert scored.failures == {"source/non_finite": 1}


def test_too_many_failures_stop_with_a_sentence_that_counts_them() -> None:
    with pytest.raises(
        TrainingError, match=r"2 of 4 rewards failed \(source/endpoint 2; source/endpoint: HTTP 500\) \(step 3\): fix"
    ):
        score([1.0, RewardFailure("endpoint", "HTTP 500"), RewardFailure("endpoint"), 2.0], max_failed=0.25)


def test_a_server_that_gave_no_answer_stops_with_a_sentence_and_drops_nothing():
    with pytest.raises(TrainingError, match=r"1 of 4 rewards got no answer .*source/http_503: busy.*step 3.*--resume"):
        score([1.0, RewardFailure("http_503", "busy", may_pass=True), RewardFailure("none"), 2.0], max_failed=0.9)


def test_no_score_at_all_stops_even_where_any_share_may_fail() -> None:
    with pytest.raises(TrainingError, match="1 of 1 rewards failed"):
        score([RewardFailure("refused")], max_failed=1.0)


def test_a_source_that_answers_for_fewer_episodes_is_refused() -> None:
    with pytest.raises(TrainingError, match="gave 1 rewards for 2 episodes"):
        ask(WeightedReward("short", lambda _: [1.0]), episodes=[Episode(PROMPT, "a")] * 2)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (True, 1.0), (False, 0.0), (2, 2.0), (torch.tensor(0.5), 0.5), (None, "none"), ("1.5", "not_a_number"),
        ([1.0], "not_a_number"), (torch.zeros(2), "not_a_number"), (10**400, "not_a_number"), (math.nan, "non_finite"),
        (-math.inf, "non_finite"),
    ],
)  # fmt: skip
def test_what_other_code_gave_is_a_finite_number_or_a_named_failure(value: object, read: float | str) -> None:
    found = read_reward(value)
    assert (found.cause if isinstance(found, RewardFailure) else found) == read


def test_several_sources_are_standardised_and_added_by_their_weights() -> None:
    one = WeightedReward("one", lambda _: [1.0, 5.0], 1.0, True)
    other = WeightedReward("other", lambda _: [300.0, 100.0], -0.5, True)
    reference = ask(one, other, episodes=[Episode(PROMPT, "a")] * 2)
    scales = measure_scales([one, other], reference)
    assert scales == {"one": (3.0, 2.0), "other": (200.0, 100.0)}
    raw = WeightedReward("raw", lambda _: [0.25, 0.75], 2.0)
    scored = ask(one, other, raw, episodes=[Episode(PROMPT, "a")] * 2, scales=scales)
    assert scored.weighted == [-1.0 - 0.5 + 0.5, 1.0 + 0.5 + 1.5]
    assert scored.scores == scored.weighted
    assert scored.by_source == {"one": [1.0, 5.0], "other": [300.0, 100.0], "raw": [0.25, 0.75]}


def test_people_are_shown_the_own_scores_of_a_single_source() -> None:
    scored = ask(
        WeightedReward("one", lambda _: [4.0], 3.0, True),
        episodes=[Episode(PROMPT, "a")],
        scales={"one": ScoreScale(2.0, 1.0)},
    )
    assert scored.scores == [4.0]
    assert scored.weighted == [6.0]


def test_an_episode_that_one_source_failed_on_is_dropped_and_the_next_is_not_asked_about_it() -> None:
    asked = []

    def other(episodes: Sequence[Episode]) -> list[float]:
        asked.extend(episode.response for episode in episodes)
        return [float(len(episode.response)) for episode in episodes]

    first = WeightedReward("first", lambda _: [1.0, RewardFailure("refused"), 3.0])
    episodes = [Episode(PROMPT, text) for text in ("a", "bb", "ccc")]
    scored = ask(first, WeightedReward("other", other), episodes=episodes)
    assert asked == ["a", "ccc"]
    assert scored.kept == [0, 2]
    assert scored.weighted == [2.0, 6.0]
    assert scored.failures == {"first/refused": 1}


def test_the_scale_brings_scores_to_mean_zero_and_deviation_one() -> None:
    scale = measure_scale([1.0, 5.0])
    assert scale == (3.0, 2.0)
    assert scale.apply([1.0, 5.0, 9.0]) == [-1.0, 1.0, 3.0]


def test_equal_scores_are_shifted_and_not_blown_up() -> None:
    assert measure_scale([4.0, 4.0, 4.0]).apply([4.0, 4.5]) == [0.0, 0.5]


def test_the_adaptive_coefficient_follows_the_golden_sequence() -> None:
    # target 6, horizon 10000, 512 episodes: errors are cut to +-.2; 7.2 is exactly +.2, 6.6 is +.1
    coefficient, sequence = 0.15, []
    for kl in (60.0, 7.2, 6.6, 6.0, 3.0):
        coefficient = next_kl_coef(coefficient, kl, target=6.0, horizon=10_000, num_episodes=512)
        sequence.append(coefficient)
    up = 1 + 0.2 * 0.0512
    expected = [0.15 * up, 0.15 * up**2, 0.15 * up**2 * 1.00512]
    assert sequence == pytest.approx([*expected, expected[-1], expected[-1] * (1 - 0.2 * 0.0512)], rel=1e-12)


def test_the_adaptive_coefficient_never_reaches_zero() -> None:
    assert next_kl_coef(0.1, 0.0, target=6.0, horizon=100, num_episodes=10_000) > 0


def test_the_adaptive_coefficient_brings_a_quadratic_toy_to_its_target() -> None:
    # policy N(theta, 1), reference N(0, 1): KL = theta^2 / 2. Reward -(theta - 5)^2 / 2. Target: 2 nats.
    theta, coefficient, history = 0.0, 0.01, []
    for _ in range(3000):
        theta += 0.05 * ((5 - theta) - coefficient * theta)
        kl = theta**2 / 2
        coefficient = next_kl_coef(coefficient, kl, target=2.0, horizon=10_000, num_episodes=256)
        history.append(kl)
    assert sum(history[-600:]) / 600 == pytest.approx(2.0, rel=0.15)
