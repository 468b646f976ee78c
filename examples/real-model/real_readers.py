"""Rows of replies -> what another model makes of them: by contrast, and by its verdict between both policies' replies.

The reader took no part in any training. It reads the first reply of each prompt alone, as a larger model is slow on a
CPU. What it said is kept in a ledger, so a table that is made again asks nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import load_template
from rlaif.judging.judge import Asking, judge_pairs
from rlaif.ledger.store import Ledger
from rlaif.models.open import open_judge
from rlaif.records import Message, Prompt, Sample
from rlaif.stats.intervals import share_interval


class Reading(NamedTuple):
    """What a reader says of one training, with a 95 % interval clustered by prompt."""

    arm: str
    through: str
    seed: int
    template: str
    preferred: float
    """Mean probability that the trained policy's reply keeps the principle better than the starting one's."""
    low: float
    high: float
    num: int


def read_rows(
    rows: Sequence[Mapping[str, Any]], *, reader: Path, constitutions: Mapping[str, str], folder: Path
) -> list[Reading]:
    """constitutions: of each arm. folder: where the reader's answers are kept. Rows of other arms are left out."""
    config = JudgeConfig(model=JudgeModelConfig(path=str(reader)))
    judge = open_judge(config)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        for row in rows:
            if row["arm"] not in constitutions:
                continue
            pairs, prompts = _pair_up(row)
            for name in ("contrast", "pair_verdict"):
                asking = Asking(
                    constitution=load_constitution(constitutions[row["arm"]]), template=load_template(name),
                    config=config, ledger=ledger,
                )  # fmt: skip
                plan = folder / f"{row['through']}-{row['arm']}-s{row['seed']}-{name}.json"
                judging = judge_pairs(
                    pairs, prompts=prompts, asking=asking, scorer=judge, plan_path=plan, label=plan.stem
                )
                trained = {second.id for _, second in pairs}
                said = {
                    c.prompt_id: c.p_first if c.sample_ids[0] in trained else 1 - c.p_first for c in judging.comparisons
                }
                if said:
                    interval = share_interval(list(said.values()), clusters=list(said))
                    assert interval is not None  # there is at least one answer
                    found.append(
                        Reading(
                            row["arm"], row["through"], row["seed"], name, statistics.fmean(said.values()),
                            low=interval.low, high=interval.high, num=len(said),
                        )
                    )  # fmt: skip
    return found


def _pair_up(row: Mapping[str, Any]) -> tuple[list[tuple[Sample, Sample]], dict[str, Prompt]]:
    """The first reply of either policy to each prompt, where they differ."""
    prompts, pairs = {}, []
    for one in row["replies"]:
        prompt = Prompt(messages=(Message(role="user", content=one["prompt"]),))
        prompts[prompt.id] = prompt
        start, trained = (
            Sample(
                prompt_id=prompt.id, policy_id=side, text=one[side][0]["text"],
                finish_reason="stop" if one[side][0]["ended"] else "length",
            )
            for side in ("start", "trained")
        )  # fmt: skip
        if start.text != trained.text:
            pairs.append((start, trained))
    return pairs, prompts


def render_readings(readings: Sequence[Reading], *, reader: str) -> list[str]:
    """A table of what the reader says."""
    if not readings:
        return []
    lines = [
        f"## What {reader} says", "",
        "Probability that the trained policy's reply keeps the principle better, over one reply to each prompt.", "",
        "| rewards from | principle | seed | asked by | preferred | 95 % interval | pairs |",
        "| --- | --- | ---: | --- | ---: | --- | ---: |",
    ]  # fmt: skip
    for one in readings:
        lines.append(
            f"| {one.through} | {one.arm} | {one.seed} | {one.template} | {one.preferred:.2f} "
            f"| {one.low:.2f} to {one.high:.2f} | {one.num} |"
        )
    return [*lines, ""]
