"""The commands with a served and with a scripted judge: what a user writes, runs and sees."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from chat_server import ChatServer, running
from forked import run_rlaif

from rlaif.config.generate import JudgeConfig, JudgeModelConfig
from rlaif.constitution.principles import parse_constitution
from rlaif.frontdesk import JUDGE_DIR
from rlaif.judging.probing import probe_judge
from rlaif.ledger.store import Ledger

RunCli = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
prompts: {num_prompts: 6}
sampling: {num_samples: 2, num_pairs: 1, max_new_tokens: 16}
judge:
  model: {engine: openai, path: judge-7b}
  template: pair
  endpoint: {concurrency: 4, max_retries: 1, prompt_price: 1.0, reply_price: 10.0}
"""
SCRIPTED = """
prompts: {num_prompts: 6}
sampling: {num_samples: 2, num_pairs: 1, max_new_tokens: 16}
judge:
  model: {engine: scripted, path: "my_judge:prefer_short"}
  template: pair
"""


@pytest.fixture
def cli(tmp_path: Path) -> RunCli:
    def run(*args: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "OPENAI_API_KEY": "sk-secret-1234"}
        environ.pop("OPENAI_BASE_URL", None)
        return run_rlaif(args, cwd=tmp_path, environ=environ if url is None else {**environ, "OPENAI_BASE_URL": url})

    return run


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_contrast_is_read_from_a_server_and_one_that_cannot_leaves_no_judgement(cli: RunCli, tmp_path: Path) -> None:
    votes = "  endpoint: {concurrency: 4, num_votes: 3, temperature: 1.0,"
    text = CONFIG.replace("template: pair", "template: contrast").replace("  endpoint: {concurrency: 4,", votes)
    (tmp_path / "rlaif.yaml").write_text(text)
    can_give = False
    tried = cli("generate-prefs", "--dry-run", "--set", "judge.max_calls=47", url="http://127.0.0.1:9/v1")
    assert "judge: at most 24 questions of up to 4 requests each" in tried.stdout + tried.stderr
    assert "judge.max_calls of 47 may stop the run before it is done" in tried.stdout + tried.stderr
    with running(ChatServer(lambda asked, prompt, tries: "good" if can_give else "not given")) as server:
        refused = cli("generate-prefs", "--run", "r", url=server.url)
        assert refused.returncode == 1, refused.stderr
        assert f"{server.url.split('/')[2]} gave no log-probabilities of the given text" in refused.stderr
        assert len(server.bodies) == 1
        with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
            [(judged,)] = ledger.rows("SELECT (SELECT count(*) FROM judgements) + count(*) FROM failed_judgements")
        assert judged == 0
        can_give = True
        done = cli("generate-prefs", "--run", "r", "--resume", url=server.url)
        assert done.returncode == 0, done.stderr
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        rows = ledger.rows(
            "SELECT json_array_length(content, '$.log_likelihoods'), json_extract(observed, '$.served.had'),"
            " json_extract(observed, '$.served.calls') FROM judgements"
        )
        [(decision,)] = ledger.rows("SELECT id FROM judgements LIMIT 1")
    assert {(number, had) for number, had, _ in rows} == {(2, "logprobs")}
    assert sum(calls for _, _, calls in rows) == len(server.bodies) - 1
    assert "proven: sha256 matches" in cli("audit", "show", decision).stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--batch-api"], "a batch endpoint gives no log-probabilities of a given text"),
        (
            ["--set", "judge.model.engine=scripted", "--set", "judge.model.path=my_judge:prefer_short"],
            "`engine: scripted` gives no log-likelihood of a given response",
        ),
    ],
    ids=["batches", "a function"],
)
def test_a_contrast_is_refused_where_nothing_can_give_it(
    cli: RunCli, tmp_path: Path, changes: list[str], said: str
) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG.replace("template: pair", "template: contrast"))
    (tmp_path / "my_judge.py").write_text("def prefer_short(question):\n    return question.choices[0]\n")
    refused = cli("generate-prefs", "--run", "r", *changes, url="http://127.0.0.1:9/v1")
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "such as pair" in refused.stderr
    assert not (tmp_path / "runs" / "r" / "round_00" / "3_judgements").exists()


def test_a_run_stops_at_its_cap_goes_on_with_a_higher_one_and_never_stores_the_key(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    is_ill = False

    def behave(asked: dict[str, Any], prompt: str, tries: int) -> str:
        return "400" if is_ill and int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 2 else "good"

    with running(ChatServer(behave)) as server:
        stopped = cli("generate-prefs", "--run", "r", "--set", "judge.max_calls=9", url=server.url)
        assert stopped.returncode == 1, stopped.stderr
        assert "judge.max_calls of 9 leaves no room for another question" in stopped.stderr
        assert "raise the cap and continue with --resume" in stopped.stderr
        assert server.requests.total() == 9
        is_ill = True
        ill = cli("generate-prefs", "--run", "r", "--resume", "--set", "judge.max_calls=100", url=server.url)
        assert ill.returncode == 1, ill.stderr
        num_left = server.requests.total() - server.acknowledged.total()
        assert f"{num_left} of {server.requests.total()} questions got no answer" in ill.stderr
        assert "continue with the same command and --resume" in ill.stderr
        is_ill = False
        done = cli("generate-prefs", "--run", "r", "--resume", "--set", "judge.max_calls=100", url=server.url)
        assert done.returncode == 0, done.stderr
        host = server.url.split("/")[2]
    num_questions = len(server.requests)
    assert server.requests.total() == num_questions + num_left
    assert set(server.acknowledged.values()) == {1}
    assert f"judge: judge-7b at {host}, 4 questions at once" in done.stderr
    assert f"judge: {num_left} requests to {host}" in done.stderr
    assert ", spent 0." in done.stderr
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [(count, hosts)] = ledger.rows(
            "SELECT count(*), group_concat(DISTINCT json_extract(observed, '$.served.host')) FROM judgements"
        )
        [(decision,)] = ledger.rows("SELECT id FROM judgements LIMIT 1")
    assert (count, hosts) == (num_questions, host)
    shown = cli("audit", "show", decision).stdout
    assert f"server  {host}, request req-7, 1 sent, cost 0.00" in shown
    assert "had  logprobs; temperature 0; 0 tokens of thinking" in shown
    assert "isolation  sent as text, 0 control strings replaced" in shown
    assert "proven: sha256 matches" in shown
    written = everything_written(tmp_path)
    assert b"sk-secret-1234" not in written
    assert server.url.encode() not in written
    assert b"sk-secret-1234" not in (stopped.stderr + stopped.stdout + done.stderr + done.stdout).encode()


def test_batches_are_submitted_by_one_command_and_collected_by_the_same_with_resume(
    cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    statuses = ("in_progress", "completed")
    with running(BatchServer(status=lambda batch, looks: statuses[looks])) as server:
        submitted = cli("generate-prefs", "--run", "r", "--batch-api", url=server.url)
        assert submitted.returncode == 1, submitted.stderr
        assert "judge: judge-7b at" in submitted.stderr
        assert "questions are with the judge's server" in submitted.stderr
        assert "collect the answers with --resume" in submitted.stderr
        waiting = cli("generate-prefs", "--run", "r", "--resume", url=server.url)
        assert waiting.returncode == 1, waiting.stderr
        assert "batch batch-1" in waiting.stderr
        done = cli("generate-prefs", "--run", "r", "--resume", url=server.url)
        assert done.returncode == 0, done.stderr
        assert server.calls["POST /v1/chat/completions"] == 0
        assert set(server.submitted.values()) == {1}
        num_questions = server.submitted.total()
    assert f"{num_questions} answers; " in done.stderr
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [(count, cost)] = ledger.rows("SELECT count(*), total(observed ->> '$.served.cost') FROM judgements")
        [(tokens, replies)] = ledger.rows(
            "SELECT total(observed ->> '$.prompt_tokens'), total(observed ->> '$.reply_tokens') FROM judgements"
        )
    assert count == num_questions
    assert cost == pytest.approx((tokens * 1.0 + replies * 10.0) / 1e6 / 2)


def test_batches_need_a_judge_behind_a_server(cli: RunCli, tmp_path: Path) -> None:
    refused = cli("generate-prefs", "--batch-api")
    assert refused.returncode == 2
    assert "endpoint.batch_api needs `model.engine: openai`" in refused.stderr


def test_without_an_address_nothing_is_sampled(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    done = cli("generate-prefs")
    assert done.returncode == 2
    assert "no server is named for the judge: OPENAI_BASE_URL is not set" in done.stderr
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_a_dry_run_asks_the_server_nothing_and_says_that_tokens_are_estimated(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    with running(ChatServer()) as server:
        capped = ("--set", "judge.max_cost=0.001", "--set", "judge.max_calls=1000")
        done = cli("generate-prefs", "--dry-run", *capped, url=server.url)
        assert server.requests.total() == 0
    assert done.returncode == 0, done.stderr
    assert "estimated on" in done.stdout
    assert "at most, by the configured prices" in done.stdout
    assert "judge.max_cost of 0.001 may stop the run" in done.stdout
    assert "judge.max_calls" not in done.stdout


def test_constitution_check_probes_through_the_server(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    (tmp_path / "c.yaml").write_text("name: c\nprinciples:\n  - {id: terse, text: Prefer the terser reply.}\n")
    lines = [json.loads(line) for line in (JUDGE_DIR / "probes.jsonl").read_text().splitlines()]
    keys = ("prompt", "first", "second")
    general = [{key: line[key] for key in keys} for line in lines if not line.get("only")][:10]
    (tmp_path / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in general))
    with running(ChatServer()) as server:
        probed = cli("constitution", "check", "c.yaml", "--probes", "probes.jsonl", "--max-flips", "1", url=server.url)
        assert server.requests.total() == 20
    assert probed.returncode == 0, probed.stderr
    assert "of 10" in probed.stdout


def test_a_served_judge_brings_no_probes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    config = JudgeConfig(model=JudgeModelConfig(engine="openai", path="judge-7b"), template="pair")
    constitution = parse_constitution("name: c\nprinciples: [{id: terse, text: Be terse.}]", where="c.yaml")
    probing = probe_judge(constitution, config=config)
    assert (probing.readings, probing.vocabulary) == ([], None)
    assert "give pairs of clear contrast with --probes FILE" in probing.why_not


def test_a_scripted_judge_makes_preferences(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text(SCRIPTED)
    (tmp_path / "my_judge.py").write_text(
        "def prefer_short(question):\n"
        "    *_, first, second = question.texts\n"
        "    return (0.9, 0.1) if len(first) < len(second) else (0.1, 0.9)\n"
    )
    done = cli("generate-prefs", "--run", "r")
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    paths = sorted((tmp_path / "runs" / "r" / "round_00" / "4_preferences" / "dataset").rglob("*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert rows
    for row in rows:
        assert len(row["chosen"][-1]["content"]) <= len(row["rejected"][-1]["content"])
