from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.errors import RunFolderError
from rlaif.run.folder import create_run, open_run, refuse_run
from rlaif.run.names import refuse_reserved

OURS = (
    "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-journal", "ledger.sqlite.lock",
    "rlaif.yaml", "constitutions", "prompts", "presets", "config.json", "manifest.json", "metrics.jsonl", "lock",
    "order", "logs", "round_00", "r.kept-1",
)  # fmt: skip
DEVICES = ("con", "nul", "aux", "prn", "com1", "lpt9", "nul.txt", "con.a.b")
CONFIG = {"config": {}, "inputs": {}}


@pytest.mark.parametrize("name", [*OURS, *DEVICES])
def test_a_new_run_does_not_get_a_name_that_is_needed_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunFolderError, match="another --run NAME"):
        create_run(tmp_path, name, resume=False, config=CONFIG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ledger", "my-ledger.sqlite", "console", "com", "round_a", "001", "logs2"])
def test_other_names_are_free(name: str) -> None:
    refuse_reserved(name)


def test_a_run_that_an_older_version_named_like_a_device_is_opened(tmp_path: Path) -> None:
    create_run(tmp_path, "a", resume=False, config=CONFIG).path.rename(tmp_path / "aux")
    assert open_run(tmp_path, "aux").name == "aux"


def test_the_folder_of_a_run_is_no_folder_of_runs(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", resume=False, config=CONFIG)
    for refused in (lambda: refuse_run(run.path, "b", resume=False), lambda: open_run(run.path, None)):
        with pytest.raises(RunFolderError, match=rf"--runs-dir {tmp_path} --run a"):
            refused()
