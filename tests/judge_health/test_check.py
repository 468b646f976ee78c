"""The judge's health on a real run of the front desk, whose planted effects are known, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.errors import RunFolderError, StageError
from rlaif.frontdesk.truth import LENGTH_BIAS, LENGTH_SD, POSITION_BIAS
from rlaif.judge_health.check import check_judge_of_run
from rlaif.judge_health.sentinels import NUM_SENTINELS, SENTINELS_FILE
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work

SMALL = ["prompts.num_prompts=40", "sampling.num_samples=3", "sampling.num_pairs=3"]
OTHER = ["judge.model.dtype=bfloat16", "prompts.num_prompts=4"]
"""The same weights in another format are another judge, which nearly always agrees."""


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, more in (("other", OTHER), ("small", [])):
        config = load_config(overrides=[*SMALL, *more])
        with open_work(config, run_name=name, runs_dir=folder, resume=False) as work:
            pipeline.generate_preferences(work)
    return folder


def invoke(runs_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge-check", *arguments, "--runs-dir", str(runs_dir)], env={"COLUMNS": "120"})


def test_the_planted_position_bias_is_recovered(runs_dir: Path) -> None:
    effect = check_judge_of_run("small", runs_dir=runs_dir).health.position_effect
    assert effect is not None
    assert abs(effect.mean - POSITION_BIAS) < 0.15
    assert effect.low > 0.5
    assert effect.high - effect.low < 0.2
    assert effect.n == 40


def test_the_planted_length_bias_comes_out_at_equal_worth_and_not_in_the_association(runs_dir: Path) -> None:
    length = check_judge_of_run("small", runs_dir=runs_dir).health.length
    assert length is not None
    assert length.bias is not None
    assert length.association is not None
    per_planted_sd = LENGTH_SD / length.length_sd
    assert length.bias.mean * per_planted_sd == pytest.approx(LENGTH_BIAS, abs=0.2)
    assert length.association.high < length.bias.low, "brevity is asked for, so longer responses are worse"
    assert length.is_simulated
    assert length.not_separable == ("brief",)


def test_triples_and_principles_of_all_pairs_are_looked_at(runs_dir: Path) -> None:
    health = check_judge_of_run("small", runs_dir=runs_dir).health
    assert health.transitivity is not None
    assert health.transitivity.num_triples > 25, "three samples, all three pairs, of nearly every prompt"
    assert list(health.by_principle) == list(health.influence) == ["courteous", "brief"]
    assert sum(health.label_mass_bins) == health.num_judgements


def test_two_judges_of_the_same_pairs_are_compared_across_runs(runs_dir: Path) -> None:
    [pair] = check_judge_of_run("small", runs_dir=runs_dir).judges
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        shared = ledger.rows("SELECT prompt_id, principle_id FROM comparisons GROUP BY prompt_id, principle_id, "
                             "json_extract(content, '$.sample_ids') HAVING count(*) = 2")  # fmt: skip
    assert pair.agreement.n == len(shared) > 10
    assert pair.agreement.share.n == 4
    assert pair.agreement.share.mean > 0.9


def test_nothing_is_asked_or_written_without_sentinels(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.stat().st_mtime_ns for path in (runs_dir / "small").rglob("*"))
    shown = invoke(runs_dir, "--run", "small")
    assert shown.exit_code == 0
    assert "loading the judge" not in shown.output + capsys.readouterr().err
    assert sorted(path.stat().st_mtime_ns for path in (runs_dir / "small").rglob("*")) == before
    for words in ("position effect, logits for the first place", "length, bias at equal worth", "circles among"):
        assert words in shown.stdout


def test_json_says_what_the_function_returns(runs_dir: Path) -> None:
    shown = invoke(runs_dir, "--run", "small", "--json")
    assert json.loads(shown.stdout) == check_judge_of_run("small", runs_dir=runs_dir).model_dump(mode="json")


def test_sentinels_are_drawn_once_and_a_judge_that_changed_behind_its_name_is_told(runs_dir: Path) -> None:
    first = check_judge_of_run("small", runs_dir=runs_dir, sentinels=True).sentinels
    assert first is not None
    assert (first.stored_now, first.num_asked, first.drift) == (True, NUM_SENTINELS, ())
    assert first.largest_move is not None
    assert first.largest_move < 1e-3
    path = runs_dir / "small" / SENTINELS_FILE
    drawn = json.loads(path.read_text())["question_ids"]
    config = runs_dir / "small" / "config.json"
    stored = config.read_text()
    served = json.loads(stored)
    served["config"]["judge"]["model"]["dtype"] = "bfloat16"
    try:
        config.write_text(json.dumps(served))
        shown = invoke(runs_dir, "--run", "small", "--sentinels")
    finally:
        config.write_text(stored)
    assert isinstance(shown.exception, StageError)
    assert "the judge's fingerprint changed: dtype" in str(shown.exception)
    assert "sentinels: stored before; drift" in shown.stdout
    after = json.loads(path.read_text())
    assert after["question_ids"] == drawn
    assert [check["stored_now"] for check in after["checks"]] == [True, False]


def test_a_run_that_judged_nothing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run yet"):
        check_judge_of_run(None, runs_dir=tmp_path)
