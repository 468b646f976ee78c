"""A trained policy's README: what it was trained from, how, and what the training measured.

Returns Markdown. Measures nothing and writes no file.
"""

from __future__ import annotations

import json

from rlaif.records import PolicyCard


def render_policy_card(card: PolicyCard, *, note: str, constitution: str, ledger_head: str) -> str:
    """`note`: why training stopped early, empty if it did not; `ledger_head`: the chain's head at that time."""
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in card.metrics.items())
    options = json.dumps(card.config, indent=2)
    stopped = f"\nTraining stopped early: {note}.\n" if note else ""
    return f"""---
library_name: transformers
tags: [rlaif, ppo]
---

# Policy trained by PPO

Trained from `{card.reference_model_id}` (start and reference) against the reward model `{card.reward_model_id}`,
by the constitution "{constitution}". The value head is not part of this folder; it loads as a plain causal LM.
{stopped}
The ledger's head was `{ledger_head}`: `rlaif audit verify` finds any change of the decisions before it.

| last step | |
| --- | --- |
{numbers}

```json
{options}
```
"""
