"""A value model of its own: what it begins as, that it learns, and that the policy's trunk is left out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.policy.ppo.batching import TokenSequence, pad_batch
from rlaif.policy.ppo.checks import NO_CHECKS
from rlaif.policy.ppo.models import PolicyWithValue, ValueModel, ValueStart
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.start import begin, make_learner, make_optimizer, set_up
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.update import update
from rlaif.policy.rewards.episodes import Episode, WeightedReward
from rlaif.policy.task import TrainedPolicy
from rlaif.reward_model.model import compute_rewards
from rlaif.training.listener import Listener

SEPARATE = PpoModelConfig(value_model="separate")
SEQUENCES = [TokenSequence([1, 2, 3], [4, 5, 6, 15]), TokenSequence([8, 9], [15]), TokenSequence([1, 2, 3], [7, 7])]
BATCH = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
SMALL: dict[str, Any] = {
    "num_steps": 4, "num_prompts_per_step": 4, "num_samples_per_prompt": 2, "response_length": 6,
    "num_mini_batches": 2, "learning_rate": 3e-3, "num_reference_samples": 8, "checkpoint_every": 2,
    "value_warmup_steps": 1, "sample_every": 2, "micro_batch_tokens": 40,
}  # fmt: skip


@pytest.fixture
def policy(make_llama: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return make_llama(sharpness=10.0)


@pytest.fixture
def reward_model(policy: LlamaForCausalLM) -> LlamaForSequenceClassification:
    torch.manual_seed(4)
    config = policy.config.from_dict(policy.config.to_dict() | {"num_labels": 1, "pad_token_id": 14})
    return LlamaForSequenceClassification(config).eval()


def start_of(reward_model: LlamaForSequenceClassification) -> ValueStart:
    return ValueStart(reward_model.model, reward_model.score)


def count_a(episodes: Sequence[Episode]) -> list[float]:
    return [float(episode.response.count("a")) for episode in episodes]


def test_the_values_at_first_are_the_reward_models_scores_of_what_stands_so_far(
    policy: LlamaForCausalLM, reward_model: LlamaForSequenceClassification
) -> None:
    learner = make_learner(policy, SEPARATE, seed=1, value_start=start_of(reward_model))
    with torch.no_grad():
        values = learner(BATCH, temperature=1.0).values
        for row, (prompt, response) in enumerate(SEQUENCES):
            so_far = [prompt + response[:length] for length in range(len(response))]
            expected = compute_rewards(reward_model, so_far)
            torch.testing.assert_close(values[row, : len(response)], expected, atol=1e-5, rtol=1e-5)
        assert isinstance(learner.value_head, ValueModel)
        learner.value_head.rescale(mean=0.3, sd=2.0)
        scaled = learner(BATCH, temperature=1.0).values
    mask = BATCH.response_mask
    torch.testing.assert_close(scaled[mask], (values[mask] - 0.3) / 2.0, atol=1e-5, rtol=1e-5)


def test_without_a_reward_model_the_values_are_zero_at_first(policy: LlamaForCausalLM) -> None:
    learner = make_learner(policy, SEPARATE, seed=1, value_start=None)
    assert not learner(BATCH, temperature=1.0).values.any()


def test_the_policys_trunk_gets_no_gradient_from_the_values_nor_the_value_model_from_the_policy(
    policy: LlamaForCausalLM, reward_model: LlamaForSequenceClassification
) -> None:
    learner = make_learner(policy, SEPARATE, seed=1, value_start=start_of(reward_model))
    of_policy, of_values = list(learner.model.parameters()), list(learner.value_head.parameters())
    now = learner(BATCH, temperature=1.0)
    assert all(
        x is None for x in torch.autograd.grad(now.values.sum(), of_policy, allow_unused=True, retain_graph=True)
    )
    assert all(x is None for x in torch.autograd.grad(now.logprobs.sum(), of_values, allow_unused=True))
    warm = learner(BATCH, temperature=1.0, head_only=True)
    assert not warm.logprobs.requires_grad
    assert all(x is not None and x.any() for x in torch.autograd.grad(warm.values.sum(), [of_values[-2]]))


class Run:
    def __init__(self, policy: LlamaForCausalLM, value_start: ValueStart | None, encoder: Any, prompts: Any) -> None:
        self.policy, self.value_start, self.encoder, self.prompts = policy, value_start, encoder, prompts
        self.metrics: list[dict[str, float]] = []

    def __call__(
        self, out_dir: Path, *, resume: bool = False, stop_after: int | None = None, **options: Any
    ) -> TrainedPolicy:
        self.metrics = []
        model = PpoModelConfig(value_model="separate", **options.pop("model", {}))
        return train_policy(
            policy=self.policy, encoder=self.encoder, prompts=self.prompts, reward=count_a, out_dir=out_dir, seed=3,
            config=PpoConfig(**(SMALL | options), model=model), resume=resume, value_start=self.value_start,
            listener=Listener(
                on_metrics=lambda done: self.metrics.append(done.numbers),
                stop_requested=lambda: stop_after is not None and len(self.metrics) >= stop_after,
            ),
        )  # fmt: skip


@pytest.fixture
def run(
    policy: LlamaForCausalLM, reward_model: LlamaForSequenceClassification, letter_encoder: Any, letter_prompts: Any
) -> Run:
    return Run(policy, start_of(reward_model), letter_encoder, letter_prompts)


def weights(trained: TrainedPolicy) -> dict[str, Tensor]:
    return dict(trained.model.state_dict()) | dict(trained.value_head.state_dict())


@pytest.mark.parametrize("model", [{}, {"train": "lora"}, {"train": "last_layers", "num_layers": 1}], ids=str)
def test_stopped_and_resumed_gives_the_weights_of_an_unbroken_run(
    run: Run, tmp_path: Path, model: dict[str, Any]
) -> None:
    unbroken = run(tmp_path / "unbroken", model=model)
    all_metrics = run.metrics
    run(tmp_path / "broken", model=model, stop_after=2)
    torch.manual_seed(99)  # nothing may hang on the global generator
    resumed = run(tmp_path / "broken", model=model, resume=True)
    assert run.metrics == all_metrics[2:]
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(unbroken).items())


def test_in_the_warm_up_the_value_model_learns_and_the_policy_stays(run: Run, tmp_path: Path) -> None:
    kept = {name: tensor.clone() for name, tensor in run.policy.state_dict().items()}
    trained = run(tmp_path, num_steps=2, value_warmup_steps=2)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trained.model.state_dict().items())
    assert run.value_start is not None
    begun, now = run.value_start.trunk.state_dict(), trained.value_head.state_dict()
    assert not any(torch.equal(tensor, now[f"trunk.model.{name}"]) for name, tensor in begun.items())
    assert [metrics["objective/kl"] for metrics in run.metrics] == [pytest.approx(0.0, abs=1e-5)] * 2


def test_the_ratio_is_one_at_first_though_values_come_from_elsewhere(run: Run, tmp_path: Path) -> None:
    run(tmp_path)
    assert all(metrics["val/first_ratio_deviation"] < 1e-4 for metrics in run.metrics)


def test_the_value_model_has_a_learning_rate_of_its_own(
    policy: LlamaForCausalLM, reward_model: LlamaForSequenceClassification, letter_encoder: Any, letter_prompts: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = PpoConfig(**SMALL, model=PpoModelConfig(value_model="separate", value_learning_rate=6e-3))
    learner = make_learner(policy, config.model, seed=1, value_start=start_of(reward_model))
    optimizer = make_optimizer(learner, config)
    of_policy, of_values = optimizer.param_groups
    assert {id(p) for p in of_values["params"]} == {id(p) for p in learner.value_head.parameters()}
    assert {id(p) for p in of_policy["params"]} == {id(p) for p in learner.model.parameters()}
    assert (of_policy["rate"], of_values["rate"]) == (1.0, pytest.approx(2.0))
    training = set_up(
        policy=policy, reference=None, encoder=letter_encoder, prompts=letter_prompts, reward=count_a, config=config,
        seed=3, out_dir=tmp_path, checks=NO_CHECKS, value_start=start_of(reward_model),
    )  # fmt: skip
    seen: list[list[float]] = []
    training.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append([group["lr"] for group in optimizer.param_groups])
    )

    drawn = training.rollouts.of_step(0, training.learner)
    batch = prepare_batch(
        training.learner, training.reference.model, drawn.trajectories,
        scores=[0.0] * len(drawn.trajectories), kl_coef=0.1, config=config, pad_id=14,
    )  # fmt: skip
    update(training.learner, training.optimizer, batch, learning_rate=1e-3, config=config, pad_id=14, seed=3, step=0)
    assert seen[0] == [1e-3, pytest.approx(2e-3)]


def test_the_values_begin_on_the_scale_on_which_the_reward_models_scores_are_maximised(
    policy: LlamaForCausalLM, reward_model: LlamaForSequenceClassification, letter_encoder: Any, letter_prompts: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = PpoConfig(**SMALL, model=SEPARATE)
    rewards = [WeightedReward("counted", count_a), WeightedReward("model", count_a, weight=-0.5, standardise=True)]
    start = start_of(reward_model)._replace(reward="model")
    training = set_up(
        policy=policy, reference=None, encoder=letter_encoder, prompts=letter_prompts, reward=rewards, config=config,
        seed=3, out_dir=tmp_path, checks=NO_CHECKS, value_start=start,
    )  # fmt: skip
    raw = training.learner(BATCH, temperature=1.0).values
    scale = begin(training, resume=False).score_scales["model"]
    assert scale.sd != 1.0
    mask = BATCH.response_mask
    expected = -0.5 * (raw[mask] - scale.mean) / scale.sd
    torch.testing.assert_close(training.learner(BATCH, temperature=1.0).values[mask], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.heavy(minutes=0.2)
def test_ppo_reaches_the_exact_optimum_with_a_value_model_of_its_own(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    world = make_world(seed=0)
    trained = world.train(tmp_path, num_steps=200, model=SEPARATE)
    assert isinstance(trained.value_head, ValueModel)
    assert world.distance(trained.model) < 2e-3
    assert float(trained.value_head.head.weight.abs().max()) > 0.1, "values were learnt"


def test_a_shared_head_reads_along_while_the_policy_samples_and_a_separate_model_does_not(
    policy: LlamaForCausalLM,
) -> None:
    shared = PolicyWithValue(policy)
    assert shared.reads_along is shared.value_head
    apart = make_learner(policy, SEPARATE, seed=1, value_start=None).reads_along
    assert apart is not None
    assert not apart(torch.ones(2, 32)).any()
    halved = make_learner(policy, PpoModelConfig(compute_dtype="bfloat16"), seed=1, value_start=None)
    assert halved.reads_along is None
