"""What each mode of judging gets right on the front desk, and what it asks: python benchmarks/judging_modes.py

Replies of the mixture to held-out prompts, whose truth is known, judged by the shipped judge in every mode it knows:
two at a time, one at a time by scores, ranked by Bradley-Terry; principles each, together, or one drawn for each pair.
Prints two tables and writes benchmarks/results/judging_modes.json. Draws nothing that the judge was trained on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch

from rlaif.config.generate import JudgeConfig, PreferencesConfig
from rlaif.constitution.render import load_template
from rlaif.constitution.selection import PrincipleMode, prepare_constitution
from rlaif.frontdesk import JUDGE_DIR, truth
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.replies import draw_reply
from rlaif.frontdesk.wordings import draw_wording
from rlaif.frontdesk.world import draw_scene
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.ledger.store import Ledger
from rlaif.models.local.engine import TransformersEngine
from rlaif.preferences.pairing import label_pairs, pair_comparisons
from rlaif.records import Constitution, Principle, Prompt, Sample

RESULTS = Path(__file__).parent / "results" / "judging_modes.json"
SAMPLES = 4
Pair = tuple[Sample, Sample]
PairKey = tuple[str, str]


class World(NamedTuple):
    prompts: dict[str, Prompt]
    groups: list[list[Sample]]
    measures: dict[str, dict[str, float]]
    """Sample id -> each measure of its text, 0 to 100."""

    def pairs(self, num: int, rng: random.Random) -> list[Pair]:
        """The most pairs of different texts for each prompt."""
        drawn: list[Pair] = []
        for group in self.groups:
            different = [pair for pair in combinations(group, 2) if pair[0].text != pair[1].text]
            drawn += rng.sample(different, min(num, len(different)))
        return drawn


class Wanted(NamedTuple):
    """A constitution of equal weights, and the measures that its principles want."""

    constitution: Constitution
    measures: tuple[str, ...]


def make_world(num_prompts: int, *, seed: int) -> World:
    rng = random.Random(f"judging modes {seed}")
    world = World({}, [], {})
    while len(world.groups) < num_prompts:
        scene = draw_scene(rng, held_out=True)
        messages = scene.messages()
        prompt = Prompt.from_chat(messages)
        if prompt.id in world.prompts:
            continue
        samples = [
            Sample(
                prompt_id=prompt.id, policy_id="mixture", index=n, finish_reason="stop", text=draw_reply(scene, rng=rng)
            )
            for n in range(SAMPLES)
        ]
        world.prompts[prompt.id] = prompt
        world.groups.append(sorted(samples, key=lambda sample: sample.id))
        world.measures.update({sample.id: truth.measure(messages, sample.text) for sample in samples})
    return world


def want(attributes: Iterable[tuple[str, int]], rng: random.Random) -> Wanted:
    wordings = [draw_wording(rng, attribute=name, polarity=polarity) for name, polarity in attributes]
    principles = tuple(Principle(id=wording.wanted, text=wording.text) for wording in wordings)
    return Wanted(Constitution(name="c", principles=principles, source=""), tuple(w.wanted for w in wordings))


def with_opposites(wanted: Wanted) -> Wanted:
    """The same, each principle with the wording of the other pole as its opposite; both poles stand side by side."""
    principles = list(wanted.constitution.principles)
    for at in range(0, len(principles), 2):
        one, other = principles[at : at + 2]
        principles[at : at + 2] = [
            one.model_copy(update={"opposite": other.text}), other.model_copy(update={"opposite": one.text})
        ]  # fmt: skip
    return wanted._replace(constitution=wanted.constitution.changed(principles=principles))


def ask(
    judge: TransformersEngine,
    world: World,
    pairs: Sequence[Pair],
    constitution: Constitution,
    *,
    template: str,
    both_orders: bool = True,
    draw_seed: int | None = None,
) -> Judging:
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
        return judge_pairs(
            pairs, prompts=world.prompts, scorer=judge, plan_path=Path(folder) / "plan.json",
            asking=Asking(
                constitution=constitution, template=load_template(template),
                config=JudgeConfig(both_orders=both_orders), ledger=ledger, draw_seed=draw_seed,
            ),
        )  # fmt: skip


def gap_of(world: World, pair: PairKey, measures: Sequence[str]) -> float:
    first, second = (world.measures[key] for key in pair)
    return math.fsum(first[name] - second[name] for name in measures) / len(measures)


class Tally(NamedTuple):
    """Labels beside the truth: (gap from -100 to 100, label)."""

    rows: list[tuple[float, float]]

    def figures(self) -> dict[str, float | int]:
        clear = [(gap, p) for gap, p in self.rows if truth.is_clear(gap)]
        close = [(gap, p) for gap, p in self.rows if gap and not truth.is_clear(gap)]
        error = [abs(p - truth.annotator_probability(gap)) for gap, p in self.rows]
        return {
            "pairs": len(self.rows),
            "clear": len(clear),
            "clear_right": round(_share_right(clear), 4),
            "close": len(close),
            "close_right": round(_share_right(close), 4),
            "calibration_error": round(math.fsum(error) / max(1, len(error)), 4),
        }


def _share_right(rows: Sequence[tuple[float, float]]) -> float:
    right = [0.5 if p == 0.5 else float((p > 0.5) == (gap > 0)) for gap, p in rows]
    return math.fsum(right) / len(right) if right else math.nan


def compare_modes(judge: TransformersEngine, world: World, *, rng: random.Random) -> list[dict[str, object]]:
    """One principle at a time, in both poles of every attribute."""
    wanted = with_opposites(want([(name, polarity) for name in truth.ATTRIBUTES for polarity in (1, -1)], rng))
    every, some = world.pairs(6, rng), world.pairs(3, rng)
    rows = []
    for name, pairs, template, both_orders, ranked in (
        ("pair, both orders, every pair", every, "frontdesk_pair", True, False),
        ("pair, one order, every pair", every, "frontdesk_pair", False, False),
        ("score, every reply once", every, "frontdesk_score", True, False),
        ("pair, both orders, 3 of 6 pairs", some, "frontdesk_pair", True, False),
        ("the same, ranked: all 6 pairs", some, "frontdesk_pair", True, True),
        ("every pair, ranked", every, "frontdesk_pair", True, True),
        ("contrast, every reply once", every, "contrast", True, False),
    ):
        started = time.perf_counter()
        judging = ask(judge, world, pairs, wanted.constitution, template=template, both_orders=both_orders)
        seconds = time.perf_counter() - started
        tally = Tally([])
        for principle in wanted.constitution.principles:
            alone = Constitution(name="c", principles=(principle,), source="")
            config = PreferencesConfig(kind="ranking" if ranked else "pair")
            made = pair_comparisons(judging.comparisons, constitution=alone, config=config, round=0, pairs=pairs)
            for preference in made.preferences:
                pair = (preference.sample_ids[0], preference.sample_ids[1])
                tally.rows.append((gap_of(world, pair, [principle.id]), preference.label))
        tokens = sum(j.observed.prompt_tokens + j.observed.reply_tokens for j in judging.judgements)
        rows.append({
            "mode": name, "questions": judging.tally.num_in, "failed": judging.tally.num_dropped, "tokens": tokens,
            "seconds": round(seconds, 1), **tally.figures(),
        })  # fmt: skip
    return rows


def compare_principle_modes(
    judge: TransformersEngine, world: World, *, rng: random.Random, per_size: int
) -> list[dict[str, object]]:
    """Several principles of equal weight: the truth is their mean gap."""
    rows = []
    modes: tuple[PrincipleMode, ...] = ("each", "together", "sampled")
    for size in (2, 3, 4):
        found = {mode: Tally([]) for mode in modes}
        asked = dict.fromkeys(modes, 0)
        for number in range(per_size):
            names = rng.sample(truth.ATTRIBUTES, size)
            wanted = want([(name, rng.choice((1, -1))) for name in names], rng)
            pairs = world.pairs(3, rng)
            for mode in modes:
                constitution = prepare_constitution(wanted.constitution, mode=mode)
                draw_seed = number if mode == "sampled" else None
                judging = ask(judge, world, pairs, constitution, template="frontdesk_pair", draw_seed=draw_seed)
                asked[mode] += judging.tally.num_in
                labels = label_pairs(judging.comparisons, constitution=constitution, draw_seed=draw_seed)
                found[mode].rows.extend(
                    (gap_of(world, key, wanted.measures), label.p_first) for key, label in labels.items()
                )
        rows += [
            {"principles": size, "mode": mode, "questions": asked[mode], **found[mode].figures()} for mode in modes
        ]
    return rows


def show(rows: Sequence[dict[str, object]]) -> None:
    names = list(rows[0])
    print(" | ".join(names))
    for row in rows:
        print(" | ".join(str(row[name]) for name in names))
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40, help="held-out prompts of four replies each")
    parser.add_argument("--constitutions", type=int, default=6, help="of each size, for the modes of principles")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    judge, rng = load_folder(JUDGE_DIR), random.Random(f"principles {options.seed}")
    world = make_world(options.prompts, seed=options.seed)
    modes = compare_modes(judge, world, rng=rng)
    show(modes)
    principles = compare_principle_modes(judge, world, rng=rng, per_size=options.constitutions)
    show(principles)
    command = f"python benchmarks/judging_modes.py --prompts {options.prompts} --constitutions {options.constitutions}"
    results = {"command": command, "seed": options.seed, "modes": modes, "principles": principles}
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
