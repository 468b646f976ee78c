"""One step's update on a tiny Llama: what it must not depend on, and what it must do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.models.decode import decode, row_uniforms
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.update import TrainingBatch, backward_mini_batch, prepare_batch, update

MakeLlama = Callable[..., LlamaForCausalLM]
SEQUENCES = [
    TokenSequence([1, 2], [3, 4, 15]),
    TokenSequence([5, 6, 7, 8], [9, 15]),
    TokenSequence([1], [2, 2, 2, 2, 2]),
    TokenSequence([3, 3, 3], [15]),
    TokenSequence([9, 1], [0, 14, 0, 15]),
]
SCORES = [1.0, -0.5, 0.3, 2.0, -1.2]


def make_learner(make_llama: MakeLlama) -> PolicyWithValue:
    learner = PolicyWithValue(make_llama(sharpness=20.0)).train(False)
    torch.manual_seed(1)
    learner.value_head.weight.data.normal_()
    return learner


def prepare(learner: PolicyWithValue, *, reference: Any = None, pad_id: int = 0, **options: Any) -> TrainingBatch:
    return prepare_batch(
        learner,
        learner.model if reference is None else reference,
        SEQUENCES,
        scores=SCORES,
        kl_coef=0.1,
        config=PpoConfig(**options),
        pad_id=pad_id,
    )


def gradients(learner: PolicyWithValue, batch: TrainingBatch, *, pad_id: int = 0, **options: Any) -> Tensor:
    learner.zero_grad()
    backward_mini_batch(learner, batch, list(range(5)), config=PpoConfig(**options), pad_id=pad_id)
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


def test_gradients_do_not_depend_on_the_micro_batch_size(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    batch = prepare(learner)
    whole = gradients(learner, batch, micro_batch_tokens=10_000)
    for tokens in (1, 8, 12, 18):  # one, two, two and three sequences at a time
        parts = gradients(learner, batch, micro_batch_tokens=tokens)
        assert float((parts - whole).norm()) <= 1e-5 * float(whole.norm())


def test_the_content_of_pads_changes_no_bit(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    zeros, stops = prepare(learner, pad_id=0), prepare(learner, pad_id=15)
    for one, other in zip(zeros[1:], stops[1:], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(gradients(learner, zeros, pad_id=0), gradients(learner, stops, pad_id=15))


def test_nothing_stands_after_the_stop_token(make_llama: MakeLlama) -> None:
    batch = prepare(make_learner(make_llama))
    lengths = torch.tensor([len(sequence.response_ids) for sequence in SEQUENCES])
    assert torch.equal(batch.response_mask, torch.arange(5) < lengths[:, None])
    for tensor in (batch.logprobs, batch.ref_logprobs, batch.values, batch.advantages, batch.returns):
        assert not tensor[~batch.response_mask].any()
        assert tensor[batch.response_mask].abs().sum() > 0


def test_the_stop_token_is_an_action_that_gets_the_score(make_llama: MakeLlama) -> None:
    batch = prepare(make_learner(make_llama), whiten_advantages=False, lam=0.0)
    # the reference is the policy, so there is no KL; the last delta is the score less V of its state
    last = batch.response_mask.sum(dim=1) - 1
    rows = torch.arange(5)
    expected = torch.tensor(SCORES) - batch.values[rows, last]
    torch.testing.assert_close(batch.advantages[rows, last], expected)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_old_logprobs_are_those_the_decoder_sampled_with(make_llama: MakeLlama, temperature: float) -> None:
    learner = make_learner(make_llama)
    prompts = [sequence.prompt_ids for sequence in SEQUENCES]
    decoded = decode(
        learner.model,
        prompts,
        max_new_tokens=6,
        temperature=temperature,
        uniforms=row_uniforms([(0, row) for row in range(5)], 6),
        stop_ids=[15],
        pad_id=14,
    )
    sequences = [TokenSequence(p, r) for p, r in zip(prompts, decoded.token_ids, strict=True)]
    for update_temperature, agrees in ((temperature, True), (0.8, False)):
        batch = prepare_batch(
            learner,
            learner.model,
            sequences,
            scores=SCORES,
            kl_coef=0.1,
            config=PpoConfig(temperature=update_temperature),
            pad_id=14,
        )
        sampled = torch.cat([torch.tensor(row) for row in decoded.logprobs])
        ratio = (batch.logprobs[batch.response_mask] - sampled).exp()
        assert bool((ratio - 1).abs().max() < 1e-4) is agrees


def test_the_first_mini_batch_has_ratio_one(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    config = PpoConfig(temperature=0.6, micro_batch_tokens=16, value_warmup_steps=0, num_mini_batches=2)
    batch = prepare(learner, temperature=0.6, micro_batch_tokens=30)
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    stats = update(learner, optimizer, batch, learning_rate=1e-2, config=config, pad_id=0, seed=0, step=0)
    assert stats.ratio_deviation < 1e-5
    assert stats.approx_kl > 1e-4  # the later ones moved


def test_optimizer_steps_are_epochs_times_mini_batches_and_gradients_are_clipped(
    make_llama: MakeLlama,
) -> None:
    learner = make_learner(make_llama)
    config = PpoConfig(num_ppo_epochs=3, num_mini_batches=2, max_grad_norm=0.01, value_warmup_steps=0)
    optimizer = torch.optim.Adam(learner.parameters())
    norms: list[float] = []

    def record(*_: Any) -> None:
        norms.append(float(torch.stack([p.grad.norm() for p in learner.parameters() if p.grad is not None]).norm()))

    optimizer.register_step_pre_hook(record)
    stats = update(learner, optimizer, prepare(learner), learning_rate=1e-6, config=config, pad_id=0, seed=0, step=0)
    assert len(norms) == 6
    assert stats.grad_norm > 0.02
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)


def test_during_the_warm_up_only_the_value_head_moves(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    before = copy.deepcopy(learner.state_dict())
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    for step, trunk_moves in ((1, False), (2, True)):
        update(
            learner,
            optimizer,
            prepare(learner),
            learning_rate=1e-2,
            config=PpoConfig(value_warmup_steps=2),
            pad_id=0,
            seed=0,
            step=step,
        )
        moved = {name for name, tensor in learner.state_dict().items() if not torch.equal(tensor, before[name])}
        assert "value_head.weight" in moved
        assert ("model.model.layers.0.mlp.up_proj.weight" in moved) is trunk_moves


def test_the_reference_stays_as_it_was_and_gets_no_gradient(make_llama: MakeLlama) -> None:
    learner, reference = make_learner(make_llama), make_llama(seed=5, sharpness=20.0)
    before = copy.deepcopy(reference.state_dict())
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    batch = prepare(learner, reference=reference)
    update(learner, optimizer, batch, learning_rate=1e-2, config=PpoConfig(), pad_id=0, seed=0, step=5)
    assert all(torch.equal(before[name], tensor) for name, tensor in reference.state_dict().items())
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_a_new_value_head_says_zero(make_llama: MakeLlama) -> None:
    batch = prepare(PolicyWithValue(make_llama()).train(False))
    assert not batch.values.any()
