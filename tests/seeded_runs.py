"""Small seeded runs and the digests of what they leave: records, preferences, labels and weights.

    .venv/bin/python tests/seeded_runs.py                    print the digests as JSON
    .venv/bin/python tests/seeded_runs.py --write            store them in tests/data/seeded_digests.json
    .venv/bin/python tests/seeded_runs.py --only panel desk  some of the runs; --keep FOLDER keeps their folders

`test_same_bytes.py` compares the digests with the stored ones. Write them again only after a change that is meant to
change the result of a seeded run. The runs are started by the command line alone and read by SQL, Parquet and file
names, so that a renamed module changes nothing here.

The first stage whose digests differ is the one that changed. A change in the last bit of a label changes the digests
of `bits`, of the same records' ids, of the data set's bytes (`dataset`) and of all that is trained on them. It does not
change those of earlier stages, of `without_bits` (the records without floats) and of `rows` (the data set's rows
without floats).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any, NamedTuple

from seeded_digests import digest_arithmetic, digest_folder, digest_ledger

ROOT = Path(__file__).parents[1]
STORED = Path(__file__).parent / "data" / "seeded_digests.json"
RUN = "seeded"

ARITHMETIC = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
    "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem",
}  # fmt: skip
"""One thread and the plainest instructions: most processors of one family then compute the same bits."""
SURROUNDINGS = {
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1",
    "COLUMNS": "200", "PYTHONHASHSEED": "0",
}  # fmt: skip

JUDGES = """
import math

def _by_length(question, slope):
    *_, first, second = question.texts
    p = 1 / (1 + math.exp(-slope * (len(first) - len(second))))
    return (p, 1 - p)

def prefer_long(question):
    return _by_length(question, 0.02)

def prefer_short(question):
    return _by_length(question, -0.05)

def rank(question):
    utilities = [math.exp(-len(text) / 10) for text in question.texts[1:]]
    left = [0.0] * (len(question.choices) - len(utilities))
    return [*(utility / sum(utilities) for utility in utilities), *left]

def choose_or_tie(question):
    utilities = [*(math.exp(-len(text) / 10) for text in question.texts[1:]), math.exp(-3.0)]
    return [utility / sum(utilities) for utility in utilities]

def reward_vowels(prompt, response, reference):
    return sum(response.count(vowel) for vowel in "aeiou") / (1 + len(response))
"""
DEMONSTRATIONS = "".join(
    json.dumps({"prompt": f"When does museum {n} open?", "response": "Good morning! It opens at nine."}) + "\n"
    for n in range(8)
)

SMALL: Mapping[str, object] = {
    "prompts.num_prompts": 8, "prompts.test_fraction": 0.25, "sampling.num_samples": 2, "sampling.num_pairs": 1,
    "sampling.max_new_tokens": 20, "reward_model.num_epochs": 1, "reward_model.batch_size": 4, "ppo.num_steps": 2,
    "ppo.num_prompts_per_step": 4, "ppo.num_samples_per_prompt": 2, "ppo.num_reference_samples": 4,
    "ppo.value_warmup_steps": 0, "ppo.response_length": 16, "ppo.guards.num_prompts": 4, "evaluation.num_prompts": 4,
    "evaluation.best_of": 2,
    **{f"gates.{name}": "null" for name in ("min_win_rate", "min_accuracy", "max_flipped", "max_eos_drop")},
}  # fmt: skip


class SeededRun(NamedTuple):
    settings: Mapping[str, object] = {}
    """What differs from SMALL."""
    commands: Sequence[Sequence[str]] = (("generate-prefs",), ("train",))
    processes: int = 1
    """How many processes train."""
    is_served: bool = False


def _scripted(function: str, template: str) -> dict[str, object]:
    return {
        "judge.model.engine": "scripted", "judge.model.path": f"judges:{function}", "judge.template": template,
    }  # fmt: skip


_PANEL = json.dumps([{"model": {"engine": "scripted", "path": f"judges:prefer_{size}"}} for size in ("long", "short")])
_RECORDED = ("--samples", "samples.jsonl", "--judgements", "verdicts.jsonl", "--columns", "columns.yaml")
RUNS: Mapping[str, SeededRun] = {
    "recorded": SeededRun(commands=(("generate-prefs", *_RECORDED),)),
    "desk": SeededRun(commands=(("run",),)),
    "rounds": SeededRun({"rounds": 2, "prompts.num_prompts": 6, "ppo.start_from": "last_round"}, (("run",),)),
    "panel": SeededRun({"judge.panel": _PANEL, "judge.weight": 2.0}, (("run",),)),
    "served": SeededRun(
        {"judge.model.engine": "openai", "judge.model.path": "judge-7b", "judge.template": "pair"}, is_served=True
    ),
    "lora": SeededRun({"ppo.model.train": "lora", "ppo.model.save_adapter": "true", "ppo.model.lora.rank": 2}),
    "scores": SeededRun({"judge.template": "frontdesk_score"}),
    "rankings": SeededRun({**_scripted("rank", "rank"), "sampling.num_samples": 3, "preferences.kind": "ranking"}),
    "choices": SeededRun(
        {**_scripted("rank", "rank"), "sampling.num_samples": 3, "preferences.kind": "choice"},
        (("generate-prefs",), ("train", "--stage", "reward-model")),
    ),
    "rules": SeededRun(
        {
            **_scripted("choose_or_tie", "pair_tie"),
            "prompts.num_prompts": 16,
            "preferences.subset_p": 0.5,
            "preferences.average": "probabilities",
            "preferences.inconsistent": "tie",
            "preferences.label_noise": 0.2,
            "preferences.clamp": 0.1,
        },
        (("generate-prefs",),),
    ),
    "demonstrated": SeededRun({"sft.demonstrations": "demonstrations.jsonl", "sft.batch_size": 4}, (("run",),)),
    "rewards": SeededRun(
        {"ppo.rewards": '[{model: run}, {judge: true, weight: 0.5}, {function: "judges:reward_vowels"}]'}
    ),
    "processes": SeededRun(processes=2),
}


def take_run(name: str, folder: Path) -> dict[str, str]:
    """Make the run in this new folder; the digests of what it left, by name."""
    run = RUNS[name]
    folder.mkdir()
    (folder / "judges.py").write_text(JUDGES)
    (folder / "demonstrations.jsonl").write_text(DEMONSTRATIONS)
    for file in (ROOT / "examples" / "recorded-verdicts").iterdir():
        shutil.copy(file, folder)
    settings = {} if name == "recorded" else {**SMALL, **run.settings}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        if run.is_served:
            from chat_server import ChatServer, running

            os.environ["OPENAI_BASE_URL"] = stack.enter_context(running(ChatServer())).url
        for command in run.commands:
            arguments = [*command, "--run", RUN, *overrides]
            if run.processes > 1 and command[0] == "train":
                _train_together(run.processes)
            else:
                _invoke(arguments)
        _invoke(["audit", "verify"])
    return {**digest_ledger(folder / "runs" / "ledger.sqlite"), **digest_folder(folder / "runs" / RUN)}


def _invoke(arguments: Sequence[str]) -> None:
    from typer.testing import CliRunner

    from rlaif.cli import app

    sys.path.insert(0, os.getcwd())
    try:
        result = CliRunner().invoke(app, arguments)
    finally:
        sys.path.remove(os.getcwd())
        sys.modules.pop("judges", None)
    if result.exit_code:
        raise RuntimeError(f"rlaif {' '.join(arguments)}: {result.exception!r}\n{result.output}") from result.exception


def _train_together(size: int) -> None:
    """Train the newest run with its stored options: `torchrun` would take `--run` for one of its own."""
    from launch import environment, torchrun

    command = torchrun(["-m", "rlaif", "train"], size=size)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr)


def take_all(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """The digests of these runs, made in this folder, and of the arithmetic that made them."""
    runs = {}
    for name in names:
        started = time.monotonic()
        runs[name] = take_run(name, folder / name)
        print(f"{name}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    return {"arithmetic": digest_arithmetic(), "runs": runs}


def take_elsewhere(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """The same in a fresh process, whose arithmetic is set before anything is imported."""
    command = [sys.executable, __file__, "--keep", str(folder), "--only", *names]
    environ = {**os.environ, **ARITHMETIC, **SURROUNDINGS}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stderr, file=sys.stderr, end="")
    taken: dict[str, Any] = json.loads(done.stdout)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the digests of these runs")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), help="these runs alone")
    parser.add_argument("--keep", type=Path, help="new folder for the runs; otherwise they are deleted")
    options = parser.parse_args()
    is_set = all(os.environ.get(name) == value for name, value in (ARITHMETIC | SURROUNDINGS).items())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "runs"
        if is_set:
            folder.mkdir(parents=True)
        taken = (take_all if is_set else take_elsewhere)(options.only, folder)
    if options.write:
        stored = json.loads(STORED.read_text()) if STORED.is_file() else {"runs": {}}
        runs = {**stored["runs"], **taken["runs"]}
        taken = {"arithmetic": taken["arithmetic"], "runs": {name: runs[name] for name in RUNS if name in runs}}
        STORED.parent.mkdir(exist_ok=True)
        STORED.write_text(json.dumps(taken, indent=1) + "\n")
    else:
        print(json.dumps(taken, indent=1))


if __name__ == "__main__":
    main()
