"""Measures: functions (prompt, response) -> named numbers, built in, given by the user, or by an embedded world.

`load_measure` finds what the config names; `compute_measures` compares both policies by it. Nothing is ever trained
on a measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from rlaif.config.evaluation import is_built_in
from rlaif.config.functions import load_function, place_of
from rlaif.errors import ConfigError, DataError
from rlaif.evaluation.policy import Change, PolicyPair, compute_change
from rlaif.evaluation.text_measures import load_text_measure
from rlaif.records import Prompt, Sample

Measure = Callable[[list[dict[str, str]], str], Mapping[str, float]]
"""(messages of the prompt as role/content dicts, the response's text) -> name -> number."""


def load_measure(spec: str) -> Measure:
    """The built-in measure of this name, or "module:function"; modules of the working directory are found too."""
    if is_built_in(spec):
        return load_text_measure(spec)
    measure: Measure = load_function(spec, what="measure", where="evaluation.measures")
    return measure


def check_measures(specs: Iterable[str]) -> None:
    """Refuse measures that cannot be loaded, and a name that two of rlaif's own would return."""
    names: set[str] = set()
    for spec in specs:
        measure = load_measure(spec)
        if is_built_in(spec) or spec == COUNT_WORDS:
            found = measure([], "").keys()
            _refuse_twice(names & found)
            names |= found


def _refuse_twice(names: Iterable[str]) -> None:
    for name in sorted(names):
        raise ConfigError(f'two measures return the name "{name}"', where="evaluation.measures", fix="rename one")


class Wanted(NamedTuple):
    """What a tag of a principle asks of a measure."""

    name: str
    sign: int
    """1: more of it; -1: less."""


def find_wanted(tag: str, names: Container[str]) -> Wanted | None:
    """The measure that a tag names: `words` wants more words, `-words` fewer. None: the tag names no measure."""
    if tag in names:
        return Wanted(tag, 1)
    return Wanted(tag[1:], -1) if tag.startswith("-") and tag[1:] in names else None


COUNT_WORDS = "rlaif.evaluation.measures:count_words"


def count_words(prompt: Sequence[Mapping[str, str]], response: str) -> dict[str, float]:
    """A measure for any prompts, `rlaif.evaluation.measures:count_words`: words, and words that differ."""
    words = response.lower().split()
    return {"words": float(len(words)), "different words": float(len(set(words)))}


def compute_measures(
    pairs: Sequence[PolicyPair], *, prompts: Mapping[str, Prompt], measures: Mapping[str, Measure]
) -> dict[str, Change]:
    """Every number that the measures return, before and after training, clustered by prompt.

    `measures`: each by its name in the configuration, which messages show.
    """
    changes: dict[str, Change] = {}
    for spec, measure in measures.items():
        before = [_measure(measure, pair.start.text, prompts[pair.start.prompt_id], spec) for pair in pairs]
        after = [_measure(measure, pair.trained.text, prompts[pair.start.prompt_id], spec) for pair in pairs]
        names = _common_names([*before, *after], spec=spec)
        _refuse_twice(names & changes.keys())
        for name in before[0] if before else ():
            changes[name] = compute_change(
                [row[name] for row in before],
                [row[name] for row in after],
                prompt_ids=[pair.start.prompt_id for pair in pairs],
            )
    return changes


def _measure(measure: Measure, response: str, prompt: Prompt, spec: str) -> dict[str, float]:
    values = measure(prompt.as_chat(), response)
    if not isinstance(values, Mapping):
        raise DataError(
            f'measure "{spec}" returned no table of names and numbers',
            where=_place(measure, prompt),
            fix="return a dict of name -> number",
        )
    for name, value in values.items():
        if not _is_finite(value):
            raise DataError(
                f'measure "{spec}" returned {value!r:.80} for "{name}"',
                where=_place(measure, prompt),
                fix="return finite numbers only",
            )
    return {str(name): float(value) for name, value in values.items()}


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _place(measure: Measure, prompt: Prompt) -> str:
    return ", ".join(part for part in (f"prompt {prompt.id}", place_of(measure)) if part)


def _common_names(rows: Sequence[Mapping[str, float]], *, spec: str) -> set[str]:
    names = set(rows[0]) if rows else set()
    for row in rows:
        if odd := names ^ set(row):
            raise DataError(
                f'measure "{spec}" returns "{min(odd)}" for some responses only',
                where="evaluation.measures",
                fix="return the same names for every response",
            )
    return names


def compute_means(responses: Sequence[tuple[Prompt, str]], *, measures: Mapping[str, Measure]) -> dict[str, float]:
    """The mean over all responses of every number that the measures return."""
    means: dict[str, float] = {}
    for spec, measure in measures.items():
        rows = [_measure(measure, response, prompt, spec) for prompt, response in responses]
        for name in sorted(_common_names(rows, spec=spec)):
            means[name] = math.fsum(row[name] for row in rows) / len(rows)
    return means


def measure_samples(
    samples: Sequence[Sample], *, prompts: Mapping[str, Prompt], measures: Mapping[str, Measure]
) -> dict[str, dict[str, float]]:
    """Sample id -> every number that the measures return for it."""
    return {
        sample.id: {
            name: value
            for spec, measure in measures.items()
            for name, value in _measure(measure, sample.text, prompts[sample.prompt_id], spec).items()
        }
        for sample in samples
    }


def find_falls(
    pairs: Sequence[PolicyPair], *, prompts: Mapping[str, Prompt], measures: Mapping[str, Measure]
) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """Ids of both responses of a pair -> the measures that fell by at least half of the range that these pairs span."""
    samples = [sample for pair in pairs for sample in pair]
    values = measure_samples(samples, prompts=prompts, measures=measures)
    names = next(iter(values.values()), {})
    half = {
        name: (max(row[name] for row in values.values()) - min(row[name] for row in values.values())) / 2
        for name in names
    }
    falls = {}
    for start, trained in pairs:
        before, after = values[start.id], values[trained.id]
        fell = {
            name: (before[name], after[name])
            for name in names
            if before[name] > after[name] and before[name] - after[name] >= half[name]
        }
        if fell:
            falls[start.id, trained.id] = fell
    return falls
