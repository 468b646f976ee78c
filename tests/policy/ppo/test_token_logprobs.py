"""Log-probabilities in chunks against the plain way, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlaif.policy.ppo import token_logprobs
from rlaif.policy.ppo.token_logprobs import compute_token_logprobs


def plain(hidden: torch.Tensor, tokens: torch.Tensor, head: nn.Linear, temperature: float) -> torch.Tensor:
    table = torch.log_softmax(head(hidden) / temperature, dim=-1)
    return table.gather(1, tokens[:, None]).squeeze(1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 50, 1 << 20])
def test_values_and_gradients_are_those_of_a_whole_log_softmax(monkeypatch, bias, chunk):
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", chunk)
    torch.manual_seed(0)
    head = nn.Linear(5, 11, bias=bias).double()
    hidden = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    tokens, weights = torch.randint(0, 11, (7,)), torch.randn(7)
    expected = plain(hidden, tokens, head, 0.7)
    found = compute_token_logprobs(hidden, tokens, head=head, temperature=0.7)
    torch.testing.assert_close(found.logprobs, expected.float())
    inputs = [hidden, *head.parameters()]
    for one, other in zip(
        torch.autograd.grad((found.logprobs * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


CHUNKS = pytest.mark.parametrize("chunk", [1, 1 << 20], ids=["part by part", "whole"])
"""Logits held at once: with few, one part of the vocabulary is computed after another."""


@CHUNKS
def test_entropy_is_in_nats_and_carries_no_gradient(monkeypatch, chunk):
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", chunk)
    head = nn.Linear(2, 4, bias=False)
    nn.init.zeros_(head.weight)
    found = compute_token_logprobs(torch.ones(3, 2), torch.tensor([0, 1, 2]), head=head, temperature=1.0)
    torch.testing.assert_close(found.entropy, torch.full((3,), 4.0).log())
    assert not found.entropy.requires_grad


@CHUNKS
def test_the_entropy_is_that_of_the_whole_distribution(monkeypatch, chunk):
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", chunk)
    torch.manual_seed(0)
    head, hidden = nn.Linear(5, 11), 3 * torch.randn(600, 5)
    tokens = torch.randint(0, 11, (600,))
    expected = torch.distributions.Categorical(logits=head(hidden) / 0.7).entropy()
    found = compute_token_logprobs(hidden, tokens, head=head, temperature=0.7)
    torch.testing.assert_close(found.entropy, expected.detach(), rtol=1e-5, atol=1e-5)


@CHUNKS
def test_without_entropy_the_log_probabilities_have_the_same_bits(monkeypatch, chunk):
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", chunk)
    torch.manual_seed(0)
    head, hidden, tokens = nn.Linear(5, 11), torch.randn(9, 5), torch.randint(0, 11, (9,))
    with_it, without = (
        compute_token_logprobs(hidden, tokens, head=head, temperature=0.7, with_entropy=wanted)
        for wanted in (True, False)
    )
    assert torch.equal(with_it.logprobs, without.logprobs)
    assert without.entropy.eq(0).all()


@CHUNKS
def test_a_token_that_cannot_come_leaves_the_entropy_a_number(monkeypatch, chunk):
    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", chunk)
    head = nn.Linear(1, 3, bias=True)
    for order in ([0.0, 0.0, -torch.inf], [-torch.inf, 0.0, 0.0]):
        with torch.no_grad():
            head.weight.zero_()
            head.bias.copy_(torch.tensor(order))
        found = compute_token_logprobs(torch.ones(1, 1), torch.tensor([1]), head=head, temperature=1.0)
        assert float(found.entropy.detach()) == pytest.approx(0.6931472)
        assert float(found.logprobs.detach()) == pytest.approx(-0.6931472)


def test_a_frozen_head_over_a_large_vocabulary_has_no_second_pass_over_the_logits(monkeypatch):
    """The backward pass multiplies no matrices."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Products(TorchDispatchMode):
        names: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Products.names.append(str(func))
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", 64)
    head = nn.Linear(8, 512, bias=False).requires_grad_(False)
    hidden, tokens = torch.randn(30, 8, requires_grad=True), torch.randint(0, 512, (30,))
    expected = torch.autograd.grad(plain(hidden, tokens, head, 0.7).square().sum(), hidden)[0]
    loss = compute_token_logprobs(hidden, tokens, head=head, temperature=0.7).logprobs.square().sum()
    with Products():
        loss.backward()
    assert not [name for name in Products.names if "mm" in name]
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-4, atol=1e-5)


def test_no_tensor_of_all_tokens_times_the_vocabulary_is_ever_made(monkeypatch):
    """Counted, not timed: the largest tensor that any operation of both passes gives back."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, torch.Tensor):
                    Largest.numel = max(Largest.numel, tensor.numel())
            return out

    monkeypatch.setattr(token_logprobs, "CHUNK_LOGITS", 4096)
    head = nn.Linear(8, 512, bias=False)
    hidden, tokens = torch.randn(300, 8, requires_grad=True), torch.randint(0, 512, (300,))
    with Largest():
        compute_token_logprobs(hidden, tokens, head=head, temperature=1.0).logprobs.sum().backward()
    assert Largest.numel == 512 * 8  # a chunk, and the head's own gradient
