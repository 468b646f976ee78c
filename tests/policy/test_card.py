"""What a policy's card says of an edit that it was trained under."""

from __future__ import annotations

from rlaif.ledger.sign_offs import StatedHead
from rlaif.policy.card import describe_rewards, render_policy_card
from rlaif.records import PolicyCard

CARD = PolicyCard(model_id="p", reference_model_id="s", reward_model_id="rm", config={}, metrics={"kl": 0.5})
CERTIFIED = "trained under an edit that was certified as better by people (9 of 25 flips labelled, run 001)"


def render(card: PolicyCard) -> str:
    return render_policy_card(
        card, learnt_from="rewards by a", note="", constitution="desk", ledger_head=StatedHead(3, b"\0" * 32)
    )


def test_a_card_names_the_edit_and_one_without_an_edit_keeps_its_content_and_id():
    assert "edit" not in CARD.model_dump()
    edited = CARD.changed(edit=CERTIFIED)
    assert edited.id != CARD.id
    assert CARD.changed(edit="").id == CARD.id
    assert "by the constitution `desk`.\n`desk`: " + CERTIFIED + ".\n" in render(edited)
    assert "by the constitution `desk`.\nThe value head" in render(CARD)


def test_a_card_names_its_method_and_the_methods_before_it_and_one_of_ppo_keeps_its_content():
    assert {"method", "chain"}.isdisjoint(CARD.model_dump())
    learnt = CARD.changed(method="dpo", chain=("sft", "dpo"))
    assert learnt.id != CARD.id
    readme = render_policy_card(
        learnt, learnt_from="pairs of this run", note="", constitution="desk", ledger_head=StatedHead(3, b"\0" * 32),
        chain=("sft", "dpo"),
    )  # fmt: skip
    assert "# Policy trained by DPO\n\nTrained from `s` (start and reference) on pairs of this run,\n" in readme
    assert "Methods, each training the policy of the one before: SFT, DPO." in readme
    assert "value head" not in readme
    assert "against rewards by a,\n" in render(CARD)


def test_reward_sources_are_named_in_words():
    assert describe_rewards(["a", "b"], "rm") == "the weighted sum of a, b (`rewards` below)"
    assert describe_rewards(["a"], "rm") == "the reward model `rm`"
    assert describe_rewards(["a"], None) == "rewards by a"
