"""Held-out pairs on which the reward model prefers the reply that the label does not."""

from __future__ import annotations

from rlaif.evaluation.reward_misses import MAX_MISSES, RewardMiss, find_reward_misses
from rlaif.evaluation.reward_model import ScoredPair
from rlaif.records import digest_text


def scored(first: float, second: float, label: float, *, prompt_id: str = "p") -> ScoredPair:
    return ScoredPair(prompt_id, first, second, label, length_first=1, length_second=1, responses=("one", "other"))


def test_a_miss_names_both_texts_by_digest_whichever_side_the_label_takes() -> None:
    one, other = digest_text("one"), digest_text("other")
    assert find_reward_misses([scored(0.0, 2.0, 0.75)]) == (
        RewardMiss(prompt_id="p", preferred=one, other=other, label=0.75, gap=2.0),
    )
    assert find_reward_misses([scored(2.0, 0.5, 0.25)]) == (
        RewardMiss(prompt_id="p", preferred=other, other=one, label=0.75, gap=1.5),
    )


def test_pairs_that_agree_tie_or_have_no_texts_are_none() -> None:
    pairs = [scored(2.0, 0.0, 0.75), scored(0.0, 2.0, 0.5), scored(1.0, 1.0, 0.9)]
    assert find_reward_misses([*pairs, scored(0.0, 2.0, 0.75)._replace(responses=None)]) == ()


def test_the_widest_gaps_come_first_and_the_list_is_bounded() -> None:
    found = find_reward_misses([scored(0.0, float(n + 1), 0.75, prompt_id=str(n)) for n in range(MAX_MISSES + 9)])
    assert len(found) == MAX_MISSES
    assert (found[0].gap, found[-1].gap) == (MAX_MISSES + 9, 10.0)
