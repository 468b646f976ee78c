"""Numbers and texts as people read them."""

from __future__ import annotations

import pytest

from rlaif.evaluation.policy import WinRate
from rlaif.evaluation.wording import say_estimate, say_headline, say_number, say_percent, show_untrusted
from rlaif.records import Estimate


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (0, "0"), (3.0, "3"), (0.05, "0.05"), (0.123456, "0.12"), (-1.5, "\u22121.5"), (1234.5, "1\u202f234"),
        (5120, "5\u202f120"), (None, "unknown"),
    ],
)  # fmt: skip
def test_numbers_are_said_with_about_two_digits(x: float | None, said: str) -> None:
    assert say_number(x) == said


def test_a_rounded_zero_has_no_sign() -> None:
    assert say_number(-0.001, decimals=1, signed=True) == "0.0"
    assert say_number(0.3, decimals=1, signed=True) == "+0.3"


def test_a_percentage_has_one_decimal() -> None:
    assert say_percent(0.71249) == "71.2\u202f%"


def test_the_width_of_an_interval_decides_the_decimals() -> None:
    assert say_estimate(Estimate(mean=12.3456, low=2.3, high=22.4, n=1))[:3] == ("12", "2 to 22", "1 prompt")
    assert say_estimate(Estimate(mean=0.12345, low=0.11, high=0.13, n=900))[:2] == ("0.123", "0.110 to 0.130")


def test_values_that_were_all_equal_claim_no_interval() -> None:
    assert say_estimate(Estimate(mean=100, low=100, high=100, n=9)).interval == "the same everywhere"
    assert say_estimate(None).interval == "no interval"


def win_rate(mean: float, low: float, high: float) -> WinRate:
    return WinRate(
        soft=Estimate(mean=mean, low=low, high=high, n=200),
        hard=None,
        soft_by_principle={},
        hard_by_principle={},
        num_pairs=200,
        num_identical=0,
        num_failed=0,
        failed_by_principle={},
        num_not_debiased=0,
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict", "says"),
    [
        (0.52, 0.6, "better", "lies above one half"),
        (0.49, 0.6, "unclear", "does not show"),
        (0.3, 0.48, "worse", "lies below one half"),
    ],
)
def test_the_headline_says_no_more_than_its_interval(low: float, high: float, verdict: str, says: str) -> None:
    headline = say_headline(win_rate((low + high) / 2, low, high))
    assert headline.verdict == verdict
    assert says in headline.sentence
    assert "200 prompts" in headline.sentence


def test_a_win_rate_of_failures_alone_is_unknown() -> None:
    failed = win_rate(0.5, 0.4, 0.6).model_copy(update={"soft": None})
    assert say_headline(failed).verdict == "unknown"
    assert "All of the 200 comparisons failed" in say_headline(failed).sentence
    assert say_headline(None).verdict == "unknown"


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x1b", "\x00", "\ud800", "\ue000"])
def test_control_and_direction_characters_are_shown_by_number(character: str) -> None:
    shown = show_untrusted(f"a{character}b")
    assert character not in shown
    assert f">U+{ord(character):04X}</span>" in shown


def test_markup_is_shown_as_text_and_line_breaks_stay() -> None:
    assert show_untrusted("<b>&\n\tx") == "&lt;b&gt;&amp;\n\tx"
    assert show_untrusted("שלום 你好") == "שלום 你好"
