"""Preference rows as pairs or thumbs, and the order in which they are learnt."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rlaif.errors import StageError
from rlaif.policy.preference_items import Item, check_items, find_pairs, find_thumbs, order_turns
from rlaif.records import ChoiceRow, Message, PreferenceRow, Prompt, RankingRow, RatedRow, TrainingRow

PROMPT = Prompt(messages=(Message(role="user", content="Where?"),))
ROWS: list[TrainingRow] = [
    PreferenceRow(prompt=PROMPT, chosen="a", rejected="b", label=0.8, weight=2.0),
    PreferenceRow(prompt=PROMPT, chosen="a", rejected="c", label=0.5),
    ChoiceRow(prompt=PROMPT, responses=("a", "b", "c"), shares=(0.25, 0.5, 0.25)),
    RankingRow(prompt=PROMPT, responses=("a", "b", "c"), weight=0.0),
    RatedRow(prompt=PROMPT, response="d", kind="thumb", value=0.0),
]


def shown(items: list[Item]) -> list[Any]:
    return [(item.responses, round(item.label, 3), item.weight) for item in items]


def test_pairs_come_from_pairs_choices_and_rankings_and_what_drops_others_is_counted() -> None:
    found = find_pairs(ROWS, labels="hard")
    assert shown(found.items) == [(("a", "b"), 0.8, 2.0), (("b", "a"), 0.667, 1.0), (("b", "c"), 0.667, 1.0)]
    assert found.dropped == Counter(weightless=3, tie=1, single=1)
    assert found.num_in == 8
    assert len(find_pairs(ROWS, labels="drawn").items) == 4, "a tie is drawn, too"


def test_thumbs_come_from_thumbs_and_from_both_sides_of_pairs() -> None:
    found = find_thumbs([ROWS[0], ROWS[1], ROWS[4]], labels="hard")
    assert shown(found.items) == [(("a",), 0.8, 2.0), (("b",), 0.2, 2.0), (("d",), 0.0, 1.0)]
    assert found.dropped == Counter(tie=2)


def test_a_rating_is_good_above_its_annotators_own_mean() -> None:
    rows: list[TrainingRow] = [
        RatedRow(prompt=PROMPT, response=text, kind="rating", value=value, annotator=annotator)
        for annotator, text, value in (
            ("ann", "a", 9), ("ann", "b", 7), ("ann", "c", 8), ("bo", "a", 2), ("bo", "b", 1), ("cy", "a", 5),
        )
    ]  # fmt: skip
    found = find_thumbs(rows, labels="hard")
    assert [(item.responses[0], item.label) for item in found.items] == [("a", 1), ("b", 0), ("a", 1), ("b", 0)]
    assert found.dropped == Counter(tie=1, unscaled=1)


def test_an_item_comes_as_often_in_a_pass_as_it_weighs() -> None:
    items = find_pairs(
        [ROWS[0], PreferenceRow(prompt=PROMPT, chosen="a", rejected="c", weight=0.25)], labels="hard"
    ).items
    turns = order_turns(items, num_epochs=400, labels="hard", seed=1)
    counts = Counter(turn.place for turn in turns)
    assert counts[0] == 800
    assert 60 < counts[1] < 140, "a quarter of 400 passes"
    assert all(turn.is_first for turn in turns)


def test_a_drawn_label_gives_its_side_in_that_share_of_the_passes_and_a_hard_one_always() -> None:
    items = [Item(PROMPT, ("a", "b"), label=0.2, weight=1.0)]
    drawn = order_turns(items, num_epochs=1000, labels="drawn", seed=1)
    assert 150 < sum(turn.is_first for turn in drawn) < 250
    assert not any(turn.is_first for turn in order_turns(items, num_epochs=3, labels="hard", seed=1))


def test_every_pass_has_its_own_order_which_the_seed_fixes() -> None:
    items = [Item(PROMPT, (letter,), label=1.0, weight=1.0) for letter in "abcdefgh"]
    turns = order_turns(items, num_epochs=2, labels="hard", seed=1)
    first, second = turns[:8], turns[8:]
    assert sorted(first) == sorted(second)
    assert first != second
    assert turns == order_turns(items, num_epochs=2, labels="hard", seed=1)
    assert turns != order_turns(items, num_epochs=2, labels="hard", seed=2)


def test_nothing_to_learn_and_thumbs_of_one_kind_are_refused() -> None:
    with pytest.raises(StageError, match=r"dpo has no pair to learn from: in 1, kept 0, dropped 1 \(single 1\)"):
        check_items(find_pairs([ROWS[4]], labels="hard"), name="dpo")
    with pytest.raises(StageError, match="all 1 thumbs are bad"):
        check_items(find_thumbs([ROWS[4]], labels="hard"), name="kto")
    check_items(find_thumbs(ROWS, labels="hard"), name="kto")
