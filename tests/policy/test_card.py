"""What a policy's card says of an edit that it was trained under."""

from __future__ import annotations

from rlaif.ledger.chain import Head
from rlaif.policy.card import render_policy_card
from rlaif.records import PolicyCard

CARD = PolicyCard(model_id="p", reference_model_id="s", reward_model_id="rm", config={}, metrics={"kl": 0.5})
CERTIFIED = "trained under an edit that was certified as better by people (9 of 25 flips labelled, run 001)"


def render(card: PolicyCard) -> str:
    return render_policy_card(card, rewards=["a"], note="", constitution="desk", ledger_head=Head(3, b"\0" * 32))


def test_a_card_names_the_edit_and_one_without_an_edit_keeps_its_content_and_id():
    assert "edit" not in CARD.model_dump()
    edited = CARD.changed(edit=CERTIFIED)
    assert edited.id != CARD.id
    assert CARD.changed(edit="").id == CARD.id
    assert "by the constitution `desk`.\n`desk`: " + CERTIFIED + ".\n" in render(edited)
    assert "by the constitution `desk`.\nThe value head" in render(CARD)
