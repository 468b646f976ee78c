"""A copy of the policy in vLLM: a real process, and in it a stand-in for vLLM that tells what it was told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.errors import ModelError, StageError
from rlaif.models.open import check_rollout_engine
from rlaif.models.slot import Slot
from rlaif.models.vllm import copy as vllm_copy
from rlaif.models.vllm import process as vllm_process
from rlaif.models.vllm.copy import VllmCopy
from rlaif.models.vllm.process import VllmProcess

FAKE = Path(__file__).parents[2] / "fake_vllm"
DIE, TELL = 9001, 9005
MakeCopy = Callable[..., VllmCopy]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeCopy]:
    monkeypatch.setattr(vllm_copy, "find_vllm", lambda: "0.32.0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE), os.environ.get("PYTHONPATH", "")]))
    made: list[VllmCopy] = []

    def make_copy(*, sleep: bool = False) -> VllmCopy:
        made.append(VllmCopy(RolloutConfig(engine="vllm", sleep=sleep), device="cpu", max_tokens=100))
        return made[-1]

    yield make_copy
    for copy in made:
        copy.close()


def sample(copy: VllmCopy, *prompts: list[int]) -> list[list[int]]:
    drawn = copy.sample(prompts, seeds=[0] * len(prompts), max_tokens=500, temperature=0.5, stop_token_ids=(2,))
    assert all(len(each.ids) == len(each.logprobs) for each in drawn)
    return [each.ids for each in drawn]


def told(copy: VllmCopy) -> str:
    return "".join(map(chr, sample(copy, [TELL])[0]))


def test_the_first_weights_start_it_and_later_ones_replace_them(make: MakeCopy) -> None:
    copy = make()
    copy.load_weights(Path("/first"), version="0")
    copy.load_weights(Path("/second"), version="1")
    assert sample(copy, [7, 5], [3]) == [[7, 5], [3]]
    assert told(copy) == "start /first; reload_weights /second"


def test_it_sleeps_between_rollouts_and_wakes_for_weights_and_for_tokens(make: MakeCopy) -> None:
    copy = make(sleep=True)
    copy.load_weights(Path("/first"), version="0")
    sample(copy, [1])
    copy.load_weights(Path("/second"), version="1")
    sample(copy, [1])
    assert told(copy) == "start /first; sleep 1; wake up; reload_weights /second; sleep 1; wake up"


def test_one_that_was_ended_starts_again_with_the_next_weights(make: MakeCopy) -> None:
    copy = make()
    copy.load_weights(Path("/first"), version="0")
    with pytest.raises(StageError, match="vLLM was killed.*training continues from its last checkpoint with --resume"):
        sample(copy, [DIE])
    with pytest.raises(RuntimeError, match="no weights yet"):
        sample(copy, [1])
    copy.load_weights(Path("/second"), version="1")
    assert told(copy) == "start /second"


def test_it_neither_ends_a_judge_in_vllm_nor_is_ended_by_one(make: MakeCopy) -> None:
    slot = Slot()
    judge = VllmProcess({}, environ={}, device="", where="judge", slot=slot)
    judge.start()
    copy = make()
    copy.load_weights(Path("/first"), version="0")
    assert judge.pid is not None
    slot.close()
    assert judge.pid is None
    judge.start()
    assert sample(copy, [4]) == [[4]]
    slot.close()


def test_it_does_not_take_itself_for_one_of_the_processes_that_train(
    make: MakeCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    copy = make()
    copy.load_weights(Path("/first"), version="0")
    assert told(copy) == "start /first"


def test_vllm_that_is_not_installed_is_told_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "installed_version", lambda: None)
    check_rollout_engine(RolloutConfig())
    with pytest.raises(ModelError, match="needs vLLM, which is not installed"):
        check_rollout_engine(RolloutConfig(engine="vllm"))
