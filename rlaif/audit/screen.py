"""A decision of the judge -> what one screen shows of it, as the answers to four questions.

What was asked? What did each order say? How did the label come about? Where did it go? The two replies are called A and
B throughout, A being the first of the comparison's samples, whatever the order in which the judge saw them. Values
only; texts are those of models and data sets, and whoever shows them makes them harmless.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rlaif.audit.contradiction import find_contradictions
from rlaif.audit.decision import NO_TEXT, view_decision
from rlaif.audit.disputes import find_disputes
from rlaif.audit.drop_one import Without, leave_each_out
from rlaif.audit.influence import FindFraction, Reached, follow_decision
from rlaif.audit.label import LabelView, label_view
from rlaif.audit.proof import Proof
from rlaif.audit.queue_index import describe_orders
from rlaif.audit.quotes import Piece, Quotes, mark_quotes
from rlaif.audit.view import Fact
from rlaif.ledger.labels import find_label, find_labels_of
from rlaif.ledger.queries import Decision, Side, find_decision, list_records
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Comparison,
    Constitution,
    Dispute,
    EditTest,
    HumanLabel,
    Message,
    Preference,
    Sample,
    Use,
)
from rlaif.report.wording import format_percent
from rlaif.stats.logits import canonical_pair

NAMES = string.ascii_uppercase
"""What the replies are called: A and B, further ones only where a question that led to no decision showed more."""


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


class ReplyScreen(NamedTuple):
    """A reply with what the reasons quote marked."""

    name: str
    sample_id: str
    pieces: tuple[Piece, ...]
    is_better: bool
    """In the judge's eyes."""


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
    """Everything about one decision, or about a question that led to none."""

    id: str
    """Of the comparison; of the record that was asked for where there is none."""
    comparison: Comparison | None
    """None: the question, or its other order, has no usable answer."""
    title: str
    contradictions: tuple[str, ...]
    """Where a reason argues for the reply that the judge did not choose, a sentence each."""
    winner: str
    """A, B, or empty for a tie."""
    messages: tuple[Message, ...]
    replies: tuple[ReplyScreen, ...]
    """A and B."""
    principle_ids: str
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


def find_screen(ledger: Ledger, prefix: str, *, find_fraction: FindFraction = lambda run: None) -> Screen | LabelScreen:
    """The screen of the comparison, judgement or question whose id begins so; of a preference's first comparison.

    Refused where no record has such an id. A label by people alone has no decision behind it, and is given by itself.
    find_fraction: the share of prompts that a run holds out, by its name.
    """
    if (label := find_label(ledger, prefix)) is not None:
        first = next((one for one in label.comparisons if one is not None), None)
        if first is None:
            return _label_screen(ledger, label.preference, pair=label.preference.sample_ids)
        prefix = first.id
    return make_screen(ledger, find_decision(ledger, prefix), find_fraction=find_fraction)


def make_screen(ledger: Ledger, decision: Decision, *, find_fraction: FindFraction = lambda run: None) -> Screen:
    """The screen of a decision that the ledger found, or of a question that led to none."""
    comparison = decision.comparison
    shown = decision.sides[0].question.sample_ids if decision.sides else ()
    sample_ids = shown if comparison is None else comparison.sample_ids
    called = dict(zip(sample_ids, NAMES, strict=False))
    preferences = [] if comparison is None else find_labels_of(ledger, comparison)
    view = view_decision(ledger, decision)
    texts = _find_texts(ledger, decision, sample_ids)
    quotes = _find_quotes(decision, texts)
    winner = "" if comparison is None else _winner(comparison.p_first)
    record_id = (comparison or decision.found).id
    judge = decision.judge
    return Screen(
        id=record_id,
        comparison=comparison,
        title=_describe(comparison, winner),
        contradictions=() if comparison is None else tuple(_find_contradictions(decision, comparison, texts)),
        winner=winner,
        messages=() if decision.prompt is None else decision.prompt.messages,
        replies=tuple(
            ReplyScreen(called[key], key, _join(text, quotes, place), called[key] == winner)
            for place, (key, text) in enumerate(zip(sample_ids, texts, strict=True))
        ),
        principle_ids=", ".join(decision.principles),
        principle="\n".join(text or NO_TEXT for text in decision.principles.values()),
        opposite="\n".join(text or NO_TEXT for text in decision.opposites.values()),
        judge=judge.observed.name or judge.weights
        if judge is not None
        else ""
        if comparison is None
        else comparison.judge_id,
        head=view.head.facts,
        constitutions=tuple(decision.constitutions),
        orders=tuple(
            _order(side, facts=one.section.facts, proof=one.proof, called=called, quotes=quote)
            for side, one, quote in zip(decision.sides, view.orders, quotes, strict=True)
        ),
        labels=tuple(_label_screen(ledger, preference, pair=sample_ids) for preference in preferences),
        people=() if comparison is None else tuple(_people(ledger, comparison)),
        edits=() if comparison is None else tuple(_edits(ledger, comparison.sample_ids)),
        uses=tuple(decision.uses),
        models=() if comparison is None else follow_decision(ledger, record_id, find_fraction=find_fraction).models,
        disputes=() if comparison is None else tuple(find_disputes(ledger, [record_id])),
    )


def _describe(comparison: Comparison | None, winner: str) -> str:
    if comparison is None:
        return "No decision came of this question"
    share = format_percent(max(comparison.p_first, 1 - comparison.p_first))
    prefers = f"The judge prefers {winner}, with {share}" if winner else "The judge prefers neither"
    return f"{prefers}{', and changes its mind with the order' if comparison.flipped else ''}"


def _find_contradictions(decision: Decision, comparison: Comparison, texts: Sequence[str]) -> list[str]:
    asked = [(side.judgement, side.question) for side in decision.sides if side.judgement is not None]
    return find_contradictions(describe_orders(comparison, asked, texts=(texts[0], texts[1])))


def _winner(p_first: float) -> str:
    return "" if p_first == 0.5 else NAMES[int(p_first < 0.5)]


def _find_texts(ledger: Ledger, decision: Decision, sample_ids: Sequence[str]) -> list[str]:
    """The texts of A, B and so on."""
    found = {one.id: one.text for side in decision.sides for one in side.samples if one is not None}
    missing = ledger.find(Sample, [key for key in sample_ids if key not in found])
    found |= {key: one.text for key, one in missing.items()}
    return [found.get(key, NO_TEXT) for key in sample_ids]


def _find_quotes(decision: Decision, texts: Sequence[str]) -> list[Quotes | None]:
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
    side: Side, *, facts: tuple[Fact, ...], proof: Proof, called: Mapping[str, str], quotes: Quotes | None
) -> OrderScreen:
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
