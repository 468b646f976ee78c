from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlaif.records import Tally


def test_a_tally_prints_what_came_in_what_stayed_and_why_the_rest_went() -> None:
    tally = Tally(num_in=1200, dropped={"identical": 6, "flipped": 22, "tie": 41})
    assert str(tally) == "in 1200, kept 1131, dropped 69 (tie 41, flipped 22, identical 6)"


def test_a_tally_without_drops_names_no_reason() -> None:
    assert str(Tally(num_in=3, dropped={"tie": 0})) == "in 3, kept 3, dropped 0"


def test_tallies_of_two_batches_add_up_by_reason() -> None:
    both = Tally(num_in=3, dropped={"tie": 1}) + Tally(num_in=4, dropped={"tie": 1, "flipped": 2})
    assert both == Tally(num_in=7, dropped={"tie": 2, "flipped": 2})


def test_more_cannot_be_dropped_than_came_in() -> None:
    with pytest.raises(ValidationError):
        Tally(num_in=1, dropped={"tie": 2})


def test_a_count_is_never_negative() -> None:
    with pytest.raises(ValidationError):
        Tally(num_in=1, dropped={"tie": -1})
