"""Choices are functions of their keys; batches come from lengths."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rlaif.policy.ppo.batching import (
    TokenSequence,
    groups_of_like_length,
    micro_batches,
    mini_batches,
    pad_batch,
    prompts_of_step,
)


def test_every_prompt_comes_once_before_any_comes_again() -> None:
    lap = [i for step in range(5) for i in prompts_of_step(10, seed=3, step=step, num_prompts_per_step=4)]
    assert sorted(lap[:10]) == list(range(10))
    assert sorted(lap[10:]) == list(range(10))
    assert lap[:10] != lap[10:]


def test_a_steps_prompts_depend_on_seed_and_step_alone() -> None:
    first = prompts_of_step(50, seed=1, step=7, num_prompts_per_step=8)
    assert first == prompts_of_step(50, seed=1, step=7, num_prompts_per_step=8)
    assert first != prompts_of_step(50, seed=2, step=7, num_prompts_per_step=8)


def test_mini_batches_hold_every_episode_once_in_parts_of_like_size() -> None:
    parts = mini_batches(10, num_mini_batches=4, key=(0, "episodes", 2, 1))
    assert sorted(index for part in parts for index in part) == list(range(10))
    assert sorted(map(len, parts)) == [2, 2, 3, 3]
    assert parts != mini_batches(10, num_mini_batches=4, key=(0, "episodes", 2, 0))


def test_every_choice_of_a_training_is_the_same_in_another_process() -> None:
    """Recorded once: an order that hung on the process, its hash seed or numpy's version would be another one."""
    assert prompts_of_step(6, seed=1, step=2, num_prompts_per_step=4) == [0, 2, 5, 4]
    assert mini_batches(6, num_mini_batches=2, key=(1, "episodes", 2, 0)) == [[0, 2, 5], [4, 1, 3]]


def test_fewer_episodes_than_mini_batches_leave_no_empty_one() -> None:
    assert sorted(map(len, mini_batches(2, num_mini_batches=4, key=(0,)))) == [1, 1]


sequences = st.builds(
    TokenSequence,
    prompt_ids=st.lists(st.integers(0, 1), min_size=1, max_size=4),
    response_ids=st.lists(st.just(7), min_size=1, max_size=9),
)


@given(st.lists(sequences, min_size=1, max_size=30), st.integers(1, 60))
def test_micro_batches_cover_everything_and_compute_no_more_than_the_budget(
    given_sequences: list[TokenSequence], max_tokens: int
) -> None:
    groups = micro_batches(given_sequences, max_tokens=max_tokens)
    assert sorted(index for group in groups for index in group) == list(range(len(given_sequences)))
    for group in groups:
        prompts = {tuple(given_sequences[i].prompt_ids) for i in group}
        responses = sum(len(given_sequences[i].response_ids) for i in group)
        assert len(group) == 1 or sum(map(len, prompts)) + responses <= max_tokens


def test_responses_to_one_prompt_share_a_micro_batch() -> None:
    mixed = [TokenSequence([5 + i % 2, 1, 1], [7, 7]) for i in range(6)]
    assert micro_batches(mixed, max_tokens=9) == [[0, 2, 4], [1, 3, 5]]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=50))
def test_rows_of_like_length_are_padded_together(lengths: list[int]) -> None:
    groups = groups_of_like_length(lengths)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert max(lengths[row] for row in group) <= 1.5 * min(lengths[row] for row in group) + 4


def test_masks_come_from_lengths_even_where_real_tokens_look_like_pads() -> None:
    batch = pad_batch([TokenSequence([5, 0], [0, 0]), TokenSequence([7], [0])], pad_id=0, device=torch.device("cpu"))
    assert batch.prompts == [[5, 0], [7]]
    assert batch.response_ids.tolist() == [[0, 0], [0, 0]]
    assert batch.response_mask.tolist() == [[True, True], [True, False]]
