"""The learner of PPO: a causal LM with a value head or a value model, in one module with one forward pass.

Takes token sequences, returns log-probabilities and values at the response's positions. Holds no
optimizer and changes no weight.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from rlaif.errors import ModelError
from rlaif.models.weights.adapters import has_adapter, merge_adapter
from rlaif.policy.ppo.batching import PaddedBatch
from rlaif.policy.ppo.passes import PLAIN, Computing, at_mask, forward_tokens, forward_trunk


class PolicyForward(NamedTuple):
    """All three (batch, response_len), zero where the response mask is False."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor
    """Entropy of the whole next-token distribution; carries no gradient; zero where it is not wanted."""


class PolicyWithValue(nn.Module):
    """A causal LM, with a linear head that reads its last hidden state, or with a separate value model."""

    def __init__(
        self, model: PreTrainedModel, *, value_model: ValueModel | None = None, computing: Computing = PLAIN
    ) -> None:
        """value_model: None for a linear head of zeros on the policy's trunk."""
        super().__init__()
        self.model, self.computing = model, computing
        self.value_head: nn.Module = zero_head(model) if value_model is None else value_model

    def forward(
        self,
        batch: PaddedBatch,
        *,
        temperature: float,
        head_only: bool = False,
        in_one_pass: bool = False,
        with_entropy: bool = True,
    ) -> PolicyForward:
        """Log-probabilities, values and entropy of the whole batch.

        `head_only`: no gradients reach the policy, while the values warm up. `in_one_pass`: the trunk is called once,
        whatever padding that costs.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            tokens = forward_tokens(
                self.model,
                batch,
                temperature=temperature,
                computing=self.computing,
                in_one_pass=in_one_pass,
                with_entropy=with_entropy,
            )
        if isinstance(self.value_head, ValueModel):
            values = self.value_head(batch, computing=self.computing, in_one_pass=in_one_pass)
        else:
            values = self.value_head(tokens.hidden).squeeze(-1).float()
        return PolicyForward(*(at_mask(x, batch.response_mask) for x in (tokens.logprobs, values, tokens.entropy)))

    @property
    def reads_along(self) -> nn.Module | None:
        """The module that reads values while the policy samples; None where the passes in training compute
        otherwise."""
        if self.computing.dtype != "float32":
            return None
        return _Nothing() if isinstance(self.value_head, ValueModel) else self.value_head

    def plain_policy(self) -> PreTrainedModel:
        """The policy as a plain model: with its adapter merged, where it has one."""
        return merge_adapter(self.model) if has_adapter(self.model) else self.model


class ValueModel(nn.Module):
    """A separate trunk, and a head that reads a value from each state."""

    def __init__(self, trunk: PreTrainedModel, head: nn.Linear) -> None:
        super().__init__()
        self.trunk, self.head = _HiddenStates(trunk), head

    def forward(self, batch: PaddedBatch, *, computing: Computing, in_one_pass: bool = False) -> Tensor:
        """(num_tokens,) values of the states before each response token, row by row."""
        (hidden,) = forward_trunk(
            cast(PreTrainedModel, self.trunk), batch, with_hidden=False,
            computing=computing._replace(depth=0), in_one_pass=in_one_pass,
        )  # fmt: skip
        values: Tensor = self.head(hidden.float())
        return values.squeeze(-1)

    @torch.no_grad()
    def rescale(self, *, mean: float, sd: float) -> None:
        """Change the head so that it predicts (score - mean) / sd where it predicted the score."""
        self.head.weight /= sd
        self.head.bias.sub_(mean).div_(sd)


class ValueStart(NamedTuple):
    """A reward model with the policy's tokenizer, which a separate value model begins as."""

    trunk: PreTrainedModel
    head: nn.Linear
    """A linear layer with one output."""
    reward: str = "reward"
    """Name of the reward source that this model is."""


def make_value_model(policy: PreTrainedModel, start: ValueStart | None) -> ValueModel:
    """A value model made of copies of a reward model's trunk and head, as in Huang et al. 2024 (arXiv:2403.17031);
    without a reward model, of the policy's trunk and a head of zeros."""
    trunk: Any = copy.deepcopy(policy.base_model if start is None else start.trunk)
    trunk.requires_grad_(True).train(False).to(device_of(policy))
    head = zero_head(trunk)
    if start is not None:
        with torch.no_grad():
            head.weight.copy_(start.head.weight)
            if start.head.bias is not None:
                head.bias.copy_(start.head.bias)
    return ValueModel(trunk, head)


def zero_head(trunk: PreTrainedModel) -> nn.Linear:
    """A head of zeros, so that V = 0 at first and a shared trunk is not pulled towards a random head."""
    head = nn.Linear(hidden_size_of(trunk), 1, device="meta").to_empty(device=device_of(trunk))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class _HiddenStates(nn.Module):
    """A model without output layer that gives its last hidden states where a causal LM gives logits."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    @property
    def config(self) -> Any:
        return self.model.config

    def forward(
        self, *, logits_to_keep: int | Tensor = 0, output_hidden_states: bool = False, **given: Any
    ) -> CausalLMOutputWithPast:
        out = self.model(output_hidden_states=self.model.base_model is self.model, **given)
        found = getattr(out, "last_hidden_state", None)
        hidden = out.hidden_states[-1] if found is None else found
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return CausalLMOutputWithPast(logits=hidden[:, kept], past_key_values=out.past_key_values)


class _Nothing(nn.Module):
    """A value head of zeros, used while the policy samples and a separate model gives the values."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.new_zeros(*hidden.shape[:-1], 1)


def hidden_size_of(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().hidden_size)


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def check_trainable(models: Sequence[PreTrainedModel]) -> None:
    """PPO updates float32 master weights: [M] in bf16 a step at 1e-6 changes 0.01 % of the weights."""
    for model in models:
        dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})
        if dtypes != ["float32"]:
            raise ModelError(
                f"PPO trains float32 weights and {type(model).__name__} has {', '.join(dtypes)}",
                fix="load the policy with dtype float32; `ppo.model.compute_dtype: bfloat16` computes in bfloat16",
            )
