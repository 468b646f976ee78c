"""One stored rollout, and what updates make of it: for one process, and as a script for each of several.

As a script it writes, from the first process, what `train_on_it` gives to the file that it is called with.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.rollout import Trajectory
from rlaif.policy.ppo.sharing import Shared, share_learner, whole_tensor
from rlaif.policy.ppo.update import backward_mini_batch, update
from rlaif.processes import ALONE, Team, join_team
from rlaif.records import Message, Prompt

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
OPTIONS: dict[str, Any] = {"num_ppo_epochs": 2, "num_mini_batches": 3, "vf_coef": 0.5}


def make_learner() -> PolicyWithValue:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=16, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64,
        )
    )  # fmt: skip
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
    found = {name: getattr(batch, name) for name in ("logprobs", "ref_logprobs", "advantages")}
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_team() as team:
        for name in sys.argv[2:]:
            os.environ["ACCELERATE_USE_FSDP"], os.environ["FSDP_VERSION"] = str(name == "fsdp"), "2"
            found = train_on_it(team)
            if team.is_first:
                torch.save(found, f"{sys.argv[1]}/{name}.pt")
