"""A decision of the judge as a person reads it, with its exact prompt rebuilt and proven.

Takes what the ledger found, returns lines for the terminal. Text from models and data sets goes
through `show_text` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from rlaif.console import show_text
from rlaif.errors import TemplateError
from rlaif.records.base import REDACTED

if TYPE_CHECKING:
    from rlaif.ledger.queries import Decision, Side
    from rlaif.records import Comparison, FailedJudgement, Judgement, SegmentedMessage, Served, Use
    from rlaif.records.judgement import JudgeMode

PROVEN = "proven: sha256 matches"


class Rebuilt(NamedTuple):
    """The prompt of a question, put together again from its parts."""

    messages: tuple[SegmentedMessage, ...] | None
    state: str
    """`PROVEN`, or why it is not."""


def rebuild_prompt(decision: Decision, side: Side) -> Rebuilt:
    """Render the prompt from the ledger's parts and compare its digest with the one that was asked."""
    from rlaif.constitution.render import rendered_digest, template_from_source
    from rlaif.judging.questions import render_question

    question = side.question
    if question.rendered_digest is None or question.template_digest is None:
        return Rebuilt(None, "not known: the verdict was imported without its prompt")
    shown = [sample for sample in side.samples if sample is not None]
    found = shown if len(shown) == len(question.sample_ids) else None
    principle = decision.principles.get(question.principles[0].id) if len(question.principles) == 1 else None
    missing = [
        name
        for name, part in (
            ("the conversation", decision.prompt), ("a response", found),
            ("the principle", principle), ("the template", decision.template),
        )
        if part is None
    ]  # fmt: skip
    if decision.prompt is None or found is None or principle is None or decision.template is None:
        return Rebuilt(None, f"cannot be rebuilt: {' and '.join(missing)} is not in the ledger")
    try:
        template = template_from_source(decision.template, name="the stored template")
        messages = render_question(decision.prompt, found, principle, template=template)
    except TemplateError as error:
        return Rebuilt(None, f"cannot be rebuilt: {error.sentence}")
    if rendered_digest(messages) == question.rendered_digest:
        return Rebuilt(messages, PROVEN)
    if REDACTED in (*(sample.text for sample in found), *(message.content for message in decision.prompt.messages)):
        return Rebuilt(messages, "cannot be proven: a text in it was redacted")
    return Rebuilt(messages, "NOT PROVEN: sha256 of what follows is another than that of what was asked")


def decision_parts(decision: Decision) -> Iterator[Text]:
    """Everything about the decision, part by part."""
    if decision.comparison is not None:
        yield from _comparison(decision.comparison, mode=decision.sides[0].question.mode if decision.sides else None)
    for principle_id, text in decision.principles.items():
        yield _line("principle", f"{principle_id}: {text or '(its text is not in the ledger)'}")
    if decision.judge is not None:
        judge = decision.judge
        yield _line("judge", f"{judge.observed.name or judge.weights} ({judge.engine}, fingerprint {judge.id})")
    for constitution in decision.constitutions:
        yield _line("constitution", f"{constitution.name} ({constitution.id}, file sha256 {constitution.file_digest})")
    yield from _uses("comparison used by", decision.uses)
    for number, side in enumerate(decision.sides, start=1):
        yield from _side(decision, side, number)


def _comparison(comparison: Comparison, *, mode: JudgeMode | None) -> Iterator[Text]:
    """`mode`: None where the ledger no longer has its questions."""
    from rlaif.judging.modes import MODES

    yield Text(f"comparison {comparison.id}", style="bold")
    yield _line("pair", f"{comparison.sample_ids[0]} and {comparison.sample_ids[1]}")
    logit = "not known" if comparison.logit is None else f"{comparison.logit:+.4f}"
    yield _line("p(first is better)", f"{comparison.p_first:.4f}, logit {logit}")
    if mode is not None and MODES[mode].shows == "one":
        yield _line("order", "none: each response was scored by itself")
        return
    if not comparison.debiased:
        yield _line("orders", f"{MODES[mode or 'pair'].words.too_few_orders}: not debiased")
        return
    effect = "not known" if comparison.position_effect is None else f"{comparison.position_effect:+.4f} logits"
    yield _line("position effect", effect)
    yield _line("order", "flipped the verdict" if comparison.flipped else "did not flip the verdict")


def _side(decision: Decision, side: Side, number: int) -> Iterator[Text]:
    from rlaif.judging.modes import MODES

    question, words = side.question, MODES[side.question.mode].words
    yield Text("")
    yield Text(f"{words.question} {number}: question {question.id}", style="bold")
    yield _line(words.first_shown, question.sample_ids[0])
    for other in question.sample_ids[1:]:
        yield _line("shown after it", other)
    if side.judgement is not None:
        yield from _judgement(side.judgement)
        yield from _uses("used by", side.uses)
    for failure in side.failures:
        yield from _failure(failure)
    yield _line("template sha256", question.template_digest or "not known")
    yield _line("prompt sha256", question.rendered_digest or "not known")
    rebuilt = rebuild_prompt(decision, side)
    yield _line("exact prompt", rebuilt.state)
    for message in rebuilt.messages or ():
        yield Text(f"[{message.role}]", style="dim")
        yield show_text(message.text)


def _judgement(judgement: Judgement) -> Iterator[Text]:
    outcome = judgement.verdict or _outcome(judgement)
    yield _line("judgement", f"{judgement.id}{' (imported)' if judgement.origin == 'imported' else ''}")
    yield _line("verdict", outcome)
    yield _line("log-probabilities", _logprobs(judgement) or "not known")
    yield _line("label mass", "not known" if judgement.label_mass is None else f"{judgement.label_mass:.6f}")
    yield _line("reason", "none given" if judgement.reason is None else judgement.reason)
    yield _line("raw reply", judgement.raw_reply)
    for name, digest in judgement.text_digests.items():
        if digest is not None:
            yield _line(f"{name.replace('_', ' ')} sha256", digest)
    seen = judgement.observed
    if seen.at:
        tokens = f"{seen.prompt_tokens} + {seen.reply_tokens} tokens"
        server = f", {seen.served_model}" if seen.served_model else ""
        yield _line("asked", f"{seen.at}, {seen.latency_s:.3f} s, {tokens}{server}")
    yield from _served(seen.served)


def _logprobs(judgement: Judgement) -> str:
    """The log-probabilities that the server listed, and the bound of the verdicts that it left out."""
    at_most = judgement.unlisted_at_most
    unlisted = "not listed" if at_most is None else f"not listed, {at_most:.4f} at most"
    named = [(str(entry.verdict), f"{entry.logprob:.4f}") for entry in judgement.logprobs]
    named += [(verdict, unlisted) for verdict in judgement.unlisted]
    numbered = [
        (str(n), unlisted if x is None else f"{x:.4f}") for n, x in enumerate(judgement.choice_logprobs, start=1)
    ]
    return ", ".join(f"{name} {said}" for name, said in (*named, *numbered))


def _outcome(judgement: Judgement) -> str:
    """A score, or the places of the responses as shown, best first."""
    if judgement.score is not None:
        return f"score {judgement.score:.4f}"
    return f"best first: {', '.join(str(place + 1) for place in judgement.ranking or ())}"


def _failure(failure: FailedJudgement) -> Iterator[Text]:
    yield _line("failed judgement", f"{failure.id}, attempt {failure.attempt}: {failure.cause}")
    yield _line("raw reply", failure.raw_reply or "empty")
    yield from _served(failure.observed.served)


def _served(served: Served | None) -> Iterator[Text]:
    """How a server was asked, and what was had of it."""
    if served is None:
        return
    temperature = "none sent" if served.temperature is None else f"{served.temperature:g}"
    cost = "" if served.cost is None else f", cost {served.cost:.6f}"
    yield _line("server", f"{served.host}, request {served.request_id or 'unnamed'}, {served.calls} sent{cost}")
    yield _line("had", f"{served.had}; temperature {temperature}; {served.reasoning_tokens} tokens of thinking")
    if served.degraded_isolation:
        yield _line("isolation", f"sent as text, {served.neutralised} control strings replaced")
    if served.detail:
        yield _line("what went wrong", served.detail)


def _uses(label: str, uses: list[Use]) -> Iterator[Text]:
    for use in uses:
        yield _line(label, f"run {use.run}, round {use.round}, stage {use.stage}")


def _line(label: str, value: str) -> Text:
    return Text(f"{label:>20}  ", style="cyan") + show_text(value)
