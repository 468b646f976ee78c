"""A Hugging Face causal LM in vLLM, offline, as generator and as scorer: the transformers engine's records, faster.

Prompts go in as our own token ids, and the verdict's exact log-probabilities come from the pass that wrote the reason.
The tokenizer is in this process, the weights are in another one. Plans no batches.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlaif.config.models import ModelConfig, VllmConfig
from rlaif.errors import ModelError
from rlaif.models.interface import Chat, Generation, ScoredReply, ScoreRequest
from rlaif.models.readings import Tokens, judge_readings
from rlaif.models.replies.local_reply import encode_questions, read_reply
from rlaif.models.replies.verdict_watch import WatchedReply, stop_after
from rlaif.models.slot import Slot
from rlaif.models.tokens.prompt_tokens import PromptEncoder, choice_token_ids
from rlaif.models.vllm.process import VllmProcess, find_vllm
from rlaif.models.weights.loading import (
    check_rows,
    fingerprint,
    load_tokenizer,
    read_config,
    read_generation_config,
    stop_token_ids,
)
from rlaif.models.weights.model_folder import ModelFolder, find_model_folder
from rlaif.records import Model, SamplingParams


class _Row(NamedTuple):
    """vLLM's output for one prompt."""

    ids: list[int]
    """New tokens, with the stop token where one was drawn."""
    logprobs: list[list[float]]
    """Log-probability of each choice at the place of each new token."""


class VllmEngine:
    """Implements `TextGenerator` and `TokenScorer`. Asking starts the process; `close` ends it."""

    def __init__(self, config: ModelConfig, *, options: VllmConfig, slot: Slot | None = None) -> None:
        """Load the tokenizer alone.

        config: its `path` is a folder or hub id. slot: the place that the process takes, so that it ends the one that
        was there.
        """
        find_vllm()
        found = find_model_folder(config.path, revision=config.revision)
        tokenizer = load_tokenizer(found)
        settings = _read_settings(found)
        check_rows(tokenizer, settings.vocab_size, where=config.path)
        self._encoder = PromptEncoder(tokenizer, stop_token_ids=settings.stop_token_ids, num_rows=settings.vocab_size)
        self._stop_ids = frozenset(self._encoder.stop_token_ids)
        self.context_tokens = min(settings.context_tokens, options.max_model_len or settings.context_tokens)
        further = f" {json.dumps(options.engine_args, sort_keys=True)}" if options.engine_args else ""
        self.fingerprint: Model = fingerprint(found, tokenizer=tokenizer, dtype=config.dtype + further).changed(
            engine="vllm"
        )
        device = read_device(config.device, os.environ)
        self.process = VllmProcess(
            _arguments(found, config, options), environ=device.environ, device=device.kind, where=config.path,
            slot=slot,
        )  # fmt: skip

    def count_tokens(self, chat: Chat) -> int:
        return len(self._encoder.encode(chat))

    def generate(
        self, chats: Sequence[Chat], *, params: SamplingParams, keys: Sequence[tuple[int, ...]]
    ) -> list[Generation]:
        prompts = self._encoder.encode_batch(chats)
        rows = self._run(
            prompts,
            max_tokens=params.max_new_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            seeds=[seed_of(key) for key in keys],
        )
        return [
            Generation(
                text=self._encoder.decode(row.ids),
                token_ids=tuple(row.ids),
                finish_reason="length" if self._stop_ids.isdisjoint(row.ids[-1:]) else "stop",
                prompt_tokens=len(prompt),
            )
            for prompt, row in zip(prompts, rows, strict=True)
        ]

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        if request.reads == "likelihood":
            return judge_readings(
                self._encoder, chats, context_tokens=self.context_tokens - 1, run=self._read_likelihoods
            )
        choice_ids = choice_token_ids(self._encoder, request.marker, request.choices)
        prompts, fitting, replies = encode_questions(
            self._encoder, chats, request=request, context_tokens=self.context_tokens
        )
        rows = self._run(
            [prompts[row] for row in fitting],
            max_tokens=request.max_reason_tokens + 2 if request.max_reason_tokens else 1,
            choice_ids=choice_ids,
            # vLLM stops where the reply is surely over; its exact end is found as in the transformers engine.
            stop=[stop_after(request.marker, choice) for choice in request.choices]
            if request.max_reason_tokens
            else [],
        )
        for row, written in zip(fitting, rows, strict=True):
            replies[row] = self._read(written, request=request, choice_ids=choice_ids, prompt_tokens=len(prompts[row]))
        return replies

    def _read_likelihoods(self, rows: Sequence[Tokens]) -> list[float]:
        if not rows:
            return []
        asked = {
            "do": "read",
            "prompts": [[*row.prompt, *row.response] for row in rows],
            "starts": [len(row.prompt) for row in rows],
        }
        return [math.fsum(logprobs) for logprobs in self.process.ask(asked)]

    def close(self) -> None:
        """End the process and give its memory back."""
        self.process.close()

    def _read(
        self, written: _Row, *, request: ScoreRequest, choice_ids: Sequence[int], prompt_tokens: int
    ) -> ScoredReply:
        ids, is_finished = written.ids, True
        end: int | None = 0
        if request.max_reason_tokens:
            reply = WatchedReply(
                marker=request.marker, choice_ids=choice_ids, piece=self._encoder.piece, stop_ids=self._stop_ids,
                max_new_tokens=request.max_reason_tokens,
            )  # fmt: skip
            for token in ids:
                reply.append(token)
                if reply.is_over:
                    break
            ids, end = reply.ids, reply.choice_place()
            is_finished = reply.is_finished or len(ids) < request.max_reason_tokens
        return read_reply(
            self._encoder,
            ids[:end],
            request=request,
            logprobs=None if end is None else tuple(written.logprobs[end]),
            is_finished=is_finished,
            prompt_tokens=prompt_tokens,
        )

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
        choice_ids: Sequence[int] = (),
        stop: Sequence[str] = (),
    ) -> list[_Row]:
        if not prompts:
            return []
        answer = self.process.ask(
            {
                "prompts": prompts,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "seeds": seeds or [None] * len(prompts),
                "choice_ids": choice_ids,
                "stop": stop,
                "stop_token_ids": sorted(self._stop_ids),
            }
        )
        return [_Row(row["ids"], row["logprobs"]) for row in answer]


def seed_of(key: tuple[int, ...]) -> int:
    """A row's seed, which depends on the row's key alone."""
    return int.from_bytes(hashlib.sha256(",".join(map(str, key)).encode()).digest()[:7], "big")


class _Settings(NamedTuple):
    """What the files of a model's folder say, without its weights."""

    stop_token_ids: list[int]
    context_tokens: int
    vocab_size: int


def _read_settings(found: ModelFolder) -> _Settings:
    config: Any = read_config(found)
    ends = read_generation_config(found) or config
    text = config.get_text_config()
    return _Settings(
        stop_token_ids(ends, where=found.path),
        int(getattr(text, "max_position_embeddings", 2**31)),
        int(text.vocab_size),
    )


def _arguments(found: ModelFolder, config: ModelConfig, options: VllmConfig) -> dict[str, Any]:
    """Arguments of vllm.LLM."""
    return {
        "load_format": "safetensors",
        **options.engine_args,
        "model": str(found.folder.resolve()),
        "dtype": config.dtype,
        "max_model_len": options.max_model_len,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "generation_config": "vllm",  # no sampling options from the model's folder
        "trust_remote_code": False,
        "seed": 0,
    }


class Device(NamedTuple):
    """What vLLM computes on, and the environment variables that say so to it."""

    kind: str
    """cuda or cpu; empty where vLLM may choose."""
    environ: dict[str, str]


def read_device(device: str, environ: Mapping[str, str]) -> Device:
    """A device of our options as vLLM understands it: cuda:1 becomes the only GPU that vLLM sees."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda", "cpu"):
        raise ModelError(f'vLLM has no device "{device}"', fix="use auto, cuda, cuda:1 or cpu")
    wanted = "" if kind == "auto" else kind
    if not index:
        return Device(wanted, {})
    seen = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = seen[int(index)] if index.isdigit() and int(index) < len(seen) and seen[int(index)] else index
    return Device(wanted, {"CUDA_VISIBLE_DEVICES": named})
