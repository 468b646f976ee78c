"""An answer that can be verified: does the reply give the hour or floor that stands in the desk's notice?"""

from __future__ import annotations

from rlaif.frontdesk.truth import stated_answer, true_answer


def agrees(prompt: list[dict[str, str]], response: str, reference: str | None) -> bool:
    """Whether the reply gives what the notice says of the thing that was asked; the prompts bring no known answer."""
    return stated_answer(prompt, response) == true_answer(prompt)
