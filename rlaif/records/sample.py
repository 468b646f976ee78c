"""Samples and the models that made them.

A sample's request key names the request (prompt, policy, sampling, seed, index); its id also covers the
response. Does not load models.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field, computed_field

from rlaif.records.base import Observed, Record, Value, digest_text

FinishReason = Literal["stop", "length", "recorded"]


class ModelObserved(Value):
    name: str = ""
    """Folder or hub id as the user gave it."""


class Model(Record):
    """A model's fingerprint: what must be equal for two runs to have asked the same model."""

    table: ClassVar[str] = "models"
    engine: Literal["transformers", "vllm", "openai", "scripted", "recorded"]
    weights: str
    """Digest of the weights, or the hub commit; for a recorded or served model, its given name; for a scripted one, the
    digest of its source."""
    tokenizer: str = ""
    chat_template: str = ""
    dtype: str = ""
    observed: ModelObserved = ModelObserved()


class SamplingParams(Value):
    """How a response is drawn. top_p and top_k are 1 and 0 wherever PPO learns from the sample."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 64


class Sample(Record):
    """One response of a policy."""

    table: ClassVar[str] = "samples"
    text_fields: ClassVar[tuple[str, ...]] = ("text",)
    prompt_id: str
    policy_id: str
    params: SamplingParams | None = None
    """None for a recorded sample, whose sampling is not known."""
    seed: int = 0
    instruction_digest: str = Field("", exclude_if=lambda digest: not digest)
    """Digest of the system turn that was put before the prompt for this sample alone; empty: none was."""
    index: int = 0
    """Number of the sample among those of its prompt; together with the seed it fixes the randomness."""
    round: int = 0
    finish_reason: FinishReason
    token_count: int = 0
    text: str
    observed: Observed = Observed()

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def request_key(self) -> str:
        """The key of the sample's request; part of the content, so that the ledger holds at most one sample for it."""
        return sample_request_key(
            prompt_id=self.prompt_id,
            policy_id=self.policy_id,
            params=self.params,
            seed=self.seed,
            index=self.index,
            instruction_digest=self.instruction_digest,
            recorded_text=self.text if self.finish_reason == "recorded" else None,
        )


def sample_request_key(
    *,
    prompt_id: str,
    policy_id: str,
    params: SamplingParams | None,
    seed: int,
    index: int,
    instruction_digest: str = "",
    recorded_text: str | None = None,
) -> str:
    """The key of a request for a sample: the ledger holds at most one sample for each key."""
    drawn = params.model_dump_json() if params else f"recorded {digest_text(recorded_text or '')}"
    under = f"\n{instruction_digest}" if instruction_digest else ""
    return digest_text(f"{prompt_id}\n{policy_id}\n{drawn}\n{seed}\n{index}{under}")[:32]
