"""Options of the evaluation: the trained policy against the starting one on held-out prompts.

Does not load the measures that it names; `rlaif.evaluation.measures` does.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from rlaif.config.base import Config
from rlaif.config.judge import JudgeConfig, OtherModelConfig
from rlaif.errors import describe_names

PLAIN_MEASURES = ("words", "sentences", "questions", "refusals", "contractions", "repetition")
"""Built-in measures that need no further package."""
SENTIMENT = "sentiment"
BUILT_IN_MEASURES = (*PLAIN_MEASURES, SENTIMENT)
REGEX = "regex:"
"""Begins a measure that looks for a pattern of the user."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_built_in(measure: str) -> bool:
    """Whether a measure is one of rlaif's for ordinary text, and no function."""
    return measure in BUILT_IN_MEASURES or measure.startswith(REGEX)


def _check_measure(spec: str) -> str:
    if spec.startswith(REGEX):
        _check_pattern(spec.removeprefix(REGEX))
    elif spec not in BUILT_IN_MEASURES and not _FUNCTION.fullmatch(spec):
        names = describe_names(spec, BUILT_IN_MEASURES, noun="the built-in ones")
        raise ValueError(f'"{spec}" is no measure: write module:function, regex:PATTERN or a built-in one; {names}')
    return spec


def _check_pattern(pattern: str) -> None:
    import regex  # type: ignore[import-untyped] # its types are a package of their own

    if not pattern:
        raise ValueError("regex: has no pattern: write regex:PATTERN")
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f'"{pattern}" is no regular expression: {error}') from None


def _refuse_repeated(specs: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [spec for number, spec in enumerate(specs) if spec in specs[:number]]:
        raise ValueError(f'the measure "{twice[0]}" stands there twice: leave one out')
    return specs


MeasureSpec = Annotated[str, AfterValidator(_check_measure)]


class EvaluationJudgeConfig(Config):
    """A judge for the win rate that is not the one whose labels the policy was trained on."""

    model: OtherModelConfig = OtherModelConfig()
    """The model that judges. An option that is null is as in `judge.model`, which is the first judge of a panel."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/. null: the template of `judge`, or `pair` where that one is the
    front desk's and this judge is another model."""

    def instead_of(self, judge: JudgeConfig) -> JudgeConfig:
        """The judge of the evaluation: `judge`, changed by the options that are given here."""
        if self == EvaluationJudgeConfig():
            return judge.judges()[0]
        return judge.with_other(self.model, template=self.template)


class EvaluationConfig(Config):
    """How the trained policy is compared with the starting one."""

    judge: EvaluationJudgeConfig = EvaluationJudgeConfig()
    """Judge of the win rate. Name another model than the judge whose labels trained the policy: the policy may have
    learnt to please that one."""
    num_prompts: int = Field(200, ge=2, le=1_000_000)
    """Held-out prompts, at most; an interval needs at least two. 200 to 1,000 are usual."""
    num_samples: int = Field(1, ge=1, le=1024)
    """Responses per prompt and policy, sampled as in `sampling`."""
    best_of: int = Field(4, ge=0, le=1024)
    """Best-of-n, a comparison that needs no training: of this many responses of the starting policy, take the one with
    the highest reward. 0 or 1: off."""
    num_votes: int = Field(8, ge=0, le=1024)
    """With `verifier`, responses of each policy to each prompt with a known answer: how often one of them is right, the
    answer that most of them give, and the one with the highest reward, where the run trained a reward model. 0: off."""
    measures: Annotated[tuple[MeasureSpec, ...], AfterValidator(_refuse_repeated)] = ()
    """Measures that compare both policies, see docs/measures.md. Built-in measures for ordinary English text: words,
    sentences, questions, refusals, contractions, repetition and sentiment (which needs a package), and regex:PATTERN.
    Or functions `module:function` of (prompt, response) that return named numbers. Empty: the front desk's own on its
    prompts, and the first six built-in ones with any other policy."""
