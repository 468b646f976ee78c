"""A decision, or a sample of stored answers -> questions that can be asked again, each with its proven exact prompt.

Answers whose prompt cannot be proven byte for byte are left out and counted by their reason. Asks nobody.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rlaif.audit.proof import find_parts, prove_prompt
from rlaif.constitution.render import JudgeTemplate, template_from_source
from rlaif.errors import InputError, StageError
from rlaif.judging.questions import render_question
from rlaif.ledger.listing import find_groups, find_listed
from rlaif.ledger.queries import Decision, Side, find_decision
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import StoredRow, id_lists
from rlaif.records import Judgement, Question, SegmentedMessage


class ReplayItem(NamedTuple):
    """A stored answer, and the prompt that is asked again."""

    judgement: Judgement
    question: Question
    template: JudgeTemplate
    chat: tuple[SegmentedMessage, ...]
    """The exact prompt, proven; with another template, the same question as that template asks it."""


class Draw(NamedTuple):
    """What is asked again."""

    items: list[ReplayItem]
    left_out: dict[str, int]
    """Stored answers whose prompt cannot be proven, by the reason."""
    is_exact: bool
    """Whether the prompts are those that were asked; False with another template."""


def find_items(ledger: Ledger, prefix: str, *, template: JudgeTemplate | None = None) -> Draw:
    """The stored answers of one decision. Refused where none of its prompts can be proven."""
    decision = find_decision(ledger, prefix)
    found = _prove(((decision, side) for side in decision.sides), template=template, most=len(decision.sides))
    if not found.items:
        why = ", ".join(found.left_out) or "it has no answer"
        raise InputError(
            f"the decision {prefix[:32]} cannot be asked again: {why}",
            where=str(ledger.path),
            fix="see `rlaif audit show`; name another decision",
        )
    return found


def draw_items(
    ledger: Ledger, *, num: int, seed: int, principle: str | None = None, run: str | None = None,
    template: JudgeTemplate | None = None,
) -> Draw:  # fmt: skip
    """`num` stored answers, drawn at random from those of the ledger that pass the filters and can be proven."""
    groups = find_groups(ledger.rows, Judgement.table, run=run, principle=principle, outcome=None, flipped=None)
    places = find_listed(ledger.rows, groups, after=0, limit=2**62)
    random.Random(seed).shuffle(places)
    found = _prove(_find_sides(ledger, places), template=template, most=num)
    if not found.items:
        why = ", ".join(f"{reason} {count}" for reason, count in found.left_out.items())
        raise InputError(
            f"no stored answer can be asked again{f': {why}' if why else ', as none passes the filters'}",
            where=str(ledger.path),
            fix="leave a filter out, or name another ledger",
        )
    return found


def _find_sides(ledger: Ledger, places: Sequence[int]) -> Iterator[tuple[Decision, Side]]:
    """The questions behind judgements, by their places in the ledger."""
    sql = "SELECT seq, id, content, observed FROM judgements WHERE seq IN (SELECT value FROM json_each(?))"
    for start in range(0, len(places), 100):
        part = places[start : start + 100]
        rows = {row[0]: StoredRow(*row) for chunk in id_lists(part) for row in ledger.rows(sql, (chunk,))}
        for judgement in ledger.restore(Judgement, [rows[place] for place in part]):
            decision = find_decision(ledger, judgement.id)
            for side in decision.sides:
                if side.judgement is not None and side.judgement.id == judgement.id:
                    yield decision, side


def _prove(sides: Iterator[tuple[Decision, Side]], *, template: JudgeTemplate | None, most: int) -> Draw:
    found = Draw([], Counter(), template is None)
    for decision, side in sides:
        if len(found.items) >= most:
            break
        proof = prove_prompt(decision, side)
        if side.judgement is None or proof.outcome != "proven" or proof.messages is None or not decision.template:
            found.left_out["no answer" if side.judgement is None else proof.outcome] += 1
            continue
        own = template_from_source(decision.template, name="the stored template")
        chat = proof.messages if template is None else _render(decision, side, template=template)
        found.items.append(ReplayItem(side.judgement, side.question, template or own, chat))
    return found._replace(left_out=dict(found.left_out))


def _render(decision: Decision, side: Side, *, template: JudgeTemplate) -> tuple[SegmentedMessage, ...]:
    """The prompt of a question as another template of its kind asks it."""
    if template.kind != side.question.mode:
        raise InputError(
            f"the question was asked by a template of `kind: {side.question.mode}`, and this one is of "
            f"`kind: {template.kind}`",
            where="--template",
            fix=f"name one of `kind: {side.question.mode}`",
        )
    parts = find_parts(decision, side)
    if isinstance(parts, list):
        raise StageError(f"the ledger has lost {' and '.join(parts)}", where=side.question.id)
    return render_question(parts.prompt, parts.samples, parts.principle, template=template)
