"""Alarms while the policy trains: pure functions of a short history of numbers.

Numbers come in, an alarm with its sentence goes out, or none. keep.py holds what an alarm does. A loss or a
gradient that is not finite is no alarm but an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rlaif.config.ppo_guards import GuardsConfig
from rlaif.errors import TrainingError
from rlaif.records import Alarm

NUM_RECENT = 3
"""Newest steps whose mean is compared with the first step: one step alone is noisy."""
NGRAM = 3


class Vitals(BaseModel):
    """A step's responses in four numbers that show when a policy goes wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kl: float
    """Nats per response."""
    length: float
    """Tokens per response."""
    eos_rate: float
    """Share of responses that the policy ended itself."""
    repetition: float
    """Share of three-token sequences that repeat an earlier one of the same response."""


class Evaluation(BaseModel):
    """Numbers of the responses to the held-out prompts after `step` steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    numbers: dict[str, float]


class Finding(NamedTuple):
    """A number beyond its limit, in a sentence."""

    value: float
    limit: float
    sentence: str


def find_step_alarm(first: Vitals, recent: Sequence[Vitals], *, step: int, config: GuardsConfig) -> Alarm | None:
    """The gravest alarm that a step's responses give.

    first: the first step's vitals; recent: those of the last `NUM_RECENT` steps or fewer, this step's last.
    """
    for name, finding in _step_findings(first, recent, config):
        if finding is not None:
            return Alarm(name=name, step=step, **finding._asdict())
    return None


def _step_findings(
    first: Vitals, recent: Sequence[Vitals], config: GuardsConfig
) -> Iterator[tuple[str, Finding | None]]:
    def mean(name: str) -> float:
        return math.fsum(getattr(vitals, name) for vitals in recent) / len(recent)

    if config.kl_ceiling is not None:
        yield "kl_ceiling", find_high_kl(recent[-1].kl, ceiling=config.kl_ceiling)
    if config.max_eos_drop is not None:
        yield "max_eos_drop", find_eos_drop(mean("eos_rate"), first=first.eos_rate, most=config.max_eos_drop)
    if config.max_repetition_rise is not None:
        rise = find_repetition(mean("repetition"), first=first.repetition, most=config.max_repetition_rise)
        yield "max_repetition_rise", rise
    if config.max_length_factor is not None:
        yield (
            "max_length_factor",
            find_length_drift(mean("length"), first=first.length, factor=config.max_length_factor),
        )


def find_high_kl(kl: float, *, ceiling: float) -> Finding | None:
    """A KL above its ceiling, both in nats per response."""
    if kl <= ceiling:
        return None
    return Finding(kl, ceiling, f"the KL is {kl:.1f} nats per response, above ppo.guards.kl_ceiling {ceiling:g}")


def find_length_drift(length: float, *, first: float, factor: float) -> Finding | None:
    """Responses much longer or shorter than at first: the ratio of the longer mean to the shorter, in tokens."""
    drift = max(length, first) / max(min(length, first), 1e-9)
    if drift <= factor:
        return None
    return Finding(
        drift, factor,
        f"responses have {length:.1f} tokens where the first step's had {first:.1f}, more than "
        f"ppo.guards.max_length_factor {factor:g} times as {'many' if length > first else 'few'}",
    )  # fmt: skip


def find_eos_drop(rate: float, *, first: float, most: float) -> Finding | None:
    """A fall in the share of responses that the policy ends itself, from `first` to `rate`."""
    drop = first - rate
    if drop <= most:
        return None
    return Finding(
        drop, most,
        f"the policy ends {rate:.1%} of its responses itself and the first step's did {first:.1%}, a fall of more than "
        f"ppo.guards.max_eos_drop {most:g}",
    )  # fmt: skip


def find_repetition(share: float, *, first: float, most: float) -> Finding | None:
    """A rise in the share of three-token sequences that are repeated, from `first` to `share`."""
    rise = share - first
    if rise <= most:
        return None
    return Finding(
        rise, most,
        f"responses repeat {share:.1%} of their three-token sequences and the first step's repeated {first:.1%}, a "
        f"rise of more than ppo.guards.max_repetition_rise {most:g}",
    )  # fmt: skip


def find_evaluation_alarm(evaluations: Sequence[Evaluation], *, config: GuardsConfig) -> Alarm | None:
    """The alarm that the last evaluation gives; the judge's comes before the held-out reward's."""
    step = evaluations[-1].step
    if config.max_win_rate_drop is not None and "eval/win_rate" in evaluations[-1].numbers:
        judged = [e.numbers for e in evaluations if "eval/win_rate" in e.numbers]
        rates = [numbers["eval/win_rate"] for numbers in judged]
        best = judged[rates.index(max(rates))]
        fallen = find_win_rate_drop(
            rates, most=config.max_win_rate_drop, patience=config.patience,
            standard_error=math.hypot(_win_rate_error(best), _win_rate_error(judged[-1])),
        )  # fmt: skip
        if fallen is not None:
            return Alarm(name="max_win_rate_drop", step=step, **fallen._asdict())
    known = [e.numbers for e in evaluations if "eval/held_out" in e.numbers and "eval/scores" in e.numbers]
    if config.max_held_out_drop is not None and known and known[-1] is evaluations[-1].numbers:
        fallen = find_held_out_drop(
            [numbers["eval/held_out"] for numbers in known],
            scores=[numbers["eval/scores"] for numbers in known],
            standard_error=known[-1]["eval/held_out_se"],
            share=config.max_held_out_drop,
            patience=config.patience,
        )
        if fallen is not None:
            return Alarm(name="max_held_out_drop", step=step, **fallen._asdict())
    return None


def _win_rate_error(numbers: Mapping[str, float]) -> float:
    """Standard error of a win rate by its 95 % interval; 0 where it has none."""
    low, high = (numbers.get(f"eval/win_rate_{end}") for end in ("low", "high"))
    return 0.0 if low is None or high is None else (high - low) / (2 * 1.96)


def find_win_rate_drop(
    rates: Sequence[float], *, most: float, patience: int, standard_error: float = 0.0
) -> Finding | None:
    """A fall of the judge's win rate in all of the last `patience` evaluations.

    rates: win rates against the starting policy, in order of time. standard_error: that of the difference between the
    best rate and the last one; a fall within two of them is chance.
    """
    best = max(rates)
    drop, limit = best - max(rates[-patience:]), max(most, 2 * standard_error)
    if len(rates) <= patience or drop <= limit:
        return None
    return Finding(
        drop, limit,
        f"by the judge the policy wins {rates[-1]:.1%} against its start and won {best:.1%} at its best, a fall of "
        f"more than {'' if limit == most else f'{limit:.3f}, two standard errors, and '}"
        f"ppo.guards.max_win_rate_drop {most:g} in {_format_times(patience)}",
    )  # fmt: skip


def find_held_out_drop(
    held_out: Sequence[float], *, scores: Sequence[float], standard_error: float, share: float, patience: int
) -> Finding | None:
    """Over-optimisation as Gao et al. 2023 (arXiv:2210.10760) show it: the proxy rises, another reward falls.

    held_out, scores: means of the held-out reward and of the training reward, in time, the first before training.
    The limit is `share` of what the held-out reward had gained, but no less than two standard errors.
    """
    best = max(held_out)
    drop = best - max(held_out[-patience:])
    limit = max(share * (best - held_out[0]), 2 * standard_error)
    rose = scores[-1] > scores[held_out.index(best)]
    if len(held_out) <= patience or drop <= limit or not rose:
        return None
    return Finding(
        drop, limit,
        f"the held-out reward is {held_out[-1]:.3f} and was {best:.3f} at its best, a fall of more than {limit:.3f} "
        f"(ppo.guards.max_held_out_drop {share:g} of its gain) in {_format_times(patience)}, while the training reward "
        f"rose from {scores[held_out.index(best)]:.3f} to {scores[-1]:.3f}",
    )  # fmt: skip


def _format_times(patience: int) -> str:
    return "one evaluation" if patience == 1 else f"{patience} evaluations in a row"


def compute_repetition(responses: Sequence[Sequence[int]]) -> float:
    """Share of `NGRAM`-token sequences that repeat an earlier one of their response; 0 where responses are shorter."""
    total = different = 0
    for ids in responses:
        ngrams = list(zip(*(ids[start:] for start in range(NGRAM)), strict=False))
        total += len(ngrams)
        different += len(set(ngrams))
    return 1 - different / total if total else 0.0


def check_finite(*, loss: float, grad_norm: float, step: int) -> None:
    """Refuse to take an optimizer step from a loss or a gradient that is not finite."""
    for name, value in (("loss", loss), ("gradient norm", grad_norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"the {name} is {value} and training stopped before it reached the weights",
                where=f"PPO step {step}",
                fix="look at the last steps' scores, or lower ppo.learning_rate",
            )
