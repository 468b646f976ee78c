"""What samples, judgements and training steps cost: calls, tokens, seconds and money, from what was observed.

An answer that the ledger already held cost this run nothing and is counted separately. Knows no prices: the cost of a
server's answer was stored with the answer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pydantic import Field

from rlaif.records import FailedJudgement, Judgement, Observed, Sample
from rlaif.records.base import Value
from rlaif.training.metrics import MetricsRow


class StageCost(Value):
    """What one part of a run cost. None: nobody recorded it."""

    name: str
    unit: str
    """What `calls` counts: responses, questions, steps or evaluations."""
    calls: int = Field(ge=0)
    """Made by this run, failed ones too."""
    found: int = Field(0, ge=0)
    """Answers that the ledger held already."""
    prompt_tokens: int | None = None
    """Read by the model."""
    reply_tokens: int | None = None
    """Written by the model."""
    seconds: float | None = None
    money: float | None = None
    """Money, by the prices that were configured when the answers came; None where no answer has a price."""


def cost_of_sampling(name: str, samples: Sequence[Sample], *, num_used: int) -> StageCost:
    """`samples`: those that this run drew; `num_used`: those it worked with."""
    return _cost(name, "responses", [sample.observed for sample in samples], found=num_used - len(samples))


def cost_of_judging(
    name: str, judgements: Sequence[Judgement], *, failures: Sequence[FailedJudgement], num_used: int
) -> StageCost:
    """`judgements` and `failures`: this run's answers, each attempt; `num_used`: judgements it worked with."""
    asked = [judgement for judgement in judgements if judgement.origin == "asked"]
    failed = [failure for failure in failures if failure.origin == "asked"]
    observed = [*(judgement.observed for judgement in asked), *(failure.observed for failure in failed)]
    return _cost(name, "questions", observed, found=num_used - len(asked))


def cost_of_training(name: str, rows: Sequence[MetricsRow], *, unit: str = "steps") -> StageCost:
    """The cost of a training, from a row of metrics for each step; PPO's rows also say how much the policy wrote."""
    seconds = [row.numbers.get("seconds") for row in rows]
    known = [value for value in seconds if value is not None]
    return StageCost(
        name=name,
        unit=unit,
        calls=len(rows),
        reply_tokens=_written(rows),
        seconds=math.fsum(known) if known and len(known) == len(rows) else None,
    )


class TotalCost(NamedTuple):
    """The sum over the parts that recorded a quantity; None where no part did."""

    read: int | None
    written: int | None
    seconds: float | None
    money: float | None


def total_cost(costs: Collection[StageCost]) -> TotalCost:
    """The cost of all parts together."""
    read = [cost.prompt_tokens for cost in costs if cost.prompt_tokens is not None]
    written = [cost.reply_tokens for cost in costs if cost.reply_tokens is not None]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    return TotalCost(
        sum(read) if read else None, sum(written) if written else None, _sum(seconds),
        _sum([cost.money for cost in costs if cost.money is not None]),
    )  # fmt: skip


def _sum(known: Sequence[float]) -> float | None:
    return math.fsum(known) if known else None


def _cost(name: str, unit: str, observed: Sequence[Observed], *, found: int) -> StageCost:
    known = not observed or any(one.prompt_tokens or one.latency_s for one in observed)
    return StageCost(
        name=name,
        unit=unit,
        calls=len(observed),
        found=max(0, found),
        prompt_tokens=sum(one.prompt_tokens for one in observed) if known else None,
        reply_tokens=sum(one.reply_tokens for one in observed) if known else None,
        seconds=math.fsum(one.latency_s for one in observed) if known else None,
        money=_sum([one.served.cost for one in observed if one.served is not None and one.served.cost is not None]),
    )


def _written(rows: Sequence[MetricsRow]) -> int | None:
    """Tokens that the policy wrote: each step's episodes times their mean length; None where a row lacks either."""
    total, before = 0.0, 0.0
    for row in rows:
        episodes, length = row.numbers.get("episode"), row.numbers.get("val/response_length")
        if episodes is None or length is None:
            return None
        total, before = total + (episodes - before) * length, episodes
    return round(total) if rows else None
