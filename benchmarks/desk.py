"""The front desk for experiments with PPO: a run's reward model, a policy trained on it, and what that is worth.

What benchmarks/ppo_learning.py and benchmarks/over_optimisation.py share. Worth is measured on held-out prompts, with
the same draws for every policy. Writes nothing outside the folders it is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.config.ppo import PpoConfig
from rlaif.frontdesk.truth import measure_attributes
from rlaif.frontdesk.world import make_prompts
from rlaif.loop.open_run import open_work
from rlaif.models.local.decode import decode, row_uniforms
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.ppo.batching import TokenSequence, micro_batches, pad_batch
from rlaif.policy.ppo.passes import compute_logprobs
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Prompt, RewardModelCard
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.stage import read_rows_so_far, train_on_preferences
from rlaif.run.stages import REWARD_MODEL
from rlaif.sampling.stage import find_training_prompts
from rlaif.training.listener import NOBODY, Listener

HELD_OUT_SEED = 20_000
"""Seed of the prompts that every policy is measured on."""


class Desk(NamedTuple):
    """What a run has once its reward model is trained."""

    start: LoadedModel
    scorer: RewardModelScorer
    prompts: list[Prompt]
    num_pairs: int
    accuracy: float | None
    """Accuracy of the reward model on held-out pairs."""


class Worth(NamedTuple):
    """Means over responses to held-out prompts."""

    objective: float
    """What PPO maximises: the score, less what a missing end costs, less kl_coef times the KL."""
    score: float
    kl: float
    """Nats per response to the starting policy."""
    length: float
    ended: float
    truth: dict[str, float]


def make_desk(folder: Path, *, seed: int, settings: Sequence[str] = ()) -> Desk:
    """Prompts to a reward model, as `rlaif generate-prefs` and `rlaif train --stage reward-model` make it.

    What is in the folder already is taken up.
    """
    config = load_config(overrides=[f"seed={seed}", *settings])
    with open_work(config, run_name="desk", runs_dir=folder, resume=(folder / "desk").exists()) as work:
        pipeline.generate_preferences(work)
        train_on_preferences(work.round, work.book, work.shelf)
        [card] = work.book.used(REWARD_MODEL, RewardModelCard, round=work.round.number)
        return Desk(
            work.shelf.policy("start"),
            RewardModelScorer(work.shelf.reward_model()),
            find_training_prompts(work.round, work.book),
            len(read_rows_so_far(work.round, work.book).train), card.accuracy.mean if card.accuracy else None,
        )  # fmt: skip


def train(
    desk: Desk,
    config: PpoConfig,
    *,
    seed: int,
    out_dir: Path,
    listener: Listener = NOBODY,
) -> TrainedPolicy:
    """PPO from the starting policy, against the reward model alone; continued from what is in the folder."""

    def reward(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        outcomes = desk.scorer.score_each([(episode.prompt, episode.response) for episode in episodes])
        return [RewardFailure(outcome) if isinstance(outcome, str) else outcome for outcome in outcomes]

    return train_policy(
        policy=desk.start.model, encoder=desk.start.encoder, prompts=desk.prompts, reward=reward, config=config,
        out_dir=out_dir, seed=seed, resume=True, listener=listener,
    )  # fmt: skip


@torch.no_grad()
def measure(
    desk: Desk, model: PreTrainedModel, config: PpoConfig, *, num_prompts: int = 128, num_samples: int = 8
) -> Worth:
    """What a policy is worth under the options it was trained with."""
    encoder = desk.start.encoder
    prompts = [Prompt.from_chat(chat) for chat in make_prompts(seed=HELD_OUT_SEED, n=num_prompts, held_out=True)]
    asked = [prompt for prompt in prompts for _ in range(num_samples)]
    drawn = decode(
        model, [encoder.encode(prompt.as_segments()) for prompt in asked], max_new_tokens=config.response_length,
        temperature=config.temperature, stop_ids=encoder.stop_token_ids, pad_id=encoder.pad_token_id,
        uniforms=row_uniforms([(HELD_OUT_SEED, row) for row in range(len(asked))], config.response_length),
    )  # fmt: skip
    sequences = [
        TokenSequence(encoder.encode(prompt.as_segments()), ids)
        for prompt, ids in zip(asked, drawn.token_ids, strict=True)
    ]
    texts = [
        encoder.decode(ids[:-1] if ended else ids) for ids, ended in zip(drawn.token_ids, drawn.finished, strict=True)
    ]
    scores = desk.scorer.score(list(zip(asked, texts, strict=True)))
    kl = 0.0
    budget = TokenBudget(config.micro_batch_tokens, num_samples=num_samples, device=model.device)
    for rows in micro_batches(sequences, max_tokens=budget.tokens):
        batch = pad_batch([sequences[row] for row in rows], pad_id=encoder.pad_token_id, device=model.device)
        reference = compute_logprobs(desk.start.model, batch, temperature=config.temperature)
        kl += sum(sum(drawn.logprobs[row]) for row in rows) - float(reference.sum())
    kl /= len(asked)
    ended = statistics.fmean(drawn.finished)
    score = statistics.fmean(scores)
    truths = [
        measure_attributes([message.model_dump() for message in prompt.messages], text)
        for prompt, text in zip(asked, texts, strict=True)
    ]
    return Worth(
        objective=score - config.missing_eos_penalty * (1 - ended) - config.kl_coef * kl,
        score=score,
        kl=kl,
        length=statistics.fmean(map(len, drawn.token_ids)),
        ended=ended,
        truth={name: statistics.fmean(truth[name] for truth in truths) for name in truths[0]},
    )
