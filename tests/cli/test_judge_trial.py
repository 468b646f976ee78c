"""`rlaif judge-check --pairs`: what a person reads, what a machine reads, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.console import console
from rlaif.errors import ConfigError, DataError, InputError, Interrupted
from rlaif.judge_health import comparing

JUDGE = """
def prefers_please(question):
    *_, first, second = question.texts
    gap = ("please" in first) - ("please" in second)
    return (0.5 + 0.4 * gap, 0.5 - 0.4 * gap)
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a judge, a configuration that names it, and 24 pairs of which the longer reply wins seven."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(console, "width", 120)
    Path("polite_judge.py").write_text(JUDGE)
    config = "judge:\n  model: {engine: scripted, path: 'polite_judge:prefers_please'}\n  template: pair_verdict\n"
    Path("rlaif.yaml").write_text(config)
    write_pairs([{} for _ in range(24)])


def write_pairs(changes: list[dict[str, object]]) -> None:
    rows = [
        {
            "prompt": f"question {number}",
            "first": "please" if number % 2 else "no" + " no" * (number if number < 12 else 0),
            "second": "no, never" if number % 2 else "please",
            "label": "first" if number % 2 else "second",
            "principle": "Be polite.",
            **change,
        }
        for number, change in enumerate(changes)
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def judge_check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge-check", *arguments])


def test_a_row_for_length_comes_first_and_a_sentence_says_who_beats_it() -> None:
    result = judge_check("--pairs", "pairs.jsonl", "--paraphrase-pairs", "4")
    assert result.exit_code == 0, result.exception
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "24 pairs; intervals are 95 %, over prompts"
    assert lines[2].startswith("the longer reply wins 0.29 [")
    assert lines[3].startswith("polite_judge:prefers_please pair_verdict 1.00 [")
    assert lines[6].startswith("polite_judge:prefers_please pair_verdict 0% +0.00 1.00 100%")
    assert "survives: the same winner in three other wordings, on 4 pairs" in result.stdout
    last = "Right more often than the longer reply, with 95 % confidence: polite_judge:prefers_please pair_verdict."
    assert lines[-1] == last


def test_json_holds_every_row_and_the_answers_lie_beside_the_file() -> None:
    result = judge_check("--pairs", "pairs.jsonl", "--template", "pair_verdict", "--template", "pair", "--json")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert [row["template"] for row in found["rows"]] == ["", "pair_verdict", "pair"]
    assert found["rows"][1]["right"]["mean"] == 1.0
    assert Path("pairs.judges/ledger.sqlite").is_file()


def test_a_judge_that_is_no_better_than_length_is_said_to_be_none() -> None:
    rows = [{"first": "please", "second": "no" * (n + 4), "label": "second" if n % 2 else "first"} for n in range(24)]
    write_pairs(rows)
    result = judge_check("--pairs", "pairs.jsonl", "--out", "answers")
    assert result.stdout.splitlines()[-1] == "No judge is shown to beat the longer reply on these pairs."
    assert Path("answers/ledger.sqlite").is_file()


def test_pairs_without_a_principle_are_judged_by_the_constitution_that_is_named() -> None:
    write_pairs([{"principle": ""} for _ in range(24)])
    Path("polite.yaml").write_text("name: polite\nprinciples:\n- {id: polite, text: Be polite.}\n")
    result = judge_check("--pairs", "pairs.jsonl", "--constitution", "polite.yaml", "--json")
    assert json.loads(result.stdout)["rows"][1]["right"]["mean"] == 1.0


def test_without_a_config_file_pairs_without_a_principle_are_refused() -> None:
    Path("rlaif.yaml").rename("other.yaml")
    write_pairs([{"principle": ""} for _ in range(24)])
    result = judge_check("--pairs", "pairs.jsonl")
    assert isinstance(result.exception, DataError)
    assert "24 of 24 pairs have no principle" in str(result.exception)


def test_an_interrupted_comparison_says_that_the_same_command_resumes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "compute_row", break_off)
    result = judge_check("--pairs", "pairs.jsonl")
    assert isinstance(result.exception, Interrupted)
    assert str(result.exception).endswith("the answers so far are saved: run the same command again")


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["--judge", "some"], InputError, "--judge is about labelled pairs, and none are given"),
        (["--paraphrase-pairs", "0"], InputError, "--paraphrase-pairs is about labelled pairs"),
        (["--pairs", "pairs.jsonl", "--run", "001"], InputError, "--pairs compares judges before any run"),
        (["--pairs", "pairs.jsonl", "--sentinels"], InputError, "--pairs compares judges before any run"),
        (["--pairs", "none.jsonl"], DataError, "there is no such file"),
        (["--pairs", "pairs.jsonl", "--template", "contrast"], ConfigError, "gives no log-likelihood"),
        (["--pairs", "pairs.jsonl", "--judge", "no/folder/here"], InputError, "no/folder/here"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_asked(
    arguments: list[str], error: type[InputError], sentence: str
) -> None:
    result = judge_check(*arguments)
    assert isinstance(result.exception, error), result.exception
    assert sentence in str(result.exception)
    assert not Path("pairs.judges").exists()
