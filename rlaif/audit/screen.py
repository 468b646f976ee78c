"""A decision of the judge -> what one screen shows of it, as the answers to four questions.

What was asked? What did each order say? How did the label come about? Where did it go? The two replies are called A and
B throughout, A being the first of the comparison's samples, whatever the order in which the judge saw them. Values
only; texts are those of models and data sets, and whoever shows them makes them harmless.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rlaif.audit.decision import NO_TEXT, decision_view
from rlaif.audit.disputes import find_disputes
from rlaif.audit.drop_one import Without, leave_each_out
from rlaif.audit.influence import Reached, follow_decision
from rlaif.audit.label import LabelView, label_view
from rlaif.audit.proof import Proof
from rlaif.audit.quotes import Piece, Quotes, mark_quotes
from rlaif.audit.view import Fact
from rlaif.ledger.labels import find_label, find_labels_of
from rlaif.ledger.queries import Decision, Side, find_decision, list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Constitution, Dispute, EditTest, HumanLabel, Message, Preference, Use
from rlaif.stats.logits import canonical_pair

NAMES = ("A", "B")


class Bar(NamedTuple):
    """What the judge gave one verdict."""

    name: str
    """A, B, tie, or a score."""
    probability: float
    is_bound: bool
    """The server listed no value: it is at most this."""


class OrderScreen(NamedTuple):
    """One question and what came back."""

    question_id: str
    shown: str
    """The order shown, such as "A, then B"; empty where a reply was shown alone."""
    verdict: str
    """A, B, tie, or a score in words; empty where every answer failed."""
    bars: tuple[Bar, ...]
    label_mass: float | None
    quotes: Quotes | None
    """The judge's reason; None where it gave none."""
    facts: tuple[Fact, ...]
    """All that is known of the question and its answers."""
    proof: Proof


class LabelScreen(NamedTuple):
    """A preference that the decision went into."""

    preference: Preference
    view: LabelView
    without: tuple[Without, ...]
    """The label without each of its principles, where that can be said."""
    winner: str
    """A, B, or empty for a tie; what `preference.label` above or under one half says."""
    p_winner: float


class PersonScreen(NamedTuple):
    """What a person chose between the two replies, blind."""

    who: str
    winner: str
    principle_id: str
    at: str


class EditScreen(NamedTuple):
    """A tested edit under which this pair's winner changes."""

    old: str
    new: str
    sheet: str


class Screen(NamedTuple):
    """Everything about one decision."""

    comparison: Comparison
    winner: str
    """A, B, or empty for a tie."""
    p_winner: float
    messages: tuple[Message, ...]
    replies: tuple[tuple[Piece, ...], tuple[Piece, ...]]
    """A and B, with what the reasons quote marked."""
    principle: str
    opposite: str
    """Empty where the judge read none."""
    judge: str
    head: tuple[Fact, ...]
    constitutions: tuple[Constitution, ...]
    orders: tuple[OrderScreen, ...]
    labels: tuple[LabelScreen, ...]
    people: tuple[PersonScreen, ...]
    edits: tuple[EditScreen, ...]
    uses: tuple[Use, ...]
    models: tuple[Reached, ...]
    """Reward models and policies that its preferences helped to train."""
    disputes: tuple[Dispute, ...]


def find_screen(ledger: Ledger, prefix: str) -> Screen | LabelScreen | None:
    """The screen of the comparison, judgement or question whose id begins so; of a preference's first comparison.

    None where an answer has no comparison, because its other order failed; refused where no record has such an id.
    A label by people alone has no decision behind it, and is given by itself.
    """
    if (label := find_label(ledger, prefix)) is not None:
        first = next((one for one in label.comparisons if one is not None), None)
        if first is None:
            return _label_screen(ledger, label.preference, pair=label.preference.sample_ids)
        prefix = first.id
    decision = find_decision(ledger, prefix)
    return None if decision.comparison is None else _screen(ledger, decision, decision.comparison)


def _screen(ledger: Ledger, decision: Decision, comparison: Comparison) -> Screen:
    pair = comparison.sample_ids
    preferences = find_labels_of(ledger, comparison)
    view = decision_view(decision, labels=preferences)
    texts = _find_texts(decision, pair)
    quotes = _find_quotes(decision, texts)
    orders = [
        _order(side, facts=shown.section.facts, proof=shown.proof, pair=pair, quotes=quote)
        for side, shown, quote in zip(decision.sides, view.orders, quotes, strict=True)
    ]
    principle_id = comparison.principle.id
    judge = decision.judge
    return Screen(
        comparison=comparison,
        winner=_winner(comparison.p_first),
        p_winner=max(comparison.p_first, 1 - comparison.p_first),
        messages=() if decision.prompt is None else decision.prompt.messages,
        replies=(_join(texts[0], quotes, 0), _join(texts[1], quotes, 1)),
        principle=decision.principles.get(principle_id) or NO_TEXT,
        opposite=decision.opposites.get(principle_id, "") or "",
        judge=comparison.judge_id if judge is None else judge.observed.name or judge.weights,
        head=view.head.facts,
        constitutions=tuple(decision.constitutions),
        orders=tuple(orders),
        labels=tuple(_label_screen(ledger, preference, pair=pair) for preference in preferences),
        people=tuple(_people(ledger, comparison)),
        edits=tuple(_edits(ledger, pair)),
        uses=tuple(decision.uses),
        models=follow_decision(ledger, comparison.id, find_fraction=lambda run: None).models,
        disputes=tuple(find_disputes(ledger, [comparison.id])),
    )


def _winner(p_first: float) -> str:
    return "" if p_first == 0.5 else NAMES[int(p_first < 0.5)]


def _find_texts(decision: Decision, pair: tuple[str, str]) -> tuple[str, str]:
    """The texts of A and B."""
    found = {one.id: one.text for side in decision.sides for one in side.samples if one is not None}
    return found.get(pair[0], NO_TEXT), found.get(pair[1], NO_TEXT)


def _find_quotes(decision: Decision, texts: tuple[str, str]) -> list[Quotes | None]:
    reasons = [None if side.judgement is None else side.judgement.reason for side in decision.sides]
    marked = iter(mark_quotes([reason for reason in reasons if reason], texts))
    return [next(marked) if reason else None for reason in reasons]


def _join(text: str, quotes: Sequence[Quotes | None], place: int) -> tuple[Piece, ...]:
    """A reply in pieces, marked as the first reason does that quotes it."""
    for one in quotes:
        if one is not None and any(piece.is_quoted for piece in one.replies[place]):
            return one.replies[place]
    return (Piece(text, is_quoted=False),)


def _order(
    side: Side, *, facts: tuple[Fact, ...], proof: Proof, pair: tuple[str, str], quotes: Quotes | None
) -> OrderScreen:
    called = dict(zip(pair, NAMES, strict=True))
    names = [called.get(sample_id, "another reply") for sample_id in side.question.sample_ids]
    judgement = side.judgement
    verdicts = {"first": names[0], "second": names[-1], "tie": "tie"}
    verdict = "" if judgement is None else verdicts.get(judgement.verdict or "", "")
    if judgement is not None and not verdict:
        verdict = "" if judgement.score is None else f"{names[0]} has the score {judgement.score:.3f}"
    return OrderScreen(
        question_id=side.question.id,
        shown=f"{names[0]} first, then {' and '.join(names[1:])}" if len(names) > 1 else f"{names[0]} by itself",
        verdict=verdict,
        bars=tuple(sorted(_bars(side, verdicts), key=lambda bar: (len(bar.name), bar.name))),
        label_mass=None if judgement is None else judgement.label_mass,
        quotes=quotes,
        facts=facts,
        proof=proof,
    )


def _bars(side: Side, names: Mapping[str, str]) -> Iterator[Bar]:
    judgement = side.judgement
    if judgement is None:
        return
    for entry in judgement.logprobs:
        yield Bar(names[entry.verdict], math.exp(min(0.0, entry.logprob)), is_bound=False)
    for verdict in judgement.unlisted:
        yield Bar(names[verdict], math.exp(judgement.unlisted_at_most or 0.0), is_bound=True)
    for number, logprob in enumerate(judgement.choice_logprobs, start=1):
        at_most = judgement.unlisted_at_most or 0.0
        yield Bar(str(number), math.exp(min(0.0, at_most if logprob is None else logprob)), is_bound=logprob is None)


def _label_screen(ledger: Ledger, preference: Preference, *, pair: tuple[str, ...]) -> LabelScreen:
    found = find_label(ledger, preference.id)
    if found is None:
        raise ValueError("the preference was found a moment ago")
    p_first = preference.label if preference.sample_ids == pair else 1 - preference.label
    is_pair = preference.kind == "pair"
    return LabelScreen(
        preference=preference,
        view=label_view(found),
        without=tuple(leave_each_out(found)),
        winner=_winner(p_first) if is_pair else "",
        p_winner=max(p_first, 1 - p_first) if is_pair else preference.label,
    )


def _people(ledger: Ledger, comparison: Comparison) -> Iterator[PersonScreen]:
    """People's labels of this pair as a whole, or under the decision's principle."""
    rows = ledger.rows(
        "SELECT id FROM human_labels WHERE prompt_id = ? ORDER BY seq LIMIT 1000", (comparison.prompt_id,)
    )
    labels = ledger.find(HumanLabel, [row[0] for row in rows]).values()
    replaced = {label.replaces for label in labels}
    for label in labels:
        is_this = len(label.sample_ids) == 2 and canonical_pair(*label.sample_ids) == comparison.sample_ids
        if is_this and label.id not in replaced and label.principle_id in ("overall", comparison.principle.id):
            chosen = "" if label.choice == "tie" else label.sample_ids[0 if label.choice == "first" else 1]
            winner = NAMES[comparison.sample_ids.index(chosen)] if chosen else ""
            yield PersonScreen(label.annotator, winner, label.principle_id, label.observed.at)


def _edits(ledger: Ledger, pair: tuple[str, str]) -> Iterator[EditScreen]:
    for test in list_records(ledger, EditTest):
        if not test.new_run and any(canonical_pair(*item.sample_ids) == pair for item in test.flips):
            yield EditScreen(test.old_digest[:12], test.new_digest[:12], test.sheet_id[:12])
