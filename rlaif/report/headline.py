"""What moved and the win rate -> one plain sentence each, no stronger than their intervals.

Measures come before the judge's opinion. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rlaif.config.evaluation import is_built_in
from rlaif.evaluation.policy import WinRate
from rlaif.report.moved import Moved, MovedRow
from rlaif.report.wording import (
    NARROW_SPACE,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    join_words,
    show_plain,
)

Verdict = Literal["better", "worse", "unclear", "unknown"]

AS_ASKED, PARTLY = "The policy moved as asked", "The policy moved partly as asked"
BEATS = "The trained policy beats its start"
GOOD_TITLES = frozenset({AS_ASKED, PARTLY, BEATS})
"""Titles that do not stand alone where a measure clearly fell."""
MAX_FELL = 2
"""Measures that fell and that no principle names: the headline names so many."""


class Headline(NamedTuple):
    verdict: Verdict
    title: str
    sentence: str


def choose_headline(moved: Moved, win_rate: WinRate | None) -> Headline:
    """The page's headline: by the measures that the constitution names, or by the judge where it names none."""
    return _name_falls(moved_headline(moved) or win_rate_headline(win_rate), moved)


def _name_falls(headline: Headline, moved: Moved) -> Headline:
    """The headline, with the measures that clearly fell though no principle names them.

    Built-in measures are left out: fewer words or questions are no loss unless a principle says so.
    """
    fell = [row for row in moved.unnamed if row.clear and row.change.mean_after < row.change.mean_before]
    against = [row for row in fell if not is_built_in(row.name)]
    if not against:
        return headline
    said = [f"{show_plain(row.name)} {_describe_move(row)}" for row in against[:MAX_FELL]]
    more = f" and {len(against) - MAX_FELL} more fell" if len(against) > MAX_FELL else ""
    sentence = f"{headline.sentence} No principle names what else fell: {join_words(said)}{more}."
    title = headline.title
    if title in GOOD_TITLES:
        title += f", but {join_words([show_plain(row.name) for row in against[:MAX_FELL]])} fell"
    return headline._replace(title=title, sentence=sentence)


def moved_headline(moved: Moved) -> Headline | None:
    """Whether what the constitution asked for moved as asked; None where no measure has an interval."""
    rows = [row for row in moved.named if row.change.change is not None]
    if not rows:
        return None
    as_asked = [row for row in rows if moved.is_as_asked(row)]
    against = [row for row in rows if moved.is_against(row)]
    still = [row for row in rows if not row.clear]
    said = [f"{show_plain(row.name)} {_describe_move(row)}" for row in (*as_asked, *against)]
    if still:
        said.append(f"{join_words([show_plain(row.name) for row in still])} did not clearly move")
    change = rows[0].change.change
    n = f"On {format_estimate(change).n} held out of training, " if change else ""
    verdict, title = _judge_move(as_asked, against, still)
    if moved.lowered and as_asked and against:
        title = "Some of what was asked for moved as asked, some against it"
    return Headline(verdict, title, f"{n}{join_words(said)}.")


def _judge_move(
    as_asked: Sequence[MovedRow], against: Sequence[MovedRow], still: Sequence[MovedRow]
) -> tuple[Verdict, str]:
    if as_asked and against:
        return "unclear", "Some of what was asked for rose, some fell"
    if against:
        return "worse", "The policy moved against what was asked"
    if as_asked and still:
        return "unclear", PARTLY
    if as_asked:
        return "better", AS_ASKED
    return "unclear", "What was asked for did not clearly move"


def _describe_move(row: MovedRow) -> str:
    change = row.change
    before, after = (format_number(mean, decimals=1) for mean in (change.mean_before, change.mean_after))
    return f"{'rose' if change.mean_after > change.mean_before else 'fell'} from {before} to {after}"


def win_rate_headline(win_rate: WinRate | None) -> Headline:
    """The judge's win rate in plain words, no stronger than its interval."""
    if win_rate is None:
        return Headline(
            "unknown",
            "The policies were not compared",
            "No win rate was measured in this run: the judge was not asked about the trained policy.",
        )
    if win_rate.soft is None:
        return Headline(
            "unknown",
            "The win rate is unknown",
            f"All of the {win_rate.num_pairs} comparisons failed, so nothing can be said of the policy.",
        )
    said = format_estimate(win_rate.soft, percent=True)
    sentence = (
        f"On {said.n} held out of training, the judge gives the trained policy's response "
        f"a {said.mean} chance of being the better one "
        f"(95{NARROW_SPACE}% interval {said.interval}{NARROW_SPACE}%). "
    )
    if win_rate.num_identical:
        sentence += (
            f"More than {format_percent(win_rate.at_most)} could not be found: "
            f"{format_count(win_rate.num_identical, 'pair is', 'pairs are')} one text twice, which counts one half. "
        )
    if win_rate.soft.low > 0.5:
        return Headline(
            "better",
            BEATS,
            sentence + "The interval lies above one half: by this judge the policy has become better.",
        )
    if win_rate.soft.high < 0.5:
        return Headline(
            "worse",
            "The trained policy loses to its start",
            sentence + "The interval lies below one half: by this judge the policy has become worse.",
        )
    return Headline(
        "unclear",
        "No clear difference",
        sentence + "The interval includes one half: this run does not show that the policy has become better.",
    )
