"""Questions to the judge, its judgements, and the failures that are never numbers.

A question's id is the request key: everything that fixes the answer and nothing else (no run, no
constitution weight). Does not render prompts.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rlaif.records.base import Observed, Record, Value, computed_once

Verdict = Literal["first", "second", "tie"]
FailureCause = Literal[
    "unparsable",
    "refused",
    "filtered",
    "empty",
    "truncated",
    "low_mass",
    "non_finite",
    "impossible_logprobs",
    "over_length",
    "endpoint",
]


JudgeMode = Literal["pair", "score", "ranking", "contrast"]
"""How a judge is asked about responses: `rlaif.judging.modes` says what each mode does."""


class PrincipleKey(Value):
    id: str
    text_digest: str
    opposite_digest: str = Field("", exclude_if=lambda digest: not digest)
    """The digest of the principle's opposite, where the judge read that too; it is left out of ids where empty."""

    @computed_once
    def wording(self) -> tuple[str, str]:
        """What the judge was asked: the id, and the digests of what it read."""
        return self.id, self.text_digest + self.opposite_digest


class Question(Record):
    """A question to the judge. Its id is the request key."""

    table: ClassVar[str] = "questions"
    mode: JudgeMode
    prompt_id: str
    sample_ids: tuple[str, ...]
    """Samples in the order shown."""
    principles: tuple[PrincipleKey, ...]
    template_digest: str | None
    """None where the exact prompt is not known (imported verdicts)."""
    judge_id: str
    """The `Model` record's id."""
    decoding: str = "greedy"
    rendered_digest: str | None
    """sha256 of the rendered prompt; None where the exact prompt is not known."""
    draw: int = 0


class VerdictLogprob(Value):
    verdict: Verdict
    logprob: float = Field(le=1e-6)


class Judgement(Record):
    """The one acknowledged answer to a question."""

    table: ClassVar[str] = "judgements"
    text_fields: ClassVar[tuple[str, ...]] = ("reason", "raw_reply")
    left_out_when_empty: ClassVar[tuple[str, ...]] = (
        "choice_logprobs",
        "unlisted",
        "unlisted_at_most",
        "log_likelihoods",
        "num_response_tokens",
    )
    column_when_used: ClassVar[tuple[str, ...]] = (
        "unlisted",
        "unlisted_at_most",
        "log_likelihoods",
        "num_response_tokens",
    )
    question_id: str
    origin: Literal["asked", "imported"] = "asked"
    verdict: Verdict | None = None
    score: float | None = None
    """Expected score, 1 for the lowest; without log-probabilities, the score that the judge wrote. For a contrast: how
    much likelier the principle makes the response, in nats, by token or summed as the template says."""
    ranking: tuple[int, ...] | None = None
    """The replies from best to worst, each by its place in the order shown, from 0. Without log-probabilities only the
    best reply is known."""
    logprobs: tuple[VerdictLogprob, ...] = ()
    """Unnormalised log-probabilities of the verdicts that were listed; empty where none are known."""
    choice_logprobs: tuple[float | None, ...] = ()
    """For a score: unnormalised log-probabilities of the scores, lowest first. For a ranking: those of the replies, in
    the order shown. None: the judge's server did not list this one. Empty where none are known."""
    unlisted: tuple[Verdict, ...] = ()
    """Verdicts that the judge's server left out of its list while it listed others."""
    unlisted_at_most: float | None = Field(None, le=0)
    """Upper bound on the log-probability of each verdict or choice that was left out; None where none was left out, and
    in older records."""
    log_likelihoods: tuple[float, ...] = ()
    """For a contrast: the response's log-likelihood under the principle, then under its opposite or under none, each
    summed over the response's tokens. Empty for other modes."""
    num_response_tokens: int | None = None
    """Number of tokens that `log_likelihoods` were summed over; None for other modes."""
    label_mass: float | None = Field(None, ge=0, le=1 + 1e-6)
    """Total probability that the judge put on the verdict strings."""
    reason: str | None = None
    raw_reply: str
    observed: Observed = Observed()

    @model_validator(mode="after")
    def _has_one_outcome(self) -> Self:
        if sum(x is not None for x in (self.verdict, self.score, self.ranking)) != 1:
            raise ValueError("a judgement has exactly one of verdict, score and ranking")
        return self


class FailedJudgement(Record):
    """An answer that cannot be used. It is counted and shown, and is never a number; on resume its question is asked
    again, up to a limit."""

    table: ClassVar[str] = "failed_judgements"
    text_fields: ClassVar[tuple[str, ...]] = ("raw_reply",)
    question_id: str
    origin: Literal["asked", "imported"] = "asked"
    cause: FailureCause
    attempt: int = 1
    raw_reply: str = ""
    observed: Observed = Observed()


class OrderVerdict(Value):
    """The verdict of one order alone, turned to the order in which the comparison lists its samples."""

    verdict: Verdict
    """`first` means the first of the comparison's samples. With several votes: the verdict of most of them."""
    logit: float | None
    """Log-odds of the comparison's first sample, with a tie's probability shared evenly; None without
    log-probabilities."""


class Comparison(Record):
    """A pair under one principle by one judge: both orders combined, two scores, or the shuffles of a ranking."""

    table: ClassVar[str] = "comparisons"
    left_out_when_empty: ClassVar[tuple[str, ...]] = ("orders",)
    prompt_id: str
    sample_ids: tuple[str, str]
    """Canonical order: sorted by id."""
    principle: PrincipleKey
    judge_id: str
    judgement_ids: tuple[str, ...]
    """For a pair: the judgement of the listed order, then that of the swapped order where it was asked. For scores: the
    first sample's, then the second's. For a ranking: one for each shuffle."""
    p_first: float = Field(ge=0, le=1)
    """Probability that the first of `sample_ids` is better."""
    logit: float | None
    """Log-odds from which `p_first` was computed: the mean over the orders. None without log-probabilities."""
    position_effect: float | None = None
    """Logits by which being shown first helped; None for scores, for one order alone and without log-probabilities."""
    flipped: bool | None = None
    """Whether the two orders named different winners; None for scores and for one order alone."""
    orders: tuple[OrderVerdict, ...] = ()
    """One for each of `judgement_ids`; empty for scores, for rankings and in older records."""
    debiased: bool
    """True where both orders were asked, or where each reply was scored alone and has no order."""
