"""One cell of a study: a recipe and a budget -> a policy, by the project's own methods, and how good it is.

Demonstrations and labels are bought from simulated people until the budget is spent. Keeps no model and knows no
other cell.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from rlaif.config.load import load_config
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods import METHODS
from rlaif.policy.ppo.batching import micro_batches, pad_batch
from rlaif.policy.ppo.passes import compute_logprobs
from rlaif.policy.ppo.trajectories import Trajectory, encode_prompts, sample_trajectories
from rlaif.policy.rewards.episodes import Episode, RewardSource, WeightedReward
from rlaif.policy.task import Task
from rlaif.run.world import draw_demonstrations, draw_study_prompts, judge_wanted, share_wanted
from rlaif.study.plan import CHOICE_SIZE, START, Bought, Cell, LabelKind, Prices, buy
from rlaif.study.results import CellResult

HELD_OUT_SEED = 30_000
"""Seed of the prompts, and of the draws, with which every policy is measured."""
NUM_HELD_OUT = 500
RESPONSE_LENGTH = 64
MIN_SFT_STEPS, MIN_PASSES, MAX_PASSES = 80, 3, 20
"""Demonstrations are passed over until so many steps are taken, but between so many times: few need more passes."""
SFT_BATCH = 16
MAX_PROMPTS = 2000
OPTIONS = (
    f"sft.batch_size={SFT_BATCH}", f"ppo.num_samples_per_prompt={CHOICE_SIZE}", "ppo.kl_coef=0.02",
    f"ppo.response_length={RESPONSE_LENGTH}", "ppo.checkpoint_every=1000000", "ppo.sample_every=1000000",
    "ppo.guards.evaluate_every=null", "ppo.guards.kl_ceiling=null", "ppo.guards.max_length_factor=null",
    "ppo.guards.max_eos_drop=null", "ppo.guards.max_repetition_rise=null",
)  # fmt: skip
"""What a study sets; all else is the front desk's default. No alarm stops a recipe: where it ends is the result."""


class Measured(NamedTuple):
    """A policy on held-out prompts."""

    success: float
    quality: float
    """Mean share of the wanted qualities."""
    kl: float
    """Nats per response to the starting policy."""
    length: float


def teach_cell(cell: Cell, prices: Prices, *, start: LoadedModel) -> CellResult:
    """Train the starting policy by a cell's recipe, and measure what comes out. `start` is left unchanged."""
    began, began_cpu = time.monotonic(), time.process_time()
    bought = buy(cell.recipe, cell.budget, prices)
    policy, demo_tokens = start, 0
    for method in cell.recipe.order:
        if method == "sft":
            policy, demo_tokens = _show(policy, bought, cell)
        else:
            policy = _reward(policy, bought, cell, prices)
    trained, trained_cpu = time.monotonic(), time.process_time()
    measured = measure_policy(policy, start=start)
    return CellResult(
        recipe=cell.recipe.name,
        budget=cell.budget,
        noise=cell.noise,
        seed=cell.seed,
        **measured._asdict(),
        num_demonstrations=bought.demonstrations,
        demonstration_tokens=demo_tokens,
        num_responses=bought.responses,
        spent=bought.cost,
        wall_s=round(trained - began, 2),
        cpu_s=round(trained_cpu - began_cpu, 2),
        measuring_s=round(time.monotonic() - trained, 2),
    )


def measure_start(start: LoadedModel) -> CellResult:
    """The starting policy as a cell that nothing was spent on."""
    began = time.monotonic()
    measured = measure_policy(start, start=start)
    return CellResult(
        recipe=START, budget=0.0, noise=None, seed=0, **measured._asdict(), num_demonstrations=0,
        demonstration_tokens=0, num_responses=0, spent=0.0, wall_s=0.0, cpu_s=0.0,
        measuring_s=round(time.monotonic() - began, 2),
    )  # fmt: skip


def count_passes(num_demonstrations: int) -> int:
    """How often so many demonstrations are passed over."""
    steps = math.ceil(num_demonstrations / SFT_BATCH)
    return min(MAX_PASSES, max(MIN_PASSES, math.ceil(MIN_SFT_STEPS / steps)))


def _show(policy: LoadedModel, bought: Bought, cell: Cell) -> tuple[LoadedModel, int]:
    """Fine-tuning on demonstrations; also how many tokens these have."""
    num = bought.demonstrations
    demonstrations = draw_demonstrations(cell.seed, num, noise=cell.noise or 0.0)
    config = load_config(
        overrides=[*OPTIONS, "methods=[sft]", "sft.demonstrations=simulated", f"sft.num_epochs={count_passes(num)}"]
    )
    with TemporaryDirectory(prefix="rlaif-study-") as folder:
        task = Task(
            start=policy, initial=policy, config=config, folder=Path(folder), seed=cell.seed,
            demonstrations=demonstrations,
        )  # fmt: skip
        trained = METHODS["sft"].train(task)
    encode = policy.encoder.encode_response
    return policy._replace(model=trained.model), sum(len(encode(one.response)) for _, one in demonstrations)


def _reward(policy: LoadedModel, bought: Bought, cell: Cell, prices: Prices) -> LoadedModel:
    """Training by rewards from simulated people; the KL is to the policy that it begins with."""
    num_prompts = min(MAX_PROMPTS, bought.steps * bought.prompts_per_step)
    config = load_config(
        overrides=[
            *OPTIONS,
            f"methods=[{prices.algorithm}]",
            f"ppo.num_steps={bought.steps}",
            f"ppo.num_prompts_per_step={bought.prompts_per_step}",
        ]
    )
    source = make_source(prices.label_kind, rng=random.Random(f"study labels {cell.seed}"))
    with TemporaryDirectory(prefix="rlaif-study-") as folder:
        task = Task(
            start=policy, initial=policy, config=config, folder=Path(folder), seed=cell.seed,
            prompts=draw_study_prompts(cell.seed, num_prompts), rewards=(WeightedReward(prices.label_kind, source),),
        )  # fmt: skip
        trained = METHODS[prices.algorithm].train(task)
    return policy._replace(model=trained.model)


def make_source(kind: LabelKind, *, rng: random.Random) -> RewardSource:
    """Simulated people, or a simulated judge, as a source of rewards between 0 and 1."""
    sources: dict[LabelKind, Callable[[Sequence[Episode]], list[float]]] = {
        "thumb": lambda episodes: [float(share_wanted(one.prompt, one.response) == 1) for one in episodes],
        "rating": lambda episodes: [share_wanted(one.prompt, one.response) for one in episodes],
        "choice4": lambda episodes: _choose(episodes, rng=rng),
        "judgement": lambda episodes: [judge_wanted(one.prompt, one.response, rng=rng) for one in episodes],
    }
    return sources[kind]


def _choose(episodes: Sequence[Episode], *, rng: random.Random) -> list[float]:
    """1 for the best of each prompt's responses, 0 for its others; equally good ones by lot."""
    groups: dict[str, list[int]] = {}
    for place, episode in enumerate(episodes):
        groups.setdefault(episode.prompt.id, []).append(place)
    rewards = [0.0] * len(episodes)
    for places in groups.values():
        best = max(places, key=lambda at: (share_wanted(episodes[at].prompt, episodes[at].response), rng.random()))
        rewards[best] = 1.0
    return rewards


def measure_policy(policy: LoadedModel, *, start: LoadedModel, num_prompts: int = NUM_HELD_OUT) -> Measured:
    """A policy's sampled responses to the same held-out prompts, with the same draws, as any other's."""
    prompts = draw_study_prompts(HELD_OUT_SEED, num_prompts, held_out=True)
    encoded = encode_prompts(prompts, policy.encoder, response_length=RESPONSE_LENGTH, context_tokens=None)
    drawn = sample_trajectories(
        policy.model,
        policy.encoder,
        encoded,
        num_samples=1,
        response_length=RESPONSE_LENGTH,
        temperature=1.0,
        key=(HELD_OUT_SEED,),
    )
    shares = [share_wanted(one.prompt, one.response) for one in drawn]
    return Measured(
        success=sum(share == 1 for share in shares) / len(shares),
        quality=math.fsum(shares) / len(shares),
        kl=_measure_kl(drawn, start=start),
        length=sum(len(one.tokens.response_ids) for one in drawn) / len(drawn),
    )


@torch.no_grad()
def _measure_kl(drawn: Sequence[Trajectory], *, start: LoadedModel) -> float:
    """Mean log-ratio of the responses, by the policy that drew them and by the starting one."""
    sequences = [one.tokens for one in drawn]
    total = math.fsum(math.fsum(one.engine_logprobs or ()) for one in drawn)
    for rows in micro_batches(sequences, max_tokens=4096):
        batch = pad_batch(
            [sequences[row] for row in rows], pad_id=start.encoder.pad_token_id, device=start.model.device
        )
        total -= float(compute_logprobs(start.model, batch, temperature=1.0).sum())
    return total / len(drawn)
