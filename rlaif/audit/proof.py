"""A question of the ledger -> its exact prompt, rendered again and compared with the digest of what was asked.

Takes what the ledger found and asks nobody. The digest in the question is the proof: a prompt rendered from parts that
were changed since has another one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from rlaif.constitution.render import rendered_digest, template_from_source
from rlaif.errors import TemplateError
from rlaif.judging.questions import render_question
from rlaif.ledger.queries import Decision, Side
from rlaif.records import Principle, PrincipleKey, Prompt, Sample, SegmentedMessage
from rlaif.records.base import REDACTED

Outcome = Literal["proven", "differs", "redacted", "not rendered", "imported"]


class Proof(NamedTuple):
    """The result of rendering a question's prompt again and comparing its digest."""

    outcome: Outcome
    """proven: the digests are the same. differs: they are not. redacted: they cannot be, as a text was redacted.
    not rendered: a part is missing or does not fit. imported: the verdict came without its prompt."""
    sentence: str
    """The outcome in words, with its reason."""
    messages: tuple[SegmentedMessage, ...] | None
    """The prompt; None where it was not rendered."""


class Parts(NamedTuple):
    prompt: Prompt
    samples: list[Sample]
    """The samples in the order shown."""
    principle: Principle
    template: str
    """Source of the judge template."""


def prove_prompt(decision: Decision, side: Side) -> Proof:
    """Render the prompt of one order from the ledger's parts and compare digests."""
    question = side.question
    if question.rendered_digest is None or question.template_digest is None:
        return Proof("imported", "not known: the verdict was imported without its prompt", None)
    parts = find_parts(decision, side)
    if not isinstance(parts, Parts):
        return Proof("not rendered", f"cannot be rebuilt: {' and '.join(parts)} is not in the ledger", None)
    try:
        template = template_from_source(parts.template, name="the stored template")
        messages = render_question(parts.prompt, parts.samples, parts.principle, template=template)
    except TemplateError as error:
        return Proof("not rendered", f"cannot be rebuilt: {error.sentence}", None)
    if rendered_digest(messages) == question.rendered_digest:
        return Proof("proven", "proven: sha256 matches", messages)
    texts = [*(sample.text for sample in parts.samples), *(message.content for message in parts.prompt.messages)]
    if REDACTED in texts:
        return Proof("redacted", "cannot be proven: a text in it was redacted", messages)
    return Proof("differs", "NOT PROVEN: sha256 of what follows is another than that of what was asked", messages)


def _find_principle(decision: Decision, key: PrincipleKey) -> Principle | None:
    """The principle with its opposite, where that was asked too; None where a text is missing."""
    text, opposite = decision.principles.get(key.id), decision.opposites.get(key.id, "")
    return None if text is None or opposite is None else Principle(id=key.id, text=text, opposite=opposite)


def find_parts(decision: Decision, side: Side) -> Parts | list[str]:
    """All that the prompt was rendered from, or the names of what is missing."""
    question = side.question
    samples = [sample for sample in side.samples if sample is not None]
    found = samples if len(samples) == len(question.sample_ids) else None
    key = question.principles[0] if len(question.principles) == 1 else None
    principle = None if key is None else _find_principle(decision, key)
    if decision.prompt is not None and found is not None and principle is not None and decision.template is not None:
        return Parts(decision.prompt, found, principle, decision.template)
    named = {
        "the conversation": decision.prompt, "a response": found,
        "the principle": principle, "the template": decision.template,
    }  # fmt: skip
    return [name for name, part in named.items() if part is None]
