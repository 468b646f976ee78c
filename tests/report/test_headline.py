"""The headline: no stronger than the intervals behind it, and truth before opinion."""

from __future__ import annotations

import pytest

from rlaif.evaluation.policy import Change, WinRate
from rlaif.records import Estimate
from rlaif.report.headline import choose_headline, moved_headline, win_rate_headline
from rlaif.report.moved import Moved, MovedRow


def row(name: str, change: float, *, clear: bool, n: int = 200) -> MovedRow:
    half = abs(change) / 2 if clear else abs(change) + 1
    return MovedRow(
        name=name,
        principles=(name,),
        change=Change(
            before=None,
            after=None,
            change=Estimate(mean=change, low=change - half, high=change + half, n=n),
            mean_before=50.0,
            mean_after=50.0 + change,
        ),
        clear=clear,
    )


@pytest.mark.parametrize(
    ("rows", "verdict", "title"),
    [
        ([row("a", 9, clear=True), row("b", 3, clear=True)], "better", "The policy moved as asked"),
        ([row("a", 9, clear=True), row("b", 3, clear=False)], "unclear", "The policy moved partly as asked"),
        ([row("a", 9, clear=True), row("b", -3, clear=True)], "unclear", "Some of what was asked for rose, some fell"),
        ([row("a", 9, clear=False)], "unclear", "What was asked for did not clearly move"),
        ([row("a", -9, clear=True), row("b", 3, clear=False)], "worse", "The policy moved against what was asked"),
    ],
)
def test_the_title_counts_only_clear_moves_of_what_was_asked_for(
    rows: list[MovedRow], verdict: str, title: str
) -> None:
    headline = moved_headline(Moved(rows, [], {}))
    assert headline is not None
    assert (headline.verdict, headline.title) == (verdict, title)


def test_the_sentence_gives_both_ends_of_a_move_and_names_what_stood_still() -> None:
    headline = moved_headline(Moved([row("brief", 9, clear=True), row("calm", 2, clear=False)], [], {}))
    assert headline is not None
    assert headline.sentence == (
        "On 200 prompts held out of training, brief rose from 50.0 to 59.0 and calm did not clearly move."
    )


def test_truth_comes_before_the_judges_opinion_and_opinion_before_nothing() -> None:
    judged = win_rate(0.3, 0.25, 0.35)
    assert choose_headline(Moved([row("a", 9, clear=True)], [], {}), judged).verdict == "better"
    drift_alone = Moved([], [row("a", 9, clear=True)], {})
    assert choose_headline(drift_alone, judged).verdict == "worse"
    assert choose_headline(drift_alone, None).verdict == "unknown"


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
    headline = win_rate_headline(win_rate((low + high) / 2, low, high))
    assert headline.verdict == verdict
    assert says in headline.sentence
    assert "200 prompts" in headline.sentence


def test_a_win_rate_of_failures_alone_is_unknown() -> None:
    failed = win_rate(0.5, 0.4, 0.6).model_copy(update={"soft": None})
    assert win_rate_headline(failed).verdict == "unknown"
    assert "All of the 200 comparisons failed" in win_rate_headline(failed).sentence
    assert win_rate_headline(None).verdict == "unknown"


def test_pairs_of_one_text_bound_the_win_rate_and_the_headline_says_so() -> None:
    same = win_rate(0.6, 0.55, 0.65).model_copy(update={"num_identical": 80})
    assert "More than 80.0\u202f% could not be found: 80 pairs are one text twice" in win_rate_headline(same).sentence
    assert "could not be found" not in win_rate_headline(win_rate(0.6, 0.55, 0.65)).sentence


@pytest.mark.parametrize("named", [[("a", True)], [("a", True), ("b", False)], []])
def test_no_good_title_stands_alone_where_a_measure_clearly_fell(named: list[tuple[str, bool]]) -> None:
    fell = row("correct", -9, clear=True).model_copy(update={"principles": ()})
    asked_for = [row(name, 9, clear=clear) for name, clear in named]
    headline = choose_headline(Moved(asked_for, [fell], {}), win_rate(0.7, 0.6, 0.8))
    assert headline.title.endswith(", but correct fell")
    assert headline.sentence.endswith("No principle names what else fell: correct fell from 50.0 to 41.0.")


@pytest.mark.parametrize(
    ("rows", "verdict", "title"),
    [
        ([row("words", -9, clear=True)], "better", "The policy moved as asked"),
        ([row("words", 9, clear=True)], "worse", "The policy moved against what was asked"),
        (
            [row("words", 9, clear=True), row("sentiment", 3, clear=True)],
            "unclear", "Some of what was asked for moved as asked, some against it",
        ),
    ],
)  # fmt: skip
def test_a_measure_of_which_less_was_asked_for_should_fall(rows: list[MovedRow], verdict: str, title: str) -> None:
    headline = moved_headline(Moved(rows, [], {}, frozenset({"words"})))
    assert headline is not None
    assert (headline.verdict, headline.title) == (verdict, title)


def test_fewer_words_are_no_loss_unless_a_principle_says_so() -> None:
    fell = row("words", -9, clear=True).model_copy(update={"principles": ()})
    headline = choose_headline(Moved([row("a", 9, clear=True)], [fell], {}), None)
    assert headline.title == "The policy moved as asked"


def test_a_measure_that_did_not_clearly_fall_is_not_in_the_headline() -> None:
    unclear = row("correct", -9, clear=False)
    headline = choose_headline(Moved([row("a", 9, clear=True)], [unclear], {}), None)
    assert headline.title == "The policy moved as asked"
    assert "correct" not in headline.sentence
