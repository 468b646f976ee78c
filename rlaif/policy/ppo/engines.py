"""Engines that sample a step's responses: the model in training itself, or vLLM with a copy of its weights.

An engine takes weights, then samples responses, and marks each with the number of updates in those weights. Does not
decide when to sample, and trains nothing.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.models.interface import DrawnTokens, PolicyCopy
from rlaif.models.open import open_policy_copy
from rlaif.models.vllm.engine import seed_of
from rlaif.models.vllm.weights import write_for_vllm
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.trajectories import EncodedPrompt, Encoder, PendingResponse, Trajectory, sample_pending
from rlaif.training.team import ALONE, Team


class RolloutEngine(Protocol):
    """Samples with the weights that it was given last."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it computes outside this process: it can then sample while the policy here is updated, and its
        log-probabilities are its own."""

    def sync(self, learner: PolicyWithValue, *, version: int) -> None:
        """Take over the policy's weights, in which there are `version` updates."""

    def sample(self, pending: Sequence[PendingResponse], *, response_length: int) -> list[Trajectory]:
        """The responses, in order, each of at most so many tokens."""
        ...

    def close(self) -> None:
        """Give back what it holds."""


def open_engine(
    config: PpoConfig,
    *,
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    device: torch.device,
    team: Team = ALONE,
) -> RolloutEngine:
    """The engine that the options name. What it lacks is an error now, not after hours. device: the policy's.

    Each process of a team has a separate vLLM beside it, or all use the same server.
    """
    max_tokens = max((len(prompt.token_ids) for prompt in prompts), default=0) + config.response_length
    copy = open_policy_copy(config.rollout, device=str(device), max_tokens=max_tokens)
    if copy is None:
        return LearnerRollouts(encoder=encoder, temperature=config.temperature)
    weights_dir = config.rollout.server.weights_dir
    return VllmRollouts(
        copy,
        encoder=encoder,
        config=config,
        weights_dir=None if weights_dir is None else Path(weights_dir),
        team=team if copy.is_shared else ALONE,
    )


class LearnerRollouts:
    """The model in training samples for itself, and its value head reads along."""

    is_elsewhere = False

    def __init__(self, *, encoder: Encoder, temperature: float) -> None:
        self._encoder, self._temperature = encoder, temperature
        self._learner: PolicyWithValue | None = None
        self._version = 0

    def sync(self, learner: PolicyWithValue, *, version: int) -> None:
        self._learner, self._version = learner, version

    def sample(self, pending: Sequence[PendingResponse], *, response_length: int) -> list[Trajectory]:
        learner = self._learner
        if learner is None:
            raise RuntimeError("there are no weights yet")
        with learner.computing.applied(learner.model):
            return sample_pending(
                learner.model,
                self._encoder,
                pending,
                response_length=response_length,
                temperature=self._temperature,
                value_head=learner.reads_along,
                version=self._version,
            )

    def close(self) -> None:
        self._learner = None


class VllmRollouts:
    """vLLM samples, in a separate process or on a server."""

    is_elsewhere = True

    def __init__(
        self,
        vllm: PolicyCopy,
        *,
        encoder: Encoder,
        config: PpoConfig,
        weights_dir: Path | None = None,
        team: Team = ALONE,
    ) -> None:
        """weights_dir: where weights are handed over; None: among the temporary files of this machine. team: the
        processes that share this vLLM; the first one gives it weights."""
        self._vllm, self._encoder, self._config, self._weights_dir = vllm, encoder, config, weights_dir
        self._team = team
        self._version = 0
        # Another training's weights must not be taken for this one's.
        self._own = team.ask_first(lambda: uuid.uuid4().hex[:8])

    def sync(self, learner: PolicyWithValue, *, version: int) -> None:
        self._team.wait()  # none of the others still samples
        named = f"{self._own}-{version}"
        self._team.ask_first(lambda: self._load(learner, named))
        self._vllm.version = named
        self._version = version

    def _load(self, learner: PolicyWithValue, version: str) -> None:
        if self._weights_dir is not None:
            self._weights_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="rlaif-weights-", dir=self._weights_dir) as name:
            folder = Path(name).resolve()
            folder.chmod(0o755)  # a server may be another user's
            write_for_vllm(learner.plain_policy(), folder, dtype=self._config.rollout.dtype)
            self._vllm.load_weights(folder, version=version)

    def sample(self, pending: Sequence[PendingResponse], *, response_length: int) -> list[Trajectory]:
        if not pending:
            return []
        version = self._version
        drawn = self._vllm.sample(
            [prompt.token_ids for prompt, _ in pending],
            seeds=[seed_of(key) for _, key in pending],
            max_tokens=response_length,
            temperature=self._config.temperature,
            stop_token_ids=self._encoder.stop_token_ids,
        )
        return [
            self._as_trajectory(prompt, tokens, version=version, response_length=response_length)
            for (prompt, _), tokens in zip(pending, drawn, strict=True)
        ]

    def close(self) -> None:
        self._vllm.close()

    def _as_trajectory(
        self, prompt: EncodedPrompt, drawn: DrawnTokens, *, version: int, response_length: int
    ) -> Trajectory:
        finished = drawn.ids[-1] in self._encoder.stop_token_ids
        if not finished and len(drawn.ids) != response_length:
            raise TrainingError(
                f"vLLM ended a response after {len(drawn.ids)} tokens that neither stops nor is {response_length} long",
                where=f"prompt {prompt.prompt.id}",
                fix="look at the options that vLLM was started with",
            )
        return Trajectory(
            prompt=prompt.prompt,
            tokens=TokenSequence(prompt.token_ids, drawn.ids),
            finished=finished,
            response=self._encoder.decode(drawn.ids[:-1] if finished else drawn.ids),
            numbers=None,
            version=version,
            engine_logprobs=drawn.logprobs,
        )
