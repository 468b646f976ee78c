"""A finished run of which each file is damaged in each way: every command says so in a sentence, or needs the file not.

Commands are forked from a process that has imported torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import run_rlaif
from made_once import make_once

pytestmark = pytest.mark.heavy

SMALL = {
    "prompts.num_prompts": 6, "sampling.num_samples": 2, "sampling.num_pairs": 1, "sampling.max_new_tokens": 16,
    "reward_model.num_epochs": 1, "ppo.num_steps": 1, "ppo.num_prompts_per_step": 4, "ppo.num_samples_per_prompt": 2,
    "ppo.num_reference_samples": 4, "ppo.value_warmup_steps": 0, "ppo.response_length": 16,
    "ppo.guards.num_prompts": 4, "evaluation.num_prompts": 4, "evaluation.best_of": 0,
}  # fmt: skip
COMMANDS = {
    "list": ("audit", "list"),
    "verify": ("audit", "verify"),
    "judge-check": ("judge-check", "--run", "r"),
    "diff": ("constitution", "diff", "curt_and_brief", "--count", "--run", "r"),
    "train": ("train", "--resume", "--run", "r"),
    "run": ("run", "--resume", "--run", "r"),
    "evaluate": ("evaluate", "--resume", "--run", "r"),
}


def _wrong_types(path: Path) -> None:
    value = json.loads(path.read_bytes()) if path.suffix == ".json" else None
    path.write_text(json.dumps({key: [7] for key in value} if isinstance(value, dict) else {"a": 1}) + "\n")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


WAYS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00\n"),
    "wrong types": _wrong_types,
    "a list": lambda path: path.write_bytes(b"[]\n"),
    "a folder": _folder,
    "a loop": _loop,
}
MISSING = "nothing is judged in this run yet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        options = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
        done = _rlaif(folder, "run", "--run", "r", *options)
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "whole", make)


def _rlaif(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_rlaif(arguments, cwd=folder, environ={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400"})


def _files(whole: Path) -> list[Path]:
    """The files of the run but its models' and data sets', of which `stage.json` has the digests; one of these too."""
    runs = whole / "runs"
    found = [path.relative_to(whole) for path in sorted(runs.rglob("*")) if path.is_file()]
    weights = [path for path in found if "model" in path.parts[:-1]]
    return [path for path in found if path not in weights] + weights[:1]


def test_no_damage_to_a_run_is_a_traceback(whole: Path, tmp_path: Path) -> None:
    """Each file in two ways, so that every way and every command is met; `make torture` tries the whole product."""
    wrong = []
    for number, path in enumerate(_files(whole)):
        for shift in range(2):
            way = list(WAYS)[(2 * number + shift) % len(WAYS)]
            name = list(COMMANDS)[(number + 4 * shift) % len(COMMANDS)]
            folder = tmp_path / f"{number}-{shift}"
            shutil.copytree(whole, folder)
            WAYS[way](folder / path)
            done = _rlaif(folder, *COMMANDS[name])
            is_named = done.returncode == 0 or path.name.partition("-")[0] in done.stderr or MISSING in done.stderr
            if "Traceback" in done.stderr or done.returncode not in (0, 1, 2) or not is_named:
                wrong.append(f"{path}, {way}, {name}: {done.returncode} {done.stderr.strip()[-300:]}")
            shutil.rmtree(folder)
    assert wrong == []
