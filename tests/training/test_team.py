"""Two real processes train what one does: DDP, and FSDP2 with a part of every weight in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launch import environment, launch
from torch import Tensor
from trained_together import GUARDED, train_on_it, train_policy_on_words, train_reward_model_on_pairs, two_sources

from rlaif.errors import ConfigError
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.sharing import Sharding, find_sharding, plan_rows
from rlaif.training.team import ALONE, Team, has_lost_another, join_team

SCRIPT = Path(__file__).parents[1] / "trained_together.py"
Found = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind, each its own files."""
    folder = tmp_path_factory.mktemp("together")
    for done in launch(SCRIPT, str(folder), "all"):
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def both(request: pytest.FixtureRequest, folder: Path) -> list[Found]:
    return [torch.load(folder / f"{request.param}_{rank}.pt") for rank in (0, 1)]


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float) -> None:
    """Relative to each tensor's largest number."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = float(tensor.abs().max()) or 1.0
        assert float((found[name] - tensor).abs().max()) <= tolerance * largest, name


def test_losses_and_gradients_of_a_stored_rollout_are_those_of_one_process(both: list[Found]) -> None:
    alone = train_on_it()
    assert float(alone["all model.lm_head.weight"].abs().max()) > 0.1
    for found in both:
        assert_close(found["rollout"], alone, tolerance=1e-5)


def test_the_whole_trainer_makes_the_policy_of_one_process(both: list[Found], tmp_path: Path) -> None:
    alone = train_policy_on_words(tmp_path)
    assert_close(both[0]["whole"], alone, tolerance=1e-4)


def test_responses_drawn_one_step_ahead_are_those_of_one_process(both: list[Found], tmp_path: Path) -> None:
    alone = train_policy_on_words(tmp_path, one_step_off=True)
    assert_close(both[0]["ahead"], alone, tolerance=1e-4)


def test_evaluations_and_alarms_are_those_of_one_process(both: list[Found], tmp_path: Path) -> None:
    alone = train_policy_on_words(tmp_path, reward=two_sources(), guards=GUARDED)
    assert len(alone["metrics"]) > 4, "an alarm went back, so steps were done again"
    assert_close(both[0]["guarded"], alone, tolerance=1e-4)


def test_all_processes_end_with_the_same_bits(both: list[Found]) -> None:
    for training, of_first in both[0].items():
        assert all(torch.equal(tensor, both[1][training][name]) for name, tensor in of_first.items()), training


def test_two_processes_that_were_stopped_and_resumed_make_the_same_bits(both: list[Found]) -> None:
    whole, resumed = dict(both[0]["whole"]), dict(both[0]["resumed"])
    assert torch.equal(whole.pop("metrics")[2:], resumed.pop("metrics"))
    assert len(both[0]["broken off"]["metrics"]) == 2
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_training_of_two_processes_may_go_on_in_one(folder: Path) -> None:
    resumed = train_policy_on_words(folder / "fsdp" / "resumed", resume=True)
    assert not len(resumed.pop("metrics")), "all steps were done"
    whole = torch.load(folder / "fsdp_0.pt")["whole"]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())


def test_a_reward_model_of_two_processes_is_that_of_one(folder: Path, tmp_path: Path) -> None:
    alone = train_reward_model_on_pairs(folder=tmp_path)
    found = torch.load(folder / "ddp_0.pt")["reward model"]
    # Losses, accuracies, margins and gradient norms of all steps; the weights went through Adam, which magnifies.
    assert_close({"figures": found.pop("figures")}, {"figures": alone.pop("figures")}, tolerance=1e-5)
    assert_close(found, alone, tolerance=1e-4)


def test_a_failure_in_the_first_process_is_told_once_and_reaches_the_other(folder: Path) -> None:
    assert (folder / "failed_0.txt").read_text() == "TrainingError: the judge is gone"
    assert (folder / "failed_1.txt").read_text() == "OtherProcessFailed: another process failed"


@pytest.mark.heavy(minutes=0.4)
def test_a_process_that_loses_the_other_ends_at_once(tmp_path: Path) -> None:
    first, second = launch(SCRIPT, str(tmp_path), "lose")
    assert (first.returncode, second.returncode) == (1, 9)
    assert (tmp_path / "lost.txt").read_text() == "True"


def test_each_row_is_one_processs_and_the_load_is_even() -> None:
    sequences = [TokenSequence([n % 5] * (1 + n % 3), [1] * (1 + n % 7)) for n in range(40)]
    for size in (1, 2, 3):
        plans = plan_rows(torch.nn.Identity(), sequences, max_tokens=16, num_processes=size)
        rows = [[row for group in plan.groups for row in group] for plan in plans]
        assert sorted(row for own in rows for row in own) == list(range(40))
        tokens = [sum(len(sequences[row].prompt_ids) + len(sequences[row].response_ids) for row in own) for own in rows]
        assert max(tokens) - min(tokens) <= 10, "no more than one sequence"


def test_more_processes_than_rows_leave_some_with_an_idle_pass() -> None:
    plans = plan_rows(torch.nn.Identity(), [TokenSequence([1], [2])], max_tokens=16, num_processes=3)
    assert sorted((len(plan.groups), plan.num_idle) for plan in plans) == [(0, 1), (0, 1), (1, 0)]


def test_shares_follow_one_another_and_leave_nothing_out() -> None:
    items = list(range(7))
    assert [list(Team(rank, 3).share(items)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [list(Team(rank, 3).share([1])) for rank in range(3)] == [[], [], [1]]


def test_one_process_is_a_team_that_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_team() as team:
        assert team is ALONE
        assert team.gather([1]) == [1]
        assert team.ask_first(lambda: 2) == 2
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environ", "answer"),
    [
        ({}, None),
        ({"ACCELERATE_USE_FSDP": "false"}, None),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, Sharding(frozenset(), True)),
        (
            {
                "ACCELERATE_USE_FSDP": "True",
                "FSDP_VERSION": "2",
                "FSDP_RESHARD_AFTER_FORWARD": "false",
                "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer,Other",
            },
            Sharding(frozenset({"LlamaDecoderLayer", "Other"}), False),
        ),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "second version"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "CPU between passes"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "not by DeepSpeed"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "ppo.model.compute_dtype"),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, None),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"},
            "ppo.model.gradient_checkpointing",
        ),
    ],
)
def test_the_launchers_environment_says_how_weights_are_shared(
    environ: dict[str, str], answer: Sharding | str | None
) -> None:
    if not isinstance(answer, str):
        assert find_sharding(environ) == answer
        return
    with pytest.raises(ConfigError, match=answer):
        find_sharding(environ)


@pytest.mark.parametrize("command", ["run", "generate-prefs", "evaluate"])
def test_a_command_that_does_not_share_its_work_is_refused_under_a_launcher(command: str, tmp_path: Path) -> None:
    done = [
        subprocess.run(
            [sys.executable, "-m", "rlaif", command], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2"),
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [one.returncode for one in done] == [2, 2]
    assert f"`rlaif {command}` works in one process, and 2 were started" in " ".join(done[0].stderr.split())
    assert done[1].stderr == "", "the first process speaks for all"


def test_an_error_of_our_own_is_not_taken_for_a_lost_process() -> None:
    assert not has_lost_another(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert has_lost_another(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]"))
