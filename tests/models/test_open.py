"""The table of engines: what is in it, what it refuses, and how models are opened by it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from rlaif.config.judge import JudgeConfig, JudgeModelConfig, OtherModelConfig
from rlaif.config.models import ModelConfig, PolicyModelConfig
from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.config.scale import ScaleConfig
from rlaif.errors import ConfigError, InputError, ModelError
from rlaif.models.open import (
    ENGINES,
    ROLLOUTS,
    check_judge_engine,
    check_policy_engine,
    check_rollout_engine,
    load_model,
    open_generator,
    open_judge,
    open_policy_copy,
)
from rlaif.models.ray.engine import for_worker
from rlaif.models.slot import Slot
from rlaif.records import Model

PREFER_LONGER = "rlaif.models.scripted_engine:prefer_longer"


def names_of(config: Any) -> set[str]:
    """The engines that a class of options allows."""
    found: set[str] = set()
    for name in get_args(config.model_fields["engine"].annotation):
        found |= set(get_args(name)) or {name}
    return found - {type(None)}


def judge(engine: Any, path: str) -> JudgeConfig:
    return JudgeConfig(model=JudgeModelConfig(engine=engine, path=path))


def test_the_table_has_the_engines_that_the_configuration_names() -> None:
    assert set(ENGINES) == names_of(JudgeModelConfig) == names_of(OtherModelConfig)
    assert {name for name, row in ENGINES.items() if row.open_policy is not None} == names_of(PolicyModelConfig)
    assert set(ROLLOUTS) == names_of(RolloutConfig)
    assert set(ENGINES) <= names_of(Model)


@pytest.mark.parametrize("name", ENGINES)
def test_the_configuration_and_the_table_agree_on_which_models_are_on_this_machine(name: Any) -> None:
    assert JudgeModelConfig(engine=name, path="m").is_local == ENGINES[name].is_local


def test_importing_the_table_imports_no_engine() -> None:
    heavy = "{'torch', 'transformers', 'ray', 'vllm', 'aiohttp'}"
    code = f"import sys, rlaif.models.open; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_judge_that_cannot_be_opened_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match="OPENAI_BASE_URL"):
        check_judge_engine(judge("openai", "m"))
    with pytest.raises(InputError, match="no_such_module"):
        check_judge_engine(judge("scripted", "no_such_module:f"))
    with pytest.raises(ModelError, match="the model folder does not exist"):
        check_judge_engine(judge("transformers", "./no/such/folder"))
    check_judge_engine(judge("transformers", "frontdesk"))
    check_judge_engine(judge("scripted", PREFER_LONGER))


def test_where_vllm_is_missing_every_use_of_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else find_spec(name))
    for use in (
        lambda: check_judge_engine(judge("vllm", "frontdesk")),
        lambda: open_judge(judge("vllm", "frontdesk")),
        lambda: check_policy_engine(PolicyModelConfig(engine="vllm")),
        lambda: open_generator(PolicyModelConfig(engine="vllm")),
        lambda: check_rollout_engine(RolloutConfig(engine="vllm")),
        lambda: open_policy_copy(RolloutConfig(engine="vllm"), device="cpu", max_tokens=100),
    ):
        with pytest.raises(ModelError, match=r"vLLM, which is not installed: pip install -e .*\[vllm\]"):
            use()
    check_rollout_engine(RolloutConfig())


def test_an_engine_that_only_judges_samples_no_responses() -> None:
    config = PolicyModelConfig().model_copy(update={"engine": "scripted"})
    with pytest.raises(ConfigError, match="`engine: scripted` samples no responses.*use one of transformers, vllm"):
        open_generator(config)


def test_the_model_in_training_samples_for_itself() -> None:
    assert open_policy_copy(RolloutConfig(), device="cpu", max_tokens=100) is None


def test_a_policy_that_training_holds_in_memory_is_not_loaded_again(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_model(PolicyModelConfig(device="cpu"), part="policy")
    generator = open_generator(PolicyModelConfig(path="no/such/model"), load=lambda: loaded)
    assert generator.fingerprint == loaded.fingerprint
    assert capsys.readouterr().err.count("loading the policy: frontdesk") == 1


def test_a_slot_ends_who_held_it_before() -> None:
    class Process:
        is_open = True

        def close(self) -> None:
            self.is_open = False

    first, second = Process(), Process()
    with Slot() as slot:
        slot.take(first)
        slot.take(first)
        assert first.is_open
        slot.take(second)
        assert (first.is_open, second.is_open) == (False, True)
        slot.leave(first)
        assert slot.holder is second
    assert not second.is_open
    assert slot.holder is None


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [(0, "auto", "cpu"), (1, "auto", "auto"), (0.5, "auto", "auto"), (0, "mps", "mps"), (1, "cpu", "cpu")],
)
def test_a_worker_without_a_gpu_of_its_own_computes_on_its_cores(gpus: float, device: str, expected: str) -> None:
    scale = ScaleConfig(engine="ray", gpus_per_worker=gpus)
    assert for_worker(ModelConfig(device=device), scale).device == expected


def test_a_folder_is_named_in_full_and_other_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("judge", "frontdesk"):
        (tmp_path / name).mkdir()
    scale = ScaleConfig(engine="ray")
    paths = [for_worker(JudgeModelConfig(path=path), scale).path for path in ("judge", "org/hub-model", "frontdesk")]
    assert paths == [str(tmp_path / "judge"), "org/hub-model", "frontdesk"]
