"""What is a probability stays one: temperature alone shapes the distribution, and half precision does little harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.models.local.decode import decode, row_uniforms
from rlaif.policy.ppo.batching import TokenSequence, pad_batch
from rlaif.policy.ppo.passes import Computing, compute_logprobs
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs

CPU = torch.device("cpu")


@pytest.mark.parametrize("option", ["top_p", "top_k", "min_p"])
def test_an_option_that_would_cut_the_distribution_is_refused(option: str) -> None:
    with pytest.raises(ValidationError, match=option):
        PpoConfig(**{option: 1})


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_probabilities_of_all_responses_sum_to_one(make_world: Callable[..., Any], temperature: float) -> None:
    world = make_world(seed=0, stop_id=3)
    everything = [TokenSequence([0], list(response)) for response in world.responses]
    batch = pad_batch(everything, pad_id=0, device=CPU)
    with torch.no_grad():
        logprobs = compute_logprobs(world.start, batch, temperature=temperature).sum(dim=1)
    assert float(logprobs.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_in_half_precision_the_first_ratio_stays_near_one(make_llama: Callable[..., LlamaForCausalLM]) -> None:
    """Bounded, not zero: a decode pass with its cache and a training pass round in other places."""
    model = make_llama(sharpness=10.0)
    prompts = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [2]] * 8
    ratios: dict[str, torch.Tensor] = {}
    for computing in (Computing(dtype="float32"), Computing(dtype="bfloat16")):
        with computing.applied(model):
            drawn = decode(
                model, prompts, max_new_tokens=16, temperature=1.0, stop_ids=(), pad_id=14,
                uniforms=row_uniforms([(0, row) for row in range(len(prompts))], 16),
            )  # fmt: skip
        sequences = [TokenSequence(*both) for both in zip(prompts, drawn.token_ids, strict=True)]
        batch = pad_batch(sequences, pad_id=14, device=CPU)
        with torch.no_grad():
            found = compute_logprobs(model, batch, temperature=1.0, computing=computing)
        ratios[computing.dtype] = (found - torch.tensor(drawn.logprobs)).exp()
    assert float((ratios["float32"] - 1).abs().max()) < 1e-4
    assert float((ratios["bfloat16"] - 1).abs().max()) < 0.3
    assert 1e-5 < float(ratios["bfloat16"].log().abs().mean()) < 0.02


def test_the_softmax_is_taken_in_float32_where_the_weights_are_half_precision() -> None:
    torch.manual_seed(0)
    head = nn.Linear(32, 1000, bias=False).to(torch.bfloat16)
    hidden, tokens = 4 * torch.randn(200, 32, dtype=torch.bfloat16), torch.randint(0, 1000, (200,))
    with torch.no_grad():
        logits = head(hidden)
        exact = torch.log_softmax(logits.double(), dim=-1).gather(1, tokens[:, None]).squeeze(1)
        in_half = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None]).squeeze(1)
        found = compute_token_logprobs(hidden, tokens, head=head, temperature=1.0).logprobs
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 1e-5
    assert float((in_half - exact).abs().max()) > 1e-3
