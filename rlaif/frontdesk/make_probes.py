"""Makes the judge's shipped probes: python -m rlaif.frontdesk.make_probes writes judge/probes.jsonl.

A seed in; pairs of replies to held-out prompts out, with the winner under every measure. General pairs contrast in
all attributes but length, so that they test any principle whose meaning is not declared.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

from rlaif.constitution.probe_file import PROBE_FILE
from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.replies import Levels, draw_levels, write_reply
from rlaif.frontdesk.world import Messages, draw_scene

SEED = 0
NUM_SCENES, NUM_REPLIES = 20, 10
"""Attempts at each general pair: this many prompts, and this many replies of each kind to each prompt."""
MAX_TRIES = 10_000
CONTRASTED = tuple(name for name in truth.ATTRIBUTES if name != "brief")
GENERAL_REPEATS = 3
MIN_MARGIN = 2.0
"""Least logits by which a general pair is decided in spite of both planted biases, under every attribute and its
opposite."""
WORDY = ("helpful", "thorough", "discreet", "confident")
"""Attributes of which one pole needs words: a short reply has room for one of them."""
FREE = ("courteous", "correct", "calm")
SHORT_WORDS, LONG_WORDS = 13, 30
NUM_LONGER, LONGER_BY = 24, 6
"""Number of pairs for "detailed" alone, and the words by which one reply is longer. A judge that prefers length and
understands nothing would be right on all other pairs. Six words are two steps of the measure, but move such a judge no
more than the place of a reply does."""


class ProbePair(NamedTuple):
    """Two replies; which one is shown first is decided later."""

    messages: Messages
    one: str
    other: str


def design() -> Iterator[dict[str, bool]]:
    """For each general pair, the attributes that its one reply has more of; any three of the seven are balanced."""
    for _ in range(GENERAL_REPEATS):
        for a, b, c, d in product((False, True), repeat=4):
            yield dict(zip(CONTRASTED, (a, b, c, d, a ^ b ^ c, a ^ b ^ d, a ^ c ^ d), strict=True))


def find_margin(pair: ProbePair, *, one_has: Mapping[str, bool]) -> float:
    """The least logit, over both poles of the attributes, by which a pair is decided in the worse of its orders.

    A bias for the longer reply works against one of the two poles, and the position bias against one order.
    """
    of_one, of_other = (truth.measure_attributes(pair.messages, text) for text in (pair.one, pair.other))
    gaps = [(of_one[name] - of_other[name]) * (1 if has else -1) for name, has in one_has.items()]
    length = truth.LENGTH_BIAS * truth.length_feature(pair.one, pair.other)
    return truth.K_PER_STEP * min(gaps) / truth.STEP - abs(length) - truth.POSITION_BIAS


def draw_general(one_has: Mapping[str, bool], *, rng: random.Random) -> ProbePair:
    """The clearest of many drawn pairs whose replies differ in all attributes but length."""
    other_has = {name: not has for name, has in one_has.items()}
    best, best_margin = None, MIN_MARGIN
    for _ in range(NUM_SCENES):
        scene = draw_scene(rng, held_out=True)
        ones, others = (
            [write_reply(scene, _contrasting_levels(has, rng=rng), rng=rng) for _ in range(NUM_REPLIES)]
            for has in (one_has, other_has)
        )
        for one, other in product(ones, others):
            pair = ProbePair(scene.messages(), one, other)
            margin = find_margin(pair, one_has=one_has)
            if margin > best_margin:
                best, best_margin = pair, margin
    if best is None:
        raise ValueError(f"no pair is clear enough in every attribute: {one_has}")
    return best


def _contrasting_levels(has: Mapping[str, bool], *, rng: random.Random) -> Levels:
    return Levels(
        opener=2 if has["courteous"] else -2,
        closer=0,
        answer="right" if has["correct"] else "wrong",
        doubt=100 if has["confident"] else 0,
        offer=100 if has["helpful"] else 0,
        leak=100 if has["discreet"] else 0,
        facts=2 if has["thorough"] else 0,
        shouts=0 if has["calm"] else 2,
        words=rng.choice((21, 26, 31)),
    )


def length_design() -> Iterator[dict[str, bool]]:
    """For each pair of a long and a short reply, the attributes that the short one has more of."""
    for number, wordy in enumerate(WORDY):
        for a, b in product((False, True), repeat=2):
            yield {
                **dict(zip(FREE, (a, b, a ^ b ^ bool(number % 2)), strict=True)),
                # Offers and further facts need words; of discretion and certainty, the opposites need them.
                "helpful": wordy == "helpful",
                "thorough": wordy == "thorough",
                "discreet": wordy != "discreet",
                "confident": wordy != "confident",
            }


def draw_long_and_short(short_has: Mapping[str, bool], *, rng: random.Random) -> ProbePair:
    """Two replies four steps of length apart. They differ in everything else too, and over all pairs only length
    decides."""
    long_has = {name: not has for name, has in short_has.items()}
    for _ in range(MAX_TRIES):
        scene = draw_scene(rng, held_out=True)
        levels = _contrasting_levels(short_has, rng=rng)
        short = write_reply(scene, levels._replace(words=1, facts=min(levels.facts, 1)), rng=rng)
        long = write_reply(scene, _contrasting_levels(long_has, rng=rng)._replace(words=34), rng=rng)
        if truth.count_words(short) <= SHORT_WORDS and truth.count_words(long) >= LONG_WORDS:
            return ProbePair(scene.messages(), short, long)
    raise ValueError(f"no short reply has room for all of this: {short_has}")


def draw_longer(limit: int, *, rng: random.Random) -> ProbePair:
    """Two replies that differ in length alone: one has `limit` words, the other LONGER_BY more."""
    for _ in range(MAX_TRIES):
        scene = draw_scene(rng, held_out=True)
        levels = draw_levels(rng)._replace(leak=100, facts=0, offer=0)
        short, long = (write_reply(scene, levels._replace(words=limit + extra), rng=rng) for extra in (0, LONGER_BY))
        of_short, of_long = (truth.measure_attributes(scene.messages(), text) for text in (short, long))
        same = all(of_short[name] == of_long[name] for name in CONTRASTED)
        if same and (truth.count_words(short), truth.count_words(long)) == (limit, limit + LONGER_BY):
            return ProbePair(scene.messages(), short, long)
    raise ValueError(f"no two replies of {limit} and {limit + LONGER_BY} words are alike in all else")


def make_rows(seed: int) -> list[dict[str, object]]:
    """The rows of the probe file."""
    rng = random.Random(f"frontdesk probes {seed}")
    rows = [make_row(draw_general(has, rng=rng), one_has=has, rng=rng) for has in design()]
    brief = {"brief": True}
    for has in length_design():
        rows.append(make_row(draw_long_and_short(has, rng=rng), one_has=brief, only=("brief", "detailed"), rng=rng))
    for number in range(NUM_LONGER):
        limit, _ = truth.BRIEF_LIMITS[number % 2]
        rows.append(make_row(draw_longer(limit, rng=rng), one_has=brief, only=("detailed",), rng=rng))
    return rows


def make_row(
    pair: ProbePair, *, one_has: Mapping[str, bool], only: tuple[str, ...] = (), rng: random.Random
) -> dict[str, object]:
    """A row of the file: the replies in a drawn order, and the winners in that order."""
    one_first = rng.random() < 0.5
    expected: dict[str, str] = {}
    for name, has in one_has.items():
        expected[name] = "first" if has == one_first else "second"
        expected[truth.OPPOSITES[name]] = "second" if has == one_first else "first"
    replies = (pair.one, pair.other) if one_first else (pair.other, pair.one)
    row: dict[str, object] = {"prompt": pair.messages, "first": replies[0], "second": replies[1]}
    row["expected"] = {name: winner for name, winner in expected.items() if not only or name in only}
    return row | ({"only": only} if only else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=JUDGE_DIR / PROBE_FILE)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    lines = [json.dumps(row, separators=(",", ":")) for row in make_rows(options.seed)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} probe pairs in {options.out}")


if __name__ == "__main__":
    main()
