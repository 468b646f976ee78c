"""The commands with a judge that scores, ranks or may call a tie: what a user writes, runs and sees."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import RlaifError
from rlaif.ledger.store import Ledger
from rlaif.preferences.read import read_preferences
from rlaif.records import ChoiceRow, PreferenceRow

RunCli = Callable[..., "Done"]

CONFIG = """
prompts: {{num_prompts: 6}}
sampling: {{num_samples: 3, num_pairs: 1, max_new_tokens: 16}}
constitution: c.yaml
judge:
  model: {{engine: scripted, path: "my_judge:{script}"}}
  template: {template}
"""
CONSTITUTION = """name: c
principles:
  - {id: terse, text: Prefer the terser reply., weight: 2}
  - {id: polite, text: Prefer the more courteous reply.}
"""
JUDGE = """
import math

def worth(text):
    return -len(text) / 10

def share(utilities, num_choices):
    total = sum(math.exp(u) for u in utilities)
    return [*(math.exp(u) / total for u in utilities), *[0.0] * (num_choices - len(utilities))]

def score(question):
    top = min(8, len(question.texts[-1]) // 12)
    return [0.8 if 8 - top == n else 0.2 / (len(question.choices) - 1) for n in range(len(question.choices))]

def rank(question):
    return share([worth(text) for text in question.texts[1:]], len(question.choices))

def tie(question):
    return share([*(worth(text) for text in question.texts[1:]), -3.0], 3)
"""
NUM_QUESTIONS = {"score": 6 * 3 * 2, "rank": 6 * 3 * 2, "pair_tie": 6 * 1 * 2 * 2}
SCRIPTS = {"score": "score", "rank": "rank", "pair_tie": "tie"}


class Done(NamedTuple):
    returncode: int
    output: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunCli]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*args: str) -> Done:
        result = CliRunner().invoke(app, args, env={"COLUMNS": "200"})
        if isinstance(result.exception, RlaifError):
            return Done(result.exception.exit_code, result.exception.sentence)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.output)

    yield run
    sys.modules.pop("my_judge", None)


def write(folder: Path, template: str) -> None:
    (folder / "rlaif.yaml").write_text(CONFIG.format(template=template, script=SCRIPTS[template]))
    (folder / "c.yaml").write_text(CONSTITUTION)
    (folder / "my_judge.py").write_text(JUDGE)


@pytest.mark.parametrize("template", ["score", "rank", "pair_tie"])
def test_a_run_is_estimated_judged_explained_checked_and_diffed(cli: RunCli, tmp_path: Path, template: str) -> None:
    write(tmp_path, template)
    planned = cli("generate-prefs", "--dry-run")
    assert planned.returncode == 0, planned.output
    assert f"judge: at most {NUM_QUESTIONS[template]} questions" in planned.output
    done = cli("generate-prefs", "--run", "r")
    assert done.returncode == 0, done.output
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [(num_questions,)] = ledger.rows("SELECT count(*) FROM questions")
        [(num_pairs,)] = ledger.rows("SELECT count(DISTINCT content ->> '$.sample_ids') FROM comparisons")
        [(judgement,)] = ledger.rows("SELECT id FROM judgements LIMIT 1")
        [(comparison,)] = ledger.rows("SELECT id FROM comparisons LIMIT 1")
    # Two replies of one prompt may be one text: no pair of them, and no second place for it in a ranking.
    assert 0.7 * NUM_QUESTIONS[template] < num_questions <= NUM_QUESTIONS[template]
    assert (num_pairs <= 6) if template == "pair_tie" else (6 < num_pairs <= 18)
    for name in (judgement, comparison):
        shown = cli("audit", "show", name)
        assert shown.returncode == 0, shown.output
        assert "NOT PROVEN" not in shown.output
        assert shown.output.count("proven: sha256 matches") >= (2 if template == "rank" else 1)
    word = {"score": "score 1: question", "rank": "shuffle 1: question", "pair_tie": "order 1: question"}[template]
    assert word in cli("audit", "show", comparison).output
    assert ("none: each response was scored by itself" in cli("audit", "show", comparison).output) == (
        template == "score"
    )
    checked = cli("judge-check", "--sentinels")
    assert checked.returncode == 0, checked.output
    assert ("position effect" in checked.output) == (template != "score")
    assert ("each response was scored by itself" in checked.output) == (template == "score")
    assert "the judge answers as it did" in checked.output
    (tmp_path / "c.yaml").write_text(CONSTITUTION.replace("terser", "shorter"))
    diffed = cli("constitution", "diff", "--json")
    assert diffed.returncode == 0, diffed.output
    found = json.loads(diffed.output[diffed.output.index("{") :])["diff"]
    assert found["num_asked"] == num_questions / 2, "one of two principles"
    assert found["preferences"]["num_failed"] == 0
    assert found["preferences"]["flips"] == [], "this judge reads no principle"


def test_a_judge_that_ranks_is_not_probed_and_says_why(cli: RunCli, tmp_path: Path) -> None:
    write(tmp_path, "rank")
    checked = cli("constitution", "check", "c.yaml")
    assert checked.returncode == 0, checked.output
    assert "the template ranks several replies, and probes are pairs" in checked.output
    shown = cli("constitution", "show", "c.yaml")
    assert shown.returncode == 0, shown.output
    assert re.search("reply: a reason .*the best of ' A'", shown.output)


def test_all_principles_together_are_shown_as_they_are_asked(cli: RunCli, tmp_path: Path) -> None:
    write(tmp_path, "pair_tie")
    with (tmp_path / "rlaif.yaml").open("a") as file:
        file.write("  principles: together\n")
    shown = cli("constitution", "show", "c.yaml").output
    assert "Principle: 1. Prefer the terser reply.\n2. Prefer the more courteous reply." in shown
    assert "Principle: Prefer the terser reply." in cli("constitution", "show", "c.yaml", "--principle", "terse").output


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("judge.principles=sampled", "a ranking shows all responses at once, and `sampled` draws a principle"),
        ("sampling.num_samples=9", "9 responses may have to be ranked together, and the template names 8"),
    ],
)
def test_what_a_ranking_cannot_serve_is_refused_before_anything_is_sampled(
    cli: RunCli, tmp_path: Path, option: str, sentence: str
) -> None:
    write(tmp_path, "rank")
    for more in ((), ("--dry-run",)):
        refused = cli("generate-prefs", "--set", option, *more)
        assert refused.returncode == 2
        assert sentence in refused.output
    assert not list((tmp_path / "runs").glob("*/config.json"))


@pytest.mark.parametrize(("kind", "unit"), [("ranking", "pairs"), ("choice", "choices")])
def test_a_reward_model_is_trained_on_what_was_ranked(cli: RunCli, tmp_path: Path, kind: str, unit: str) -> None:
    write(tmp_path, "rank")
    made = cli("generate-prefs", "--run", "r", "--set", f"preferences.kind={kind}")
    assert made.returncode == 0, made.output
    told = re.search(rf"preferences: in (\d+), kept (\d+), .* {unit}\n", made.output)
    assert told is not None, made.output
    assert int(told[2]) <= (6 if kind == "choice" else 6 * 3)
    rows = read_preferences(tmp_path / "runs" / "r" / "round_00" / "4_preferences" / "dataset")
    assert {type(row) for row in rows} == {ChoiceRow if kind == "choice" else PreferenceRow}
    trained = cli(
        "train", "--stage", "reward-model", "--set", "reward_model.num_epochs=1", "--set", f"preferences.kind={kind}"
    )
    assert trained.returncode == 0, trained.output
    assert (tmp_path / "runs" / "r" / "round_00" / "5_reward_model" / "model" / "model.safetensors").is_file()
