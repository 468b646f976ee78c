"""The evaluation's verified answers: each policy's responses to held-out prompts with a known answer, and who is right.

Draws, verifies, and has the round's reward model rank where there is one; the arithmetic is in evaluation/votes.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rlaif.console import say
from rlaif.evaluation.verifier import Verifier, load_verifier
from rlaif.evaluation.votes import Answered, VerifiedAnswers, compare_answers
from rlaif.models.interface import TextGenerator
from rlaif.records import Prompt, Sample
from rlaif.report.tables import describe_verified
from rlaif.reward_model.ensemble import open_scorer
from rlaif.run.book import Book
from rlaif.run.input_checks import expect_verifier
from rlaif.run.round import Round
from rlaif.run.shelf import Shelf
from rlaif.run.stages import EVALUATION, REWARD_MODEL
from rlaif.sampling.stage import draw_samples, find_known_answers


class Verified(NamedTuple):
    """What was verified, and the responses behind it."""

    answers: VerifiedAnswers | None = None
    samples: Sequence[Sample] = ()


NOT_VERIFIED = Verified()


def verify_answers(round: Round, book: Book, shelf: Shelf, *, prompts: Sequence[Prompt]) -> Verified:
    """Both policies' answers to the held-out prompts; nothing without a verifier, or where none has a known answer."""
    config = round.config
    if not config.verifier.is_given or not config.evaluation.num_votes:
        return NOT_VERIFIED
    verifier = load_verifier(config.verifier)
    expect_verifier(round, EVALUATION)
    given = find_known_answers(round, prompts)
    asked = [prompt for prompt in given if prompt.reference is not None or verifier.correct is not None]
    if not asked:
        say("evaluation: no held-out prompt has a known answer, so no answer is verified")
        return NOT_VERIFIED
    draw = partial(_draw, round, asked)
    start = draw(generator=shelf.generator("start"), name="start_votes_")
    trained = draw(generator=shelf.generator("trained"), name="trained_votes_")
    rewards = _rank(book, round, shelf, asked, samples=[*start, *trained])
    answers = compare_answers(
        _check(start, asked, verifier=verifier, rewards=rewards),
        _check(trained, asked, verifier=verifier, rewards=rewards),
        is_same=verifier.is_same,
        num_unknown=len(prompts) - len(asked),
    )
    if answers is not None:
        say(f"evaluation: {describe_verified(answers)}")
    return Verified(answers, [*start, *trained])


def _draw(round: Round, prompts: Sequence[Prompt], *, generator: TextGenerator, name: str) -> list[Sample]:
    return draw_samples(
        round,
        EVALUATION,
        prompts,
        generator=generator,
        num_samples=round.config.evaluation.num_votes,
        seed=round.config.seed,
        name=name,
    )


def _rank(
    book: Book, round: Round, shelf: Shelf, prompts: Sequence[Prompt], *, samples: Sequence[Sample]
) -> Mapping[str, float] | None:
    """The round's reward model's rewards by sample id; None where the round trained none, or there is one response."""
    if round.config.evaluation.num_votes < 2 or not book.is_done(REWARD_MODEL, round=round.number):
        return None
    by_id = {prompt.id: prompt for prompt in prompts}
    scorer = open_scorer(shelf.reward_model())
    outcomes = scorer.score_each([(by_id[sample.prompt_id], sample.text) for sample in samples])
    return {s.id: o for s, o in zip(samples, outcomes, strict=True) if isinstance(o, float)}


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
