"""A trained policy's README: what it was trained from, how, and what the training measured.

Returns Markdown. Measures nothing and writes no file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rlaif.files.markdown import inline_code
from rlaif.ledger.chain import Head
from rlaif.policy.methods import MethodName
from rlaif.records import Estimate, PolicyCard


def render_policy_card(
    card: PolicyCard,
    *,
    rewards: Sequence[str],
    note: str,
    constitution: str,
    ledger_head: Head,
    method: MethodName = "ppo",
    kl: Estimate | None = None,
) -> str:
    """`rewards`: names of the reward sources. `note`: why this is not the last step's policy, empty if it is.
    `ledger_head`: head of the ledger's chain at that time. `kl`: this policy's KL to the reference on held-out prompts,
    None where nothing was evaluated."""
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
    against = f"the reward model `{card.reward_model_id}`" if card.reward_model_id else f"rewards by {rewards[0]}"
    if len(rewards) > 1:
        against = f"the weighted sum of {', '.join(rewards)} (`rewards` below)"
    edit = f"\n{inline_code(constitution)}: {card.edit}." if card.edit else ""
    return f"""---
library_name: transformers
tags: [rlaif, {method}]
---

# Policy trained by {method.upper()}

Trained from {trained_from} against {against},
by the constitution {inline_code(constitution)}.{edit}
The value head is not part of this folder; it loads as a plain causal LM.
{course}
{_describe_kl(kl)}
The ledger's head was `{ledger_head.hex}`, row {ledger_head.seq}: `rlaif audit verify --head` with these 64 digits finds
any change of the decisions before it.

| the last step that is in the weights, on responses drawn before its update | |
| --- | --- |
{numbers}

```json
{options}
```
"""


def _describe_kl(kl: Estimate | None) -> str:
    if kl is None:
        return ""
    interval = "" if kl.low == kl.high else f", 95 % interval {kl.low:.4g} to {kl.high:.4g}"
    return (
        f"KL of this policy to the reference: {kl.mean:.4g} nats per response{interval}, on {kl.n} prompts held out of "
        "its training.\n"
    )
