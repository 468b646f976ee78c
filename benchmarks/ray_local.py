"""What workers on a Ray cluster give on one machine, and what each judgement costs the driver that feeds them.

    python benchmarks/ray_local.py [--prompts 300] [--fast-pairs 5000]

The front desk's judge answers the same questions in this process, through one worker and through two; and a judge that
costs next to nothing shows how many judgements a second the driver itself can draw, render, send, read, hash, chain
and commit. Rates are of the time from the first commit to the comparisons of all; starting the cluster and loading the
model stand beside them. Memory is what the driver held more at the end than before, SQLite's cache of up to 64 MiB
counted. Writes benchmarks/results/ray_local.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlaif.config.generate import JudgeConfig, JudgeModelConfig, ModelConfig, SamplingConfig
from rlaif.config.scale import ScaleConfig
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.frontdesk.world import make_prompts
from rlaif.judging.judge import Asking, judge_pairs
from rlaif.ledger.store import Ledger
from rlaif.models.interface import TokenScorer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.open import load_model, open_judge
from rlaif.models.ray.cluster import leave_cluster
from rlaif.records import Constitution, Message, Prompt, Sample
from rlaif.sampling.sampler import draw_pairs, sample_responses

RESULTS = Path(__file__).parent / "results" / "ray_local.json"
FAST_JUDGE = "rlaif.models.scripted_engine:prefer_longer"
Pairs = Sequence[tuple[Sample, Sample]]


class WatchedLedger(Ledger):
    """Remembers when the first judgement was committed."""

    first_answer: tuple[float, float, int] | None = None

    def append(self, records: Any) -> Any:
        kept = list(records)
        appended = super().append(kept)
        num = sum(record.table == "judgements" for record in kept)
        if num and self.first_answer is None:
            self.first_answer = (time.perf_counter(), time.process_time(), num)
        return appended


def judge_all(
    scorer: TokenScorer,
    pairs: Pairs,
    prompts: dict[str, Prompt],
    *,
    constitution: Constitution,
    template: JudgeTemplate,
    config: JudgeConfig,
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, WatchedLedger.open(Path(folder) / "ledger.sqlite") as ledger:
        started, memory_before = time.perf_counter(), held_kib()
        judging = judge_pairs(
            pairs, prompts=prompts, scorer=scorer, plan_path=Path(folder) / "questions_plan.json",
            asking=Asking(constitution=constitution, template=template, config=config, ledger=ledger),
        )  # fmt: skip
        # collecting the comparisons at the end is part of it: a run does it once for all its judgements
        wall, cpu = time.perf_counter(), time.process_time()
        assert ledger.first_answer is not None
        at, cpu_at, num_first = ledger.first_answer
        num = len(judging.judgements) - num_first
        memory, disk = held_kib() - memory_before, sum(path.stat().st_size for path in Path(folder).glob("ledger*"))
        leave_cluster()
        return {
            "judgements": len(judging.judgements),
            "judgements_per_s": round(num / (wall - at), 1),
            "driver_cpu_ms_each": round((cpu - cpu_at) / num * 1000, 3),
            "seconds_to_the_first_answer": round(at - started, 1),
            "driver_memory_kib_each": round(memory / len(judging.judgements), 1),
            "ledger_kib_each": round(disk / 1024 / len(judging.judgements), 1),
        }


def held_kib() -> float:
    """What the process holds now."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return float(line.split()[1])


def front_desk_pairs(num_prompts: int) -> tuple[dict[str, Prompt], Pairs]:
    prompts = [Prompt.from_chat(chat) for chat in make_prompts(seed=0, n=num_prompts)]
    policy = TransformersEngine(load_model(ModelConfig(), part="policy"))
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
        samples = sample_responses(
            prompts, generator=policy, config=SamplingConfig(max_new_tokens=64), num_samples=4, seed=0, round=0,
            ledger=ledger, plan_path=Path(folder) / "samples_plan.json",
        )  # fmt: skip
    return {prompt.id: prompt for prompt in prompts}, draw_pairs(samples, num_pairs=3, seed=0).pairs


def plain_pairs(num: int) -> tuple[dict[str, Prompt], Pairs]:
    """A question and two replies of ordinary length each."""
    prompts, pairs = {}, []
    for n in range(num):
        prompt = Prompt(messages=(Message(role="user", content=f"Question {n}: when does it open? " * 4),), source="b")
        first, second = (
            Sample(
                prompt_id=prompt.id, policy_id="p", index=place, finish_reason="stop",
                text=f"It opens at nine in the morning, as the notice {n} says, and closes at six. " * (3 + place),
            )
            for place in range(2)
        )  # fmt: skip
        prompts[prompt.id] = prompt
        pairs.append((first, second))
    return prompts, pairs


def measure(num_prompts: int, fast_pairs: int) -> Iterator[tuple[str, dict[str, float]]]:
    constitution = load_constitution("courteous_and_brief")
    prompts, pairs = front_desk_pairs(num_prompts)
    config = JudgeConfig(template="frontdesk_pair")
    template = load_template(config.template, kind="pair")
    for name, scale in (
        ("front desk, this process", ScaleConfig()),
        ("front desk, 1 worker", ScaleConfig(engine="ray", num_workers=1)),
        ("front desk, 2 workers", ScaleConfig(engine="ray", num_workers=2)),
    ):
        judge = open_judge(config, scale=scale)
        yield name, judge_all(judge, pairs, prompts, constitution=constitution, template=template, config=config)
    prompts, pairs = plain_pairs(fast_pairs)
    config = JudgeConfig(model=JudgeModelConfig(engine="scripted", path=FAST_JUDGE), template="pair")
    judge = open_judge(config, scale=ScaleConfig(engine="ray", num_workers=1))
    template = load_template("pair")
    yield (
        "a judge that costs nothing, 1 worker",
        judge_all(judge, pairs, prompts, constitution=constitution, template=template, config=config),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--fast-pairs", type=int, default=5000)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "command": f"python benchmarks/ray_local.py --prompts {options.prompts} --fast-pairs {options.fast_pairs}",
        "cores": os.cpu_count(),
        "load_before": [round(load, 1) for load in os.getloadavg()],
        "results": {},
    }
    for name, figures in measure(options.prompts, options.fast_pairs):
        report["results"][name] = figures
        print(name, figures, flush=True)
    report["load_after"] = [round(load, 1) for load in os.getloadavg()]
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
