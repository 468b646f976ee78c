"""One round of one run: what it requires of earlier stages, and by what it knows its inputs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif.config.load import load_config
from rlaif.errors import ModelError, RunFolderError
from rlaif.loop.open_run import open_work
from rlaif.pipeline import generate_preferences
from rlaif.records import digest_bytes, digest_text
from rlaif.run.work import MADE_BY, STAGE_NAMES, Work


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    with open_work(load_config(), run_name="w", runs_dir=tmp_path / "runs", resume=False) as opened:
        yield opened


@pytest.mark.parametrize("stage", MADE_BY)
def test_a_stage_that_was_not_done_is_refused_with_the_command_that_does_it(work: Work, stage: str) -> None:
    made, command = MADE_BY[stage]
    assert stage in STAGE_NAMES
    with pytest.raises(RunFolderError, match=f"this run has no {made} yet .*: run `{command}` first"):
        work.require(stage)


def test_preferences_of_the_user_are_known_by_their_bytes_and_those_of_the_hub_by_their_name(
    tmp_path: Path, work: Work
) -> None:
    file = tmp_path / "mine.jsonl"
    digests = []
    for text in ("one\n", "two\n"):
        file.write_text(text)
        work.config = load_config(overrides=[f"reward_model.preferences={file}"])
        digests.append(work.dataset_digest)
    assert digests == [digest_bytes(b"one\n"), digest_bytes(b"two\n")]
    work.config = load_config(overrides=["reward_model.preferences=someone/pairs"])
    assert work.dataset_digest == digest_text("someone/pairs")


def test_models_leave_the_memory_only_where_vllm_will_want_it(work: Work) -> None:
    generator = work.start_generator
    work.make_room()
    assert work.start_generator is generator
    work.config = load_config(overrides=["judge.model.engine=vllm"])
    work.make_room()
    assert not {"start_generator", "start_policy"} & work.__dict__.keys()
    assert work.start_generator is not generator
    assert work.start_generator.fingerprint == generator.fingerprint


@pytest.mark.parametrize("part", ["judge.model", "policy"])
def test_vllm_that_is_not_installed_is_told_before_anything_is_drawn(
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
