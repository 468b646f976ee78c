"""What calibration does, in words."""

from __future__ import annotations

import pytest

from rlaif.evaluation.report_trust import say_map
from rlaif.records import CalibrationMap


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CalibrationMap(), "left as they are"),
        (CalibrationMap(kind="temperature", slope=0.7), "made less sure (their log-odds times 0.70)."),
        (CalibrationMap(kind="temperature", slope=1.3), "made surer (their log-odds times 1.30)."),
        (
            CalibrationMap(kind="temperature_length", slope=1.3, length=0.5, length_sd=10),
            "gains 0.50 log-odds for every 10.0 words that it is longer, up to 20 words: the judge had liked length l",
        ),
        (
            CalibrationMap(kind="temperature_length", slope=1.3, length=-0.5, length_sd=10),
            "loses 0.50 log-odds for every 10.0 words that it is longer, up to 20 words: the judge had liked length m",
        ),
    ],
)
def test_the_map_that_was_chosen_is_said_in_words(found: CalibrationMap, said: str) -> None:
    assert said in say_map(found)
