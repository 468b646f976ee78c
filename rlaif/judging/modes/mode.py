"""What a judge mode is: functions from pairs to questions, prompts, answers and comparisons, and words for people.

Names no mode; the table is in `rlaif.judging.modes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from rlaif.config.judge import JudgeConfig
from rlaif.config.run import RunConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.choices import Unusable
from rlaif.models.interface import ScoredReply, ScoreRequest
from rlaif.records import (
    Comparison,
    Constitution,
    Judgement,
    Message,
    OrderVerdict,
    Principle,
    Question,
    Sample,
    SegmentedMessage,
)

Pair = tuple[Sample, Sample]
Found = Mapping[str, Sequence[Judgement]]
"""Question id -> its judgement, then its further votes; questions without an answer are missing."""


class Planned(NamedTuple):
    """The samples of one question in the order shown, and its principle."""

    shown: tuple[Sample, ...]
    principle: Principle


class Shown(NamedTuple):
    """A response as a question shows it."""

    text: str
    is_whole: bool = True
    """Whether it ends where its model ended it; False where it ran out of tokens."""


class Debiased(NamedTuple):
    """What all answers about a pair say together of its first response."""

    p_first: float
    logit: float | None
    position_effect: float | None
    flipped: bool | None
    orders: tuple[OrderVerdict, ...] = ()
    """Each of two orders separately, the one as listed first; empty in modes without two orders."""


class Plan(Protocol):
    def __call__(
        self,
        pairs: Iterable[Pair],
        /,
        *,
        constitution: Constitution,
        template: JudgeTemplate,
        config: JudgeConfig,
        draw_seed: int | None,
    ) -> Iterator[Planned]:
        """Which questions the pairs need. `draw_seed`: as in `Asking`."""


class Count(Protocol):
    def __call__(
        self, *, num_prompts: int, num_samples: int, num_pairs: int, num_principles: int, config: JudgeConfig
    ) -> int:
        """How many questions there are at most; `num_samples` and `num_pairs` are those of one prompt."""


class Render(Protocol):
    def __call__(
        self,
        template: JudgeTemplate,
        /,
        *,
        conversation: Sequence[Message],
        responses: Sequence[Shown],
        principle: Principle,
    ) -> tuple[SegmentedMessage, ...]:
        """The prompt of one question; `responses` in the order shown."""


class Read(Protocol):
    def __call__(
        self, reply: ScoredReply, /, *, template: JudgeTemplate, num_shown: int, min_label_mass: float
    ) -> dict[str, Any] | Unusable:
        """What a reply says, as fields of a `Judgement`, or why it says nothing."""


class Combine(Protocol):
    def __call__(
        self,
        questions: Sequence[Question],
        found: Found,
        /,
        *,
        pairs: Sequence[Pair],
        constitution: Constitution,
        template: JudgeTemplate,
        draw_seed: int | None,
    ) -> Iterator[Comparison]:
        """The comparisons of those pairs whose questions were all answered."""


class Check(Protocol):
    def __call__(self, config: RunConfig, /, *, template: JudgeTemplate) -> None:
        """Raises `ConfigError` where the mode cannot serve the run's options."""


class CheckPrinciples(Protocol):
    def __call__(self, constitution: Constitution, /, *, template: JudgeTemplate) -> None:
        """Raises `ConstitutionError` where the judge cannot be asked about a principle."""


class Worth(Protocol):
    def __call__(
        self, answers: Sequence[Sequence[Judgement]], /, *, weights: Sequence[float], template: JudgeTemplate
    ) -> float:
        """What one response is worth, from -1 to 1. `answers`: its judgement, then its further votes, under each of
        the principles that have these weights."""


class DescribeChoices(Protocol):
    def __call__(self, template: JudgeTemplate, /) -> str:
        """Which strings the judge answers with."""


def verdict_request(template: JudgeTemplate) -> ScoreRequest:
    """How an engine is asked for the verdict of a template."""
    return ScoreRequest(
        marker=template.verdict_marker,
        choices=template.choices,
        max_reason_tokens=template.reason_max_tokens,
    )


class Words(NamedTuple):
    """What people read about a mode, in `audit show`, `judge-check`, `constitution show` and the report."""

    question: str
    """What one question is called among those about a pair: "order 1", "order 2"."""
    first_shown: str
    """How the first response of a question is labelled."""
    orders: str
    """A sentence for the report: what the order of the responses has to do with a label."""
    too_few: str
    """What follows "the comparison was" where it was shown in too few orders to average the place out."""
    too_few_orders: str
    """The same of the orders: what follows "orders:"."""
    answers: str
    """What the strings that the judge answers with are called."""
    describe_choices: DescribeChoices
    scale: str = ""
    """A sentence for the report on where the labels' scale comes from while no people's labels have set it; empty where
    the labels are the judge's probabilities."""


class Mode(NamedTuple):
    """One way to ask a judge about responses."""

    shows: Literal["one", "two", "all"]
    """How many responses one question shows. one: no order has a say, so nothing can flip. two: the pairs that were
    drawn are asked about. one and all: every pair of a prompt's responses is compared, at no further cost."""
    request: Callable[[JudgeTemplate], ScoreRequest]
    """How an engine is asked."""
    plan: Plan
    count_questions: Count
    render: Render
    read: Read
    combine: Combine
    words: Words
    check: Check | None = None
    """None: the mode can serve all options."""
    check_principles: CheckPrinciples | None = None
    """None: the mode takes all principles."""
    compare_alone: Callable[[Sequence[Judgement], Sequence[Judgement], JudgeTemplate], Debiased] | None = None
    """What the answers about two responses say of the first; None where responses are shown together."""
    worth: Worth | None = None
    """None: the mode compares responses and cannot say what one alone is worth, so it gives no rewards."""
