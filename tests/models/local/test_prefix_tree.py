"""Shared beginnings are found in token ids, and prompts that have much in common are continued side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlaif.models.local.prefix_tree import MAX_LEVELS, PrefixTree, Stretch, build_tree, pack_rows, pack_stretches

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=20)


def path_of(tree: PrefixTree, leaf: int) -> list[int]:
    tokens: list[int] = []
    while leaf >= 0:
        tokens = [*tree.stretches[leaf].tokens, *tokens]
        leaf = tree.stretches[leaf].parent
    return tokens


def test_two_prompts_share_their_beginning_and_each_keeps_its_own_end() -> None:
    tree = build_tree([[1, 2, 3, 8], [1, 2, 3, 9, 9]], min_saved=1)
    assert tree.stretches == [Stretch((1, 2, 3), 0, -1, 0), Stretch((8,), 3, 0, 1), Stretch((9, 9), 3, 0, 1)]
    assert tree.leaves == [1, 2]


def test_a_beginning_that_saves_too_little_is_run_with_each_prompt() -> None:
    prompts = [[1, 2, 3, 8], [1, 2, 3, 9]]  # three tokens once less
    assert len(build_tree(prompts, min_saved=3).stretches) == 3
    assert build_tree(prompts, min_saved=4).stretches == [
        Stretch((1, 2, 3, 8), 0, -1, 0),
        Stretch((1, 2, 3, 9), 0, -1, 0),
    ]


def test_equal_prompts_end_in_the_same_stretch() -> None:
    tree = build_tree([[5, 6], [4], [5, 6]], min_saved=1)
    assert [path_of(tree, leaf) for leaf in tree.leaves] == [[5, 6], [4], [5, 6]]
    assert tree.leaves[0] == tree.leaves[2]
    assert len(tree.stretches) == 2


def test_a_prompt_that_begins_another_one_still_has_a_last_token_of_its_own() -> None:
    tree = build_tree([[1, 2], [1, 2, 3]], min_saved=1)
    assert tree.stretches == [Stretch((1,), 0, -1, 0), Stretch((2,), 1, 0, 1), Stretch((2, 3), 1, 0, 1)]


def test_a_long_chain_of_prompts_that_begin_one_another_makes_few_levels() -> None:
    prompts = [[7] * length for length in range(1, 200)]
    tree = build_tree(prompts, min_saved=1)
    assert [path_of(tree, leaf) for leaf in tree.leaves] == prompts
    assert max(stretch.level for stretch in tree.stretches) == MAX_LEVELS - 1


@given(prompts=PROMPTS, min_saved=st.integers(1, 8))
def test_every_prompt_is_its_path_and_no_stretch_is_empty(prompts: list[list[int]], min_saved: int) -> None:
    tree = build_tree(prompts, min_saved=min_saved)
    assert [path_of(tree, leaf) for leaf in tree.leaves] == prompts
    assert all(stretch.tokens for stretch in tree.stretches)
    for place, stretch in enumerate(tree.stretches):
        assert stretch.parent < place
        above = tree.stretches[stretch.parent] if stretch.parent >= 0 else None
        assert (stretch.start, stretch.level) == ((above.end, above.level + 1) if above else (0, 0))


@given(prompts=PROMPTS, new_tokens=st.integers(0, 50))
def test_packs_hold_every_stretch_and_every_row_once(prompts: list[list[int]], new_tokens: int) -> None:
    tree = build_tree(prompts, min_saved=1)
    levels = range(1 + max(stretch.level for stretch in tree.stretches))
    run = [place for level in levels for pack in pack_stretches(tree, level) for place in pack]
    assert sorted(run) == list(range(len(tree.stretches)))
    for level in levels:
        for pack in pack_stretches(tree, level):
            assert len({tree.stretches[place].parent for place in pack}) == 1
            assert level > 0 or len(pack) == 1
    assert sorted(row for pack in pack_rows(tree, new_tokens=new_tokens) for row in pack) == list(range(len(prompts)))


def test_rows_over_a_long_common_text_stand_in_one_pack_and_a_stranger_alone() -> None:
    shared = [[group] * 100 + [20 + own] * 5 for group in range(6) for own in range(8)]
    packs = pack_rows(build_tree([*shared, [9] * 50]), new_tokens=40)
    assert [pack for pack in packs if 48 in pack] == [[48]]
    assert all(len({row // 8 for row in pack}) == 1 for pack in packs)
    assert min(len(pack) for pack in packs if 48 not in pack) >= 4


def test_rows_with_little_in_common_and_much_to_write_are_not_packed() -> None:
    prompts = [[*range(20), 200 + own] for own in range(8)]
    assert all(len(pack) == 1 for pack in pack_rows(build_tree(prompts), new_tokens=2000))
