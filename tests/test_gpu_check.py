"""benchmarks/gpu_check.py and what `rlaif doctor` makes of its results."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.cli.doctor import GPU_CHECK, GpuCheck, Machine, check_vllm, find_gpu_check, find_untried
from rlaif.models.install import extra_line

SCRIPT = GPU_CHECK.parents[1] / "gpu_check.py"
WITH_GPU = Machine("Linux", "x86_64", "3.11", ("cuda:0 NVIDIA H100",))


def test_without_a_gpu_it_says_so_ends_with_status_2_and_writes_nothing() -> None:
    before = GPU_CHECK.read_bytes() if GPU_CHECK.is_file() else None
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == "this machine has no CUDA GPU that torch sees, so nothing was tried and nothing written\n"
    assert (GPU_CHECK.read_bytes() if GPU_CHECK.is_file() else None) == before


def test_only_engines_that_ran_and_agreed_count_as_tried(tmp_path: Path) -> None:
    results = tmp_path / "gpu_check.json"
    assert find_gpu_check(results) is None
    engines = {"transformers": {"held": True}, "vllm": {"held": False, "error": "no"}, "vllm server": {"held": True}}
    results.write_text(json.dumps({"machine": {"gpu": "NVIDIA H200"}, "engines": engines}))
    assert find_gpu_check(results) == GpuCheck("NVIDIA H200", ("transformers", "vllm server"))


def test_engines_that_ppo_trained_with_are_told_apart(tmp_path: Path) -> None:
    results = tmp_path / "gpu_check.json"
    ppo = {"transformers": {"held": True}, "vllm": {"held": False, "error": "no"}}
    results.write_text(json.dumps({"machine": {"gpu": "NVIDIA H200"}, "engines": {"vllm": {"held": True}}, "ppo": ppo}))
    found = find_gpu_check(results)
    assert found == GpuCheck("NVIDIA H200", ("vllm",), ("transformers",))
    [finding] = find_untried(WITH_GPU, tried=found)
    assert finding.found == (
        "of training only PPO was run on a GPU, on NVIDIA H200 with rollouts by transformers; so were sampling and "
        "judging, by vllm"
    )


def test_the_ppo_part_goes_through_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    part = importlib.import_module("gpu_check_ppo")
    found = part.check_training(part.SMALL, engine="transformers")
    assert found["held"]
    assert found["rollout_tokens_per_s"] > 0
    assert 0 < found["update_share_of_bf16_rate"] < 10
    assert {"rollout", "prepare", "update"} <= found["seconds"].keys()


def test_a_gpu_is_called_untried_until_results_say_what_ran_on_which() -> None:
    [finding] = find_untried(WITH_GPU)
    assert finding.found.startswith("no part was ever run on a GPU")
    [finding] = find_untried(WITH_GPU, tried=GpuCheck("NVIDIA H200", ("transformers", "vllm")))
    assert finding.found == (
        "training was never run on a GPU; sampling and judging were, on NVIDIA H200 by transformers, vllm"
    )
    [finding] = find_untried(WITH_GPU, tried=GpuCheck("NVIDIA H200", ()))
    assert finding.found.startswith("no part was ever run on a GPU")


def test_vllm_on_cuda_is_called_untried_until_results_lift_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = check_vllm(None)
    assert (missing.state, missing.fix) == ("note", extra_line("vllm"))
    assert missing.found == "not installed, only `engine: vllm` needs it; tested on a CPU and never on a GPU"
    monkeypatch.setattr("rlaif.models.vllm.process.installed_version", lambda: "0.32.0")
    assert check_vllm(None).found == "0.32.0; tested on a CPU and never on a GPU"
    assert check_vllm(GpuCheck("NVIDIA H200", ("transformers",))).found.endswith("never on a GPU")
    assert check_vllm(GpuCheck("NVIDIA H200", ("vllm",))).found == "0.32.0; tested on a CPU and on NVIDIA H200"
