"""Alarms answered, the best policy kept, and all of it resumed exactly, through the trainer that users run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.policy.ppo.checkpoint import drop_checkpoints, find_checkpoints, read_progress, step_of
from rlaif.policy.ppo.checks import Answer, Checks
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Alarm
from rlaif.training.listener import Evaluated, Listener, StepMetrics

QUIET = {"max_length_factor": None, "max_eos_drop": None, "max_repetition_rise": None}
SETTINGS: dict[str, Any] = {
    "num_steps": 8, "num_prompts_per_step": 4, "num_samples_per_prompt": 2, "response_length": 6,
    "num_mini_batches": 2, "learning_rate": 1e-2, "kl_coef": 0.02, "adaptive_kl": True, "kl_target": 0.5,
    "kl_horizon": 100.0, "checkpoint_every": 3, "value_warmup_steps": 1, "micro_batch_tokens": 4096,
}  # fmt: skip


def count_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    return [float(episode.response.count("a")) for episode in episodes]


def few_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    """Likes three of them, so that a policy which says ever more is liked less again."""
    return [-abs(3.0 - episode.response.count("a")) for episode in episodes]


class Run:
    def __init__(self, make_llama: Callable[..., LlamaForCausalLM], encoder: Any, prompts: Any) -> None:
        self.policy, self.encoder, self.prompts = make_llama(sharpness=10.0), encoder, prompts
        self.steps: list[int] = []
        self.evaluations: list[Evaluated] = []
        self.alarms: list[tuple[Alarm, int | None]] = []

    def __call__(
        self,
        out_dir: Path,
        *,
        guards: Mapping[str, Any] | None = None,
        checks: Checks | None = None,
        resume: bool = False,
        die_after: int | None = None,
        stop_requested: Callable[[], bool] | None = None,
        **options: Any,
    ) -> TrainedPolicy:
        self.steps, self.evaluations, self.alarms = [], [], []

        def on_metrics(done: StepMetrics) -> None:
            self.steps.append(done.step)
            if len(self.steps) == die_after:
                raise KeyboardInterrupt

        return train_policy(
            policy=self.policy, encoder=self.encoder, prompts=self.prompts[4:], reward=count_a,
            config=PpoConfig(**(SETTINGS | options | {"guards": {**QUIET, "evaluate_every": 2, **(guards or {})}})),
            out_dir=out_dir, seed=3, resume=resume, checks=Checks(self.prompts[:4]) if checks is None else checks,
            listener=Listener(
                on_metrics=on_metrics, on_evaluation=self.evaluations.append,
                on_alarm=lambda alarm, at: self.alarms.append((alarm, at)),
                stop_requested=stop_requested or (lambda: False),
            ),
        )  # fmt: skip


@pytest.fixture
def run(make_llama: Any, letter_encoder: Any, letter_prompts: Any) -> Run:
    return Run(make_llama, letter_encoder, letter_prompts)


def weights(trained: TrainedPolicy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trained.model.state_dict().items()} | {
        f"values.{name}": tensor.clone() for name, tensor in trained.value_head.state_dict().items()
    }


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def written(out_dir: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint, Adam's moments among them."""
    newest = find_checkpoints(out_dir)[-1]
    return {f"{path.stem}/{name}": x for path in newest.glob("*.safetensors") for name, x in load_file(path).items()}


def test_evaluations_come_at_the_start_every_so_often_and_at_the_end_on_the_same_draws(
    run: Run, tmp_path: Path
) -> None:
    run(tmp_path, num_steps=5, learning_rate=0.0)
    assert [evaluated.step for evaluated in run.evaluations] == [0, 2, 4, 5]
    assert len({tuple(shown.response for shown in evaluated.shown) for evaluated in run.evaluations}) == 1
    first = run.evaluations[0]
    assert [shown.prompt.id for shown in first.shown] == [prompt.id for prompt in run.prompts[:4]]
    numbers = first.numbers
    assert numbers["eval/scores"] == sum(shown.response.count("a") for shown in first.shown) / 4
    lengths = [len(shown.response) + shown.finished for shown in first.shown]  # a token a letter, one that ends it
    assert numbers["eval/response_length"] == sum(lengths) / 4
    assert numbers["eval/eos_rate"] == sum(shown.finished for shown in first.shown) / 4
    assert numbers["eval/kl"] == pytest.approx(0, abs=1e-5)


def test_evaluations_change_no_step(run: Run, tmp_path: Path) -> None:
    with_them = weights(run(tmp_path / "with"))
    assert_equal(with_them, weights(run(tmp_path / "without", guards={"evaluate_every": None})))


def test_the_best_policy_by_a_held_out_reward_is_kept_though_it_is_no_longer_among_the_last(
    run: Run, tmp_path: Path
) -> None:
    checks = Checks(run.prompts[:4], held_out=few_a)
    guards = {"held_out_model": "given by the test", "max_held_out_drop": None}
    trained = run(tmp_path, guards=guards, checks=checks, num_steps=12, checkpoint_every=1)
    course = {e.step: e.numbers["eval/held_out"] for e in run.evaluations}
    best = max(course, key=lambda step: (course[step], -step))
    assert 0 < best < 10, course
    assert (trained.steps, trained.stop_reason) == (best, "done")
    assert f"the policy of step {best} is kept: eval/held_out was highest there" in trained.note
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [best, 11, 12]
    assert (tmp_path / "checkpoints" / "best").resolve().name == f"step_{best:06d}"
    kept = load_file(tmp_path / "checkpoints" / "best" / "model.safetensors")
    assert all(torch.equal(tensor, trained.model.state_dict()[name]) for name, tensor in kept.items())
    last = run(tmp_path / "last", guards=guards | {"keep": "last"}, checks=checks, num_steps=12)
    assert (last.steps, last.note) == (12, "")


def test_without_a_reward_that_training_does_not_push_up_the_last_policy_is_kept(run: Run, tmp_path: Path) -> None:
    trained = run(tmp_path)
    assert (trained.steps, trained.note) == (8, "")


def test_an_alarm_stops_at_the_best_policy_before_it_and_a_resumed_training_says_the_same(
    run: Run, tmp_path: Path
) -> None:
    guards = {"kl_ceiling": 0.4}
    trained = run(tmp_path, guards=guards, num_steps=30, kl_coef=0.0)
    ((alarm, goes_on_at),) = run.alarms
    course = {e.step: e.numbers["eval/rlhf_reward"] for e in run.evaluations if e.step < alarm.step}
    assert trained.stop_reason == "alarm"
    assert trained.steps == max(course, key=lambda step: (course[step], -step)) < alarm.step
    assert goes_on_at is None
    assert alarm.answer == f"training stops and the policy of step {trained.steps} is kept"
    assert trained.note == f"after {alarm.step} steps {alarm.sentence}; {alarm.answer}"
    assert alarm.sentence.endswith(f"; it learns at ppo.learning_rate {SETTINGS['learning_rate']:g}")
    again = run(tmp_path, guards=guards, num_steps=30, kl_coef=0.0, resume=True)
    assert (run.steps, run.alarms, again.note, again.alarms) == ([], [], trained.note, (alarm,))
    assert_equal(weights(again), weights(trained))


def test_after_an_alarm_training_goes_back_and_on_more_slowly_and_at_last_stops(run: Run, tmp_path: Path) -> None:
    trained = run(
        tmp_path, guards={"kl_ceiling": 0.3, "on_alarm": "roll_back", "max_roll_backs": 2, "alarm_factor": 0.9},
        num_steps=30, kl_coef=0.02, adaptive_kl=False,
    )  # fmt: skip
    assert len(run.alarms) == 3
    (first, at_first), (second, at_second), (_, at_third) = run.alarms
    assert at_first is not None
    assert at_second is not None
    assert at_third is None
    assert at_first < first.step
    assert first.answer == f"training goes on from step {at_first} with 0.9 of the learning rate and kl_coef 0.0222222"
    slower = "with 0.81 of the learning rate and kl_coef 0.0246914"
    assert second.answer == f"training goes on from step {at_second} {slower}"
    assert trained.alarms == tuple(alarm for alarm, _ in run.alarms)
    assert run.steps[: first.step + 1] == [*range(first.step), at_first], "the steps after that come again"
    assert max(step_of(path) for path in find_checkpoints(tmp_path)) == trained.steps


def test_an_alarm_may_lower_the_rate_and_is_then_quiet_for_a_while(run: Run, tmp_path: Path) -> None:
    trained = run(
        tmp_path, guards={"kl_ceiling": 0.05, "on_alarm": "lower_rate", "quiet_steps": 3}, num_steps=10, kl_coef=0.0
    )
    first = run.alarms[0][0]
    steps = [alarm.step for alarm, _ in run.alarms]
    assert trained.stop_reason == "done"
    assert steps == list(range(first.step, 10, 3)), "it is above the ceiling all the time"
    assert trained.steps == 10
    assert trained.alarms[0].answer == "the learning rate is 0.5 of what it was"
    rate = 1e-2 * (1 - 9 / 10) * 0.5 ** len(steps)
    assert trained.metrics["lr"] == pytest.approx(rate)


EVERYTHING = {
    "kl_ceiling": 2.0, "on_alarm": "roll_back", "max_roll_backs": 1, "alarm_factor": 0.8, "judge_every": 4,
    "held_out_model": "given by the test", "best_metric": "held_out", "max_held_out_drop": None,
}  # fmt: skip


def judge(step: int, start: Sequence[Answer], now: Sequence[Answer]) -> dict[str, float]:
    """Prefers more of the letter b."""
    better = [after.text.count("b") - before.text.count("b") for before, after in zip(start, now, strict=True)]
    return {"win_rate": sum(0.5 if diff == 0 else float(diff > 0) for diff in better) / len(better)}


@pytest.mark.parametrize("die_after", [4, 5])
def test_with_everything_on_a_killed_and_resumed_training_is_the_unbroken_one_bit_by_bit(
    run: Run, tmp_path: Path, die_after: int
) -> None:
    checks = Checks(run.prompts[:4], held_out=few_a, judge=judge, measure=lambda episodes: {"num": len(episodes)})
    train = partial(run, guards=EVERYTHING, checks=checks, learning_rate=1e-3, num_prompts_per_step=8)
    unbroken = weights(train(tmp_path / "unbroken"))
    assert run.steps == [0, 1, 2, 3, 3, 4], "after 4 steps it goes back to the third, after 5 it stops"
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", die_after=die_after)
    torch.manual_seed(99)  # nothing may hang on the global generator
    assert_equal(weights(train(tmp_path / "broken", resume=True)), unbroken)
    assert_equal(written(tmp_path / "broken"), written(tmp_path / "unbroken"))
    progress = [read_progress(find_checkpoints(tmp_path / name)[-1]) for name in ("broken", "unbroken")]
    assert progress[0] == progress[1]
    assert "eval/win_rate" in progress[0].evaluations[0].numbers
    assert progress[0].evaluations[0].numbers["eval/measures/num"] == 4


def test_an_evaluation_that_failed_is_made_up_for_by_the_resumed_training(run: Run, tmp_path: Path) -> None:
    seen = []

    def failing(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        seen.append(len(episodes))
        return [RewardFailure("endpoint")] * 4 if len(seen) == 2 else few_a(episodes)

    guards = {"held_out_model": "given by the test", "max_held_out_drop": None, "kl_ceiling": None}
    unbroken = weights(run(tmp_path / "unbroken", guards=guards, checks=Checks(run.prompts[:4], held_out=few_a)))
    checks = Checks(run.prompts[:4], held_out=failing)
    with pytest.raises(TrainingError, match=r"4 of 4 rewards failed .*the evaluation after 2 PPO steps"):
        run(tmp_path / "broken", guards=guards, checks=checks)
    assert run.steps == [0, 1]
    assert_equal(weights(run(tmp_path / "broken", guards=guards, checks=checks, resume=True)), unbroken)
    assert run.steps == [*range(2, 8)], "no step is done again"
    assert [evaluated.step for evaluated in run.evaluations] == [2, 4, 6, 8]


def test_twice_n_steps_are_n_steps_and_n_more(run: Run, tmp_path: Path) -> None:
    guards = {"kl_ceiling": None}
    unbroken = weights(run(tmp_path / "unbroken", guards=guards))
    first = run(tmp_path / "halves", guards=guards, stop_requested=lambda: len(run.steps) == 4)
    assert (first.steps, first.stop_reason) == (4, "stop_requested")
    assert_equal(weights(run(tmp_path / "halves", guards=guards, resume=True)), unbroken)
    assert run.steps == [4, 5, 6, 7]
    assert_equal(written(tmp_path / "halves"), written(tmp_path / "unbroken"))


def test_asked_to_stop_while_it_samples_a_step_it_is_written_as_before_that_step(run: Run, tmp_path: Path) -> None:
    asked = iter([False, False, False, True])  # before a step and before its update
    stopped = run(tmp_path, stop_requested=lambda: next(asked))
    assert (stopped.steps, stopped.stop_reason, run.steps) == (1, "stop_requested", [0])
    assert [step_of(path) for path in find_checkpoints(tmp_path)] == [0, 1]
    assert "stopped on request after 1 of 8 steps" in stopped.note


def test_the_checkpoints_of_a_finished_training_go_and_a_file_of_the_user_stays(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for name in ("step_000001", ".removed_step_000000", ".step_000002.part-7"):
        (folder / name).mkdir(parents=True)
        (folder / name / "progress.json").write_text("{}")
    (folder / "best").symlink_to("step_000001")
    drop_checkpoints(tmp_path)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    drop_checkpoints(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
