"""Little worlds for pairing and export: a constitution, prompts, samples and comparisons by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlaif.records import Comparison, Constitution, Message, Principle, PrincipleKey, Prompt, Sample

Compare = Callable[..., Comparison]


@pytest.fixture
def constitution() -> Constitution:
    return Constitution(
        name="courteous and brief",
        principles=(
            Principle(id="courteous", text="Prefer the more courteous reply.", weight=3.0),
            Principle(id="brief", text="Prefer the shorter reply.", weight=1.0),
        ),
        source="name: courteous and brief\n# a fence: ```\n",
    )


@pytest.fixture
def prompts() -> list[Prompt]:
    return [
        Prompt(
            messages=(
                Message(role="system", content="Notice."),
                Message(role="user", content=f"Question {n}?"),
            )
        )
        for n in range(40)
    ]


@pytest.fixture
def samples(prompts: list[Prompt]) -> list[Sample]:
    """Two per prompt."""
    return [
        Sample(prompt_id=prompt.id, policy_id="policy", index=index, finish_reason="stop", text=text)
        for prompt in prompts
        for index, text in enumerate(("Good day, it opens at nine.", "nine `|` <b>now</b>"))
    ]


@pytest.fixture
def compare(constitution: Constitution) -> Compare:
    """A comparison of two samples under the constitution's principle `name`."""

    def make(
        name: str,
        p_first: float,
        *,
        logit: float | None = None,
        ids: tuple[str, str] = ("a", "b"),
        flipped: bool | None = False,
        judge_id: str = "judge",
        prompt_id: str = "prompt",
    ) -> Comparison:
        principle = next(p for p in constitution.principles if p.id == name)
        return Comparison(
            prompt_id=prompt_id,
            sample_ids=ids,
            principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
            judge_id=judge_id,
            judgement_ids=("first", "second"),
            p_first=p_first,
            logit=logit,
            flipped=flipped,
            debiased=True,
        )

    return make
