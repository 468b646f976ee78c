"""What a policy's training leaves beside its steps: evaluations, alarms and responses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlaif.policy.ppo.log import PolicyLog, read_kl
from rlaif.records import Alarm, Message, Prompt
from rlaif.training.listener import Evaluated, ShownResponse, StepMetrics
from rlaif.training.metrics import MetricsLog


def evaluated(step: int, text: str) -> Evaluated:
    prompt = Prompt(messages=(Message(role="user", content="hi"),))
    shown = ShownResponse(prompt, text, 1.0, 0.0, finished=True)
    return Evaluated(step, {"eval/scores": 1.0}, [shown], 1)


def test_where_training_went_back_each_step_and_evaluation_stands_once_and_every_alarm_is_kept(tmp_path: Path) -> None:
    metrics = MetricsLog(tmp_path / "metrics.jsonl")
    path = tmp_path / "evaluations.jsonl"
    alarm = Alarm(name="kl_ceiling", step=3, value=21.0, limit=20.0, sentence="the KL is 21", answer="back to 1")
    with PolicyLog(metrics, total=4, folder=tmp_path) as log:
        training = log.listener(stop_requested=lambda: False)
        training.on_begin(0)
        training.on_evaluation(evaluated(0, "zero"))
        for step in range(3):
            training.on_metrics(StepMetrics(step, {"loss": 0.0}))
            training.on_evaluation(evaluated(step + 1, f"first {step + 1}"))
        training.on_alarm(alarm, 1)
        training.on_metrics(StepMetrics(1, {"loss": 1.0}))
        training.on_evaluation(evaluated(2, "second 2"))
        training.on_alarm(alarm, None)
    assert [(row.step, row.numbers["loss"]) for row in metrics.read("policy")] == [(0, 0.0), (1, 1.0)]
    assert [row.step for row in metrics.read("policy_evaluation")] == [0, 1, 2]
    (row,) = metrics.read("policy_alarm")
    assert (row.step, dict(row.numbers)) == (3, {"alarm/kl_ceiling": 21.0, "alarm/limit": 20.0})
    texts = [json.loads(line)["response"] for line in path.read_text().splitlines()]
    assert texts == ["zero", "first 1", "second 2"]


def test_the_kl_of_a_step_is_that_of_its_evaluation_with_an_interval(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    told = {"response": "yes", "score": None}
    rows = [{"step": step, "prompt_id": f"p{n}", "kl": step + n, **told} for step in (0, 4) for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_kl(path, step=4)
    assert found is not None
    assert (found.mean, found.n) == (5, 3)
    assert found.low == pytest.approx(5 - 4.302653 / 3**0.5)
    assert read_kl(path, step=2) is None
    assert read_kl(tmp_path / "none.jsonl", step=4) is None
