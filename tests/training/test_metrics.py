"""metrics.jsonl: rows survive a kill, and a resumed stage has each step once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlaif.errors import DataError
from rlaif.training.metrics import MetricsLog


def write_steps(log: MetricsLog, stage: str, steps: range) -> None:
    for step in steps:
        log.write(stage, step=step, numbers={"loss": step / 10})


def test_a_row_is_a_line_of_json_that_is_on_disk_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("policy", step=3, numbers={"objective/kl": 0.5})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"round": 0, "stage": "policy", "step": 3, "objective/kl": 0.5}
    assert line.endswith("\n")


def test_rows_of_one_stage_are_read_in_order(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    write_steps(log, "reward_model", range(2))
    write_steps(log, "policy", range(3))
    assert [(row.stage, row.step) for row in log.read("policy")] == [
        ("policy", 0),
        ("policy", 1),
        ("policy", 2),
    ]
    assert len(log.read()) == 5


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.read() == []
    assert log.cut("policy", after_step=0) == 0


def test_a_torn_last_line_is_no_row_and_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(MetricsLog(path), "policy", range(2))
    path.write_bytes(path.read_bytes() + b'{"stage": "policy", "step": 2, "lo')
    resumed = MetricsLog(path)
    assert [row.step for row in resumed.read("policy")] == [0, 1]
    resumed.write("policy", step=2, numbers={"loss": 0.2})
    assert [row.step for row in resumed.read("policy")] == [0, 1, 2]


def test_cutting_removes_later_rows_of_that_stage_only(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    write_steps(log, "reward_model", range(6))
    write_steps(log, "policy", range(6))
    assert log.cut("policy", after_step=3) == 2
    assert [row.step for row in log.read("policy")] == [0, 1, 2, 3]
    assert len(log.read("reward_model")) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_rounds_share_a_file_and_read_and_cut_only_their_own_rows(tmp_path: Path) -> None:
    first, second = (MetricsLog(tmp_path / "metrics.jsonl", round=number) for number in (0, 1))
    write_steps(first, "policy", range(3))
    write_steps(second, "policy", range(5))
    assert second.cut("policy", after_step=1) == 3
    assert [row.step for row in first.read("policy")] == [0, 1, 2]
    assert [row.step for row in second.read("policy")] == [0, 1]


def test_a_cut_and_resumed_log_has_the_bytes_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, broken = MetricsLog(tmp_path / "a.jsonl"), MetricsLog(tmp_path / "b.jsonl")
    write_steps(unbroken, "policy", range(8))
    write_steps(broken, "policy", range(6))
    broken.cut("policy", after_step=4)
    write_steps(broken, "policy", range(5, 8))
    assert unbroken.path.read_bytes() == broken.path.read_bytes()


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("policy", step=0, numbers={"val/explained_variance": float("nan"), "loss": 1.0})
    assert log.read()[0].numbers == {"val/explained_variance": None, "loss": 1.0}


def test_the_step_may_stand_among_the_numbers_but_no_other_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("policy", step=4, numbers={"step": 4.0, "loss": 1.0})
    assert log.read()[0].numbers == {"loss": 1.0}
    with pytest.raises(ValueError):
        log.write("policy", step=4, numbers={"step": 5.0})


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '{"step": 1}', "null", ""])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"stage": "policy", "step": 0}}\n{line}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2"):
        MetricsLog(path).read()
