"""What training leaves in metrics.jsonl: each step once, with the time it took."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from rlaif.policy.ppo.checks import Answer
from rlaif.policy.ppo.evaluate import Evaluated
from rlaif.policy.ppo.guards import Evaluation
from rlaif.policy.ppo.metrics import ShownResponse
from rlaif.records import Alarm, Message, Prompt
from rlaif.training.log import TrainingLog, read_kl
from rlaif.training.metrics import MetricsLog


def test_each_step_has_the_seconds_since_the_one_before(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    began = time.monotonic()
    with TrainingLog(metrics, "policy", total=2) as log:
        time.sleep(0.05)
        log.write_step(0, {"loss": 1.0})
        log.write_step(1, {"loss": 0.5})
    elapsed = time.monotonic() - began
    first, second = (row.numbers["seconds"] for row in metrics.read("policy"))
    assert first is not None
    assert second is not None
    assert first >= 0.05
    assert second >= 0
    assert first + second <= elapsed + 1e-3, "the clock begins anew with each step"


def test_a_resumed_training_counts_no_step_twice(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    for begin in (0, 1):
        with TrainingLog(metrics, "policy", total=2) as log:
            log.begin(begin)
            for step in range(begin, 2):
                log.write_step(step, {"loss": float(begin)})
    assert [(row.step, row.numbers["loss"]) for row in metrics.read("policy")] == [(0, 0.0), (1, 1.0)]


def evaluated(step: int, text: str) -> Evaluated:
    prompt = Prompt(messages=(Message(role="user", content="hi"),))
    answer = Answer(prompt_id=prompt.id, text=text, finished=True, num_tokens=1)
    shown = ShownResponse(prompt, text, 1.0, 0.0, finished=True)
    return Evaluated(Evaluation(step=step, numbers={"eval/scores": 1.0}), [shown], (answer,))


def test_where_training_went_back_each_step_and_evaluation_stands_once_and_every_alarm_is_kept(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    path = tmp_path / "evaluations.jsonl"
    alarm = Alarm(name="kl_ceiling", step=3, value=21.0, limit=20.0, sentence="the KL is 21", answer="back to 1")
    with TrainingLog(metrics, "policy", total=4, evaluations_path=path) as log:
        log.write_evaluation(evaluated(0, "zero"))
        for step in range(3):
            log.write_step(step, {"loss": 0.0})
            log.write_evaluation(evaluated(step + 1, f"first {step + 1}"))
        log.write_alarm(alarm, 1)
        log.write_step(1, {"loss": 1.0})
        log.write_evaluation(evaluated(2, "second 2"))
        log.write_alarm(alarm, None)
    assert [(row.step, row.numbers["loss"]) for row in metrics.read("policy")] == [(0, 0.0), (1, 1.0)]
    assert [row.step for row in metrics.read("policy_evaluation")] == [0, 1, 2]
    (row,) = metrics.read("policy_alarm")
    assert (row.step, dict(row.numbers)) == (3, {"alarm/kl_ceiling": 21.0, "alarm/limit": 20.0})
    texts = [json.loads(line)["response"] for line in path.read_text().splitlines()]
    assert texts == ["zero", "first 1", "second 2"]


def test_the_kl_of_a_step_is_that_of_its_evaluation_with_an_interval(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    rows = [{"step": step, "prompt_id": f"p{n}", "kl": step + n} for step in (0, 4) for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_kl(path, step=4)
    assert found is not None
    assert (found.mean, found.n) == (5, 3)
    assert found.low == pytest.approx(5 - 4.302653 / 3**0.5)
    assert read_kl(path, step=2) is None
    assert read_kl(tmp_path / "none.jsonl", step=4) is None
