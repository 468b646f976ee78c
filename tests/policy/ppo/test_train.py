"""The whole trainer on a tiny Llama: it learns, resumes exactly, and stops with a sentence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.errors import ConfigError, DataError, ModelError, RunFolderError, TrainingError
from rlaif.policy.ppo.checkpoint import find_checkpoints, find_resume_step, read_progress
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode, RewardFailure, WeightedReward
from rlaif.policy.task import TrainedPolicy
from rlaif.training.listener import Listener, StepMetrics

SMALL: dict[str, Any] = {
    "num_steps": 6, "num_prompts_per_step": 4, "num_samples_per_prompt": 2, "response_length": 6,
    "num_mini_batches": 2, "learning_rate": 3e-3, "num_reference_samples": 8, "checkpoint_every": 2,
    "value_warmup_steps": 1, "adaptive_kl": True, "sample_every": 2, "micro_batch_tokens": 40,
}  # fmt: skip


def count_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    return [float(episode.response.count("a")) for episode in episodes]


class Run:
    """Calls the trainer with small defaults and keeps what it reports."""

    def __init__(self, make_llama: Callable[..., LlamaForCausalLM], encoder: Any, prompts: Any) -> None:
        self.policy = make_llama(sharpness=10.0)
        self.encoder, self.prompts = encoder, prompts
        self.metrics: list[Mapping[str, float]] = []
        self.samples: list[tuple[int, Any]] = []

    def __call__(
        self,
        out_dir: Path,
        *,
        reward: Any = count_a,
        resume: bool = False,
        stop_after: int | None = None,
        seed: int = 3,
        on_metrics: Callable[[StepMetrics], None] | None = None,
        start: LlamaForCausalLM | None = None,
        **options: Any,
    ) -> TrainedPolicy:
        self.metrics, self.samples = [], []
        return train_policy(
            policy=self.policy if start is None else start,
            reference=self.policy,
            encoder=self.encoder,
            prompts=self.prompts,
            reward=reward,
            config=PpoConfig(**(SMALL | options)),
            out_dir=out_dir,
            seed=seed,
            resume=resume,
            listener=Listener(
                on_metrics=on_metrics or (lambda done: self.metrics.append(done.numbers)),
                on_samples=lambda step, rows: self.samples.append((step, rows)),
                stop_requested=lambda: stop_after is not None and len(self.metrics) >= stop_after,
            ),
        )


@pytest.fixture
def run(make_llama: Any, letter_encoder: Any, letter_prompts: Any) -> Run:
    return Run(make_llama, letter_encoder, letter_prompts)


def weights(trained: TrainedPolicy) -> dict[str, Tensor]:
    return dict(trained.model.state_dict()) | dict(trained.value_head.state_dict())


def assert_same_weights(one: TrainedPolicy, other: TrainedPolicy) -> None:
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_the_reward_rises_on_a_token_count_reward(run: Run, tmp_path: Path) -> None:
    run(
        tmp_path,
        num_steps=25,
        num_prompts_per_step=8,
        num_samples_per_prompt=4,
        learning_rate=5e-3,
        adaptive_kl=False,
        checkpoint_every=100,
        micro_batch_tokens=4096,
    )
    scores = [metrics["objective/scores"] for metrics in run.metrics]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 1.0
    assert run.metrics[-1]["objective/kl"] > 0.1


def test_at_rate_zero_nothing_changes(run: Run, tmp_path: Path) -> None:
    trained = run(tmp_path, learning_rate=0.0)
    start = run.policy.state_dict()
    assert all(torch.equal(tensor, start[name]) for name, tensor in trained.model.state_dict().items())
    assert all(abs(metrics["objective/kl"]) < 1e-5 for metrics in run.metrics)


def test_the_policy_that_came_in_is_left_as_it_was(run: Run, tmp_path: Path) -> None:
    before = copy.deepcopy(run.policy.state_dict())
    trained = run(tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in run.policy.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_training_may_start_elsewhere_than_at_the_reference_of_its_kl(
    run: Run, make_llama: Callable[..., LlamaForCausalLM], tmp_path: Path
) -> None:
    elsewhere = make_llama(sharpness=10.0)
    with torch.no_grad():
        elsewhere.lm_head.weight[3] += 2.0
    kept = copy.deepcopy(run.policy.state_dict())
    trained = run(tmp_path / "still", start=elsewhere, learning_rate=0.0)
    assert run.metrics[0]["objective/kl"] > 0.05, "the first step's policy is not the reference"
    assert all(torch.equal(t, trained.model.state_dict()[name]) for name, t in elsewhere.state_dict().items())
    stopped = run(tmp_path / "stopped", start=elsewhere, guards={"kl_ceiling": 0.01})
    assert (stopped.stop_reason, stopped.steps) == ("alarm", 0)
    assert all(torch.equal(t, stopped.model.state_dict()[name]) for name, t in elsewhere.state_dict().items())
    assert all(torch.equal(t, run.policy.state_dict()[name]) for name, t in kept.items())


def test_stopped_and_resumed_gives_the_weights_of_an_unbroken_run(run: Run, tmp_path: Path) -> None:
    unbroken = run(tmp_path / "unbroken")
    all_metrics = run.metrics
    first = run(tmp_path / "broken", stop_after=3)
    assert (first.steps, first.stop_reason) == (3, "stop_requested")
    torch.manual_seed(99)  # nothing may hang on the global generator
    assert find_resume_step(tmp_path / "broken") == 3
    resumed = run(tmp_path / "broken", resume=True)
    assert resumed.first_step == 3
    assert run.metrics == all_metrics[3:]
    assert_same_weights(resumed, unbroken)


@pytest.mark.parametrize("killed_at", [0, 1, 4])
def test_killed_at_any_step_and_resumed_gives_the_same_weights(run: Run, tmp_path: Path, killed_at: int) -> None:
    unbroken = run(tmp_path / "unbroken")
    all_metrics = run.metrics

    def die(done: StepMetrics) -> None:
        if done.step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", on_metrics=die)
    resumed = run(tmp_path / "broken", resume=True)
    assert resumed.first_step == 2 * (killed_at // 2)
    assert run.metrics == all_metrics[resumed.first_step :]
    assert_same_weights(resumed, unbroken)


def test_resuming_a_finished_training_gives_its_result_again(run: Run, tmp_path: Path) -> None:
    done = run(tmp_path)
    again = run(tmp_path, resume=True)
    assert (again.steps, again.first_step, again.stop_reason) == (6, 6, "done")
    assert again.metrics == done.metrics
    assert run.metrics == []
    assert_same_weights(again, done)


def test_the_last_two_checkpoints_are_kept(run: Run, tmp_path: Path) -> None:
    run(tmp_path)
    assert [path.name for path in find_checkpoints(tmp_path)] == ["step_000004", "step_000006"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step_000004",
        "step_000006",
    ]


def test_a_used_folder_is_refused_without_resume(run: Run, tmp_path: Path) -> None:
    run(tmp_path, stop_after=2)
    with pytest.raises(RunFolderError, match="already holds a training"):
        run(tmp_path)


def test_resuming_with_other_settings_names_them(run: Run, tmp_path: Path) -> None:
    run(tmp_path, stop_after=2)
    with pytest.raises(ConfigError, match=r"ppo\.lam: 0\.95 -> 0\.9; seed: 3 -> 4"):
        run(tmp_path, resume=True, lam=0.9, seed=4)


def test_standardised_scores_have_mean_zero_and_deviation_one_on_the_references_responses(
    run: Run, tmp_path: Path
) -> None:
    asked: list[list[float]] = []

    def scores_far_off(episodes: Sequence[Episode]) -> list[float]:
        asked.append([100 + 7.0 * episode.response.count("a") for episode in episodes])
        return asked[-1]

    run(
        tmp_path, reward=scores_far_off, standardise_scores=True, num_reference_samples=32, num_steps=1,
        missing_eos_penalty=0.0, learning_rate=0.0,
    )  # fmt: skip
    of_reference, of_step = (torch.tensor(scores, dtype=torch.float64) for scores in asked)
    assert len(of_reference) == 32
    saved = read_progress(find_checkpoints(tmp_path)[-1])
    [(mean, deviation)] = saved.score_scales.values()
    assert mean == pytest.approx(float(of_reference.mean()))
    assert deviation == pytest.approx(float(of_reference.std(correction=0)))
    expected = (float(of_step.mean()) - mean) / deviation
    assert run.metrics[0]["objective/rlhf_reward"] == pytest.approx(expected, abs=1e-5)
    assert run.metrics[0]["objective/scores"] == pytest.approx(float(of_step.mean()))


def test_failed_rewards_are_dropped_and_counted(run: Run, tmp_path: Path) -> None:
    def failing(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        scores = count_a(episodes)
        scores[0] = RewardFailure("endpoint")
        return scores

    run(tmp_path, reward=failing, max_failed_rewards=0.2)
    assert [metrics["val/num_failed_rewards"] for metrics in run.metrics] == [1.0] * 6
    assert run.metrics[-1]["episode"] == 6 * 7


def test_too_many_failed_rewards_stop_and_name_the_step(run: Run, tmp_path: Path) -> None:
    calls = 0

    def breaking(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        nonlocal calls
        calls += 1
        return count_a(episodes) if calls <= 2 else [RewardFailure("endpoint")] * len(episodes)

    with pytest.raises(TrainingError, match=r"8 of 8 rewards failed \(reward/endpoint 8\) \(PPO step 2\)"):
        run(tmp_path, reward=breaking)
    assert find_resume_step(tmp_path) == 2


def test_an_outage_leaves_a_checkpoint_and_the_resumed_training_is_the_unbroken_one(run: Run, tmp_path: Path) -> None:
    steps = 0

    def out_for_a_while(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        nonlocal steps
        steps += 1
        return [RewardFailure("timeout")] * len(episodes) if steps == 4 else count_a(episodes)

    unbroken = run(tmp_path / "unbroken")
    with pytest.raises(TrainingError, match=r"reward/timeout 8"):
        run(tmp_path / "broken", reward=out_for_a_while, checkpoint_every=5)
    assert find_resume_step(tmp_path / "broken") == 3
    again = run(tmp_path / "broken", reward=out_for_a_while, resume=True, checkpoint_every=5)
    assert again.first_step == 3
    assert_same_weights(unbroken, again)


def test_several_sources_are_told_apart_and_a_resumed_training_keeps_their_scales(run: Run, tmp_path: Path) -> None:
    def shorter(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return [100.0 * len(episode.response) for episode in episodes]

    rewards = [WeightedReward("a", count_a, 1.0, True), WeightedReward("length", shorter, -0.5, True)]
    unbroken = run(tmp_path / "unbroken", reward=rewards)
    assert {"objective/scores/a", "objective/scores/length"} < run.metrics[0].keys()
    last = run.metrics[-1]
    assert last["objective/scores/length"] >= 100 > last["objective/scores/a"]
    assert abs(last["objective/scores"]) < 10
    run(tmp_path / "broken", reward=rewards, stop_after=3)
    assert_same_weights(unbroken, run(tmp_path / "broken", reward=rewards, resume=True))
    (tmp_path / "other").mkdir()
    run(tmp_path / "other", reward=rewards, stop_after=3)
    with pytest.raises(ConfigError, match="1 a standardised \\+ -0.5 length standardised -> 2 a standardised"):
        run(tmp_path / "other", reward=[WeightedReward("a", count_a, 2.0, True)], resume=True)


def test_a_loss_that_is_not_finite_stops_and_names_the_step(run: Run, tmp_path: Path) -> None:
    def huge(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        return [1e38 if len(run.metrics) == 3 and i % 2 else 0.0 for i, _ in enumerate(episodes)]

    with pytest.raises(TrainingError, match=r"is (nan|inf) and training stopped .*\(PPO step 3\)"):
        run(
            tmp_path,
            reward=huge,
            standardise_scores=False,
            whiten_advantages=False,
            adaptive_kl=False,
        )
    assert find_resume_step(tmp_path) == 2


def test_above_the_kl_ceiling_training_stops_and_keeps_the_last_policy_below_it(run: Run, tmp_path: Path) -> None:
    trained = run(
        tmp_path, num_steps=40, learning_rate=2e-2, kl_coef=0.0, adaptive_kl=False, guards={"kl_ceiling": 0.5}
    )
    assert trained.stop_reason == "alarm"
    assert "above ppo.guards.kl_ceiling 0.5" in trained.note
    assert trained.steps == find_resume_step(tmp_path) < 40
    assert trained.steps % 2 == 0
    assert all(metrics["objective/kl"] <= 0.5 for metrics in run.metrics)
    again = run(
        tmp_path,
        resume=True,
        num_steps=40,
        learning_rate=2e-2,
        kl_coef=0.0,
        adaptive_kl=False,
        guards={"kl_ceiling": 0.5},
    )
    assert again.note == trained.note
    assert_same_weights(again, trained)


def test_above_the_kl_ceiling_before_any_checkpoint_the_start_is_kept(run: Run, tmp_path: Path) -> None:
    trained = run(
        tmp_path, learning_rate=5e-2, kl_coef=0.0, adaptive_kl=False, guards={"kl_ceiling": 0.01}, checkpoint_every=50
    )
    assert (trained.stop_reason, trained.steps) == ("alarm", 0)
    start = run.policy.state_dict()
    assert all(torch.equal(tensor, start[name]) for name, tensor in trained.model.state_dict().items())


def test_metrics_are_finite_numbers_under_the_names_people_know(run: Run, tmp_path: Path) -> None:
    run(tmp_path)
    known = {
        "objective/kl", "objective/entropy", "objective/non_score_reward", "objective/rlhf_reward",
        "objective/scores", "policy/approxkl_avg", "policy/clipfrac_avg", "loss/policy_avg", "loss/value_avg",
        "val/clipfrac_avg", "val/ratio", "val/num_eos_tokens", "lr", "episode",
    }  # fmt: skip
    for step, metrics in enumerate(run.metrics):
        assert known <= metrics.keys()
        assert metrics["step"] == step
        assert metrics["lr"] == pytest.approx(3e-3 * (1 - step / 6))
        assert metrics["val/first_ratio_deviation"] < 1e-5
        assert torch.tensor(list(metrics.values())).isfinite().all()


def test_samples_are_shown_at_their_steps_with_their_scores(run: Run, tmp_path: Path) -> None:
    run(tmp_path)
    assert [step for step, _ in run.samples] == [0, 2, 4, 5]
    for _, rows in run.samples:
        assert len(rows) == 4
        assert len({row.prompt.id for row in rows}) == 4
        assert all(row.score == row.response.count("a") for row in rows)


def test_a_prompt_that_leaves_no_room_for_a_response_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a prompt of 3 tokens and a response of 62 do not fit into the model's 64"):
        run(tmp_path, response_length=62)


def test_half_precision_weights_are_refused(run: Run, tmp_path: Path) -> None:
    run.policy.to(torch.bfloat16)
    with pytest.raises(ModelError, match="PPO trains float32 weights and LlamaForCausalLM has bfloat16"):
        run(tmp_path)
