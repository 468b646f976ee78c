"""A small judged run that needs no model: recorded verdicts on made-up replies."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

from typer.testing import CliRunner

from rlaif.cli import app

FILES = {"samples": "samples.jsonl", "judgements": "verdicts.jsonl", "columns": "columns.yaml"}

COLUMNS = """
key: id
prompt: prompt
responses: [a, b]
judge: the-judge
principle: kind
principle_text: Prefer the kinder reply.
verdict: winner
verdict_values: {first: [first], second: [second], tie: [tie]}
order: {column: shown, listed: [as listed], swapped: [reversed], verdict_names: place}
"""


def make_recorded_run(folder: Path, *, name: str = "001", pairs: int = 40, seed: int = 0) -> Path:
    """The folder of runs. Pairs come two to a prompt; about one in five flips with the order."""
    options = write_recorded(folder, name=name, pairs=pairs, seed=seed)
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, ["generate-prefs", *options, "--run", name])
    assert done.exit_code == 0, done.exception
    return folder / "runs"


def write_recorded(folder: Path, *, name: str = "001", pairs: int = 40, seed: int = 0) -> list[str]:
    """The recorded files, and the options that name them, from within the folder."""
    rng = random.Random(seed)
    samples, verdicts = [], []
    for i in range(pairs):
        samples.append(
            {"id": i, "prompt": f"Where is desk {i // 2} of {name}?", "a": f"There, {i}.", "b": f"No idea, {i}."}
        )
        winner = rng.choice(["first", "second"])
        other = {"first": "second", "second": "first"}[winner]
        swapped = winner if rng.random() < 0.2 else other
        verdicts += [
            {"id": i, "shown": "as listed", "winner": winner},
            {"id": i, "shown": "reversed", "winner": swapped},
        ]
    inputs = folder / f"inputs-{name}"
    inputs.mkdir(parents=True)
    for file, rows in (("samples.jsonl", samples), ("verdicts.jsonl", verdicts)):
        (inputs / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (inputs / "columns.yaml").write_text(COLUMNS)
    return [f"--{kind}=inputs-{name}/{file}" for kind, file in FILES.items()]


def make_recorded_runs(folder: Path) -> None:
    """Two runs with one ledger: 001 with 40 pairs, 002 with 20."""
    make_recorded_run(folder)
    make_recorded_run(folder, name="002", pairs=20, seed=1)
