"""The PPO part of benchmarks/gpu_check.py: a whole training of a random model of half a billion weights.

Once with each engine that can sample here. Seconds are of the wall clock, with all work on the device waited for. It
must run and stay a number; that what it learns is right is tested on CPUs.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.models.interface import Chat
from rlaif.models.vllm.process import installed_version
from rlaif.models.weights.loading import free_memory
from rlaif.policy.ppo import train
from rlaif.policy.ppo.engines import LearnerRollouts, VllmRollouts
from rlaif.policy.rewards.episodes import Episode
from rlaif.records import Message, Prompt
from rlaif.training.listener import Listener, StepMetrics

GIB = 2**30
PAD, EOS, FIRST_WORD = 0, 1, 4


class PpoPlan(NamedTuple):
    device: str
    layers: int
    width: int
    vocab: int
    num_prompts: int
    response_length: int
    num_samples: int = 4
    epochs: int = 2
    num_steps: int = 3
    """The first one is not timed: what is made once is in it."""
    gpu_share: float = 0.4


REAL = PpoPlan("cuda", layers=24, width=896, vocab=151_936, num_prompts=64, response_length=256)
SMALL = PpoPlan("cpu", layers=2, width=128, vocab=1024, num_prompts=4, response_length=12)


class Words:
    """Token ids <-> text, a word per token."""

    stop_token_ids = (EOS,)
    pad_token_id = PAD

    def encode(self, chat: Chat) -> list[int]:
        return [int(word[1:]) for word in chat[-1].text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(f"t{i}" for i in ids)


class Clock:
    """Seconds and sizes of the last step's phases."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.batch: Any = None
        self.num_sampled = 0

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            wait(self.device)
            started = time.monotonic()
            result = function(*args, **kwargs)
            wait(self.device)
            self.seconds[phase] = time.monotonic() - started
            if phase == "rollout":
                self.num_sampled = sum(len(trajectory.tokens.response_ids) for trajectory in result)
            if phase == "prepare":
                self.batch = result
            return result

        return call


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def make_policy(plan: PpoPlan) -> LlamaForCausalLM:
    """Random weights in float32, which PPO trains; responses end by chance or run out of tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=plan.vocab, hidden_size=plan.width, intermediate_size=plan.width * 11 // 2,
        num_hidden_layers=plan.layers, num_attention_heads=plan.width // 64, num_key_value_heads=2,
        max_position_embeddings=2048, tie_word_embeddings=True, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(plan.device).eval()  # type: ignore[no-any-return]


def make_prompts(plan: PpoPlan) -> list[Prompt]:
    drawn = torch.randint(FIRST_WORD, plan.vocab, (plan.num_prompts, 32), generator=torch.Generator().manual_seed(1))
    words = Words()
    return [Prompt(messages=(Message(role="user", content=words.decode(row)),)) for row in drawn.tolist()]


def check_training(plan: PpoPlan, *, engine: str) -> dict[str, Any]:
    """A training with this engine: samples, tokens and memory, and how much of the matrix rate its update reaches."""
    clock, policy = Clock(plan.device), make_policy(plan)
    options: dict[str, Any] = {
        "num_steps": plan.num_steps, "num_prompts_per_step": plan.num_prompts, "learning_rate": 1e-6,
        "num_samples_per_prompt": plan.num_samples, "response_length": plan.response_length,
        "num_ppo_epochs": plan.epochs, "checkpoint_every": 10**6, "micro_batch_tokens": 16_384,
        "model": {"compute_dtype": "bfloat16"},
        "rollout": {
            "engine": engine, "dtype": "bfloat16", "vllm": {"gpu_memory_utilization": plan.gpu_share},
            "max_logprob_gap": 0.5,
        },
    }  # fmt: skip
    metrics: list[Mapping[str, float]] = []
    seconds: list[float] = []
    started = time.monotonic()

    def count(done: StepMetrics) -> None:
        nonlocal started
        metrics.append(done.numbers)
        seconds.append(time.monotonic() - started)
        started = time.monotonic()

    def longest(episodes: Sequence[Episode]) -> list[float]:
        return [len(episode.response.split()) / plan.response_length for episode in episodes]

    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(LearnerRollouts, "sample", clock.timed("rollout", LearnerRollouts.sample)),
        patch.object(VllmRollouts, "sample", clock.timed("rollout", VllmRollouts.sample)),
        patch.object(VllmRollouts, "sync", clock.timed("sync", VllmRollouts.sync)),
        patch.object(train, "prepare_batch", clock.timed("prepare", train.prepare_batch)),
        patch.object(train, "update", clock.timed("update", train.update)),
    ):
        trained = train.train_policy(
            policy=policy, encoder=Words(), prompts=make_prompts(plan), reward=longest, config=PpoConfig(**options),
            out_dir=Path(folder), seed=0, resume=False, listener=Listener(on_metrics=count),
        )  # fmt: skip
    rate = measure_matrix_rate(plan)
    multiply_adds = plan.epochs * count_update(plan, clock.batch)
    del policy
    free_memory()
    whole = all(math.isfinite(value) for row in metrics for value in row.values())
    return {
        "held": whole and trained.stop_reason == "done" and len(metrics) == plan.num_steps,
        "weights": sum(parameter.numel() for parameter in trained.model.parameters()),
        "samples_per_s": round(plan.num_prompts * plan.num_samples / min(seconds[1:]), 2),
        "rollout_tokens_per_s": round(clock.num_sampled / clock.seconds["rollout"]),
        "seconds": {phase: round(value, 3) for phase, value in clock.seconds.items()},
        "update_share_of_bf16_rate": round(multiply_adds / clock.seconds["update"] / rate, 4),
        "bf16_rate_tera_per_s": round(rate / 1e12, 3),
        "peak_gib": round(peak_gib(plan), 2),
        "first_ratio_deviation": max(row["val/first_ratio_deviation"] for row in metrics),
    }


def count_update(plan: PpoPlan, batch: Any) -> float:
    """Multiply-adds of one pass forward and backward; attention itself is left out."""
    head_dim, kv = 64, 2 * 64
    heads = plan.width // head_dim * head_dim
    layer = 2 * plan.width * heads + 2 * plan.width * kv + 3 * plan.width * (plan.width * 11 // 2)
    drawn = int(batch.response_mask.sum())
    # A prompt is run once for its responses.
    prompts = {tuple(sequence.prompt_ids) for sequence in batch.sequences}
    tokens = drawn + sum(map(len, prompts))
    return 3.0 * (tokens * plan.layers * layer + drawn * plan.width * plan.vocab)


def measure_matrix_rate(plan: PpoPlan) -> float:
    """Multiply-adds per second of a large bfloat16 product of the model's own width; the best of five."""
    rows, inner, out = (8192, plan.width, plan.width * 11 // 2) if plan.device == "cuda" else (256, 128, 704)
    left: Tensor = torch.randn(rows, inner, device=plan.device, dtype=torch.bfloat16)
    right: Tensor = torch.randn(inner, out, device=plan.device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(5):
        wait(plan.device)
        started = time.monotonic()
        for _ in range(20):
            left @ right
        wait(plan.device)
        best = max(best, 20 * rows * inner * out / (time.monotonic() - started))
    return best


def peak_gib(plan: PpoPlan) -> float:
    if plan.device == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def engines_here(plan: PpoPlan) -> list[str]:
    """vLLM's own process is tried where there is a GPU; on a CPU it has its own tests."""
    return ["transformers", *(["vllm"] if installed_version() is not None and plan.device == "cuda" else [])]
