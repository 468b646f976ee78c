"""Every file of JSON or lines that a run keeps, damaged in every way, and what reads it: a sentence that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlaif.audit.ledger_file import find_damaged
from rlaif.errors import RlaifError
from rlaif.files.batch_plan import read_plan
from rlaif.files.sealed import SEAL, check_seal
from rlaif.judging.batch_journal import JOURNAL_NAME, BatchJournal, count_batch_calls
from rlaif.judging.question_log import LOG_NAME, read_sent, read_streamed
from rlaif.policy.ppo.checkpoint import read_progress
from rlaif.policy.ppo.log import read_shown
from rlaif.reward_model.save import RESULTS, read_results
from rlaif.run.finished import read_stage
from rlaif.run.folder import (
    RunFolder,
    create_run,
    list_runs,
    lock_run,
    newest_round,
    next_attempt,
    open_run,
    read_heads,
)
from rlaif.run.inputs import NOTES, Input, expect_inputs
from rlaif.run.stages import PROMPTS, SAMPLES
from rlaif.training.metrics import MetricsLog

CONFIG = {"config": {"ledger": {"path": None}}, "inputs": {}}


def _lock(folder: Path) -> None:
    with lock_run(RunFolder(folder)):
        pass


def _note(folder: Path) -> None:
    expect_inputs(folder, folder / "round_00" / "1_prompts", [Input("prompts.path", "p", {"contents": "d"})])


READERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda folder: RunFolder(folder).config,
    "manifest.json": lambda folder: read_heads(RunFolder(folder)),
    "order": lambda folder: open_run(folder.parent, None),
    NOTES: _note,
    "stage.json": read_stage,
    "samples_plan.json": lambda folder: read_plan(folder / "samples_plan.json"),
    SEAL: lambda folder: check_seal(folder, fix="remove the folder"),
    RESULTS: lambda folder: read_results(folder, digest="d"),
    "progress.json": read_progress,
}
WAYS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_text('{"config": {"led'),
    "empty": lambda path: path.write_bytes(b""),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{"),
    "a word": lambda path: path.write_text('"x"'),
    "a list of numbers": lambda path: path.write_text("[7]"),
    "other fields": lambda path: path.write_text('{"config": 7, "ledger_heads": 7, "in": "x", "stages": 7}'),
    "nested": lambda path: path.write_text("[" * 100_000),
    "a folder": lambda path: path.mkdir(),
    "a loop": lambda path: path.symlink_to(path.name),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_run(tmp_path, "r", resume=False, config=CONFIG).path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_with_the_way_out(folder: Path, name: str, way: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    WAYS[way](path)
    if name == RESULTS and way in ("a folder", "a loop"):
        return  # the model's folder was never finished, and is written again
    with pytest.raises(RlaifError, match=name) as raised:
        READERS[name](folder)
    assert raised.value.fix


def test_a_lock_that_is_a_folder_is_named(folder: Path) -> None:
    (folder / "lock").mkdir()
    with pytest.raises(RlaifError, match=r"Is a directory.*r/lock"):
        _lock(folder)


LINES: dict[str, Callable[[Path], object]] = {
    "metrics.jsonl": lambda folder: MetricsLog(folder / "metrics.jsonl").read(),
    JOURNAL_NAME: BatchJournal,
    f"{JOURNAL_NAME} ": count_batch_calls,
    LOG_NAME: lambda folder: (read_streamed(folder), read_sent(folder)),
    "samples.jsonl": lambda folder: read_shown(folder / "samples.jsonl"),
}
OF_NO_BATCH = b'{"step": "collected", "batch": "0001"}'
BAD_LINES = (b'{"a', b"[7]", b'{"step": [7], "stage": [7], "batch": 7}', b"\xff\xfe x y z", OF_NO_BATCH)


@pytest.mark.parametrize("line", BAD_LINES)
@pytest.mark.parametrize("name", LINES)
def test_a_damaged_line_is_named_by_file_and_number(folder: Path, name: str, line: bytes) -> None:
    path = folder / name.strip()
    path.write_bytes(line + b"\n")
    if name.endswith(" ") and line == OF_NO_BATCH:
        assert count_batch_calls(folder) == 0  # a batch that was begun by an older version is counted elsewhere
        return
    with pytest.raises(RlaifError, match=rf"{name.strip()}:1\)"):
        LINES[name](folder)


def test_folders_that_only_look_like_rounds_and_attempts_are_left_alone(folder: Path) -> None:
    (folder / "logs" / "attempt_x").mkdir(parents=True)
    (folder / "round_xx" / PROMPTS.folder).mkdir(parents=True)
    (folder / "round_xx" / PROMPTS.folder / "stage.json").write_text("{}")
    run = RunFolder(folder)
    assert next_attempt(run).name == "attempt_1"
    assert newest_round(run, stage=SAMPLES) == 0
    assert run.stage_dirs == []


@pytest.mark.parametrize("name", ["config.json", "order", "manifest.json"])
@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_run_is_passed_over_and_those_beside_it_are_not(
    tmp_path: Path, folder: Path, name: str, way: str
) -> None:
    create_run(tmp_path, "whole", resume=False, config=CONFIG)
    (folder / name).unlink(missing_ok=True)
    WAYS[way](folder / name)
    (damage,) = find_damaged(tmp_path)
    assert name in damage.sentence
    assert [found.run.name for found in list_runs(tmp_path) if found.damage is None][-1] == "whole"
    assert create_run(tmp_path, "new", resume=False, config=CONFIG).name == "new"


def test_what_json_says_stays_whole(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "of a later version": [1, {"a": None}]}))
    assert RunFolder(folder).config["of a later version"] == [1, {"a": None}]
