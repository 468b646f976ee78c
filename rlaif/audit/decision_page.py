"""Decisions -> one static HTML page for a colleague, in the look of a run's report.

The page holds no script and loads nothing; autoescape makes texts of models and data sets harmless, and their control
and direction characters are visible. Reads the ledger and writes no file: it returns the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from rlaif.audit.decision import DecisionView, view_decision
from rlaif.audit.decision_rows import Filter, decide
from rlaif.audit.influence import FindFraction, follow_decision
from rlaif.audit.label import label_view
from rlaif.audit.lineage_view import influence_view
from rlaif.audit.traced import TracedHead
from rlaif.audit.view import Fact, Section
from rlaif.errors import InputError
from rlaif.ledger.labels import find_label, find_labels_of
from rlaif.ledger.queries import Decision, find_decision, list_comparisons
from rlaif.ledger.store import Ledger
from rlaif.records import Message, Sample
from rlaif.records.base import REDACTED
from rlaif.report.page import CSS, make_environment
from rlaif.report.wording import format_count

HERE = Path(__file__).parent
MAX_DECISIONS = 200
_FIRST = {"shown first", "shown after it", "verdict", "log-probabilities", "log-likelihoods", "label mass", "reason",
          "failed judgement"}  # fmt: skip
"""Names of the facts of an order that are shown at once; the others are one click away."""
_WINNER = {"first": "The first reply is better", "second": "The second reply is better", "tie": "Neither is better"}


class Reply(NamedTuple):
    """A response as the page shows it."""

    title: str
    sample_id: str
    """Empty where the ledger does not have it."""
    text: str
    is_better: bool


class DecisionEntry(NamedTuple):
    """One decision with everything that the page says of it."""

    anchor: str
    title: str
    principle: str
    """Its id."""
    asked: tuple[str, ...]
    """The principle's text, and where it was asked with its opposite that too."""
    probability: str
    turns: tuple[Message, ...]
    replies: tuple[Reply, ...]
    view: DecisionView
    steps: tuple[Fact, ...]
    """How its label came about; empty where it has none."""
    went: tuple[Section, ...]
    """What was made of it."""


class DecisionPage(NamedTuple):
    """The values of a page."""

    title: str
    chosen: str
    """Which decisions they are, in words."""
    entries: tuple[DecisionEntry, ...]
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
        entries = [_make_entry(ledger, found[name], find_fraction=find_fraction) for name in names]
    return DecisionPage(
        title=entries[0].title if len(entries) == 1 else format_count(len(entries), "decision"),
        chosen="chosen by their ids" if ids else filter.describe(),
        entries=tuple(entries),
        num_left=more,
        ledger=str(ledger.path),
        head=TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True),
        made_at=at,
    )


def render_page(page: DecisionPage) -> str:
    """The page as text."""
    return make_environment(HERE).get_template("decision_page.html.j2").render(
        css=Markup(CSS.read_text(encoding="utf-8") + (HERE / "decision_page.css").read_text(encoding="utf-8")),
        page=page, order_facts=_split_facts,
    )  # fmt: skip


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


def _make_entry(ledger: Ledger, decision: Decision, *, find_fraction: FindFraction) -> DecisionEntry:
    comparison = decision.comparison
    shown = decision.sides[0].samples if decision.sides else []
    if comparison is not None:
        by_id = {sample.id: sample for side in decision.sides for sample in side.samples if sample is not None}
        shown = [by_id.get(key) or ledger.get(Sample, key) for key in comparison.sample_ids]
    winner = None if comparison is None else decide(comparison.p_first)
    key = (comparison or decision.found).id
    labels = [] if comparison is None else find_labels_of(ledger, comparison)
    label = find_label(ledger, labels[-1].id) if labels else None
    names = ", ".join(decision.principles)
    return DecisionEntry(
        anchor=f"d{key}",
        title=_WINNER[winner] if winner is not None else "No decision came of this question",
        principle=names,
        asked=tuple(text or REDACTED for text in (*decision.principles.values(), *decision.opposites.values())),
        probability="" if comparison is None else f"p(first) {comparison.p_first:.3f}",
        turns=() if decision.prompt is None else decision.prompt.messages,
        replies=tuple(
            Reply(
                title=f"Reply {number}",
                sample_id="" if sample is None else sample.id,
                text=REDACTED if sample is None else sample.text,
                is_better=number == {"first": 1, "second": 2}.get(winner or ""),
            )
            for number, sample in enumerate(shown, start=1)
        ),
        view=view_decision(ledger, decision),
        steps=() if label is None else label_view(label).steps,
        went=tuple(section for section in influence_view(follow_decision(ledger, key, find_fraction=find_fraction))
                   if section.title != "ledger" and section.facts),
    )  # fmt: skip


def _split_facts(facts: Sequence[Fact]) -> dict[str, Any]:
    """Facts that are shown at once, and the others."""
    return {"first": [fact for fact in facts if fact.name in _FIRST],
            "rest": [fact for fact in facts if fact.name not in _FIRST]}  # fmt: skip
