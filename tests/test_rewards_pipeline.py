"""The loop with other rewards than the run's reward model: what a user writes, runs and sees."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from reward_server import running
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import RlaifError
from rlaif.run.finished import read_stage
from rlaif.training.metrics import MetricsLog

EXAMPLE = Path(__file__).parents[1] / "examples" / "verifiable-answers"
CONFIG = """
prompts: {{path: prompts.jsonl, num_prompts: 16, test_fraction: 0.3}}
judge: {{model: {{engine: scripted, path: "desk:judge"}}, batch_tokens: 300}}
ppo:
  num_steps: 2
  num_prompts_per_step: 4
  num_samples_per_prompt: 2
  response_length: 32
  num_reference_samples: 8
  max_failed_rewards: 0.9
  rewards: {rewards}
evaluation: {{num_prompts: 2}}
"""
DESK = """
asked = []

def judge(question):
    asked.append(question.prompt)
    if len(question.choices) == 2:
        return (0.5, 0.5)
    level = min(8, len(question.texts[-1].split()) // 4)
    return [1.0 if n == level else 0.0 for n in range(9)]

def exact(prompt, response, reference):
    return reference in response.lower().split()

def needs_a_long_reply(prompt, response, reference):
    if len(response.split()) < 20:
        raise ValueError("too short to read")
    return 1.0
"""

RunCli = Callable[..., "Done"]


class Done(NamedTuple):
    returncode: int
    output: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunCli]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copy(EXAMPLE / "prompts.jsonl", tmp_path)
    (tmp_path / "desk.py").write_text(DESK)

    def run(*args: str) -> Done:
        result = CliRunner().invoke(app, args, env={"COLUMNS": "200"})
        if isinstance(result.exception, RlaifError):
            return Done(result.exception.exit_code, result.exception.sentence)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.output)

    yield run
    for name in ("desk", "answers"):
        sys.modules.pop(name, None)


def write(folder: Path, rewards: str) -> None:
    (folder / "rlaif.yaml").write_text(CONFIG.format(rewards=rewards))


def steps(run: Path) -> list[dict[str, Any]]:
    return [dict(row.numbers) for row in MetricsLog(run / "metrics.jsonl").read("policy")]


def test_judge_and_function_train_a_policy_without_reward_model_and_preferences(cli: RunCli, tmp_path: Path) -> None:
    write(tmp_path, '[{judge: true, weight: 0.5}, {function: "desk:exact"}]')
    planned = cli("run", "--dry-run")
    assert planned.returncode == 0, planned.output
    # 2 steps of 8 responses, 8 reference samples and 2 evaluations of 2 held-out prompts, two principles
    assert "rewards in PPO, by the judge: at most 56 questions" in planned.output
    assert "no preferences are made" in planned.output
    done = cli("run", "--run", "r")
    assert done.returncode == 0, done.output
    assert "reward model: none is trained" in done.output
    run = tmp_path / "runs" / "r"
    assert [path.name for path in sorted((run / "round_00").iterdir())] == ["1_prompts", "6_policy", "7_evaluation"]
    for numbers in steps(run):
        assert -1 <= numbers["objective/scores/judge"] <= 1
        assert 0 <= numbers["objective/scores/exact"] <= 1
    page = (run / "round_00" / "7_evaluation" / "report.html").read_text()
    assert "What it was rewarded by" in page
    assert '<th scope="row">exact</th>' in page
    readme = (run / "round_00" / "6_policy" / "model" / "README.md").read_text()
    assert "against the weighted sum of judge, exact" in readme
    again = cli("audit", "verify")
    assert again.returncode == 0, again.output


def test_failures_are_counted_by_source_and_cause_in_metrics_output_and_report(cli: RunCli, tmp_path: Path) -> None:
    write(tmp_path, '[{function: "desk:needs_a_long_reply", name: long}]')
    done = cli("run", "--run", "r")
    assert done.returncode == 0, done.output
    run = tmp_path / "runs" / "r"
    counted = [numbers.get("val/failed_rewards/long/raised_ValueError", 0.0) for numbers in steps(run)]
    assert sum(counted) > 0
    assert counted == [numbers["val/num_failed_rewards"] for numbers in steps(run)]
    assert "reward long: raised ValueError: too short to read" in done.output
    assert f"dropped {sum(counted):.0f} (long/raised_ValueError {sum(counted):.0f}) responses" in done.output
    assert f"raised ValueError {sum(counted):.0f}" in (run / "round_00/7_evaluation/report.html").read_text()


def test_a_server_that_goes_away_ends_the_run_with_a_sentence_and_resume_makes_the_unbroken_one(
    cli: RunCli, tmp_path: Path
) -> None:
    is_down = False

    def behave(items: list[dict[str, Any]], number: int) -> Any:
        return 503 if is_down and number >= 2 else [len(item["response"]) / 50 for item in items]

    with running(behave) as server:
        write(tmp_path, f'[{{url: "{server.url}", max_retries: 0, batch_size: 8}}]')
        assert cli("run", "--run", "unbroken").returncode == 0
        is_down = True
        server.requests.clear()
        broken = cli("run", "--run", "r")
        assert broken.returncode == 1
        assert "8 of 8 rewards failed (127.0.0.1/http_503 8" in broken.output
        assert "(PPO step 1): fix the reward source and resume" in broken.output
        is_down = False
        write(tmp_path, f'[{{url: "{server.url}", max_retries: 1, batch_size: 8}}]')  # how it is asked may change
        resumed = cli("run", "--run", "r", "--resume")
        assert resumed.returncode == 0, resumed.output
    first, second = (
        hashlib.sha256(
            (tmp_path / "runs" / name / "round_00/6_policy/model/model.safetensors").read_bytes()
        ).hexdigest()
        for name in ("unbroken", "r")
    )
    assert first == second


def test_a_training_that_its_judge_interrupted_pays_nothing_twice_and_makes_the_unbroken_weights(
    cli: RunCli, tmp_path: Path
) -> None:
    write(tmp_path, "[{judge: true}]")

    def count_calls(folder: str, *options: str) -> tuple[Done, int]:
        asked = sys.modules["desk"].asked if "desk" in sys.modules else []
        before = len(asked)
        done = cli("run", "--run", "r", "--runs-dir", folder, *options)
        return done, len(sys.modules["desk"].asked) - before

    whole, num_whole = count_calls("unbroken")
    assert whole.returncode == 0, whole.output
    broken, num_broken = count_calls("broken", "--set", "judge.max_calls=21")
    assert broken.returncode == 1
    assert "judge.max_calls of 21 leaves no room" in broken.output
    assert 0 < num_broken <= 21
    resumed, num_resumed = count_calls("broken", "--resume", "--set", "judge.max_calls=null")
    assert resumed.returncode == 0, resumed.output
    assert num_broken + num_resumed == num_whole
    first, second = (
        (tmp_path / name / "r" / "round_00/6_policy/model/model.safetensors").read_bytes()
        for name in ("unbroken", "broken")
    )
    assert first == second


@pytest.mark.parametrize(
    ("rewards", "sentence"),
    [
        ('[{function: "desk:exakt"}]', 'the module "desk" has no function "exakt"'),
        ('[{function: "nowhere:exact"}]', 'the module "nowhere"'),
        (
            "[{judge: true, template: pair}]",
            "the judge gives rewards by a template of `kind: score` or",
        ),
        ('[{url: "http://localhost:1/score", api_key_env: NO_SUCH_KEY}]', "NO_SUCH_KEY is not set"),
    ],
)
def test_a_source_that_cannot_work_is_refused_before_anything_is_done(
    cli: RunCli, tmp_path: Path, rewards: str, sentence: str
) -> None:
    write(tmp_path, rewards)
    refused = cli("run", "--run", "r")
    assert refused.returncode == 2
    assert sentence in refused.output
    assert not (tmp_path / "runs" / "r").exists()


def test_known_answers_are_this_runs_own_though_another_run_had_the_prompts_without(
    cli: RunCli, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in rows))
    write(tmp_path, "[{judge: true}]")
    assert cli("run", "--run", "without").returncode == 0
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": row["prompt"], "answer": row["reference"]}) + "\n" for row in rows)
    )
    write(tmp_path, '[{function: "desk:exact"}]')
    done = cli("run", "--run", "with", "--set", "prompts.reference_column=answer", "--set", "ppo.max_failed_rewards=0")
    assert done.returncode == 0, done.output
    wrong = cli("run", "--run", "wrong", "--set", "prompts.reference_column=answr")
    assert wrong.returncode == 2
    assert '"answr"' in wrong.output


def test_the_example_of_verifiable_answers_runs(cli: RunCli, tmp_path: Path) -> None:
    for name in ("rlaif.yaml", "correct.yaml", "answers.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    done = cli("run", "--run", "r", "--set", "ppo.num_steps=2", "--set", "ppo.num_prompts_per_step=4")
    assert done.returncode == 0, done.output
    stage = read_stage(tmp_path / "runs" / "r" / "round_00" / "6_policy")
    assert stage is not None
    assert all(0 < numbers["objective/scores/exact"] < 1 for numbers in steps(tmp_path / "runs" / "r"))
