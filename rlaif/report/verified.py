"""Both policies' responses to held-out prompts with known answers -> who is right, as evaluation/votes.py counts it.

Asks the verifier. Draws no samples and scores none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.evaluation.verifier import Verifier
from rlaif.evaluation.votes import Answered, VerifiedAnswers, compare_answers
from rlaif.records import Prompt, Sample


class Verified(NamedTuple):
    """What was verified, and the responses behind it."""

    answers: VerifiedAnswers | None = None
    samples: Sequence[Sample] = ()


NOT_VERIFIED = Verified()


def find_verifiable(prompts: Sequence[Prompt], verifier: Verifier) -> list[Prompt]:
    """The prompts whose answers can be checked: those with a known answer, or all where a function verifies."""
    return [prompt for prompt in prompts if prompt.reference is not None or verifier.correct is not None]


def verify_samples(
    prompts: Sequence[Prompt],
    *,
    start: Sequence[Sample],
    trained: Sequence[Sample],
    verifier: Verifier,
    rewards: Mapping[str, float] | None,
    num_unknown: int,
) -> Verified:
    """The answers of both policies, which responded to each prompt equally often.

    rewards: a reward model's by sample id, without those that it could not score; None: none was asked. num_unknown:
    held-out prompts beside these, whose answers cannot be checked.
    """
    before, after = (_check(drawn, prompts, verifier=verifier, rewards=rewards) for drawn in (start, trained))
    answers = compare_answers(before, after, is_same=verifier.is_same, num_unknown=num_unknown)
    return Verified(answers, [*start, *trained])


def _check(
    samples: Sequence[Sample], prompts: Sequence[Prompt], *, verifier: Verifier, rewards: Mapping[str, float] | None
) -> list[Answered]:
    """The responses to each prompt, verified."""
    of: dict[str, list[Sample]] = {prompt.id: [] for prompt in prompts}
    for sample in sorted(samples, key=lambda sample: sample.index):
        of[sample.prompt_id].append(sample)
    return [
        Answered(
            prompt.id,
            [verifier.check(prompt, sample.text) for sample in of[prompt.id]],
            None if rewards is None else [rewards.get(sample.id) for sample in of[prompt.id]],
        )
        for prompt in prompts
    ]
