"""One step's update on a tiny Llama: what it must not depend on, and what it must do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.models.local.decode import decode, row_uniforms
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.policy.ppo.update import backward_mini_batch, update
from rlaif.records import Message, Prompt

MakeLlama = Callable[..., LlamaForCausalLM]
SEQUENCES = [
    TokenSequence([1, 2], [3, 4, 15]),
    TokenSequence([5, 6, 7, 8], [9, 15]),
    TokenSequence([1], [2, 2, 2, 2, 2]),
    TokenSequence([3, 3, 3], [15]),
    TokenSequence([9, 1], [0, 14, 0, 15]),
]
PROMPTS = [Prompt(messages=(Message(role="user", content=f"question {n}"),)) for n in range(5)]
SCORES = [1.0, -0.5, 0.3, 2.0, -1.2]


def make_learner(make_llama: MakeLlama) -> PolicyWithValue:
    learner = PolicyWithValue(make_llama(sharpness=20.0)).train(False)
    torch.manual_seed(1)
    learner.value_head.weight.data.normal_()
    return learner


def as_trajectories(sequences: list[TokenSequence]) -> list[Trajectory]:
    """With nothing said of their tokens."""
    return [
        Trajectory(prompt, tokens, tokens.response_ids[-1] == 15, "", None)
        for prompt, tokens in zip(PROMPTS, sequences, strict=True)
    ]


def prepare(learner: PolicyWithValue, *, reference: Any = None, pad_id: int = 0, **options: Any) -> TrainingBatch:
    return prepare_batch(
        learner,
        learner.model if reference is None else reference,
        as_trajectories(SEQUENCES),
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
    for one, other in zip(zeros[2:-1], stops[2:-1], strict=True):
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
            as_trajectories(sequences),
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


def test_what_follows_a_truncated_response_is_worth_what_the_value_head_says_of_it(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    cut = SEQUENCES[2]
    options = {"lam": 0.0, "whiten_advantages": False}
    with torch.no_grad():
        hidden = learner.model(
            input_ids=torch.tensor([cut.prompt_ids + cut.response_ids]), output_hidden_states=True
        ).hidden_states[-1]
    after = float(learner.value_head(hidden[0, -1]).detach())
    difference = prepare(learner, truncated="bootstrap", **options).advantages - prepare(learner, **options).advantages
    expected = torch.zeros_like(difference)
    expected[2, 4] = after
    torch.testing.assert_close(difference, expected, atol=1e-5, rtol=1e-5)


def test_masked_responses_are_neither_trained_on_nor_part_of_the_whitening(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    batch = prepare(learner, truncated="mask")
    assert batch.trained == [0, 1, 3, 4]
    kept = batch.advantages[batch.trained][batch.response_mask[batch.trained]]
    assert float(kept.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(kept.std(correction=0)) == pytest.approx(1.0, abs=1e-4)
    seen: list[list[int]] = []
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)

    def watch(_: Any, args: tuple[Any, ...]) -> None:
        seen.extend(args[0].prompts)

    learner.register_forward_pre_hook(watch)
    update(learner, optimizer, batch, learning_rate=0.0, config=PpoConfig(truncated="mask"), pad_id=0, seed=0, step=9)
    assert SEQUENCES[2].prompt_ids not in seen
    assert SEQUENCES[0].prompt_ids in seen


def test_without_a_finished_response_masking_stops_with_a_sentence(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    cut = [t._replace(finished=False) for t in as_trajectories(SEQUENCES)]
    with pytest.raises(TrainingError, match="all responses of a step ran out of tokens"):
        prepare_batch(
            learner, learner.model, cut, scores=SCORES, kl_coef=0.1, config=PpoConfig(truncated="mask"), pad_id=0
        )


def test_rloo_trains_no_value_head(make_llama: MakeLlama) -> None:
    learner = make_learner(make_llama)
    config = PpoConfig(algorithm="rloo")
    twice = [t._replace(prompt=PROMPTS[place // 2]) for place, t in enumerate(as_trajectories(SEQUENCES))]
    batch = prepare_batch(learner, learner.model, twice, scores=SCORES, kl_coef=0.1, config=config, pad_id=0)
    torch.testing.assert_close(batch.advantages[:, 0], torch.tensor([1.5, -1.5, -1.7, 1.7, 0.0]))
    before = copy.deepcopy(learner.value_head.state_dict())
    optimizer = torch.optim.Adam(learner.parameters())
    update(learner, optimizer, batch, learning_rate=1e-2, config=config, pad_id=0, seed=0, step=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.value_head.state_dict().items())
    assert not torch.equal(batch.logprobs, prepare(learner).logprobs)  # the policy moved, in the first step already


def test_what_follows_a_truncated_response_needs_no_room_in_the_context(make_llama: MakeLlama) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=16, n_layer=1, n_head=2, n_positions=6)).eval()
    learner = PolicyWithValue(model).train(False)
    learner.value_head.weight.data.normal_()
    full = SEQUENCES[2]
    assert len(full.prompt_ids) + len(full.response_ids) == 6
    options = {"lam": 0.0, "whiten_advantages": False}
    difference = prepare(learner, truncated="bootstrap", **options).advantages - prepare(learner, **options).advantages
    with torch.no_grad():
        ids = torch.tensor([full.prompt_ids + full.response_ids])
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    assert float(difference[2, 4]) == pytest.approx(float(learner.value_head(hidden[0, -1]).detach()), abs=1e-5)
