"""What a cell does before and beside training: passes over demonstrations, and simulated people as rewards."""

from __future__ import annotations

import random

import pytest

from rlaif.policy.rewards.episodes import Episode
from rlaif.run.world import draw_demonstrations, draw_study_prompts
from rlaif.study.plan import LabelKind
from rlaif.study.teach import count_passes, make_source

[(PROMPT, DEMONSTRATION)] = draw_demonstrations(0, 1, noise=0.0)
GOOD = DEMONSTRATION.response


@pytest.mark.parametrize(("demonstrations", "passes"), [(1, 20), (64, 20), (128, 10), (512, 3), (5000, 3)])
def test_few_demonstrations_are_passed_over_more_often(demonstrations: int, passes: int) -> None:
    assert count_passes(demonstrations) == passes


@pytest.mark.parametrize(("kind", "rewards"), [("thumb", [1.0, 0.0, 0.0]), ("rating", [1.0, 0.8, 0.6])])
def test_a_thumb_is_all_or_nothing_and_a_rating_gives_partial_credit(kind: LabelKind, rewards: list[float]) -> None:
    """An empty reply is brief, calm and discreet."""
    source = make_source(kind, rng=random.Random(0))
    given = source([Episode(PROMPT, text) for text in (GOOD, GOOD[:-1] + "!!!", "")])
    assert given == pytest.approx(rewards)


def test_a_choice_rewards_the_best_of_each_prompt_and_draws_lots_among_equals() -> None:
    [other] = draw_study_prompts(7, 1)
    episodes = [
        Episode(PROMPT, GOOD[:-1] + "!!!"), Episode(PROMPT, GOOD), Episode(PROMPT, ""),
        Episode(other, "one"), Episode(other, "two"),
    ]  # fmt: skip
    source = make_source("choice4", rng=random.Random(0))
    drawn = [source(episodes) for _ in range(40)]
    assert all(rewards[:3] == [0.0, 1.0, 0.0] for rewards in drawn)
    assert all(sorted(rewards[3:]) == [0.0, 1.0] for rewards in drawn)
    assert 5 < sum(rewards[3] == 1.0 for rewards in drawn) < 35


def test_a_judgement_lies_between_zero_and_one_and_varies() -> None:
    source = make_source("judgement", rng=random.Random(0))
    scores = source([Episode(PROMPT, GOOD)] * 50)
    assert all(0 <= score <= 1 for score in scores if isinstance(score, float))
    assert len(set(scores)) > 5
