"""False certificates of `rlaif.stats.betting` when an adversary looks after every label and stops when he likes.

What `python benchmarks/people.py anytime` runs. The truth lies on the border of each null, so every certificate is a
false one. A world fails above 6.5 %, the 99.9 % Monte-Carlo limit of 5 % in 2,000 runs; a control is a mistake that
must be above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaif.stats.betting import (
    Side,
    Stream,
    confidence_sequence,
    even_stream,
    log_capitals,
    prompt_stream,
    weighted_stream,
)
from rlaif.stats.intervals import wilson

Array = NDArray[np.float64]
Rng = np.random.Generator
Certify = Callable[[Rng, int], NDArray[np.bool_]]
"""Draws that many runs; whether each was ever certified."""

CHUNK = 250
"""Runs that are drawn together, to bound memory."""
MOST = 0.065
LEVEL, HALF = math.log(20), math.log(40)
FIRST_LOOK = 20
Z_ONE_SIDED = 1.6449


class Case(NamedTuple):
    world: str
    what: str
    certify: Certify
    is_control: bool = False


def by_betting(stream: Stream, *, null: float, side: Side, level: float = LEVEL) -> NDArray[np.bool_]:
    reached: NDArray[np.bool_] = log_capitals(stream, null=null, side=side).max(axis=-1) >= level
    return reached


def by_wilson(values: Array, *, null: float) -> NDArray[np.bool_]:
    """Wilson's one-sided 95 % lower bound above the null after any label from the 20th on."""
    n = np.arange(1, values.shape[-1] + 1)
    p, z2 = np.cumsum(values, axis=-1) / n, Z_ONE_SIDED**2 / n
    low = (p + z2 / 2 - Z_ONE_SIDED * np.sqrt(p * (1 - p) / n + z2 / (4 * n))) / (1 + z2)
    return np.asarray((low > null)[:, FIRST_LOOK - 1 :].any(axis=-1))


def lists(values: Array, rng: Rng, runs: int) -> Array:
    """The list in as many random orders."""
    return rng.permuted(np.tile(values, (runs, 1)), axis=1)


TIES = np.repeat([0.0, 0.5, 1.0], [160, 80, 160])
RARE = np.repeat([0.0, 1.0], [900, 100])


def endless(rng: Rng, runs: int) -> Array:
    return (rng.random((runs, 1000)) < 0.7).astype(float)


def two_sided(rng: Rng, runs: int) -> NDArray[np.bool_]:
    stream = even_stream(endless(rng, runs))
    above = by_betting(stream, null=0.7, side="above", level=HALF)
    return above | by_betting(stream, null=0.7, side="below", level=HALF)


def prompts(rng: Rng, runs: int) -> Array:
    """60 prompts of 5 pairs each, of shape (runs, 60, 5): a prompt's pairs are alike. The mean is .5 over all prompts
    of this kind."""
    chance = rng.beta(0.5, 0.5, size=(runs, 60, 1))
    return (rng.random((runs, 60, 5)) < chance).astype(float)


def single_pairs(rng: Rng, runs: int) -> tuple[Array, Array]:
    """The pairs of such lists in random order, and each list's own mean."""
    pairs = prompts(rng, runs).reshape(runs, -1)
    return rng.permuted(pairs, axis=1), pairs.mean(axis=1)


def this_list(rng: Rng, runs: int) -> NDArray[np.bool_]:
    pairs, means = single_pairs(rng, runs)
    logs = log_capitals(even_stream(pairs, list_size=300), null=means[:, None], side="above")
    return np.asarray(logs.max(axis=-1) >= LEVEL)


def uneven_prompts(rng: Rng, runs: int) -> NDArray[np.bool_]:
    """A list of 60 prompts of one to five pairs, the larger ones better: the mean over pairs by whole prompts."""
    sizes = np.arange(60) % 5 + 1
    means = np.clip(0.1 + 0.15 * sizes, 0, 1) * np.where(np.arange(60) < 30, 0.5, 1.0)
    order = rng.permuted(np.tile(np.arange(60), (runs, 1)), axis=1)
    null = float(sizes @ means / sizes.sum())
    stream = prompt_stream(means[order], sizes=sizes[order], largest=5, num_prompts=60)
    return by_betting(stream, null=null, side="above") | by_betting(stream, null=null, side="below")


UNSURE = np.arange(500) < 150
DOUBTED = (np.random.default_rng(5).random(500) < np.where(UNSURE, 0.55, 0.95)).astype(float)


def weighted(rng: Rng, runs: int, *, cap: float = math.inf) -> Stream:
    """300 of 500 items, the unsure ones drawn ten times as often. A cap bounds what an item may count."""
    rates = np.where(UNSURE, 10.0, 1.0)
    order = np.argsort(rng.exponential(size=(runs, 500)) / rates, axis=1)[:, :300]
    drawn = rates[order]
    left = rates.sum() - np.cumsum(drawn, axis=1) + drawn
    stream = weighted_stream(DOUBTED[order], probabilities=drawn / left, list_size=500)
    return stream._replace(factors=np.minimum(stream.factors, cap))


def two_strata(rng: Rng, runs: int) -> NDArray[np.bool_]:
    """A list of 200 and an endless stream; the next label comes from the one with more capital so far.

    The capital at the strata's true means is never below the smallest over all means, so this bounds the truth from
    above.
    """
    listed = even_stream(lists(np.repeat([0.0, 1.0], [60, 140]), rng, runs), list_size=200)
    streamed = even_stream((rng.random((runs, 400)) < 0.3).astype(float))
    logs = log_capitals(listed, null=0.7, side="above"), log_capitals(streamed, null=0.3, side="above")
    paths = [np.concatenate([np.zeros((runs, 1)), log], axis=1) for log in logs]
    at, row = [np.zeros(runs, dtype=int) for _ in paths], np.arange(runs)
    reached = np.zeros(runs, dtype=bool)
    for _ in range(500):
        now = [path[row, place] for path, place in zip(paths, at, strict=True)]
        reached |= now[0] + now[1] >= LEVEL
        first = (now[0] >= now[1]) & (at[0] < 200) | (at[1] == 400)
        at = [at[0] + (first & (at[0] < 200)), at[1] + ~first]
    return reached


def skipped(rng: Rng, runs: int, *, counts: float | None) -> NDArray[np.bool_]:
    """Three in ten of the unfavourable labels are skipped: dropped (None), or counted as that value."""
    values = lists(np.repeat([0.0, 1.0], [200, 200]), rng, runs)
    is_skipped = (values == 0) & (rng.random(values.shape) < 0.3)
    if counts is not None:
        return by_betting(even_stream(np.where(is_skipped, counts, values), list_size=400), null=0.5, side="above")
    order = np.argsort(is_skipped, axis=1, kind="stable")
    kept = np.take_along_axis(values, order, axis=1)[:, : 400 - int(is_skipped.sum(axis=1).max())]
    return by_betting(even_stream(kept, list_size=400), null=0.5, side="above")


def overridden(rng: Rng, runs: int) -> NDArray[np.bool_]:
    """A tenth of the unfavourable labels is changed afterwards."""
    values = lists(np.repeat([0.0, 1.0], [200, 200]), rng, runs)
    changed = np.where((values == 0) & (rng.random(values.shape) < 0.1), 1.0, values)
    return by_betting(even_stream(changed, list_size=400), null=0.5, side="above")


CASES = (
    Case("list of 400, a fifth ties", "above", lambda rng, runs: by_betting(
        even_stream(lists(TIES, rng, runs), list_size=400), null=0.5, side="above")),
    Case("list of 400, a fifth ties", "Wilson's bound looked at", lambda rng, runs: by_wilson(
        lists(TIES, rng, runs), null=0.5), True),
    Case("endless draws of .7, 1,000 labels", "above", lambda rng, runs: by_betting(
        even_stream(endless(rng, runs)), null=0.7, side="above")),
    Case("endless draws of .7, 1,000 labels", "two-sided", two_sided),
    Case("endless draws of .7, 1,000 labels", "Wilson's bound looked at", lambda rng, runs: by_wilson(
        endless(rng, runs), null=0.7), True),
    Case("list of 1,000, 10 % violations", "below", lambda rng, runs: by_betting(
        even_stream(lists(RARE, rng, runs), list_size=1000), null=0.1, side="below")),
    Case("list of 1,000, 10 % violations", "above", lambda rng, runs: by_betting(
        even_stream(lists(RARE, rng, runs), list_size=1000), null=0.1, side="above")),
    Case("list of 1,000, 10 % violations", "Wilson's bound looked at, below", lambda rng, runs: by_wilson(
        1 - lists(RARE, rng, runs), null=0.9), True),
    Case("60 prompts x 5 alike pairs", "single pairs, for this list", this_list),
    Case("60 prompts x 5 alike pairs", "whole prompts as units", lambda rng, runs: by_betting(
        even_stream(prompts(rng, runs).mean(axis=2)), null=0.5, side="above")),
    Case("60 prompts of 1 to 5 pairs", "mean over pairs, both sides", uneven_prompts),
    Case("60 prompts x 5 alike pairs", "whole prompts counted as single pairs", lambda rng, runs: by_betting(
        even_stream(prompts(rng, runs).reshape(runs, -1)), null=0.5, side="above"), True),
    Case("60 prompts x 5 alike pairs", "single pairs, claimed for all prompts by the list's formula",
        lambda rng, runs: by_betting(
            even_stream(single_pairs(rng, runs)[0], list_size=300), null=0.5, side="above"), True),
    Case("weighted draws from 500", "above", lambda rng, runs: by_betting(
        weighted(rng, runs), null=float(DOUBTED.mean()), side="above")),
    Case("weighted draws from 500", "below", lambda rng, runs: by_betting(
        weighted(rng, runs), null=float(DOUBTED.mean()), side="below")),
    Case("weighted draws from 500", "above, weights capped at 3", lambda rng, runs: by_betting(
        weighted(rng, runs, cap=3.0), null=float(DOUBTED.mean()), side="above")),
    Case("weighted draws from 500", "below, without the weights", lambda rng, runs: by_betting(
        even_stream(weighted(rng, runs).values, list_size=500), null=float(DOUBTED.mean()), side="below"), True),
    Case("two strata, the next one chosen by the capital", "above", two_strata),
    Case("list of 400", "skipped labels counted against", lambda rng, runs: skipped(rng, runs, counts=0.0)),
    Case("list of 400", "skipped labels dropped", lambda rng, runs: skipped(rng, runs, counts=None), True),
    Case("list of 400", "skipped labels counted as ties", lambda rng, runs: skipped(rng, runs, counts=0.5), True),
    Case("list of 400", "a tenth of the unfavourable labels changed", overridden, True),
)  # fmt: skip


def measure_anytime(*, runs: int) -> dict[str, Any]:
    cases = []
    for number, case in enumerate(CASES):
        rng = np.random.default_rng([11, number])
        found = [case.certify(rng, min(CHUNK, runs - start)) for start in range(0, runs, CHUNK)]
        share = float(np.concatenate(found).mean())
        cases.append({
            "world": case.world, "what": case.what, "control": case.is_control, "false_certificates": round(share, 4),
            "held": share > MOST if case.is_control else share <= MOST,
        })  # fmt: skip
        print(f"{'control, ' if case.is_control else ''}{case.world}, {case.what}: {share:.1%}", flush=True)
    tests, controls = ([c for c in cases if c["control"] is kind] for kind in (False, True))
    targets = {
        "worlds at most 6.5 %": (sum(c["held"] for c in tests), len(tests)),
        "controls above 6.5 %": (sum(c["held"] for c in controls), len(controls)),
    }
    return {
        "cases": cases, "widths": measure_widths(),
        "targets": {name: {"value": f"{n} of {of}", "met": n == of} for name, (n, of) in targets.items()},
    }  # fmt: skip


def measure_widths() -> list[dict[str, float]]:
    """Mean width of the sequence and of Wilson's interval at the same n, true share .8, over 100 draws."""
    rng, found = np.random.default_rng(3), []
    for n in (30, 50, 100, 200):
        draws = (rng.random((100, n)) < 0.8).astype(float)
        ours = [confidence_sequence(even_stream(values)) for values in draws]
        fixed = [wilson(int(values.sum()), n) for values in draws]
        widths = [float(np.mean([one.high - one.low for one in each])) for each in (ours, fixed)]
        found.append({"labels": n, "sequence": round(widths[0], 3), "wilson": round(widths[1], 3)})
        print(f"{n} labels: width {widths[0]:.3f} at any time, {widths[1]:.3f} at a fixed n")
    return found
