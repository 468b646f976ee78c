"""Numbers and texts as people read them."""

from __future__ import annotations

import pytest

from rlaif.records import Estimate
from rlaif.report.wording import (
    format_count,
    format_estimate,
    format_number,
    format_percent,
    format_seconds,
    join_words,
    show_untrusted,
)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (0, "0"), (3.0, "3"), (0.05, "0.05"), (0.123456, "0.12"), (-1.5, "\u22121.5"), (1234.5, "1\u202f234"),
        (5120, "5\u202f120"), (None, "unknown"),
    ],
)  # fmt: skip
def test_numbers_are_said_with_about_two_digits(x: float | None, said: str) -> None:
    assert format_number(x) == said


def test_a_rounded_zero_has_no_sign() -> None:
    assert format_number(-0.001, decimals=1, signed=True) == "0.0"
    assert format_number(0.3, decimals=1, signed=True) == "+0.3"


def test_a_percentage_has_one_decimal() -> None:
    assert format_percent(0.71249) == "71.2\u202f%"


def test_the_width_of_an_interval_decides_the_decimals() -> None:
    assert format_estimate(Estimate(mean=12.3456, low=2.3, high=22.4, n=1))[:3] == ("12", "2 to 22", "1 prompt")
    assert format_estimate(Estimate(mean=0.12345, low=0.11, high=0.13, n=900))[:2] == ("0.123", "0.110 to 0.130")


def test_values_that_were_all_equal_claim_no_interval() -> None:
    assert format_estimate(Estimate(mean=100, low=100, high=100, n=9)).interval == "the same everywhere"
    assert format_estimate(None).interval == "no interval"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0\u202fs"), (9.84, "9.8\u202fs"), (103.4, "103\u202fs"), (245, "4\u202fmin 5\u202fs"),
     (7800, "2\u202fh 10\u202fmin"), (None, "not recorded")],
)  # fmt: skip
def test_seconds_become_minutes_and_hours(seconds: float | None, said: str) -> None:
    assert format_seconds(seconds) == said


def test_counts_and_lists_are_said_as_people_say_them() -> None:
    assert [format_count(1, "pair"), format_count(1200, "pair")] == ["1 pair", "1\u202f200 pairs"]
    assert [join_words([]), join_words(["a"]), join_words(["a", "b", "c"])] == ["", "a", "a, b and c"]


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x1b", "\x00", "\ud800", "\ue000"])
def test_control_and_direction_characters_are_shown_by_number(character: str) -> None:
    shown = show_untrusted(f"a{character}b")
    assert character not in shown
    assert f">U+{ord(character):04X}</span>" in shown


def test_markup_is_shown_as_text_and_line_breaks_stay() -> None:
    assert show_untrusted("<b>&\n\tx") == "&lt;b&gt;&amp;\n\tx"
    assert show_untrusted("שלום 你好") == "שלום 你好"
