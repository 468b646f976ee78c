"""What TRL 1.12's PPO promised and did not keep, kept: a test for each that names the promise.

Those that stand better beside the function they are about are listed with these in docs/ppo-checks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo import token_logprobs
from rlaif.policy.ppo.batching import PaddedBatch, TokenSequence, pad_batch
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.policy.ppo.update import backward_mini_batch
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Message, Prompt
from rlaif.training.listener import Listener

MakeLlama = Callable[..., LlamaForCausalLM]
PROMPT = Prompt(messages=(Message(role="user", content="go"),))
SHORT, LONG = TokenSequence([1, 2], [15]), TokenSequence([3], [4, 5, 6, 7, 8, 9, 10, 15])


def count_a(episodes: Sequence[Episode]) -> list[float]:
    return [float(episode.response.count("a")) for episode in episodes]


def train(make_llama: MakeLlama, encoder: Any, prompts: Any, out_dir: Path, **options: Any) -> list[dict[str, float]]:
    """Three steps of the whole trainer; its metrics."""
    metrics: list[dict[str, float]] = []
    settings = {
        "num_steps": 3, "num_prompts_per_step": 4, "num_samples_per_prompt": 4, "response_length": 6,
        "learning_rate": 3e-3, "value_warmup_steps": 0,
    }  # fmt: skip
    train_policy(
        policy=make_llama(sharpness=10.0),
        encoder=encoder,
        prompts=prompts,
        reward=count_a,
        config=PpoConfig(**(settings | options)),
        out_dir=out_dir,
        seed=3,
        resume=False,
        listener=Listener(on_metrics=lambda done: metrics.append(done.numbers)),
    )
    return metrics


@pytest.mark.parametrize("num_mini_batches", [1, 4])
def test_num_mini_batches_is_the_number_of_optimizer_steps_in_a_pass(
    make_llama: MakeLlama,
    letter_encoder: Any,
    letter_prompts: Any,
    tmp_path: Path,
    num_mini_batches: int,
) -> None:
    """Counted on the optimizer itself. TRL 1.12 takes four a step with one mini-batch and with four."""
    taken = 0

    def count(*_: Any) -> None:
        nonlocal taken
        taken += 1

    handle = register_optimizer_step_post_hook(count)
    try:
        train(make_llama, letter_encoder, letter_prompts, tmp_path, num_ppo_epochs=4, num_mini_batches=num_mini_batches)
    finally:
        handle.remove()
    assert taken == 3 * 4 * num_mini_batches


def test_max_grad_norm_bounds_every_step_of_the_trainer(
    make_llama: MakeLlama, letter_encoder: Any, letter_prompts: Any, tmp_path: Path
) -> None:
    norms: list[float] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    handle = register_optimizer_step_pre_hook(record)
    try:
        metrics = train(make_llama, letter_encoder, letter_prompts, tmp_path, max_grad_norm=1e-3)
    finally:
        handle.remove()
    assert min(row["policy/grad_norm"] for row in metrics) > 2e-3
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2)


def prepare(learner: PolicyWithValue, sequences: list[TokenSequence]) -> TrainingBatch:
    """Of a policy that has moved away from its reference, and with advantages of its own for every token."""
    trajectories = [
        Trajectory(prompt=PROMPT, tokens=tokens, finished=True, response="", numbers=None) for tokens in sequences
    ]
    config = PpoConfig(whiten_advantages=False, lam=0.0)
    scores = [float(len(tokens.response_ids)) for tokens in sequences]
    return prepare_batch(learner, learner.model, trajectories, scores=scores, kl_coef=0.0, config=config, pad_id=0)


def gradient(learner: PolicyWithValue, batch: TrainingBatch) -> Tensor:
    learner.zero_grad()
    config = PpoConfig(micro_batch_tokens=1)  # one response at a time, as different in length as they come
    backward_mini_batch(learner, batch, list(range(len(batch.sequences))), config=config, pad_id=0)
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


def test_the_loss_is_the_mean_over_all_tokens_and_not_over_the_means_of_micro_batches(make_llama: MakeLlama) -> None:
    learner = PolicyWithValue(make_llama(sharpness=10.0)).train(False)
    torch.manual_seed(1)
    learner.value_head.weight.data.normal_()
    short, long = (gradient(learner, prepare(learner, [tokens])) for tokens in (SHORT, LONG))
    both = gradient(learner, prepare(learner, [SHORT, LONG]))
    over_tokens, over_means = (1 * short + 8 * long) / 9, (short + long) / 2
    assert float((both - over_tokens).norm()) < 1e-5 * float(both.norm())
    assert float((both - over_means).norm()) > 0.1 * float(both.norm())


def test_approximate_kl_and_entropy_are_means_over_real_tokens_alone(make_llama: MakeLlama) -> None:
    """A response of one token beside one of eight: seven of the sixteen places are pads."""
    learner = PolicyWithValue(make_llama(sharpness=10.0)).train(False)
    batch = prepare(learner, [SHORT, LONG])
    with torch.no_grad():
        learner.model.lm_head.weight[4] += 0.5  # so that the policy is another one than the one that sampled
        moved = [learner(_alone(tokens), temperature=1.0).logprobs[0] for tokens in (SHORT, LONG)]
    log_ratios = torch.cat(moved) - batch.logprobs[batch.response_mask]
    stats = backward_mini_batch(learner, batch, [0, 1], config=PpoConfig(), pad_id=0)
    assert stats.approx_kl == pytest.approx(float(0.5 * log_ratios.square().mean()), rel=1e-4)
    assert stats.ratio == pytest.approx(float(log_ratios.exp().mean()), rel=1e-4)
    entropies = [prepare(learner, [tokens]).entropy[0] for tokens in (SHORT, LONG)]
    whole = prepare(learner, [SHORT, LONG])
    assert float(whole.entropy[whole.response_mask].mean()) == pytest.approx(
        float(torch.cat(entropies).mean()), rel=1e-4
    )
    assert not whole.entropy[~whole.response_mask].any()


def _alone(tokens: TokenSequence) -> PaddedBatch:
    return pad_batch([tokens], pad_id=0, device=torch.device("cpu"))


def test_no_part_of_a_step_holds_logits_of_all_tokens(
    make_llama: MakeLlama,
    letter_encoder: Any,
    letter_prompts: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest tensor that any operation of whole steps gives back: TRL stacks (batch, length, vocabulary)."""

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, Tensor):
                    Largest.numel = max(Largest.numel, tensor.numel())
            return out

    vocabulary, batch, length = 3000, 16, 12
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", 8 * vocabulary)

    def make(**options: Any) -> LlamaForCausalLM:
        return make_llama(vocab_size=vocabulary, **options)

    with Largest():
        metrics = train(make, letter_encoder, letter_prompts, tmp_path, num_steps=1, response_length=length)
    assert metrics[0]["val/response_length"] > length / 2
    # The largest there is: the head's weights, or the next token's logits of the whole batch.
    assert Largest.numel <= max(32, batch + 1) * vocabulary < batch * length / 2 * vocabulary
