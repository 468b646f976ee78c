"""A decision of the judge -> everything that a person is shown of it, both orders with their proven prompts.

Takes what the ledger found, returns values that a terminal and a page print alike. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rlaif.audit.label import LabelView, label_view
from rlaif.audit.proof import Proof, prove_prompt
from rlaif.audit.view import Fact, Section, use_facts
from rlaif.judging.modes import MODES
from rlaif.ledger.labels import find_label, find_labels_of
from rlaif.ledger.queries import Decision, Side, find_decision
from rlaif.ledger.redacted import find_redactions
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import Redaction
from rlaif.records import Comparison, FailedJudgement, Judgement, Preference, Record, Served
from rlaif.records.judgement import JudgeMode

NOTHING: Mapping[str, Redaction] = {}
NO_TEXT = "(its text is not in the ledger)"


class OrderView(NamedTuple):
    """One question as it was asked, what came back, and its prompt."""

    section: Section
    """Responses in the order shown, verdict, probabilities, reason, raw reply, failures, digests."""
    proof: Proof


class DecisionView(NamedTuple):
    """A decision as a person reads it."""

    head: Section
    """The comparison and what it says, principles, judge, constitutions, and the runs that used it."""
    orders: tuple[OrderView, ...]
    labels: tuple[Fact, ...]
    """The preferences that the comparison went into."""


def find_view(ledger: Ledger, prefix: str) -> DecisionView | LabelView:
    """The view of the record whose id begins with `prefix`: of a label where it is a preference's, else of a decision.

    Refused where no record or several have such an id.
    """
    if (label := find_label(ledger, prefix)) is not None:
        return label_view(label)
    return view_decision(ledger, find_decision(ledger, prefix))


def view_decision(ledger: Ledger, decision: Decision) -> DecisionView:
    """The view of a decision with the preferences that it went into, and the redactions of its texts."""
    labels = [] if decision.comparison is None else find_labels_of(ledger, decision.comparison)
    return decision_view(decision, labels=labels, redactions=find_redactions(ledger, _find_digests(decision)))


def decision_view(
    decision: Decision, *, labels: Sequence[Preference] = (), redactions: Mapping[str, Redaction] = NOTHING
) -> DecisionView:
    """`labels`: the preferences that the decision's comparison went into. `redactions`: of its texts, by digest."""
    comparison = decision.comparison
    title = "" if comparison is None else f"comparison {comparison.id}"
    return DecisionView(
        head=Section(title, (*_head_facts(decision), *map(_redaction_fact, redactions.values()))),
        orders=tuple(_order_view(decision, side, number) for number, side in enumerate(decision.sides, start=1)),
        labels=tuple(Fact("went into", f"preference {label.id}, label {label.label:.4f}") for label in labels),
    )


def _find_digests(decision: Decision) -> Iterator[str]:
    """The digests of all texts that the view of a decision is made of."""
    records: list[Record | None] = [decision.prompt, decision.comparison]
    for side in decision.sides:
        records += [*side.samples, side.judgement, *side.failures]
        for key in side.question.principles:
            yield from filter(None, (key.text_digest, key.opposite_digest))
        yield from filter(None, (side.question.template_digest,))
    for record in filter(None, records):
        yield from filter(None, record.text_digests.values())


def _redaction_fact(redaction: Redaction) -> Fact:
    when = f" at {redaction.observed.at}" if redaction.observed.at else ""
    return Fact("redacted", f"text {redaction.digest}, by {redaction.author}{when}: {redaction.reason}")


def _head_facts(decision: Decision) -> Iterator[Fact]:
    if decision.comparison is not None:
        mode = decision.sides[0].question.mode if decision.sides else None
        yield from _comparison_facts(decision.comparison, mode=mode)
    for principle_id, text in decision.principles.items():
        yield Fact("principle", f"{principle_id}: {text or NO_TEXT}")
        if principle_id in decision.opposites:
            yield Fact("its opposite", decision.opposites[principle_id] or NO_TEXT)
    if decision.judge is not None:
        judge = decision.judge
        yield Fact("judge", f"{judge.observed.name or judge.weights} ({judge.engine}, fingerprint {judge.id})")
    for constitution in decision.constitutions:
        yield Fact("constitution", f"{constitution.name} ({constitution.id}, file sha256 {constitution.file_digest})")
    yield from use_facts("comparison used by", decision.uses)


def _comparison_facts(comparison: Comparison, *, mode: JudgeMode | None) -> Iterator[Fact]:
    """`mode`: None where the ledger no longer has the comparison's questions."""
    yield Fact("pair", f"{comparison.sample_ids[0]} and {comparison.sample_ids[1]}")
    logit = "not known" if comparison.logit is None else f"{comparison.logit:+.4f}"
    yield Fact("p(first is better)", f"{comparison.p_first:.4f}, logit {logit}")
    if mode is not None and MODES[mode].shows == "one":
        yield Fact("order", f"none: each response was {MODES[mode].words.first_shown} by itself")
        return
    if not comparison.debiased:
        yield Fact("orders", f"{MODES[mode or 'pair'].words.too_few_orders}: not debiased")
        return
    effect = "not known" if comparison.position_effect is None else f"{comparison.position_effect:+.4f} logits"
    yield Fact("position effect", effect)
    yield Fact("order", "flipped the verdict" if comparison.flipped else "did not flip the verdict")


def _order_view(decision: Decision, side: Side, number: int) -> OrderView:
    question = side.question
    title = f"{MODES[question.mode].words.question} {number}: question {question.id}"
    return OrderView(Section(title, tuple(_order_facts(side))), prove_prompt(decision, side))


def _order_facts(side: Side) -> Iterator[Fact]:
    question = side.question
    yield Fact(MODES[question.mode].words.first_shown, question.sample_ids[0])
    for other in question.sample_ids[1:]:
        yield Fact("shown after it", other)
    if side.judgement is not None:
        yield from _judgement_facts(side.judgement)
        yield from use_facts("used by", side.uses)
    for failure in side.failures:
        yield from _failure_facts(failure)
    yield Fact("template sha256", question.template_digest or "not known")
    yield Fact("prompt sha256", question.rendered_digest or "not known")


def _judgement_facts(judgement: Judgement) -> Iterator[Fact]:
    yield Fact("judgement", f"{judgement.id}{' (imported)' if judgement.origin == 'imported' else ''}")
    yield Fact("verdict", judgement.verdict or _describe_outcome(judgement))
    if judgement.log_likelihoods:
        yield Fact("log-likelihoods", _describe_likelihoods(judgement))
        yield from _observed_facts(judgement)
        return
    yield Fact("log-probabilities", _describe_logprobs(judgement) or "not known")
    yield Fact("label mass", "not known" if judgement.label_mass is None else f"{judgement.label_mass:.6f}")
    yield Fact("reason", "none given" if judgement.reason is None else judgement.reason)
    yield Fact("raw reply", judgement.raw_reply)
    yield from _observed_facts(judgement)


def _observed_facts(judgement: Judgement) -> Iterator[Fact]:
    for name, digest in judgement.text_digests.items():
        if digest is not None:
            yield Fact(f"{name.replace('_', ' ')} sha256", digest)
    seen = judgement.observed
    if seen.at:
        tokens = f"{seen.prompt_tokens} + {seen.reply_tokens} tokens"
        server = f", {seen.served_model}" if seen.served_model else ""
        yield Fact("asked", f"{seen.at}, {seen.latency_s:.3f} s, {tokens}{server}")
    yield from _server_facts(seen.served)


def _describe_logprobs(judgement: Judgement) -> str:
    """The log-probabilities that the server listed, and the bound of the verdicts that it left out."""
    at_most = judgement.unlisted_at_most
    unlisted = "not listed" if at_most is None else f"not listed, {at_most:.4f} at most"
    named = [(str(entry.verdict), f"{entry.logprob:.4f}") for entry in judgement.logprobs]
    named += [(verdict, unlisted) for verdict in judgement.unlisted]
    numbered = [
        (str(n), unlisted if x is None else f"{x:.4f}") for n, x in enumerate(judgement.choice_logprobs, start=1)
    ]
    return ", ".join(f"{name} {said}" for name, said in (*named, *numbered))


def _describe_likelihoods(judgement: Judgement) -> str:
    under_principle, under_opposite = judgement.log_likelihoods
    return (
        f"{under_principle:.4f} under the principle, {under_opposite:.4f} under its opposite or none, "
        f"over {judgement.num_response_tokens} tokens"
    )


def _describe_outcome(judgement: Judgement) -> str:
    """A score, or the places of the responses as shown, best first."""
    if judgement.score is not None:
        return f"score {judgement.score:.4f}"
    return f"best first: {', '.join(str(place + 1) for place in judgement.ranking or ())}"


def _failure_facts(failure: FailedJudgement) -> Iterator[Fact]:
    yield Fact("failed judgement", f"{failure.id}, attempt {failure.attempt}: {failure.cause}")
    yield Fact("raw reply", failure.raw_reply or "empty")
    yield from _server_facts(failure.observed.served)


def _server_facts(served: Served | None) -> Iterator[Fact]:
    """How a server was asked, and what it gave."""
    if served is None:
        return
    temperature = "none sent" if served.temperature is None else f"{served.temperature:g}"
    cost = "" if served.cost is None else f", cost {served.cost:.6f}"
    yield Fact("server", f"{served.host}, request {served.request_id or 'unnamed'}, {served.calls} sent{cost}")
    yield Fact("had", f"{served.had}; temperature {temperature}; {served.reasoning_tokens} tokens of thinking")
    if served.degraded_isolation:
        yield Fact("isolation", f"sent as text, {served.neutralised} control strings replaced")
    if served.detail:
        yield Fact("what went wrong", served.detail)
