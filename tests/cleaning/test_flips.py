"""Suspected label flips: found where the other pairs tell, never where they tell nothing, and dropped with a count."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rlaif.cleaning.clean import clean_rows
from rlaif.cleaning.flips import LabelledPair, find_flips
from rlaif.cleaning.kinds import PREFERENCES
from rlaif.config.cleaning import CleaningConfig
from rlaif.records import PreferenceRow, Prompt

PLACES = ["tower", "garden", "museum", "harbour", "market", "library", "station", "theatre", "castle", "bridge"]
POLITE = ("Good morning, it opens at {hour}, you are welcome.", "Of course, please come at {hour} to the {place}.")
RUDE = ("It opens at {hour}, what else.", "Come to the {place} at {hour} or do not.")
NUM = 400


def make_rows(*, seed: int = 0, is_random: bool = False) -> tuple[list[PreferenceRow], set[int]]:
    """Polite replies are preferred to rude ones, but for one row in twenty; or whatever a coin says."""
    rng = random.Random(seed)
    flipped = set() if is_random else set(rng.sample(range(NUM), NUM // 20))
    rows = []
    for number in range(NUM):
        words = {"hour": rng.choice(("nine", "ten", "noon", "four")), "place": rng.choice(PLACES)}
        sides = [rng.choice(POLITE).format(**words), rng.choice(RUDE).format(**words)]
        if number in flipped or (is_random and rng.random() < 0.5):
            sides.reverse()
        prompt = Prompt.from_chat([{"role": "user", "content": f"When does {words['place']} number {number} open?"}])
        rows.append(PreferenceRow(prompt=prompt, chosen=sides[0], rejected=sides[1]))
    return rows, flipped


def as_pairs(rows: list[PreferenceRow]) -> list[LabelledPair]:
    return [LabelledPair(row.prompt.id, row.chosen, row.rejected) for row in rows]


def test_rows_that_say_the_contrary_of_all_others_are_found_and_no_others() -> None:
    rows, flipped = make_rows()
    assert set(find_flips(as_pairs(rows), margin=0.25)) == flipped


def test_of_labels_that_follow_nothing_none_is_suspected() -> None:
    rows, _ = make_rows(is_random=True)
    assert find_flips(as_pairs(rows), margin=0.0) == []


def test_of_few_pairs_none_is_suspected() -> None:
    rows, flipped = make_rows()
    assert flipped & set(range(199))
    assert find_flips(as_pairs(rows)[:199], margin=0.25) == []


def test_a_larger_margin_suspects_fewer() -> None:
    rows, flipped = make_rows()
    assert find_flips(as_pairs(rows), margin=0.0)
    assert set(find_flips(as_pairs(rows), margin=1.2)) < flipped


def test_the_label_of_a_row_counts_and_not_its_order() -> None:
    rows, flipped = make_rows()
    written = [
        row.model_copy(update={"chosen": row.rejected, "rejected": row.chosen, "label": 0.0}) if n % 2 else row
        for n, row in enumerate(rows)
    ]
    cleaned = clean_rows(written, kind=PREFERENCES, config=CleaningConfig(label_flips="drop"))
    assert set(range(NUM)) - set(cleaned.places) == flipped


@pytest.mark.parametrize("mode", ["off", "report", "drop"])
def test_suspected_rows_are_counted_with_examples_and_dropped_only_where_that_is_asked(mode: Any) -> None:
    rows, flipped = make_rows()
    cleaned = clean_rows(rows, kind=PREFERENCES, config=CleaningConfig(label_flips=mode))
    reports = [rule for rule in cleaned.report.rules if rule.rule == "label_flips"]
    assert len(cleaned.rows) == (NUM - len(flipped) if mode == "drop" else NUM)
    if mode == "off":
        assert reports == []
        return
    [report] = reports
    assert (report.found, report.dropped) == (len(flipped), len(flipped) if mode == "drop" else 0)
    first = rows[min(flipped)]
    assert (report.examples[0].row, report.examples[0].text) == (min(flipped) + 1, first.chosen)
    assert report.examples[0].beside == first.rejected


def test_held_out_rows_are_neither_suspected_nor_fitted_to() -> None:
    rows, flipped = make_rows()
    ids = {rows[place].prompt.id for place in flipped}
    cleaned = clean_rows(rows, kind=PREFERENCES, config=CleaningConfig(label_flips="drop"), find_held_out=lambda _: ids)
    assert len(cleaned.rows) == NUM
