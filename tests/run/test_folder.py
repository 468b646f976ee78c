"""Run folders: made once, held by one process, resumed only with what they were started with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import RunFolderError, RunFolderInUse
from rlaif.ledger.sign_offs import StatedHead
from rlaif.records import Tally
from rlaif.run.finished import finish_stage, read_stage, stage_done
from rlaif.run.folder import (
    RunFolder,
    create_run,
    discard_run,
    lock_run,
    newest_round,
    next_attempt,
    open_run,
    write_manifest,
)
from rlaif.run.stages import EVALUATION, POLICY, PREFERENCES, PROMPTS, REWARD_MODEL, SAMPLES, SFT

CONFIG: dict[str, Any] = {"config": {"seed": 0, "judge": {"model": {"path": "frontdesk"}}}, "inputs": {}}
HOLD = """
import sys, time
from pathlib import Path
from rlaif.run.folder import RunFolder, lock_run
with lock_run(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(run: RunFolder) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def new_run(runs_dir: Path, name: str | None = None) -> RunFolder:
    return create_run(runs_dir, name, resume=False, config=CONFIG)


def test_runs_without_a_name_are_numbered(tmp_path: Path) -> None:
    assert [new_run(tmp_path).name for _ in range(3)] == ["001", "002", "003"]
    assert json.loads((tmp_path / "002" / "config.json").read_text()) == CONFIG


def test_the_newest_run_is_the_one_made_last_whatever_its_name_and_date(tmp_path: Path) -> None:
    new_run(tmp_path, "zebra")
    last = new_run(tmp_path, "apple")
    os.utime(tmp_path / "zebra" / "config.json", (2e9, 2e9))
    assert open_run(tmp_path, None) == last


def test_a_used_run_folder_is_refused_without_resume(tmp_path: Path) -> None:
    new_run(tmp_path, "a")
    with pytest.raises(RunFolderError, match=r"already used.*--resume") as raised:
        new_run(tmp_path, "a")
    assert raised.value.exit_code == 2


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def put_model(path: Path) -> None:
    put_folder(path)
    (path / "config.json").write_text('{"model_type": "llama"}')


def put_link_to_a_folder(path: Path) -> None:
    put_folder(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


PLACES: dict[str, Callable[[Path], object]] = {
    "folder": put_folder,
    "empty folder": lambda path: path.mkdir(),
    "model": put_model,
    "file": lambda path: path.write_text("years of work"),
    "link": put_link_to_a_folder,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_what_a_user_has_under_the_runs_name_is_refused_untouched(tmp_path: Path, place: str, resume: bool) -> None:
    PLACES[place](tmp_path / "data")
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    with pytest.raises(RunFolderError, match=r"there already, and it holds no run.*--run NAME"):
        create_run(tmp_path, "data", resume=resume, config=CONFIG)
    assert {path: path.lstat() for path in tmp_path.rglob("*")} == before


def test_a_users_folders_among_the_runs_are_no_runs(tmp_path: Path) -> None:
    put_model(tmp_path / "007")
    with pytest.raises(RunFolderError, match="there is no run yet"):
        open_run(tmp_path, None)
    with pytest.raises(RunFolderError, match='there is no run "007"'):
        open_run(tmp_path, "007")
    run = new_run(tmp_path)
    assert run.name == "008"
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / "order").write_text("of my photos")
    assert open_run(tmp_path, None) == run
    assert new_run(tmp_path).name == "009"


def test_a_linked_folder_that_holds_a_run_is_that_run(tmp_path: Path) -> None:
    moved = new_run(tmp_path / "large disk", "a")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(moved.path)
    assert create_run(tmp_path / "runs", "a", resume=True, config=CONFIG).config == CONFIG


def test_a_run_is_whole_from_its_first_moment(tmp_path: Path) -> None:
    """Killed while it is made: no folder of its name is there."""
    code = (
        "import os, sys; from pathlib import Path; import rlaif.run.folder as runs\n"
        "write = runs.write_atomically\n"
        "runs.write_atomically = lambda path, text: write(path, text) if path.name == 'order' else os._exit(9)\n"
        "runs.create_run(Path(sys.argv[1]), 'a', resume=False, config={'config': {}, 'inputs': {}})"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert not (tmp_path / "a").exists()
    new_run(tmp_path, "a")


def test_what_was_kept_for_the_user_is_no_output_of_a_stage(tmp_path: Path) -> None:
    stage = new_run(tmp_path).stage_dir(0, PREFERENCES)
    kept = stage / "dataset.kept-1"
    kept.mkdir(parents=True)
    (kept / "notes.txt").write_text("mine")
    finish_stage(stage, tally=Tally(num_in=1), unit="pairs")
    (kept / "notes.txt").unlink()
    assert stage_done(stage)


def test_a_run_in_which_nothing_began_is_removed_unless_anything_else_is_in_it(tmp_path: Path) -> None:
    empty, noted, resumed = (new_run(tmp_path, name) for name in ("empty", "noted", "resumed"))
    for run in (empty, noted, resumed, resumed):
        (next_attempt(run) / "log.txt").write_text("run 001")
    (noted.path / "notes.txt").write_text("mine")
    for run in (empty, noted, resumed):
        discard_run(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noted", "resumed"]


def test_a_resumed_run_is_the_same_folder(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert create_run(tmp_path, None, resume=True, config=CONFIG) == run
    assert create_run(tmp_path, "001", resume=True, config=CONFIG) == run


def test_a_resumed_run_may_be_told_to_go_further(tmp_path: Path) -> None:
    new_run(tmp_path, "a")
    further = {**CONFIG, "config": {**CONFIG["config"], "rounds": 3, "gates": {"min_win_rate": None}}}
    create_run(tmp_path, "a", resume=True, config=further)
    assert json.loads((tmp_path / "a" / "config.json").read_text()) == further


def test_a_stage_is_done_in_the_newest_round_that_is_ready_for_it(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    assert newest_round(run, stage=REWARD_MODEL) == 0
    for number, stage in ((0, PREFERENCES), (0, POLICY), (1, PREFERENCES), (2, PROMPTS)):
        run.stage_dir(number, stage).mkdir(parents=True)
        finish_stage(run.stage_dir(number, stage), tally=Tally(num_in=1), unit="x")
    run.stage_dir(1, POLICY).mkdir()
    stages = (SFT, SAMPLES, REWARD_MODEL, EVALUATION)
    assert [newest_round(run, stage=stage) for stage in stages] == [0, 2, 1, 0]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "/abs", "A", "-a", ".hidden", "a..b", "a.", "a\n", "é", "a" * 65]
)
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    runs_dir = tmp_path / "runs"
    with pytest.raises(RunFolderError, match="is not a run name"):
        new_run(runs_dir, name)
    with pytest.raises(RunFolderError):
        open_run(runs_dir, name)
    assert not list(tmp_path.rglob("*"))


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match='no run "b"'):
        open_run(tmp_path, "b")
    with pytest.raises(RunFolderError, match="no run yet"):
        open_run(tmp_path, None)


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    holder = hold(run)
    try:
        with pytest.raises(RunFolderInUse, match=f"pid {holder.pid}") as raised, lock_run(run):
            pass
        assert raised.value.exit_code == 3
        with pytest.raises(RunFolderInUse, match=f"pid {holder.pid}"):
            new_run(tmp_path, "a")
        with pytest.raises(RunFolderInUse, match=f"pid {holder.pid}"):
            create_run(tmp_path, "a", resume=True, config=CONFIG)
    finally:
        holder.kill()
        holder.communicate()


def test_the_lock_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    holder = hold(run)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with lock_run(run):
        assert f"pid {os.getpid()}" in (run.path / "lock").read_text()
    with lock_run(run):
        pass


RACE = """
import sys, time
from pathlib import Path
from rlaif.errors import RlaifError
from rlaif.run.folder import create_run, lock_run
while not Path(sys.argv[2]).exists(): pass
try:
    name = sys.argv[3] or None
    run = create_run(Path(sys.argv[1]), name, resume=False, config={"from": sys.argv[4]})
    with lock_run(run):
        time.sleep(0.3)
    print(run.name)
except RlaifError as error:
    print(error.exit_code)
"""


@pytest.mark.parametrize("name", ["", "same"])
def test_processes_that_start_at_once_never_share_a_folder(tmp_path: Path, name: str) -> None:
    start = tmp_path / "start"
    arguments = [sys.executable, "-c", RACE, str(tmp_path / "runs"), str(start), name]
    started = [subprocess.Popen([*arguments, str(n)], stdout=subprocess.PIPE, text=True) for n in range(4)]
    time.sleep(0.5)
    start.touch()
    said = sorted(process.communicate(timeout=60)[0].strip() for process in started)
    if name:
        assert said[-1] == "same"
        assert set(said[:-1]) <= {"2", "3"}
    else:
        assert said == ["001", "002", "003", "004"]


def test_every_attempt_logs_into_a_folder_of_its_own(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert [next_attempt(run).name for _ in range(2)] == ["attempt_1", "attempt_2"]


def finished_stage(run: RunFolder) -> Path:
    folder = run.stage_dir(0, PREFERENCES)
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "train.parquet").write_bytes(b"rows")
    finish_stage(folder, tally=Tally(num_in=3, dropped={"tie": 1}), unit="pairs")
    return folder


def test_a_stage_is_done_when_its_file_says_so(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    folder = run.stage_dir(0, PREFERENCES)
    assert folder == tmp_path / "001" / "round_00" / "4_preferences"
    assert not stage_done(folder)
    finished_stage(run)
    assert stage_done(folder)
    stage = json.loads((folder / "stage.json").read_text())
    assert (stage["in"], stage["kept"], stage["dropped"]) == (3, 2, {"tie": 1})
    assert list(stage["outputs"]) == ["dataset/train.parquet"]
    read = read_stage(folder)
    assert read is not None
    assert read.tally == Tally(num_in=3, dropped={"tie": 1})


def test_an_output_that_was_changed_or_removed_is_named(tmp_path: Path) -> None:
    folder = finished_stage(new_run(tmp_path))
    (folder / "dataset" / "train.parquet").write_bytes(b"other")
    with pytest.raises(RunFolderError, match=r"dataset/train\.parquet"):
        stage_done(folder)
    (folder / "dataset" / "train.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"dataset/train\.parquet"):
        stage_done(folder)


def test_the_manifest_names_every_finished_stage_and_keeps_earlier_heads(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    finished_stage(run)
    write_manifest(run, stated=StatedHead(3, "aa"), version="0")
    write_manifest(run, stated=StatedHead(5, "bb"), version="0")
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert [(head["seq"], head["head"]) for head in manifest["ledger_heads"]] == [(3, "aa"), (5, "bb")]
    assert list(manifest["stages"]) == ["round_00/4_preferences"]
