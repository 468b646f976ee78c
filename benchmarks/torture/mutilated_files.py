"""Files as a broken disk, a strange tool or a stranger leaves them: model folders, run folders, rows of data.

A command that meets one either works or says in one sentence what is wrong.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from case import DESK, Case, Draw, Part, find_faults, find_faults_on_disk, run_command, try_all
from families import build_family

VALUES: dict[str, Any] = {
    "null": None, "true": True, "minus one": -1, "zero": 0, "a fraction": 0.5, "1e308": 1e308, "a billion": 10**9,
    "nan": float("nan"), "a word": "x", "nothing": "", "escapes": "\x1b[2J\u202e\x00", "a list": [], "an object": {},
    "lists in lists": [[1]], "a path out": "../../../etc/passwd",
}  # fmt: skip
SCRIPTED = (
    "--set", "judge.model.engine=scripted", "--set", "judge.model.path=rlaif.models.scripted_engine:prefer_longer",
    "--set", "judge.template=pair", "--set", "constitution=courteous_and_brief", "--set", "sampling.max_new_tokens=4",
    "--set", "prompts.path=prompts.jsonl", "--set", "prompts.test_fraction=0.5",
)  # fmt: skip
TINY_LOOP = (
    *DESK, "--set", "reward_model.num_epochs=1", "--set", "ppo.num_steps=1", "--set", "ppo.num_prompts_per_step=2",
    "--set", "ppo.num_samples_per_prompt=2", "--set", "ppo.num_reference_samples=4", "--set",
    "evaluation.num_prompts=2", "--set", "evaluation.best_of=0",
)  # fmt: skip
Damage = Callable[[Path], None]
"""What is done to one file."""


def _write_prompts(folder: Path) -> None:
    rows = [{"prompt": f"When does the pool open, guest {number}?"} for number in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


# Model folders


def try_models(draw: Draw, workers: int) -> Part:
    """Sample with models whose folders were mutilated."""
    whole = build_family("chatml", Path(os.environ["TORTURE_TMP"]) / "model")
    cases = [Case(name, _with_model(whole, file, damage)) for name, file, damage in _model_damages(whole)]
    return try_all("mutilated model folders", draw.of(cases), workers=workers)


def _with_model(whole: Path, file: str, damage: Damage) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        shutil.copytree(whole, folder / "m")
        damage(folder / "m" / file)
        _write_prompts(folder)
        arguments = ["generate-prefs", *DESK, *SCRIPTED, "--set", "policy.path=m"]
        return find_faults(run_command(arguments, folder=folder))

    return try_in


def _model_damages(whole: Path) -> Iterator[tuple[str, str, Damage]]:
    for path in sorted(whole.iterdir()):
        for name, damage in FILE_DAMAGES.items():
            yield f"{path.name}: {name}", path.name, damage
        if path.suffix == ".json" and path.name != "model.safetensors.index.json":
            for place in _places(json.loads(path.read_text()), ()):
                for name, value in VALUES.items():
                    yield f"{path.name}: {'.'.join(map(str, place))} is {name}", path.name, _setting(place, value)


def _places(value: Any, above: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Paths to values in a JSON value; of a long object and of a list only to the first and the last item."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
        items = items if len(items) < 60 else [items[0], items[-1]]
    elif isinstance(value, list) and value:
        items = [(0, value[0]), (len(value) - 1, value[-1])][: len(value)]
    for key, below in items:
        yield (*above, key)
        yield from _places(below, (*above, key))


def _setting(place: Sequence[str | int], value: Any) -> Damage:
    def damage(path: Path) -> None:
        whole = at = json.loads(path.read_text())
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = copy.copy(value)
        path.write_text(json.dumps(whole))

    return damage


# What can be done to any file


def _cut(share: float) -> Damage:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def _written(data: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(data)

    return damage


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    rng = random.Random(len(data))
    for _ in range(8):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _folder_in_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere/at/all")


def _link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _pipe_in_place(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


FILE_DAMAGES: dict[str, Damage] = {
    "gone": lambda path: path.unlink(), "empty": _cut(0), "half": _cut(0.5), "without its end": _cut(0.98),
    "eight bits flipped": _flipped, "not UTF-8": _written(b"\xff\xfe\x00\x80" * 50), "a list": _written(b"[1, 2]"),
    "null": _written(b"null"), "a word": _written(b'"x"'), "an empty object": _written(b"{}"),
    "deep": _written(b"[" * 50_000), "zeros": _written(bytes(4096)), "a folder": _folder_in_place,
    "a link to nowhere": _link_to_nowhere, "a link to itself": _link_to_itself, "a pipe": _pipe_in_place,
}  # fmt: skip


# Run folders


COMMANDS = {
    "run --resume": ["run", *TINY_LOOP, "--resume"],
    "train --resume": ["train", *TINY_LOOP, "--resume"],
    "evaluate": ["evaluate", "--run", "r"],
    "judge-check": ["judge-check", "--run", "r"],
    "constitution diff": ["constitution", "diff", "courteous_and_brief", "--run", "r"],
    "audit verify": ["audit", "verify"],
    "audit list": ["audit", "list"],
}


def try_runs(draw: Draw, workers: int) -> Part:
    """Let commands read finished runs of which one file was mutilated."""
    whole = Path(os.environ["TORTURE_TMP"]) / "run"
    whole.mkdir()
    made = run_command(["run", *TINY_LOOP], folder=whole)
    assert made.code == 0, made.printed
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    cases = [
        Case(f"{command}, {file}: {name}", _with_run(whole, file, damage, COMMANDS[command]))
        for file in files
        for name, damage in FILE_DAMAGES.items()
        for command in COMMANDS
    ]
    return try_all("commands on mutilated run folders", draw.of(cases), workers=workers)


def _with_run(whole: Path, file: Path, damage: Damage, arguments: Sequence[str]) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        damage(folder / file)
        return find_faults(run_command(arguments, folder=folder), codes=(0, 1, 2, 3))

    return try_in


# Rows of data


def try_rows(draw: Draw, workers: int) -> Part:
    """Give commands mutilated prompts, preferences, labels and recorded verdicts."""
    cases = [Case(name, _with_rows(option, ending, damage)) for name, option, ending, damage in _row_damages()]
    return try_all("mutilated rows", draw.of(cases), workers=workers)


ROWS = {
    "prompts": {"prompt": "When does the pool open?", "domain": "pool", "metadata": {"a": [1]}},
    "preferences": {
        "prompt": [{"role": "user", "content": "When does the pool open?"}],
        "chosen": [{"role": "assistant", "content": "At nine, with pleasure."}],
        "rejected": [{"role": "assistant", "content": "At nine."}],
        "weight": 1.0,
    },
    "samples": {"prompt": "When does the pool open?", "response": "At nine.", "model": "m"},
}


def _row_damages() -> Iterator[tuple[str, str, str, Damage]]:
    for option, row in ROWS.items():
        for ending in ("jsonl", "json", "csv", "parquet"):
            for name, damage in FILE_DAMAGES.items():
                yield f"{option}.{ending}: {name}", option, ending, damage
        for place in _places(row, ()):
            for name, value in VALUES.items():
                words = f"{option}.jsonl: {'.'.join(map(str, place))} is {name}"
                yield words, option, "jsonl", _third_row_with(place, value)


def _third_row_with(place: Sequence[str | int], value: Any) -> Damage:
    def damage(path: Path) -> None:
        lines = path.read_text().splitlines()
        row = at = json.loads(lines[2])
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = value
        lines[2] = json.dumps(row)
        path.write_text("\n".join(lines) + "\n")

    return damage


def _with_rows(option: str, ending: str, damage: Damage) -> Callable[[Path], list[str]]:
    def try_in(folder: Path) -> list[str]:
        path = folder / f"rows.{ending}"
        _write_rows(path, option)
        damage(path)
        found = find_faults(run_command(_arguments(option, path.name), folder=folder))
        return found + find_faults_on_disk(folder / "runs")

    return try_in


def _arguments(option: str, name: str) -> list[str]:
    if option == "prompts":
        return ["generate-prefs", "--dry-run", "--set", f"prompts.path={name}"]
    if option == "preferences":
        few = ("--stage", "reward-model", "--set", "reward_model.num_epochs=1")
        return ["train", *DESK, *few, "--set", f"reward_model.preferences={name}"]
    return ["generate-prefs", *DESK, "--samples", name, "--judgements", name]


def _write_rows(path: Path, option: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = [json.loads(json.dumps(ROWS[option])) for _ in range(8)]
    for number, row in enumerate(rows):
        words = f"When does the pool open, guest {number}?"
        row["prompt"] = [{"role": "user", "content": words}] if isinstance(row["prompt"], list) else words
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        flat = [{key: value if isinstance(value, str) else json.dumps(value) for key, value in r.items()} for r in rows]
        datasets.Dataset.from_list(flat).to_csv(path)
    else:
        datasets.Dataset.from_list(rows).to_parquet(path)
