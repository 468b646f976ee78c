"""Decisions -> one static HTML page for a colleague, in the look of a run's report.

The page holds no script and loads nothing; autoescape makes texts of models and data sets harmless, and their control
and direction characters are visible. Reads the ledger and writes no file: it returns the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from rlaif.audit.decision_rows import Filter
from rlaif.audit.disputes import REASONS, SAYS
from rlaif.audit.influence import FindFraction
from rlaif.audit.screen import Screen, make_screen
from rlaif.audit.traced import TracedHead
from rlaif.errors import InputError
from rlaif.ledger.labels import find_label
from rlaif.ledger.queries import Decision, find_decision, list_comparisons
from rlaif.ledger.store import Ledger
from rlaif.report.page import CSS, make_environment
from rlaif.report.wording import format_count

HERE = Path(__file__).parent
MAX_DECISIONS = 200
STYLES = (CSS, HERE / "screen.css", HERE / "decision_page.css")


class DecisionPage(NamedTuple):
    """The values of a page."""

    title: str
    chosen: str
    """Which decisions they are, in words."""
    screens: tuple[Screen, ...]
    num_left: int
    """Decisions that the filter finds and the page does not hold."""
    ledger: str
    head: TracedHead
    made_at: str


def collect_page(
    ledger: Ledger, ids: Sequence[str], filter: Filter, *, limit: int, at: str, find_fraction: FindFraction
) -> DecisionPage:
    """The page of the decisions with these ids, or of the first `limit` ones that pass the filter.

    ids: of comparisons, judgements, failed judgements, questions or preferences, or how they begin.
    """
    with ledger.snapshot():
        head = ledger.head()
        if ids:
            found = {one.id: one.decision for name in ids for one in _find_named(ledger, name)}
            names, more = list(found), 0
        else:
            names, more = _list_names(ledger, filter, limit=limit)
            found = {name: find_decision(ledger, name) for name in names}
        if not found:
            raise InputError(f"no comparison passes the filter: {filter.describe()}", fix="leave a part of it out")
        screens = [make_screen(ledger, found[name], find_fraction=find_fraction) for name in names]
    return DecisionPage(
        title=screens[0].title if len(screens) == 1 else format_count(len(screens), "decision"),
        chosen="chosen by their ids" if ids else filter.describe(),
        screens=tuple(screens),
        num_left=more,
        ledger=str(ledger.path),
        head=TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True),
        made_at=at,
    )


def render_page(page: DecisionPage) -> str:
    """The page as text."""
    return (
        make_environment(HERE)
        .get_template("decision_page.html.j2")
        .render(
            css=Markup("".join(path.read_text(encoding="utf-8") for path in STYLES)),
            page=page,
            says=SAYS,
            reasons=REASONS,
        )
    )


class _Named(NamedTuple):
    id: str
    decision: Decision


def _find_named(ledger: Ledger, name: str) -> Iterable[_Named]:
    """The decision of an id; of a preference every comparison that it was made of."""
    label = find_label(ledger, name)
    if label is None:
        found = find_decision(ledger, name)
        return [_Named((found.comparison or found.found).id, found)]
    if not label.comparisons:
        raise InputError(
            f"people decided the preference {label.preference.id}, so no decision of a judge is behind it",
            fix="see it with `rlaif audit show`",
        )
    ids = [comparison.id for comparison in label.comparisons if comparison is not None]
    return [_Named(key, find_decision(ledger, key)) for key in ids]


def _list_names(ledger: Ledger, filter: Filter, *, limit: int) -> tuple[list[str], int]:
    page = list_comparisons(ledger, **filter._asdict(), limit=limit + 1)
    names = [line.comparison.id for line in page.lines]
    return names[:limit], max(0, len(names) - limit)
