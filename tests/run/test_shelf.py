"""Which models a round has loaded, and when they leave the memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif.config.load import load_config
from rlaif.errors import ModelError, RunFolderError
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.pipeline import generate_preferences
from rlaif.run.shelf import make_room


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenRun]:
    with open_work(load_config(), run_name="w", runs_dir=tmp_path / "runs", resume=False) as opened:
        yield opened


def test_in_the_first_round_the_current_policy_is_the_starting_one_and_a_later_round_keeps_it(opened: OpenRun) -> None:
    shelf = opened.shelf
    assert shelf.policy("current") is shelf.policy("start")
    assert shelf.generator("current") is shelf.generator("start")
    later = shelf.at(1)
    assert later.policy("start") is shelf.policy("start")
    with pytest.raises(RunFolderError, match="the round before has trained no policy"):
        later.policy("current")


def test_models_leave_the_memory_only_where_vllm_will_want_it(opened: OpenRun) -> None:
    shelf = opened.shelf
    generator = shelf.generator("start")
    make_room(load_config(), shelf.clear, opened.bench.clear)
    assert shelf.generator("start") is generator
    make_room(load_config(overrides=["judge.model.engine=vllm"]), shelf.clear, opened.bench.clear)
    assert shelf.generator("start") is not generator
    assert shelf.generator("start").fingerprint == generator.fingerprint


def test_a_policy_that_was_dropped_is_loaded_again(opened: OpenRun) -> None:
    before = opened.shelf.policy("start")
    opened.shelf.drop("start")
    assert opened.shelf.policy("start") is not before


@pytest.mark.parametrize("part", ["judge.model", "policy"])
def test_vllm_that_is_not_installed_is_reported_before_anything_is_drawn(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = load_config(overrides=[f"{part}.engine=vllm"])
    with (
        pytest.raises(ModelError, match=r'pip install -e ".*\[vllm\]"'),
        open_work(config, run_name="v", runs_dir=tmp_path / "runs", resume=False) as opened,
    ):
        generate_preferences(opened)
    assert not list((tmp_path / "runs").glob("v"))
