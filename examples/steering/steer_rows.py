"""One seed's preparation and one training, each done in a worker process by the stages of `rlaif.pipeline`.

Runs of one seed share a ledger: samples are drawn once, and a principle that two constitutions share is
judged once. What is finished stands in a file and is not done again. Computes no statistics.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from steer_plan import Job
from steer_table import Row, Start

from rlaif import pipeline
from rlaif.evaluation.best_of_n import pick_best
from rlaif.files.atomic import replace_directory, write_atomically
from rlaif.frontdesk.truth import ATTRIBUTES, measure_attributes
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.models.interface import TextGenerator
from rlaif.models.local.engine import TransformersEngine
from rlaif.policy.stage import train_policy
from rlaif.records import PolicyCard, Prompt, RewardModelCard, Sample
from rlaif.records.base import Value
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.stage import train_on_preferences
from rlaif.run.stages import POLICY, REWARD_MODEL
from rlaif.sampling.sampler import sample_responses
from rlaif.sampling.stage import find_evaluation_prompts, make_prompts

Told = Callable[[str, int], None]
"""Hears what a worker begins with, and how many steps are behind it since it was told last."""
STEPS_OF_ROW = 4
"""The reward model and the truth take one step each, PPO takes two."""
V = TypeVar("V", bound=Value)


def read_done(path: Path, kind: type[V]) -> V | None:
    """What a finished job left, if it did."""
    return kind.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write_done(path: Path, value: Value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, value.model_dump_json(indent=2) + "\n")


def prepare_seed(jobs: Sequence[Job], *, tell: Told) -> Start:
    """All constitutions' preferences on one seed's samples, and the truth of the starting policy: a step each."""
    seconds: dict[str, float] = {}
    for place, job in enumerate(jobs):
        tell(f"{job.label}: samples and judgements", min(place, 1))
        with _opened(job) as work, _timed(seconds, "preferences"):
            if job.shuffled_from:
                make_prompts(work.round, work.book, work.shelf)
                _shuffle_preferences(job)
            else:
                pipeline.generate_preferences(work)
    tell(f"seed {jobs[0].seed}: the starting policy on held-out prompts", 1)
    start = read_done(jobs[0].start_path, Start)
    if start is None:
        with _opened(jobs[0]) as work, _timed(seconds, "start"):
            replies = _start_replies(work)
            truth, figures = _mean_truth(replies), _describe(replies)
        start = Start(seed=jobs[0].seed, truth=truth, figures=figures, seconds=seconds)
        _write_done(jobs[0].start_path, start)
    return start


def train_row(job: Job, *, tell: Told) -> Row:
    """Reward model and PPO of one constitution, and the truth of what came out, on held-out prompts."""
    seconds: dict[str, float] = {}
    with _opened(job) as work:
        tell(f"{job.label}: reward model", 0)
        with _timed(seconds, "reward_model"):
            train_on_preferences(work.round, work.book, work.shelf)
        tell(f"{job.label}: PPO", 1)
        with _timed(seconds, "ppo"):
            train_policy(*work)
        tell(f"{job.label}: truth", 2)
        with _timed(seconds, "truth"):
            trained = _replies(
                work,
                TransformersEngine(work.shelf.policy("trained")),
                num=work.round.config.evaluation.num_samples,
                name="trained",
            )
            best = _pick_best(_start_replies(work), scorer=RewardModelScorer(work.shelf.reward_model()))
        row = Row(
            seed=job.seed,
            constitution=job.name,
            placebo=bool(job.shuffled_from),
            truth=_mean_truth(trained),
            best_of=_mean_truth(best),
            figures=_describe(trained) | _training_figures(work),
            seconds=seconds,
            note=_early_stop(work),
        )
    _write_done(job.row_path, row)
    return row


@contextmanager
def _opened(job: Job) -> Iterator[OpenRun]:
    with open_work(job.config, run_name=job.run_name, runs_dir=job.seed_dir, resume=True) as work:
        yield work


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - started, 1)


class _Reply(NamedTuple):
    prompt: Prompt
    sample: Sample


def _start_replies(work: OpenRun) -> list[_Reply]:
    """As many per prompt as best-of-n picks among."""
    return _replies(work, work.shelf.generator("start"), num=max(1, work.round.config.evaluation.best_of), name="start")


def _replies(work: OpenRun, generator: TextGenerator, *, num: int, name: str) -> list[_Reply]:
    prompts = find_evaluation_prompts(work.round, work.book)
    by_id = {prompt.id: prompt for prompt in prompts}
    samples = sample_responses(
        prompts, generator=generator, config=work.round.config.sampling, num_samples=num, seed=work.round.config.seed,
        round=work.round.number, ledger=work.round.ledger, label=f"{name} replies",
        plan_path=work.round.run.path / "steering" / f"{name}_plan.json",
    )  # fmt: skip
    return [_Reply(by_id[sample.prompt_id], sample) for sample in samples]


def _pick_best(replies: Sequence[_Reply], *, scorer: RewardModelScorer) -> list[_Reply]:
    """Each prompt's most rewarded reply."""
    rewards = scorer.score([(reply.prompt, reply.sample.text) for reply in replies])
    by_prompt: dict[str, list[tuple[float, _Reply]]] = {}
    for reward, reply in zip(rewards, replies, strict=True):
        by_prompt.setdefault(reply.prompt.id, []).append((reward, reply))
    places = {prompt_id: pick_best([reward for reward, _ in group]) for prompt_id, group in by_prompt.items()}
    return [by_prompt[prompt_id][place][1] for prompt_id, place in places.items() if place is not None]


def _mean_truth(replies: Sequence[_Reply]) -> dict[str, float]:
    rows = [measure_attributes(reply.prompt.as_chat(), reply.sample.text) for reply in replies]
    return {attribute: sum(row[attribute] for row in rows) / len(rows) for attribute in ATTRIBUTES}


def _describe(replies: Sequence[_Reply]) -> dict[str, float]:
    samples = [reply.sample for reply in replies]
    return {
        "ended": sum(sample.finish_reason == "stop" for sample in samples) / len(samples),
        "tokens": sum(sample.token_count for sample in samples) / len(samples),
        "distinct": len({sample.text for sample in samples}) / len(samples),
    }


def _training_figures(work: OpenRun) -> dict[str, float]:
    (reward_model,) = work.book.used(REWARD_MODEL, RewardModelCard, round=work.round.number)
    (policy,) = work.book.used(POLICY, PolicyCard, round=work.round.number)
    figures = {"steps": policy.metrics.get("step", -1.0) + 1, "kl": policy.metrics.get("objective/kl", 0.0)}
    if reward_model.accuracy is not None:
        figures["reward_accuracy"] = reward_model.accuracy.mean
    return figures


def _early_stop(work: OpenRun) -> str:
    steps = int(_training_figures(work)["steps"])
    if steps == work.round.config.ppo.num_steps:
        return ""
    return f"PPO met its KL ceiling; the policy of step {steps} of {work.round.config.ppo.num_steps} is kept"


def _shuffle_preferences(job: Job) -> None:
    """The constitution's preference folder again, with each split's verdicts dealt out anew."""
    target = Path(str(job.config.reward_model.preferences))
    if target.is_dir():
        return
    source = job.seed_dir / job.shuffled_from / "round_00" / "4_preferences" / "dataset"
    with replace_directory(target) as folder:
        for path in sorted(source.rglob("*.parquet")):
            table = pq.read_table(path)
            rows = shuffle_verdicts(table.to_pylist(), seed=job.seed)
            out = folder / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), out, compression="zstd")


def shuffle_verdicts(rows: Sequence[Mapping[str, Any]], *, seed: int) -> list[dict[str, Any]]:
    """The same pairs with the same verdicts, but each pair gets the verdict of a pair drawn at random.

    A verdict is the probability that the response with the lesser id is better.
    """
    verdicts = [row["label"] if row["chosen_id"] < row["rejected_id"] else 1 - row["label"] for row in rows]
    random.Random(f"shuffled verdicts {seed}").shuffle(verdicts)
    shuffled = []
    for row, verdict in zip(rows, verdicts, strict=True):
        prefers_lesser = verdict >= 0.5
        new = dict(row) | {"label": max(verdict, 1 - verdict)}
        if (row["chosen_id"] < row["rejected_id"]) != prefers_lesser:
            for name in ("", "_id"):
                new[f"chosen{name}"], new[f"rejected{name}"] = row[f"rejected{name}"], row[f"chosen{name}"]
        if new.get("score_margin") is not None:
            new["score_margin"] = None  # of the verdict that this pair had
        shuffled.append(new)
    return shuffled
