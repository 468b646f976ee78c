"""Which model a worker loads, on what it was given; what earlier attempts of a run have paid."""

import pytest

from rlaif.config.generate import JudgeModelConfig, ModelConfig
from rlaif.config.scale import ScaleConfig
from rlaif.judging.question_log import LOG_NAME
from rlaif.judging.setup import _for_worker, find_spent
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Spending


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [(0, "auto", "cpu"), (1, "auto", "auto"), (0.5, "auto", "auto"), (0, "mps", "mps"), (1, "cpu", "cpu")],
)
def test_a_worker_without_a_gpu_of_its_own_computes_on_its_cores(gpus, device, expected):
    scale = ScaleConfig(engine="ray", gpus_per_worker=gpus)
    assert _for_worker(ModelConfig(device=device), scale).device == expected


def test_a_folder_is_named_in_full_and_other_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("judge", "frontdesk"):
        (tmp_path / name).mkdir()
    scale = ScaleConfig(engine="ray")
    paths = [_for_worker(JudgeModelConfig(path=path), scale).path for path in ("judge", "org/hub-model", "frontdesk")]
    assert paths == [str(tmp_path / "judge"), "org/hub-model", "frontdesk"]


@pytest.mark.parametrize(
    ("listed", "spent"),
    [
        ("", Spending()),
        ("a\nb\na\n", Spending(2)),  # as an older version wrote it: a call for each question without a trace
        ("a 10 0.5\na 12 0.5\nb 10 0.5\n", Spending(3, 34, 1.5)),
        ("a 10 0.5\na unsent\nb batch\n", Spending()),
    ],
)
def test_what_was_sent_and_left_no_trace_counts_with_the_most_that_it_may_have_cost(tmp_path, listed, spent):
    folder = tmp_path / "round_00" / "3_judgements"
    folder.mkdir(parents=True)
    (folder / LOG_NAME).write_text(listed)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert find_spent(ledger, [folder]) == spent
