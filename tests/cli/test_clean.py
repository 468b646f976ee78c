"""`rlaif clean`: a report, a copy beside the file, and nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import InputError


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["clean", *map(str, arguments)], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_prompts_are_corrected_and_equal_ones_left_out_in_a_copy_with_all_columns(tmp_path: Path) -> None:
    file = write(
        tmp_path / "p.jsonl",
        {"prompt": "Where is the cafÃ©?", "topic": "a"},
        {"prompt": "where is  the café?", "topic": "b"},
        {"prompt": "", "topic": "c"},
        {"prompt": "<b>When</b> does it open?", "topic": "d"},
    )
    before = file.read_bytes()
    output = run(file)
    assert read(tmp_path / "p.cleaned.jsonl") == [
        {"prompt": "Where is the café?", "topic": "a"}, {"prompt": "When does it open?", "topic": "d"},
    ]  # fmt: skip
    assert file.read_bytes() == before
    assert "mojibake: 1 of 3 prompts, 1 corrected" in output
    assert "duplicates: 1 of 3 prompts, 1 dropped" in output
    assert "1 rows without a prompt or a response are left out" in output
    assert "2 of 4 rows in" in output


def test_a_copy_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", {"prompt": "a"})
    (tmp_path / "p.cleaned.jsonl").write_text("mine")
    with pytest.raises(InputError, match="nothing is overwritten"):
        run(file)
    with pytest.raises(InputError, match="nothing is overwritten"):
        run(file, "--out", file)
    assert (tmp_path / "p.cleaned.jsonl").read_text() == "mine"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert "1 of 1 rows kept" in run(write(tmp_path / "p.jsonl", {"prompt": "a"}), "--dry-run")
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_leaks_are_found_against_the_prompts_of_an_evaluation(tmp_path: Path) -> None:
    held_out = write(tmp_path / "eval.jsonl", {"prompt": "Where is the museum, please?"})
    file = write(
        tmp_path / "d.jsonl",
        {"prompt": "where is the museum please", "response": "Here."}, {"prompt": "Where is it?", "response": "There."},
    )  # fmt: skip
    report = json.loads(run(file, "--against", held_out, "--dry-run", "--json"))
    assert report["noun"] == "demonstrations"
    assert {rule["rule"]: rule["dropped"] for rule in report["rules"] if rule["found"]} == {"near_leakage": 1}


def test_messages_in_any_layout_are_corrected_in_their_own_layout(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "cafÃ©?"}, {"role": "assistant", "content": "Tom &amp; Ann"}]
    out = tmp_path / "out.jsonl"
    run(write(tmp_path / "m.jsonl", {"messages": turns}, {"messages": json.dumps(turns[::1])}), "--out", out)
    fixed = [{"role": "user", "content": "café?"}, {"role": "assistant", "content": "Tom & Ann"}]
    assert read(out) == [{"messages": fixed}]


def test_preferences_between_equal_responses_are_left_out_and_options_say_what_is_done(tmp_path: Path) -> None:
    rows = (
        {"prompt": "q", "chosen": "Yes.", "rejected": "yes."}, {"prompt": "q", "chosen": "a@b.org", "rejected": "no"},
    )  # fmt: skip
    file = write(tmp_path / "x.jsonl", *rows)
    out = tmp_path / "out.jsonl"
    run(file, "--out", out, "--set", "cleaning.personal=fix")
    assert read(out) == [{"prompt": "q", "chosen": "[e-mail]", "rejected": "no"}]
    config = tmp_path / "rlaif.yaml"
    config.write_text("cleaning: {identical_pairs: report}\n")
    output = run(file, "--config", config, "--dry-run")
    assert "identical_pairs: 1 of 2 preferences, 1 left as it is" in output


def test_columns_that_say_nothing_are_refused_with_a_way_out(tmp_path: Path) -> None:
    file = write(tmp_path / "q.jsonl", {"question": "Where?"})
    with pytest.raises(InputError, match="name the prompts' column by --column"):
        run(file)
    assert "1 of 1 rows kept" in run(file, "--column", "question", "--dry-run")
