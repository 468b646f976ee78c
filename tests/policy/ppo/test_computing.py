"""Passes in bfloat16, with layers run again, and in whatever memory there is, say and learn what plain ones do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.errors import ModelError, TrainingError
from rlaif.models.local.layers import find_layers
from rlaif.policy.ppo.batching import TokenSequence, pad_batch
from rlaif.policy.ppo.checks import NO_CHECKS
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.passes import compute_logprobs
from rlaif.policy.ppo.prepare import TrainingBatch, prepare_batch
from rlaif.policy.ppo.start import make_learner, set_up
from rlaif.policy.ppo.token_budget import TokenBudget
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.policy.ppo.update import update
from rlaif.records import Message, Prompt
from rlaif.training.listener import Listener

MakeLlama = Callable[..., LlamaForCausalLM]
SEQUENCES = [
    TokenSequence([1, 2], [3, 4, 15]),
    TokenSequence([5, 6, 7, 8], [9, 15]),
    TokenSequence([1, 2], [2, 2, 2, 2, 2]),
    TokenSequence([1, 2], [15]),
    TokenSequence([9, 1], [0, 14, 0, 15]),
]
SCORES = [1.0, -0.5, 0.3, 2.0, -1.2]
PROMPTS = [Prompt(messages=(Message(role="user", content=f"question {n}"),)) for n in range(5)]
SMALL: dict[str, Any] = {
    "num_steps": 2, "num_prompts_per_step": 4, "num_samples_per_prompt": 2, "response_length": 6,
    "learning_rate": 3e-3, "value_warmup_steps": 0, "micro_batch_tokens": 40,
}  # fmt: skip


def make(make_llama: MakeLlama, *, value_start: Any = None, **options: Any) -> PolicyWithValue:
    policy = make_llama(sharpness=20.0)
    learner = make_learner(policy, PpoModelConfig(**options), seed=1, value_start=value_start)
    torch.manual_seed(1)
    if isinstance(learner.value_head, nn.Linear):
        learner.value_head.weight.data.normal_()
    return learner


def prepare(learner: PolicyWithValue, *, reference: Any = None, **given: Any) -> TrainingBatch:
    trajectories = [
        Trajectory(prompt, tokens, tokens.response_ids[-1] == 15, "", None)
        for prompt, tokens in zip(PROMPTS, SEQUENCES, strict=True)
    ]
    return prepare_batch(
        learner,
        reference or learner.model,
        trajectories,
        scores=SCORES,
        kl_coef=0.1,
        config=PpoConfig(),
        pad_id=14,
        **given,
    )


def step(learner: PolicyWithValue, batch: TrainingBatch, *, budget: TokenBudget | None = None) -> list[Tensor]:
    """Gradients of one mini-batch, by way of `update`."""
    seen: list[Tensor] = []
    optimizer = SGD([parameter for parameter in learner.parameters() if parameter.requires_grad], lr=0.0)
    optimizer.register_step_pre_hook(
        lambda *_: seen.extend(p.grad.clone() for p in learner.parameters() if p.grad is not None)
    )
    config = PpoConfig(num_ppo_epochs=1, value_warmup_steps=0)
    update(learner, optimizer, batch, learning_rate=0.0, config=config, pad_id=14, seed=1, step=0, budget=budget)
    return seen


def assert_close(found: list[Tensor], expected: list[Tensor], *, tolerance: float) -> None:
    assert len(found) == len(expected) > 10
    scale = max(float(tensor.abs().max()) for tensor in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("options", [{}, {"value_model": "separate"}, {"train": "lora"}], ids=str)
def test_with_gradient_checkpointing_layers_are_run_again_and_the_gradients_are_the_same(
    make_llama: MakeLlama, options: dict[str, Any]
) -> None:
    plain, again = (make(make_llama, gradient_checkpointing=on, **options) for on in (False, True))
    expected = step(plain, prepare(plain))
    batch = prepare(again)
    runs = [0] * 2
    layers = find_layers(again.model)
    assert layers is not None
    for place, layer in enumerate(layers):

        def count(*_: Any, place: int = place) -> None:
            runs[place] += 1

        layer.mlp.register_forward_pre_hook(count)
    found = step(again, batch)
    assert_close(found, expected, tolerance=1e-6)
    assert runs[0] == runs[1] > 0
    assert runs[0] % 2 == 0, "each pass ran each layer twice"
    with torch.no_grad():
        before = list(runs)
        again(batch.padded([0, 1], pad_id=14), temperature=1.0)
    assert runs[1] - before[1] == 1


class Kept:
    """Bytes that autograd keeps for the backward pass."""

    def __init__(self) -> None:
        self.bytes = 0
        self.not_counted: set[int] = set()

    def pack(self, tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in self.not_counted:
            self.bytes += tensor.numel() * tensor.element_size()
        return tensor


def test_with_gradient_checkpointing_less_is_kept_for_the_backward_pass(make_llama: MakeLlama) -> None:
    kept = []
    for on in (False, True):
        learner = make(make_llama, gradient_checkpointing=on)
        count = Kept()
        batch = pad_batch([TokenSequence([1] * 20, [2] * 30)] * 4, pad_id=14, device=torch.device("cpu"))
        count.not_counted = {parameter.data_ptr() for parameter in learner.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda tensor: tensor):
            learner(batch, temperature=1.0)
        kept.append(count.bytes)
    assert kept[1] < kept[0] / 3


def test_in_bfloat16_the_ratio_is_one_at_first_and_weights_and_logits_stay_float32(
    make_llama: MakeLlama, letter_encoder: Any, letter_prompts: Any, tmp_path: Path
) -> None:
    policy, seen = make_llama(sharpness=10.0), []
    metrics: list[dict[str, float]] = []
    config = PpoConfig(**SMALL, model=PpoModelConfig(compute_dtype="bfloat16"))
    trained = train_policy(
        policy=policy, encoder=letter_encoder, prompts=letter_prompts,
        reward=lambda episodes: [float(e.response.count("a")) for e in episodes], config=config, out_dir=tmp_path,
        seed=1, resume=False, listener=Listener(on_metrics=lambda done: metrics.append(done.numbers)),
    )  # fmt: skip
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}
    assert all(m["val/first_ratio_deviation"] < 1e-3 for m in metrics), "the same passes made the old log-probabilities"

    learner = make_learner(policy, config.model, seed=1, value_start=None)
    layers = find_layers(learner.model)
    assert layers is not None
    layers[0].mlp.up_proj.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    batch = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
    learner(batch, temperature=1.0)  # the first time the head is tried out as well
    seen.clear()
    now = learner(batch, temperature=1.0)
    assert set(seen) == {torch.bfloat16}, "the layers compute in bfloat16"
    assert {now.logprobs.dtype, now.values.dtype} == {torch.float32}
    exact = make_learner(policy, PpoModelConfig(), seed=1, value_start=None)(batch, temperature=1.0)
    off = (now.logprobs - exact.logprobs).detach().abs()[batch.response_mask]
    assert 0 < float(off.max()) < 0.1
    assert float(off.mean()) < 0.03


@pytest.mark.parametrize("options", [{}, {"train": "lora"}], ids=str)
def test_in_bfloat16_the_gap_to_the_pass_that_sampled_is_measured_and_limited(
    make_llama: MakeLlama, letter_encoder: Any, letter_prompts: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    def run(*, limit: float) -> list[float]:
        found: list[float] = []
        train_policy(
            policy=make_llama(sharpness=10.0), encoder=letter_encoder, prompts=letter_prompts,
            reward=lambda episodes: [float(e.response.count("a")) for e in episodes], seed=1, resume=False,
            config=PpoConfig(
                **SMALL,
                model=PpoModelConfig(compute_dtype="bfloat16", **options),
                rollout=RolloutConfig(max_logprob_gap=limit),
            ),
            out_dir=tmp_path / str(limit),
            listener=Listener(on_metrics=lambda done: found.append(done.numbers["rollout/logprob_gap"])),
        )  # fmt: skip
        return found

    assert all(0 < gap < 0.05 for gap in run(limit=0.05))
    with pytest.raises(TrainingError, match="max_logprob_gap"):
        run(limit=1e-6)


def test_a_head_that_caps_its_logits_makes_them_in_float32_too() -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=5.0, max_position_embeddings=32,
    )  # fmt: skip
    policy = Gemma2ForCausalLM(config).eval()
    learner = make_learner(policy, PpoModelConfig(compute_dtype="bfloat16"), seed=1, value_start=None)
    seen: list[torch.dtype] = []
    policy_head = learner.model.lm_head
    policy_head.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    learner(pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu")), temperature=1.0)
    assert set(seen) == {torch.float32}


class SmallMemory:
    """Lets only so many rows through a layer at once, as an allocator that has no more would."""

    def __init__(self, model: Any, *, rows: int, error: Exception, in_backward: bool = False) -> None:
        self.rows, self.error, self.in_backward = rows, error, in_backward
        self.failures = 0
        layers = find_layers(model)
        assert layers is not None
        layers[1].register_forward_pre_hook(self.look, with_kwargs=True)

    def look(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if len(args[0]) <= self.rows:
            return
        if not self.in_backward:
            self.fail(None)
        elif args[0].requires_grad:
            args[0].register_hook(self.fail)

    def fail(self, gradient: Tensor | None) -> None:
        self.failures += 1
        raise self.error


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("in_backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_where_memory_runs_out_micro_batches_are_halved_and_the_gradients_are_the_same(
    make_llama: MakeLlama, error: Exception, in_backward: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    learner = make(make_llama)
    batch = prepare(learner)
    expected = step(learner, batch)
    memory = SmallMemory(learner.model, rows=1, error=error, in_backward=in_backward)
    budget = TokenBudget(2048, device=torch.device("cpu"))
    assert_close(step(learner, batch, budget=budget), expected, tolerance=1e-6)
    tried = memory.failures
    assert tried >= 1
    assert budget.tokens < 2048
    step(learner, batch, budget=budget)
    assert memory.failures == tried, "what did not fit is remembered"
    assert capsys.readouterr().err.count("memory ran out at") == 1


def test_where_memory_runs_out_what_is_prepared_is_the_same(make_llama: MakeLlama) -> None:
    learner = make(make_llama, train="last_layers", num_layers=1)
    expected = prepare(learner)
    memory = SmallMemory(learner.model, rows=1, error=OUT_OF_MEMORY[0])
    budget = TokenBudget(2048, device=torch.device("cpu"))
    found = prepare(learner, shares_trunk=True, budget=budget)
    assert memory.failures > 0
    for one, other in zip(found[2:-1], expected[2:-1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_reference_with_other_lower_layers_is_asked_from_the_bottom(make_llama: MakeLlama) -> None:
    learner, other = make(make_llama, train="last_layers", num_layers=1), make_llama(seed=5, sharpness=20.0)
    assert learner.computing.depth == 1
    found = prepare(learner, reference=other).ref_logprobs
    batch = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
    with torch.no_grad():
        expected = compute_logprobs(other, batch, temperature=1.0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_sequence_that_does_not_fit_alone_is_told_in_a_sentence(make_llama: MakeLlama) -> None:
    learner = make(make_llama)
    batch = prepare(learner)
    SmallMemory(learner.model, rows=0, error=OUT_OF_MEMORY[0])
    with pytest.raises(ModelError, match=r"one prompt and its response, 7 tokens, do not fit into memory") as caught:
        step(learner, batch)
    assert "gradient_checkpointing" in str(caught.value.fix)


def test_other_errors_are_not_taken_for_a_lack_of_memory(make_llama: MakeLlama) -> None:
    learner = make(make_llama)
    batch = prepare(learner)
    memory = SmallMemory(learner.model, rows=0, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        step(learner, batch)
    assert memory.failures == 1


def test_dropout_is_off_in_all_models(letter_encoder: Any, letter_prompts: Any, tmp_path: Path) -> None:
    config = GPT2Config(
        vocab_size=16, n_embd=32, n_layer=2, n_head=2, n_positions=32, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    policy = GPT2LMHeadModel(config).train()
    options = PpoConfig(response_length=8, model=PpoModelConfig(value_model="separate", gradient_checkpointing=True))
    training = set_up(
        policy=policy, reference=None, encoder=letter_encoder, prompts=letter_prompts, reward=lambda _: [],
        config=options, seed=1, out_dir=tmp_path, checks=NO_CHECKS,
    )  # fmt: skip
    batch = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
    one, other = (training.learner(batch, temperature=1.0) for _ in range(2))
    assert torch.equal(one.logprobs, other.logprobs)
    assert torch.equal(one.values, other.values)
    modules = [*training.learner.modules(), *training.reference.model.modules()]
    assert not any(module.training for module in modules)
