"""Pairs and principles for the tests of served judges."""

from __future__ import annotations

from rlaif.constitution.render import load_template
from rlaif.records import Constitution, Message, Principle, Prompt, Sample

TEMPLATE = load_template("pair")
CONSTITUTION = Constitution(
    name="c",
    principles=(Principle(id="brief", text="Be brief."), Principle(id="kind", text="Be kind.")),
    source="",
)


def make_pairs(num: int) -> tuple[dict[str, Prompt], list[tuple[Sample, Sample]]]:
    prompts, pairs = {}, []
    for n in range(num):
        prompt = Prompt(messages=(Message(role="user", content=f"question {n}"),), source="test")
        first, second = (
            Sample(prompt_id=prompt.id, policy_id="p", index=i, finish_reason="stop", text=f"reply {i} to {n}")
            for i in range(2)
        )
        prompts[prompt.id] = prompt
        pairs.append((first, second))
    return prompts, pairs
