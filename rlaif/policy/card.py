"""A trained policy's README: what it was trained from, how, and what the training measured.

Returns Markdown. Measures nothing and writes no file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rlaif.config.methods import BY_REWARDS
from rlaif.files.markdown import inline_code
from rlaif.ledger.sign_offs import StatedHead
from rlaif.records import Estimate, PolicyCard


def render_policy_card(
    card: PolicyCard,
    *,
    learnt_from: str,
    note: str,
    constitution: str,
    ledger_head: StatedHead,
    chain: Sequence[str] = (),
    kl: Estimate | None = None,
) -> str:
    """`learnt_from`: the data or rewards, in words. `note`: why this is not the last step's policy, empty if it is.
    `ledger_head`: head of the ledger's chain at that time. `chain`: the run's methods up to this one. `kl`: this
    policy's KL to the reference on held-out prompts, None where nothing was evaluated."""
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in card.metrics.items())
    options = json.dumps(card.config, indent=2)
    reference, initial = card.reference_model_id, card.trained_from_id or card.reference_model_id
    trained_from = f"`{initial}` (start and reference)"
    if initial != reference:
        trained_from = f"`{initial}`, the round before, with the KL to the reference `{reference}`,"
    course = "".join(f"- after {alarm.step} steps {alarm.sentence}; {alarm.answer}\n" for alarm in card.alarms)
    if course:
        course = f"\nAlarms while it trained:\n\n{course}"
    if card.stopped:
        course += f"\nTraining stopped early: {note}.\n"
    elif note:
        course += f"\nNot the last step's policy: {note}.\n"
    is_by_rewards, method = card.method in BY_REWARDS, card.method
    of_values = "The value head is not part of this folder; it" if method == "ppo" else "It"
    measured = "the last step that is in the weights, on responses drawn before its update" if is_by_rewards else "loss"
    course = f"{_describe_chain(chain)}{course}"
    edit = f"\n{inline_code(constitution)}: {card.edit}." if card.edit else ""
    return f"""---
library_name: transformers
tags: [rlaif, {method}]
---

# Policy trained by {method.upper()}

Trained from {trained_from} {"against" if is_by_rewards else "on"} {learnt_from},
by the constitution {inline_code(constitution)}.{edit}
{of_values} loads as a plain causal LM.
{course}
{_describe_kl(kl)}
The ledger's head was `{ledger_head.hex}`, row {ledger_head.seq}: `rlaif audit verify --head` with these 64 digits finds
any change of the decisions before it.{_describe_signed(ledger_head)}

| {measured} | |
| --- | --- |
{numbers}

```json
{options}
```
"""


def describe_rewards(names: Sequence[str], reward_model_id: str | None) -> str:
    """What a policy was trained against, in words. names: of the reward sources."""
    if len(names) > 1:
        return f"the weighted sum of {', '.join(names)} (`rewards` below)"
    return f"the reward model `{reward_model_id}`" if reward_model_id else f"rewards by {names[0]}"


def _describe_signed(head: StatedHead) -> str:
    """The heads that people signed, each a line."""
    lines = "".join(f"\n- {inline_code(one.describe())}" for one in head.signed)
    return f"\n\nPeople signed it earlier (`rlaif audit verify --allowed-signers`):\n{lines}" if lines else ""


def _describe_chain(chain: Sequence[str]) -> str:
    """The methods that led to a policy; nothing where it was one."""
    if len(chain) < 2:
        return ""
    return f"\nMethods, each training the policy of the one before: {', '.join(name.upper() for name in chain)}.\n"


def _describe_kl(kl: Estimate | None) -> str:
    if kl is None:
        return ""
    interval = "" if kl.low == kl.high else f", 95 % interval {kl.low:.4g} to {kl.high:.4g}"
    return (
        f"KL of this policy to the reference: {kl.mean:.4g} nats per response{interval}, on {kl.n} prompts held out of "
        "its training.\n"
    )
