"""Small trainings whose results tests compare: in one process as functions, in several processes as a script.

The script writes its results into the folder that is its argument.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import RlaifError, TrainingError
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.checks import NO_CHECKS, Checks
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.sharing import Shared, share_learner, whole_tensor
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import EncodedPrompt, Trajectory, sample_trajectories
from rlaif.policy.ppo.update import backward_mini_batch, update
from rlaif.policy.rewards.episodes import Episode, RewardFailure, RewardSource, WeightedReward
from rlaif.records import Message, Prompt, Tally
from rlaif.reward_model.data import Choice, Pair, Pairs
from rlaif.reward_model.optimise import Optimisation
from rlaif.training.listener import Listener
from rlaif.training.team import ALONE, Team, has_lost_another, join_team

SEQUENCES = [
    TokenSequence([1, 2], [3, 4, 15]),
    TokenSequence([1, 2], [7, 15]),
    TokenSequence([1, 2], [2, 2, 2, 2, 15]),
    TokenSequence([5, 6, 7, 8], [9, 15]),
    TokenSequence([1], [2, 2, 2, 2, 2]),
    TokenSequence([3, 3, 3], [15]),
    TokenSequence([9, 1], [0, 14, 0, 15]),
]
SCORES = [1.0, -0.5, 0.3, 2.0, -1.2, 0.1, 0.7]
PROMPT = Prompt(messages=(Message(role="user", content="question"),))
SHAPE = {
    "vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 64,
}  # fmt: skip
OPTIONS: dict[str, Any] = {"num_ppo_epochs": 2, "num_mini_batches": 3, "vf_coef": 0.5}


def make_learner() -> PolicyWithValue:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))  # type: ignore[arg-type]
    model.lm_head.weight.data *= 20
    learner = PolicyWithValue(model).train(False)
    learner.value_head.weight.data.normal_()
    return learner


def train_on_it(team: Team = ALONE, *, micro_batch_tokens: int = 12) -> dict[str, Tensor]:
    """Gradients and losses of the whole rollout as one mini-batch, then two epochs of three mini-batches."""
    config = PpoConfig(**OPTIONS, micro_batch_tokens=micro_batch_tokens)
    reference = make_learner().model
    reference.lm_head.weight.data *= 0.9
    shared = share_learner(make_learner(), team)
    trajectories = [Trajectory(PROMPT, tokens, tokens.response_ids[-1] == 15, "", None) for tokens in SEQUENCES]
    with shared.whole() as learner:
        batch = prepare_batch(
            learner, reference, trajectories, scores=SCORES, kl_coef=0.1, config=config, pad_id=0, team=team
        )
        drawn = sample_trajectories(
            learner.model, Letters(), [EncodedPrompt(PROMPT, tokens.prompt_ids) for tokens in SEQUENCES[:3]],
            num_samples=3, response_length=8, temperature=1.0, key=(0, 1), value_head=learner.value_head, team=team,
        )  # fmt: skip
    found = {name: getattr(batch, name) for name in ("logprobs", "ref_logprobs", "advantages")}
    found["drawn"] = torch.tensor([token for trajectory in drawn for token in [99, *trajectory.tokens.response_ids]])
    rows = list(range(len(SEQUENCES)))
    for head_only in (False, True):
        stats = backward_mini_batch(
            shared.called, batch, rows, config=config, pad_id=0, head_only=head_only, team=team
        )  # fmt: skip
        found |= {f"{'head' if head_only else 'all'} {name}": value for name, value in _gradients(shared).items()}
        found[f"losses {head_only}"] = torch.tensor(stats)
        shared.called.zero_grad()
    # One row for two processes: one of them has nothing to do.
    backward_mini_batch(shared.called, batch, [4], config=config, pad_id=0, team=team)
    found |= {f"one {name}": value for name, value in _gradients(shared).items()}
    optimizer = torch.optim.Adam(shared.learner.parameters(), eps=1e-5)
    stats = update(
        shared.called, optimizer, batch, learning_rate=1e-2, config=config, pad_id=0, seed=0, step=9, team=team
    )
    found["stats"] = torch.tensor(stats)
    return found | {f"trained {name}": value.clone() for name, value in shared.make_whole().state_dict().items()}


def _gradients(shared: Shared) -> dict[str, Tensor]:
    return {
        name: whole_tensor(parameter.grad).clone()
        for name, parameter in shared.learner.named_parameters()
        if parameter.grad is not None
    }


def train_reward_model_on_pairs(team: Team = ALONE, *, folder: Path) -> dict[str, Tensor]:
    """Each step's figures and the weights after two epochs of 7 pairs and choices in batches of 3, 3 and 1."""
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(
        LlamaConfig(**SHAPE, num_labels=1, pad_token_id=0)  # type: ignore[arg-type]
    ).eval()
    pairs: list[Pair | Choice] = [Pair(f"{n}", n, n + 1, 0.1 + 0.2 * n, 1.0 + n) for n in range(4)]
    pairs += [Choice("c", (0, 2, 4), (0.2, 0.5, 0.3), 1.5), Pair("d", 5, 0, 1.0, 0.5), Pair("e", 6, 2, 0.4, 2.0)]
    sequences = [(*tokens.prompt_ids, *tokens.response_ids) for tokens in SEQUENCES]
    optimisation = Optimisation(
        model, Pairs(sequences, pairs, Tally(num_in=len(pairs))), seed=0, folder=folder, digest="", team=team,
        config=RewardModelConfig(num_epochs=2, batch_size=3, micro_batch_size=1, learning_rate=1e-2),
    )  # fmt: skip
    figures: list[list[float]] = []
    optimisation.run(Listener(on_metrics=lambda done: figures.append(list(done.numbers.values()))))
    return {"figures": torch.tensor(figures), **model.state_dict()}


class Letters:
    """a, b, c, ... are the tokens 0, 1, 2, ...; the last two of the vocabulary are pad and stop."""

    pad_token_id, stop_token_ids = 14, (15,)

    def encode(self, chat: Any) -> list[int]:
        return [ord(letter) - ord("a") for message in chat for letter in message.text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in ids if token < 14)


def count_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    return [float(episode.response.count("a")) for episode in episodes]


def train_policy_on_words(
    folder: Path,
    team: Team = ALONE,
    *,
    reward: RewardSource | list[WeightedReward] = count_a,
    stop_after: int = 99,
    resume: bool = False,
    guards: dict[str, Any] | None = None,
    one_step_off: bool = False,
) -> dict[str, Tensor]:
    """The whole trainer for four steps: its metrics and its weights, and the numbers of its evaluations."""
    words = ["ab", "bad", "cab", "deaf", "face"]
    metrics: list[list[float]] = []
    evaluations: list[list[float]] = []
    prompts = [Prompt(messages=(Message(role="user", content=word),)) for word in words]
    checks = Checks(prompts[:2], measure=_measure_length if team.is_first else None)
    trained = train_policy(
        policy=make_learner().model, encoder=Letters(), reward=reward, out_dir=folder, seed=3, resume=resume, team=team,
        prompts=prompts, checks=checks if guards else NO_CHECKS,
        config=PpoConfig(
            num_steps=4, num_prompts_per_step=3, num_samples_per_prompt=3, response_length=6, num_mini_batches=2,
            learning_rate=3e-3, num_reference_samples=4, checkpoint_every=1, value_warmup_steps=1, adaptive_kl=True,
            standardise_scores=True, micro_batch_tokens=24, guards=GuardsConfig(**(guards or {})),
            rollout=RolloutConfig(one_step_off=one_step_off),
        ),
        listener=Listener(
            on_metrics=lambda done: metrics.append(list(done.numbers.values())),
            on_evaluation=lambda evaluated: evaluations.append(list(evaluated.numbers.values())),
            stop_requested=lambda: len(metrics) >= stop_after,
        ),
    )  # fmt: skip
    numbers = {"metrics": torch.tensor(metrics)} | ({"evaluations": torch.tensor(evaluations)} if guards else {})
    return {**numbers, **trained.model.state_dict(), **trained.value_head.state_dict()}


def _measure_length(episodes: Sequence[Episode]) -> dict[str, float]:
    return {"length": sum(len(episode.response) for episode in episodes) / len(episodes)}


def two_sources(team: Team = ALONE) -> list[WeightedReward]:
    """Two sources of rewards: each process asks the first one about its share, only the first process asks the
    other."""
    return [
        WeightedReward("a", team.in_shares(count_a), 2.0, standardise=True),
        WeightedReward("short", team.by_first(lambda episodes: [-float(len(e.response)) for e in episodes])),
    ]


GUARDED = {"kl_ceiling": 0.02, "on_alarm": "roll_back", "evaluate_every": 2, "keep": "best"}
"""Guards whose ceiling the first updates exceed: training rolls back and continues more slowly."""


def fail_in_the_second_step() -> RewardSource:
    calls: list[int] = []

    def reward(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        calls.append(1)
        if len(calls) == 3:
            raise TrainingError("the judge is gone")
        return count_a(episodes)

    return reward


def do_all(team: Team, folder: Path) -> None:
    """Run every training that the tests compare with one process; each process stores its results, to compare those."""
    for name in ("ddp", "fsdp"):
        os.environ["ACCELERATE_USE_FSDP"], os.environ["FSDP_VERSION"] = str(name == "fsdp"), "2"
        own = folder / name
        found = {
            "rollout": train_on_it(team),
            "whole": train_policy_on_words(own / "whole", team, reward=team.in_shares(count_a)),
            "guarded": train_policy_on_words(own / "guarded", team, reward=two_sources(team), guards=GUARDED),
            "ahead": train_policy_on_words(own / "ahead", team, one_step_off=True),
            "broken off": train_policy_on_words(own / "resumed", team, stop_after=2),
            "resumed": train_policy_on_words(own / "resumed", team, resume=True),
        }
        if name == "ddp":
            found["reward model"] = train_reward_model_on_pairs(team, folder=own / "reward_model")
        torch.save(found, folder / f"{name}_{team.rank}.pt")
    try:
        train_policy_on_words(folder / "failed", team, reward=team.by_first(fail_in_the_second_step()))
    except RlaifError as error:
        (folder / f"failed_{team.rank}.txt").write_text(f"{type(error).__name__}: {error}")


def lose_one(team: Team, folder: Path) -> None:
    """End the second process in the second step, and store whether the first process notices."""
    if team.rank == 1:
        threading.Timer(1.0, os._exit, (9,)).start()

    def dawdle(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        time.sleep(0.5)
        return count_a(episodes)

    try:
        train_policy_on_words(folder / "lost", team, reward=dawdle)
    except RuntimeError as error:
        (folder / "lost.txt").write_text(str(has_lost_another(error)))
        os._exit(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_team() as joined:
        {"all": do_all, "lose": lose_one}[sys.argv[2]](joined, Path(sys.argv[1]))
