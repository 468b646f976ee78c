"""What a step learns from: which weights drew it, what that changes in the loss, and what a checkpoint keeps of it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.policy.ppo import start
from rlaif.policy.ppo.batching import prompts_of_step
from rlaif.policy.ppo.engines import LearnerRollouts
from rlaif.policy.ppo.loss import compute_importance_weights, compute_policy_loss
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.rollout import Rollouts
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import EncodedPrompt, Trajectory, sample_trajectories
from rlaif.policy.ppo.update import backward_mini_batch
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.task import TrainedPolicy
from rlaif.training.listener import Listener, StepMetrics

NO_GUARDS = GuardsConfig(kl_ceiling=None, max_length_factor=None, max_eos_drop=None, max_repetition_rise=None)
SMALL: dict[str, Any] = {
    "num_steps": 5, "num_prompts_per_step": 4, "num_samples_per_prompt": 2, "response_length": 6,
    "learning_rate": 1e-2, "checkpoint_every": 2, "value_warmup_steps": 0, "micro_batch_tokens": 60,
    "guards": NO_GUARDS,
}  # fmt: skip
ONE_STEP_OFF = RolloutConfig(one_step_off=True)


def count_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    return [float(episode.response.count("a")) for episode in episodes]


class Run:
    """A small training, with what it reported."""

    def __init__(self, policy: LlamaForCausalLM, encoder: Any, prompts: Any) -> None:
        self.policy, self.encoder, self.prompts = policy, encoder, prompts
        self.metrics: list[Mapping[str, float]] = []
        self.on_metrics: Callable[[StepMetrics], None] | None = None

    def __call__(
        self, out_dir: Path, *, die_after: int | None = None, resume: bool = False, **options: Any
    ) -> TrainedPolicy:
        self.metrics = []

        def note(done: StepMetrics) -> None:
            self.metrics.append(done.numbers)
            if done.step == die_after:
                raise KeyboardInterrupt

        return train_policy(
            policy=self.policy, encoder=self.encoder, prompts=self.prompts, reward=count_a,
            config=PpoConfig(**(SMALL | options)), out_dir=out_dir, seed=3, resume=resume,
            listener=Listener(on_metrics=self.on_metrics or note),
        )  # fmt: skip


@pytest.fixture
def run(make_llama: Any, letter_encoder: Any, letter_prompts: Any) -> Run:
    return Run(make_llama(sharpness=10.0), letter_encoder, letter_prompts)


class Elsewhere:
    """Stands for vLLM: a copy of the policy that gets its weights by `sync`, and may fail to."""

    is_elsewhere = True

    def __init__(self, encoder: Any, *, fault: str = "") -> None:
        self.copy: PolicyWithValue | None = None
        self.engine = LearnerRollouts(encoder=encoder, temperature=1.0)
        self.fault = fault
        self.synced: list[int] = []
        self.threads: list[bool] = []
        self.is_closed = False

    def sync(self, learner: PolicyWithValue, *, version: int) -> None:
        self.synced.append(version)
        if self.copy is None or self.fault != "lost weights":
            self.copy = copy.deepcopy(learner)
        self.engine.sync(self.copy, version=version)

    def sample(self, asked: Any, *, response_length: int) -> list[Trajectory]:
        self.threads.append(threading.current_thread() is threading.main_thread())
        if self.fault == "dies" and not self.threads[-1]:
            raise StageError("vLLM was killed")
        return [each._replace(numbers=None) for each in self.engine.sample(asked, response_length=response_length)]

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def use_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Elsewhere]]:
    def use(fault: str = "") -> list[Elsewhere]:
        opened: list[Elsewhere] = []

        def open_engine(config: PpoConfig, *, encoder: Any, **others: Any) -> Elsewhere:
            opened.append(Elsewhere(encoder, fault=fault))
            return opened[-1]

        monkeypatch.setattr(start, "open_engine", open_engine)
        return opened

    return use


def weights(trained: TrainedPolicy) -> dict[str, Tensor]:
    return dict(trained.model.state_dict()) | dict(trained.value_head.state_dict())


def are_equal(one: TrainedPolicy, other: TrainedPolicy) -> bool:
    return all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def column(run: Run, name: str) -> list[float]:
    return [metrics[name] for metrics in run.metrics]


def test_the_policy_samples_for_itself_with_todays_weights_and_nothing_is_weighed(run: Run, tmp_path: Path) -> None:
    run(tmp_path)
    assert column(run, "rollout/version_lag") == [0.0] * 5
    assert column(run, "rollout/logprob_gap") == [0.0] * 5
    assert column(run, "rollout/mismatch_kl") == [0.0] * 5
    assert column(run, "rollout/importance_weight") == [1.0] * 5


def test_one_step_off_every_step_but_the_first_learns_from_weights_one_update_old(run: Run, tmp_path: Path) -> None:
    run(tmp_path, rollout=ONE_STEP_OFF)
    assert column(run, "rollout/version_lag") == [0.0, 1.0, 1.0, 1.0, 1.0]
    kl = column(run, "rollout/mismatch_kl")
    assert kl[0] == 0.0
    assert min(kl[1:]) > 1e-5
    assert all(metrics["val/first_ratio_deviation"] < 1e-5 for metrics in run.metrics), "the ratio is to today's policy"


def test_one_step_off_the_next_responses_are_drawn_before_the_update(run: Run, tmp_path: Path) -> None:
    """With one update in all the weights of both rollouts are those that training began with."""
    seen: list[list[str]] = []

    def reward(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        seen.append([episode.response for episode in episodes])
        return count_a(episodes)

    train_policy(
        policy=run.policy, encoder=run.encoder, prompts=run.prompts, reward=reward,
        config=PpoConfig(**SMALL, rollout=ONE_STEP_OFF), out_dir=tmp_path, seed=3, resume=False,
    )  # fmt: skip
    chosen = prompts_of_step(len(run.prompts), seed=3, step=1, num_prompts_per_step=4)
    encoded = [EncodedPrompt(run.prompts[i], run.encoder.encode(run.prompts[i].as_segments())) for i in chosen]
    drawn = sample_trajectories(
        run.policy, run.encoder, encoded, num_samples=2, response_length=6, temperature=1.0, key=(3, 1)
    )
    assert seen[1] == [trajectory.response for trajectory in drawn]


@pytest.mark.parametrize("die_after", [0, 2])
def test_one_step_off_killed_and_resumed_gives_the_same_weights(run: Run, tmp_path: Path, die_after: int) -> None:
    unbroken = run(tmp_path / "unbroken", rollout=ONE_STEP_OFF)
    all_metrics = run.metrics
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", rollout=ONE_STEP_OFF, die_after=die_after)
    resumed = run(tmp_path / "broken", rollout=ONE_STEP_OFF, resume=True)
    assert resumed.first_step == 2 * (die_after // 2)
    assert run.metrics == all_metrics[resumed.first_step :]
    assert are_equal(resumed, unbroken)


def test_a_step_that_is_broken_off_before_its_update_learns_from_the_same_responses_again(run: Run) -> None:
    config = PpoConfig(**SMALL, rollout=ONE_STEP_OFF)
    encoded = [EncodedPrompt(prompt, run.encoder.encode(prompt.as_segments())) for prompt in run.prompts]
    learner = PolicyWithValue(run.policy).train(False)

    def make() -> Rollouts:
        return Rollouts(
            LearnerRollouts(encoder=run.encoder, temperature=1.0), encoded, config=config, seed=3, pad_id=14
        )

    unbroken, resumed = make(), make()
    unbroken.of_step(0, learner)
    assert unbroken.stored(step=0) is None, "drawn by the weights that the checkpoint holds"
    with torch.no_grad():
        run.policy.lm_head.weight.mul_(0.1)
    second = unbroken.of_step(1, learner)
    resumed.take_up(unbroken.stored(step=1))
    third_stored = unbroken.stored(step=2)
    assert resumed.of_step(1, learner) == second
    assert resumed.stored(step=2) == third_stored is not None
    fresh = sample_trajectories(
        run.policy, run.encoder, [encoded[i] for i in prompts_of_step(12, seed=3, step=1, num_prompts_per_step=4)],
        num_samples=2, response_length=6, temperature=1.0, key=(3, 1),
    )  # fmt: skip
    assert [each.tokens for each in second.trajectories] != [each.tokens for each in fresh]


def test_one_step_off_an_alarm_goes_back_to_the_responses_that_were_under_way_there(run: Run, tmp_path: Path) -> None:
    guards = NO_GUARDS.model_copy(update={"kl_ceiling": 0.3, "on_alarm": "roll_back", "max_roll_backs": 9})
    options = {"rollout": ONE_STEP_OFF, "guards": guards, "num_steps": 6, "checkpoint_every": 1, "kl_coef": 0.01}
    unbroken = run(tmp_path / "unbroken", **options)
    steps = column(run, "step")
    back = next(place for place in range(1, len(steps)) if steps[place] <= steps[place - 1])
    assert unbroken.alarms
    first = copy.deepcopy(run.metrics)

    def die(done: StepMetrics) -> None:
        run.metrics.append(done.numbers)
        if len(run.metrics) == back + 1:
            raise KeyboardInterrupt

    run.on_metrics = die
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", **options)
    run.on_metrics = None
    resumed = run(tmp_path / "broken", resume=True, **options)
    assert run.metrics == first[back:]
    assert are_equal(resumed, unbroken)


def test_one_step_off_trains_another_policy_than_on_policy(run: Run, tmp_path: Path) -> None:
    assert not are_equal(run(tmp_path / "one", rollout=ONE_STEP_OFF), run(tmp_path / "other"))


def test_an_engine_elsewhere_trains_as_the_policy_itself_does(
    run: Run, use_elsewhere: Callable[..., list[Elsewhere]], tmp_path: Path
) -> None:
    own = run(tmp_path / "own")
    opened = use_elsewhere()
    other = run(tmp_path / "other")
    (engine,) = opened
    assert engine.synced == [0, 1, 2, 3, 4]
    assert all(engine.threads)
    assert engine.is_closed
    assert max(column(run, "rollout/logprob_gap")) < 1e-5
    for name, tensor in weights(own).items():
        torch.testing.assert_close(weights(other)[name], tensor, rtol=1e-3, atol=1e-4)


def test_one_step_off_an_engine_elsewhere_samples_beside_the_update_and_is_compared_before(
    run: Run, use_elsewhere: Callable[..., list[Elsewhere]], tmp_path: Path
) -> None:
    own = run(tmp_path / "own", rollout=ONE_STEP_OFF)
    opened = use_elsewhere()
    other = run(tmp_path / "other", rollout=ONE_STEP_OFF)
    (engine,) = opened
    assert engine.synced == [0, 0, 1, 2, 3]
    assert engine.threads.count(False) == 4
    assert engine.threads.count(True) == 1 + 4, "the first rollout, and a few responses to compare after each sync"
    assert 0 < max(column(run, "rollout/logprob_gap")) < 1e-5
    for name, tensor in weights(own).items():
        torch.testing.assert_close(weights(other)[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("one_step_off", [False, True])
def test_lost_weights_stop_training_with_a_sentence(
    run: Run, use_elsewhere: Callable[..., list[Elsewhere]], tmp_path: Path, one_step_off: bool
) -> None:
    (opened, options) = (use_elsewhere("lost weights"), RolloutConfig(one_step_off=one_step_off, max_logprob_gap=1e-3))
    with pytest.raises(TrainingError, match="the weights after 1 updates did not reach the rollout engine"):
        run(tmp_path, rollout=options)
    assert len(run.metrics) == 1
    assert opened[0].is_closed


def test_an_engine_that_dies_beside_the_update_is_told_where_its_responses_are_wanted(
    run: Run, use_elsewhere: Callable[..., list[Elsewhere]], tmp_path: Path
) -> None:
    opened = use_elsewhere("dies")
    with pytest.raises(StageError, match="vLLM was killed"):
        run(tmp_path, rollout=ONE_STEP_OFF)
    assert len(run.metrics) == 1
    assert opened[0].is_closed


def test_importance_weights_of_three_tokens_match_the_hand_computation() -> None:
    policy, sampler = torch.tensor([0.5, 0.1, 0.9]).log(), torch.tensor([0.25, 0.4, 0.1]).log()
    found = compute_importance_weights(policy, sampler, most=3.0)
    torch.testing.assert_close(found, torch.tensor([2.0, 0.25, 3.0]))


def test_weighed_old_tokens_have_the_gradient_of_fresh_ones() -> None:
    """Exactly, over all tokens of a vocabulary: what is drawn from q and weighed p/q is as if drawn from p."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(6, generator=generator).log_softmax(0)
    q = torch.randn(6, generator=generator).log_softmax(0)
    advantages = torch.randn(6, generator=generator)

    def gradient(drawn_from: Tensor, weigh: bool) -> Tensor:
        logits = p.clone().requires_grad_(True)
        losses = compute_policy_loss(logits.log_softmax(0), p, advantages, cliprange=0.2).loss
        weights = compute_importance_weights(p, drawn_from, most=1e9) if weigh else torch.ones(6)
        (drawn_from.exp() * weights * losses).sum().backward()
        assert logits.grad is not None
        return logits.grad

    fresh = gradient(p, weigh=True)
    torch.testing.assert_close(gradient(q, weigh=True), fresh)
    assert float((gradient(q, weigh=False) - fresh).norm()) > 0.3 * float(fresh.norm())


def test_a_tokens_weight_multiplies_its_policy_loss_and_not_its_value_loss(run: Run) -> None:
    learner = PolicyWithValue(run.policy).train(False)
    encoded = [EncodedPrompt(prompt, run.encoder.encode(prompt.as_segments())) for prompt in run.prompts[:4]]
    drawn = sample_trajectories(
        run.policy, run.encoder, encoded, num_samples=1, response_length=5, temperature=1.0, key=(0,)
    )
    config = PpoConfig(vf_coef=0.0)
    batch = prepare_batch(
        learner, run.policy, drawn, scores=[1.0, -1.0, 0.5, 0.0], kl_coef=0.1, config=config, pad_id=14
    )
    assert torch.allclose(batch.weights, batch.response_mask.float(), atol=1e-5)

    def gradient(factor: float, **options: float) -> Tensor:
        learner.zero_grad()
        weighed = batch._replace(weights=factor * batch.response_mask)
        backward_mini_batch(learner, weighed, [0, 1, 2, 3], config=PpoConfig(**options), pad_id=14)
        return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])

    one = gradient(1.0, vf_coef=0.0)
    assert float(one.norm()) > 0.01
    torch.testing.assert_close(gradient(0.25, vf_coef=0.0), 0.25 * one)
    value_alone = gradient(0.0, vf_coef=1.0)
    torch.testing.assert_close(gradient(1.0, vf_coef=1.0), one + value_alone)


def test_responses_to_a_stale_policy_carry_the_capped_ratio_and_none_where_it_is_switched_off(run: Run) -> None:
    learner = PolicyWithValue(run.policy).train(False)
    encoded = [EncodedPrompt(prompt, run.encoder.encode(prompt.as_segments())) for prompt in run.prompts[:2]]
    drawn = sample_trajectories(
        run.policy, run.encoder, encoded, num_samples=1, response_length=5, temperature=1.0, key=(0,)
    )
    stale = [
        each._replace(engine_logprobs=[number - step for step, number in enumerate(each.engine_logprobs or ())])
        for each in drawn
    ]  # the k-th token was exp(k) times less likely when it was drawn

    def weights_of(**options: Any) -> Tensor:
        config = PpoConfig(rollout=RolloutConfig(**options))
        return prepare_batch(
            learner, run.policy, stale, scores=[1.0, 0.0], kl_coef=0.1, config=config, pad_id=14
        ).weights

    lengths = [len(each.tokens.response_ids) for each in drawn]
    expected = torch.tensor([1.0, 2.718282, 5.0, 5.0, 5.0])
    for row, length in enumerate(lengths):
        torch.testing.assert_close(
            weights_of(max_importance_weight=5.0)[row, :length], expected[:length], rtol=1e-4, atol=0
        )
        assert weights_of(max_importance_weight=None)[row, :length].eq(1).all()


@pytest.mark.heavy(minutes=0.2)
@pytest.mark.parametrize("seed", [0, 1])
def test_one_step_off_reaches_the_exact_optimum(make_world: Callable[..., Any], tmp_path: Path, seed: int) -> None:
    world = make_world(seed=seed)
    assert world.distance(world.start) > 1
    trained = world.train(tmp_path, num_steps=200, rollout=ONE_STEP_OFF)
    assert trained.metrics["rollout/version_lag"] == 1.0
    assert world.distance(trained.model) < 2e-3


def test_a_resumed_training_may_sample_elsewhere_but_not_otherwise(run: Run, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, die_after=3)
    with pytest.raises(ConfigError, match="ppo.rollout"):
        run(tmp_path, resume=True, rollout=ONE_STEP_OFF)
    server = {"url": "http://elsewhere:8000", "timeout_s": 5}
    moved = RolloutConfig.model_validate({"device": "cpu", "server": server})
    assert run(tmp_path, resume=True, rollout=moved).first_step == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "vllm_server"}, "needs server.url"),
        ({"engine": "transformers", "sleep": True}, "sleep is for engine: vllm"),
        ({"engine": "vllm", "sleep": True, "one_step_off": True}, "cannot sleep meanwhile"),
        ({"engine": "vllm", "vllm": {"engine_args": {"logits_processors": []}}}, "may not hold logits_processors"),
        ({"engine": "vllm", "vllm": {"engine_args": {"generation_config": "auto"}}}, "may not hold generation_config"),
        ({"engine": "vllm", "vllm": {"engine_args": {"quantization": "fp8"}}}, "may not hold quantization"),
        ({"engine": "vllm", "top_p": 0.9}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_would_sample_from_another_policy_or_cannot_be_met_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        RolloutConfig.model_validate(options)
