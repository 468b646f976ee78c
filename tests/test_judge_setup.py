"""Which model a worker loads: the one of the configuration, on what the worker was given."""

import pytest

from rlaif.config.generate import JudgeModelConfig, ModelConfig
from rlaif.config.scale import ScaleConfig
from rlaif.judge_setup import _for_worker


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [(0, "auto", "cpu"), (1, "auto", "auto"), (0.5, "auto", "auto"), (0, "mps", "mps"), (1, "cpu", "cpu")],
)
def test_a_worker_without_a_gpu_of_its_own_computes_on_its_cores(gpus, device, expected):
    scale = ScaleConfig(engine="ray", gpus_per_worker=gpus)
    assert _for_worker(ModelConfig(device=device), scale).device == expected


def test_a_folder_is_named_in_full_and_other_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("judge", "frontdesk"):
        (tmp_path / name).mkdir()
    scale = ScaleConfig(engine="ray")
    paths = [_for_worker(JudgeModelConfig(path=path), scale).path for path in ("judge", "org/hub-model", "frontdesk")]
    assert paths == [str(tmp_path / "judge"), "org/hub-model", "frontdesk"]
