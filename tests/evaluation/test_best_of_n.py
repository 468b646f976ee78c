from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from rlaif.errors import StageError
from rlaif.evaluation.best_of_n import bound_kl, pick_best, pick_samples
from rlaif.records import Sample


def test_the_highest_reward_is_picked_and_the_first_of_equal_ones() -> None:
    assert pick_best([0.1, 0.7, -2.0]) == 1
    assert pick_best([0.7, 0.1, 0.7]) == 0
    assert pick_best([-0.0, 0.0]) == 0
    assert pick_best([0.7, 0.7000001]) == 0, "float32 tells no more"
    assert pick_best([0.7, 0.7001]) == 1


def test_a_response_without_a_reward_is_never_picked() -> None:
    assert pick_best([None, -5.0, None]) == 1
    assert pick_best([None, None]) is None
    with pytest.raises(ValueError, match="not finite"):
        pick_best([1.0, math.nan])


def test_each_prompt_has_its_pick_beside_its_single_response(sample_of: Callable[..., Sample]) -> None:
    singles = [sample_of(prompt, "single", policy="start") for prompt in ("p1", "p2")]
    drawn = [
        sample_of(prompt, text, policy="start", index=k)
        for prompt in ("p1", "p2")
        for k, text in enumerate(("bad", "good", "fair"), start=1)
    ]
    worth = {"bad": -1.0, "good": 2.0, "fair": 1.0}
    picks = pick_samples(singles, candidates=drawn, rewards={s.id: worth[s.text] for s in drawn}, n=3)
    assert [(pair.start.text, pair.trained.text, pair.trained.prompt_id) for pair in picks.pairs] == [
        ("single", "good", "p1"),
        ("single", "good", "p2"),
    ]
    assert (picks.num_unscored, picks.candidates) == (0, drawn)

    # The best one's reward fails for the first prompt, and every one's for the second.
    rewards = {s.id: worth[s.text] for s in drawn if s.prompt_id == "p1" and s.text != "good"}
    picks = pick_samples(singles, candidates=drawn, rewards=rewards, n=3)
    assert [(pair.trained.text, pair.trained.prompt_id) for pair in picks.pairs] == [("fair", "p1")]
    assert picks.num_unscored == 4


def test_of_several_single_responses_the_one_drawn_first_stands_beside_the_pick(
    sample_of: Callable[..., Sample],
) -> None:
    singles = [sample_of("p", text, policy="start", index=k) for k, text in ((1, "second"), (0, "first"))]
    drawn = [sample_of("p", text, policy="start", index=k) for k, text in ((2, "third"), (3, "fourth"))]
    picks = pick_samples(singles, candidates=drawn, rewards={s.id: 0.0 for s in drawn}, n=2)
    assert [(pair.start.text, pair.trained.text) for pair in picks.pairs] == [("first", "third")]


def test_prompts_without_their_candidates_are_an_error(sample_of: Callable[..., Sample]) -> None:
    singles = [sample_of("p", "single", policy="start"), sample_of("q", "single", policy="start")]
    drawn = [sample_of("p", text, policy="start", index=k) for k, text in ((1, "a"), (2, "b"))]
    with pytest.raises(StageError, match="2 to pick from"):
        pick_samples(singles, candidates=drawn, rewards={}, n=2)
    with pytest.raises(StageError, match="4 to pick from"):
        pick_samples(singles[:1], candidates=drawn, rewards={}, n=4)


def test_the_kl_of_choosing_matches_the_hand_computation_and_a_simulation() -> None:
    assert bound_kl(1) == 0.0
    assert bound_kl(2) == pytest.approx(0.693147 - 0.5, abs=1e-6)
    assert bound_kl(4) == pytest.approx(1.386294 - 0.75, abs=1e-6)
    # Rewards uniform on 0..1: the density of the best of n at u is n u^(n-1), its log-ratio to the start the log of it.
    rng = random.Random(0)
    n = 4
    ratios = [math.log(n * max(rng.random() for _ in range(n)) ** (n - 1)) for _ in range(20_000)]
    assert bound_kl(n) == pytest.approx(math.fsum(ratios) / len(ratios), abs=0.02)
