"""A judge's prompt, rendered again from the ledger: proven, or why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_world import World, keep_world, make_world

from rlaif.audit.proof import Proof, prove_prompt
from rlaif.ledger.queries import Decision, find_decision
from rlaif.ledger.store import Ledger
from rlaif.records import digest_text

WORLD = make_world()


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    return find(tmp_path, WORLD)


def find(tmp_path: Path, world: World) -> Decision:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        keep_world(ledger, world)
        return find_decision(ledger, world.comparison.id)


def prove(decision: Decision) -> Proof:
    """The proof of the first order."""
    return prove_prompt(decision, decision.sides[0])


def test_the_prompt_that_was_asked_is_rendered_again_and_proven(decision: Decision) -> None:
    outcome, sentence, messages = prove(decision)
    first, second = (sample.text for sample in WORLD.samples)
    assert (outcome, sentence) == ("proven", "proven: sha256 matches")
    assert messages is not None
    assert f"Reply A: {first}\nReply B: {second}\nPrinciple: Prefer the shorter reply." in messages[-1].text


def test_a_part_that_was_changed_makes_another_prompt(decision: Decision) -> None:
    proof = prove(decision._replace(principles={"brief": "Prefer the longer reply."}))
    assert proof.outcome == "differs"
    assert proof.messages is not None
    assert "longer" in proof.messages[-1].text


def test_what_is_missing_is_named(decision: Decision) -> None:
    outcome, sentence, messages = prove(decision._replace(template=None, prompt=None))
    assert (outcome, messages) == ("not rendered", None)
    assert sentence == "cannot be rebuilt: the conversation and the template is not in the ledger"


def test_a_stored_template_that_is_none_is_a_reason_and_no_crash(decision: Decision) -> None:
    outcome, sentence, _ = prove(decision._replace(template="no front matter"))
    assert outcome == "not rendered"
    assert sentence.startswith("cannot be rebuilt: ")


def test_a_verdict_that_was_imported_has_no_prompt_to_prove(decision: Decision) -> None:
    side = decision.sides[0]
    imported = side._replace(question=side.question.changed(rendered_digest=None, template_digest=None))
    assert prove_prompt(decision, imported).outcome == "imported"


def test_a_redacted_text_can_be_shown_and_not_proven(tmp_path: Path) -> None:
    find(tmp_path, WORLD)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.redact_text(digest_text(WORLD.samples[0].text), reason="private", author="ann", at="")
        proof = prove(find_decision(ledger, WORLD.comparison.id))
    assert proof.outcome == "redacted"
    assert proof.messages is not None
