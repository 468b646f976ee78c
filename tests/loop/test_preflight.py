"""What needs no model is refused before torch is imported: every kind of input, with the sentence of its stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.config.load import load_config
from rlaif.errors import RlaifError, RunFolderError
from rlaif.loop.preflight import check_inputs, check_new_run, find_open_stages, needed_stages
from rlaif.records import Tally
from rlaif.run.finished import finish_stage
from rlaif.run.folder import create_run
from rlaif.run.stages import (
    EVALUATION,
    GENERATING,
    JUDGEMENTS,
    POLICY,
    PREFERENCES,
    PROMPTS,
    REWARD_MODEL,
    SAMPLES,
    SFT,
)

ROOT = Path(__file__).parents[2]
# Each command line in one process in which torch cannot be imported: what needs it ends in a traceback.
WITHOUT_TORCH = """
import json, sys
sys.modules["torch"] = None
from rlaif.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["rlaif", *arguments]
    try:
        main()
    except SystemExit as end:
        print(f"\\nexit {end.code}\\n", file=sys.stderr)
"""
SERVED = ("judge.model.engine=openai", "judge.model.path=m", "judge.template=pair")
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "prompts that are not there": (("prompts.path=no.jsonl",), "no.jsonl"),
    "prompts without their column": (("prompts.path=rows.jsonl", "prompts.column=text"), 'no column "text"'),
    "prompts that are no JSON": (("prompts.path=broken.jsonl",), "broken.jsonl:1"),
    "a template that is not there": (("judge.template=no_such",), "no_such"),
    "a constitution that is not there": (("constitution=no_such",), "no_such"),
    "a word that the judge does not know": (("constitution=strange.yaml",), "zephyr"),
    "a judge without an address": (SERVED, "OPENAI_BASE_URL is not set"),
    "a script that is not there": (
        ("judge.model.engine=scripted", "judge.model.path=nowhere:judge", "judge.template=pair"), "nowhere",
    ),
    "a judge's folder that is not there": (("judge.model.path=./no/judge",), "./no/judge"),
    "a policy's folder that is not there": (("policy.path=./no/policy",), "./no/policy"),
    "a policy that is no model": (("policy.path=.",), "no config.json"),
    "labels that are not there": (("human.path=no_labels.jsonl",), "no_labels.jsonl"),
    "a ledger in a file": (("ledger.path=rows.jsonl/ledger.sqlite",), "ledger.path"),
}  # fmt: skip
REFUSED_BY_THE_LOOP: dict[str, tuple[tuple[str, ...], str]] = {
    "a measure that cannot be imported": (("evaluation.measures=[nowhere:measure]",), "nowhere"),
    "a reward that cannot be imported": (('ppo.rewards=[{"function": "nowhere:reward"}]',), "nowhere"),
    "a reward server without its key": (
        ('ppo.rewards=[{"url": "http://localhost/", "api_key_env": "NO_SUCH_KEY"}]',), "NO_SUCH_KEY is not set",
    ),
    "a reward template that compares": (('ppo.rewards=[{"judge": true, "template": "pair"}]',), "kind: score"),
    "a reward model that is not there": (('ppo.rewards=[{"model": "./no/model"}]',), "./no/model"),
    "demonstrations that are not there": (("sft.demonstrations=no_demos.jsonl",), "no_demos.jsonl"),
    "another evaluation template": (("evaluation.judge.template=no_such",), "no_such"),
}  # fmt: skip


RECORDED = ("generate-prefs", "--samples", "no_samples.jsonl", "--judgements", "rows.jsonl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "When does the museum open?"}\n')
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "columns.yaml").write_bytes((ROOT / "examples/recorded-verdicts/columns.yaml").read_bytes())
    (tmp_path / "strange.yaml").write_text(
        "name: strange\nprinciples:\n  - id: one\n    text: Prefer the more zephyr reply.\n"
    )
    return tmp_path


def test_every_mistake_is_a_sentence_before_torch_is_imported(folder: Path) -> None:
    cases = [
        *((name, ("generate-prefs", "--dry-run"), *case) for name, case in REFUSED.items()),
        *((name, ("generate-prefs",), *case) for name, case in REFUSED.items()),
        *((name, ("run", "--dry-run"), *case) for name, case in (REFUSED | REFUSED_BY_THE_LOOP).items()),
        *((name, ("run",), *case) for name, case in REFUSED_BY_THE_LOOP.items()),
        ("a name that is none", ("run", "--dry-run", "--run", "../x"), (), "is not a run name"),
        ("runs in a file", ("run", "--dry-run", "--runs-dir", "rows.jsonl"), (), "rows.jsonl"),
        *(
            (f"{command[0]} without a run", command, (), "there is no run yet")
            for command in (("train",), ("evaluate",), ("judge-check",), ("constitution", "diff"), ("run", "--resume"))
        ),
        ("a principle file", ("constitution", "check", "no_such"), (), "no_such"),
        ("a column map", (*RECORDED, "--columns", "no.yaml"), (), "no.yaml"),
        ("recorded samples", (*RECORDED, "--columns", "columns.yaml"), (), "no_samples.jsonl"),
        ("a template", ("constitution", "check", "curt_and_brief", "--template", "no_such"), (), "no_such"),
    ]  # fmt: skip
    lines = [
        [*command, *(part for option in options for part in ("--set", option))] for _, command, options, _ in cases
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(lines)], cwd=folder, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "COLUMNS": "300"},
    )  # fmt: skip
    said = done.stderr.split("\nexit ")
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert len(said) == len(cases) + 1
    for number, (name, command, _, words) in enumerate(cases):
        assert said[number + 1].startswith(("1\n", "2\n")), f"{name}, {command}: {said[number + 1][:300]}"
        assert words in said[number], f"{name}, {command}: {said[number]}"
    assert not (folder / "runs").exists()


def test_what_a_finished_stage_read_may_be_gone(folder: Path) -> None:
    config = load_config(overrides=["prompts.path=rows.jsonl"])
    stored = {"config": config.model_dump(mode="json"), "inputs": {}}
    run = create_run(folder / "runs", "a", resume=False, config=stored)
    (folder / "rows.jsonl").unlink()
    with pytest.raises(RlaifError, match=r"rows\.jsonl"):
        check_inputs(config, stages=find_open_stages(GENERATING, run=run))
    run.stage_dir(0, PROMPTS).mkdir(parents=True)
    finish_stage(run.stage_dir(0, PROMPTS), tally=Tally(num_in=1), unit="prompts")
    check_inputs(config, stages=find_open_stages(GENERATING, run=run))
    with pytest.raises(RlaifError, match=r"rows\.jsonl"):  # the second round reads them again
        check_inputs(config, stages=find_open_stages(GENERATING, run=run, num_rounds=2))


def test_a_round_needs_no_more_than_its_rewards_need() -> None:
    assert needed_stages(load_config()) == [
        PROMPTS, SAMPLES, JUDGEMENTS, PREFERENCES, REWARD_MODEL, POLICY, EVALUATION,
    ]  # fmt: skip
    by_function = load_config(overrides=['ppo.rewards=[{"function": "a:b"}]', "sft.demonstrations=x.jsonl"])
    assert needed_stages(by_function) == [SFT, PROMPTS, POLICY, EVALUATION]


def test_a_dry_run_refuses_a_used_run_and_a_folder_of_the_user(folder: Path) -> None:
    config = load_config()
    create_run(folder, "a", resume=False, config={"config": {}, "inputs": {}})
    (folder / "mine").mkdir()
    for name, words in (("a", "already used"), ("mine", "holds no run")):
        with pytest.raises(RunFolderError, match=words):
            check_new_run(config, run=name, runs_dir=folder, resume=False)
    check_new_run(config, run="a", runs_dir=folder, resume=True)
    check_new_run(config, run="new", runs_dir=folder / "not" / "yet", resume=False)
    assert not (folder / "not").exists()
