"""Rows of replies -> the steering table: what each principle moved, by an instrument that training never saw.

An instrument is a function of a reply; a reply's score is compared between the trained policy and its start. Intervals
are bootstrapped over prompts within seeds. Trains nothing and asks no judge.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlaif.evaluation.text_measures import load_text_measure

DRAWS = 2000
LEAST_RATIO = 1.3
"""Most that the perplexity of the replies under the untouched model may grow by."""


INTRO = """\
SmolLM2-135M-Instruct in PPO, by [examples/real-model](../examples/real-model): from the judge, the reward of a reply
is how much likelier a principle makes it than the principle's opposite does, in the eyes of the untouched model
itself. Before and after are 40 prompts that no training saw, four replies each; intervals are bootstrapped over
prompts within seeds. *Moved as asked*: the wanted sign in every seed, and the interval clear of zero. The perplexity
is that of the untouched model, as a ratio to its own replies'. The placebo has the scores of the first principle,
shuffled.

Each principle's instrument was named before anything was trained, and no training sees it. The settings, and the
words of *warm*, were found on seed 1 of *warm* with the sentiment in view. An earlier wording, "Reply warmly, like a
kind friend who is happy to help", was learnt as rows of emoji in both trainings: in one the sentiment moved by -2.8
(-7.0 to +1.6), in the other its own score rose from .08 to .32 in five steps while half of all sequences were
repeated. Of four wordings the one with the closest tie to the sentiment on 512 replies to training prompts was taken
(correlation within prompts .17; of the earlier one .06).

One training is one draw: its interval covers the prompts, and not the training's own chance. Trained again with seed 1
on another kind of processor, whose last bits differ, *warm* moved the sentiment by +4.2 (-0.3 to +8.8) at 5.3 nats and
*cold* by 0.0 (-5.2 to +5.3) at 8.4 nats, so neither was shown to move there.
"""


class Instrument(NamedTuple):
    measure: str
    sign: int
    """1 where the principle wants more of it, -1 where it wants less."""


EXAMPLE_WORDS = r"regex:(?i)\b(for example|for instance|such as|e\.g\.)"
INSTRUMENTS: Mapping[str, Instrument] = {
    "warm": Instrument("sentiment", 1), "cold": Instrument("sentiment", -1),
    "brief": Instrument("words", -1), "wordy": Instrument("words", 1),
    "formal": Instrument("contractions", -1), "casual": Instrument("contractions", 1),
    "gives_an_example": Instrument(EXAMPLE_WORDS, 1),
}  # fmt: skip
"""The instrument of each arm, chosen before any training and named in the table."""


class Move(NamedTuple):
    """How one number changed from the starting policy to the trained one."""

    before: float
    change: float
    low: float
    high: float
    """Ends of the 95 % interval of the change."""
    by_seed: tuple[float, ...]

    def is_clear(self, sign: int) -> bool:
        """Whether the change has this sign in every seed, and its interval lies clear of zero."""
        return all(sign * change > 0 for change in self.by_seed) and (self.low > 0 if sign > 0 else self.high < 0)


def measure_move(rows: Sequence[Mapping[str, Any]], score: Callable[[Mapping[str, Any]], float]) -> Move:
    """The change of a reply's score, over the seeds of one arm."""
    generator = np.random.default_rng(0)
    differences, before, drawn = [], [], []
    for row in rows:
        pairs = [(_mean(one["start"], score), _mean(one["trained"], score)) for one in row["replies"]]
        differences.append(np.array([trained - start for start, trained in pairs]))
        before.append(statistics.fmean(start for start, _ in pairs))
    for _ in range(DRAWS):
        drawn.append(statistics.fmean(float(generator.choice(d, size=len(d)).mean()) for d in differences))
    low, high = np.quantile(drawn, [0.025, 0.975])
    by_seed = tuple(float(d.mean()) for d in differences)
    return Move(statistics.fmean(before), statistics.fmean(by_seed), float(low), float(high), by_seed)


def _mean(replies: Sequence[Mapping[str, Any]], score: Callable[[Mapping[str, Any]], float]) -> float:
    return statistics.fmean(score(reply) for reply in replies)


def text_score(measure: str) -> Callable[[Mapping[str, Any]], float]:
    """A built-in measure as a score of a reply."""
    function = load_text_measure(measure)

    def score(reply: Mapping[str, Any]) -> float:
        [value] = function([], reply["text"]).values()
        return value

    return score


class ArmFigures(NamedTuple):
    """One line of the table."""

    arm: str
    through: str
    seeds: tuple[int, ...]
    instrument: Instrument | None
    """None for the placebo, which wants nothing."""
    moved: Mapping[str, Move]
    """By the name of the measure, for every instrument of the table."""
    perplexity_ratio: float
    """Perplexity of the trained policy's replies under the untouched model, over that of its own replies."""
    repetition: Move
    ended: Move
    kl: float
    minutes: float

    @property
    def verdict(self) -> str:
        if self.instrument is None:
            hit = [name for name, move in self.moved.items() if move.low > 0 or move.high < 0]
            return "within the noise" if not hit else f"moved {', '.join(map(describe_measure, hit))}"
        move = self.moved[self.instrument.measure]
        if move.is_clear(self.instrument.sign):
            return "moved as asked"
        return "moved the wrong way" if move.is_clear(-self.instrument.sign) else "not shown to move"


def compute_figures(
    rows: Sequence[Mapping[str, Any]], *, instruments: Mapping[str, Instrument] = INSTRUMENTS
) -> list[ArmFigures]:
    """A line for each arm, in the order of the instruments, the placebo last."""
    order = [*instruments, "placebo"]
    names = list(dict.fromkeys(instrument.measure for instrument in instruments.values()))
    scores = {name: text_score(name) for name in names}
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["through"], row["arm"]), []).append(row)
    keys = sorted(grouped, key=lambda key: (key[0], order.index(key[1]) if key[1] in order else len(order)))
    return [
        ArmFigures(
            arm=arm,
            through=through,
            seeds=tuple(row["seed"] for row in grouped[through, arm]),
            instrument=instruments.get(arm),
            moved={name: measure_move(grouped[through, arm], score) for name, score in scores.items()},
            perplexity_ratio=_perplexity_ratio(grouped[through, arm]),
            repetition=measure_move(grouped[through, arm], text_score("repetition")),
            ended=measure_move(grouped[through, arm], lambda reply: 100.0 * reply["ended"]),
            kl=statistics.fmean(row["kl"] or 0.0 for row in grouped[through, arm]),
            minutes=statistics.fmean(row["seconds"] for row in grouped[through, arm]) / 60,
        )
        for through, arm in keys
    ]


def _perplexity_ratio(rows: Sequence[Mapping[str, Any]]) -> float:
    move = measure_move(rows, lambda reply: reply["nats_by_token"])
    return math.exp(move.change)


def describe_measure(name: str) -> str:
    return "says 'for example' or the like" if name == EXAMPLE_WORDS else name


def render_markdown(
    figures: Sequence[ArmFigures], rows: Sequence[Mapping[str, Any]], *, command: str, more: str = ""
) -> str:
    """The table, what the other instruments saw, `more`, and replies side by side."""
    lines = [
        INTRO,
        "| rewards from | principle | seeds | instrument | before | change | 95 % interval | by seed | perplexity ratio"
        " | ended | KL | verdict |",
        "| --- | --- | ---: | --- | ---: | ---: | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for one in figures:
        instrument = one.instrument or Instrument("sentiment", 1)
        move = one.moved[instrument.measure]
        wanted = "" if one.instrument is None else f", wants {'more' if instrument.sign > 0 else 'less'}"
        lines.append(
            f"| {'the judge' if one.through == 'judge' else 'a reward model'} | {one.arm} | {len(one.seeds)} "
            f"| {describe_measure(instrument.measure)}{wanted} | {move.before:.1f} | {move.change:+.1f} "
            f"| {move.low:+.1f} to {move.high:+.1f} | {', '.join(f'{x:+.1f}' for x in move.by_seed)} "
            f"| {one.perplexity_ratio:.2f} | {one.ended.change:+.0f} % | {one.kl:.1f} | {one.verdict} |"
        )
    lines += ["", f"Made by `{command}`.", "", "## What else moved", "", *_render_others(figures)]
    lines += ["", more, "## Replies side by side", "", *_render_replies(rows)]
    return "\n".join(lines) + "\n"


def _render_others(figures: Sequence[ArmFigures]) -> list[str]:
    names = list(dict.fromkeys(name for one in figures for name in one.moved))
    head = "| rewards from | principle | " + " | ".join(map(describe_measure, names)) + " | repetition | minutes |"
    lines = [head, "| --- | --- |" + " ---: |" * (len(names) + 2)]
    for one in figures:
        cells = [f"{one.moved[name].change:+.1f}" for name in names]
        lines.append(
            f"| {one.through} | {one.arm} | {' | '.join(cells)} | {one.repetition.change:+.1f} | {one.minutes:.1f} |"
        )
    return lines


def _render_replies(rows: Sequence[Mapping[str, Any]], *, num: int = 3) -> list[str]:
    lines = []
    first = min((row["seed"] for row in rows), default=0)
    for row in rows:
        if row["seed"] != first or row["arm"] == "placebo":
            continue
        lines += [f"**{row['arm']}**, rewards from the {row['through']}:", ""]
        for one in row["replies"][:num]:
            lines += [
                f"- *{one['prompt']}*",
                f"  - before: {_flat(one['start'][0]['text'])}",
                f"  - after: {_flat(one['trained'][0]['text'])}",
            ]
        lines.append("")
    return lines


def _flat(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def as_json(figures: Sequence[ArmFigures]) -> list[dict[str, Any]]:
    return [
        {
            "arm": one.arm, "through": one.through, "seeds": list(one.seeds), "verdict": one.verdict,
            "instrument": None if one.instrument is None else one.instrument._asdict(),
            "moved": {name: move._asdict() for name, move in one.moved.items()},
            "perplexity_ratio": one.perplexity_ratio, "repetition": one.repetition._asdict(),
            "ended": one.ended._asdict(), "kl": one.kl, "minutes": one.minutes,
        }
        for one in figures
    ]  # fmt: skip
