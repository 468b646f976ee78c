"""What a small real round leaves for its report: the cost of what it asked, samples that nobody chose, its rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.frontdesk.truth import measure
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work
from rlaif.models.weights.loading import load_reward_model
from rlaif.records import EvaluationReport, Judgement, Prompt, Question, Sample
from rlaif.reward_model.score import RewardModelScorer

SMALL = [
    "prompts.num_prompts=12", "sampling.num_samples=3", "reward_model.num_epochs=1", "ppo.num_steps=2",
    "ppo.num_prompts_per_step=4", "ppo.num_reference_samples=16", "evaluation.num_prompts=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same round twice: the second, without best-of-n, finds all but its own policy's answers in the ledger.

    Another judge finds the second one's win rate: the same weights in another number format.
    """
    folder = tmp_path_factory.mktemp("runs")
    for name, more in (
        ("first", []),
        ("second", ["evaluation.best_of=1", "evaluation.judge.model.dtype=bfloat16", "ppo.num_steps=8"]),
    ):
        with open_work(load_config(overrides=[*SMALL, *more]), run_name=name, runs_dir=folder, resume=False) as work:
            pipeline.run_round(work, labels=None)
    return folder


def report_of(runs_dir: Path, run: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((runs_dir / run / "round_00" / "7_evaluation" / "report.json").read_text())
    return report


def costs_of(runs_dir: Path, run: str) -> dict[str, dict[str, Any]]:
    return {cost["name"]: cost for cost in report_of(runs_dir, run)["costs"]}


def test_the_cost_of_judging_is_what_the_judgements_observed(runs_dir: Path) -> None:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        judgements = ledger.used("first", 0, "3_judgements", Judgement)
        samples = ledger.used("first", 0, "2_samples", Sample)
    costs = costs_of(runs_dir, "first")
    assert (costs["judging"]["calls"], costs["judging"]["found"]) == (len(judgements), 0)
    assert costs["judging"]["prompt_tokens"] == sum(j.observed.prompt_tokens for j in judgements) > 0
    assert costs["judging"]["seconds"] == pytest.approx(sum(j.observed.latency_s for j in judgements))
    assert (costs["sampling"]["calls"], costs["sampling"]["found"]) == (len(samples), 0)
    assert costs["sampling"]["reply_tokens"] == sum(s.observed.reply_tokens for s in samples) > 0


def test_a_training_tells_its_steps_and_its_seconds(runs_dir: Path) -> None:
    costs = costs_of(runs_dir, "first")
    assert costs["policy (PPO)"]["calls"] == 2
    for name in ("reward model", "policy (PPO)"):
        assert costs[name]["seconds"] > 0


def test_what_the_ledger_held_already_cost_the_second_run_nothing(runs_dir: Path) -> None:
    first, second = costs_of(runs_dir, "first"), costs_of(runs_dir, "second")
    for name in ("sampling", "judging"):
        assert second[name]["calls"] == second[name]["prompt_tokens"] == second[name]["seconds"] == 0
        assert second[name]["found"] == first[name]["calls"]


def test_the_shown_samples_are_a_draw_and_the_same_in_each_run(runs_dir: Path) -> None:
    first, second = report_of(runs_dir, "first"), report_of(runs_dir, "second")
    assert [sample["prompt"] for sample in first["samples"]] == [sample["prompt"] for sample in second["samples"]]
    assert first["samples_drawn_from"] == 8
    assert all(sample["reward_after"] is not None for sample in first["samples"])


def test_a_rounds_summary_is_what_its_evaluation_says(runs_dir: Path) -> None:
    report = report_of(runs_dir, "first")
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        (evaluation,) = ledger.used("first", 0, "7_evaluation", EvaluationReport)
    (summary,) = report["rounds"]
    assert evaluation.figures["reward_after"] == report["proxy_win"]["reward"]["mean_after"]
    assert summary["proxy_reward"] == evaluation.figures["reward_after"] - evaluation.figures["reward_before"]
    assert summary["kl"] == evaluation.figures["kl"]
    assert summary["measures"].keys() == evaluation.measures_after.keys()


def test_nobody_checked_the_judge_of_a_run_without_labels(runs_dir: Path) -> None:
    report = report_of(runs_dir, "first")
    assert report["calibration"] is None
    assert any(caution.startswith("Nobody checked the judge") for caution in report["cautions"])


def test_best_of_n_is_the_most_rewarded_of_four_further_responses_to_each_prompt(runs_dir: Path) -> None:
    report = report_of(runs_dir, "first")
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        prompts = {prompt.id: prompt for prompt in ledger.used("first", 0, "7_evaluation", Prompt)}
        samples = ledger.used("first", 0, "7_evaluation", Sample)
    candidates = [sample for sample in samples if sample.index > 0]
    assert {sample.policy_id for sample in candidates} == {samples[0].policy_id}, "the starting policy's"
    model = load_reward_model(str(runs_dir / "first" / "round_00" / "5_reward_model" / "model"), dtype="float32")
    rewards = RewardModelScorer(model).score([(prompts[s.prompt_id], s.text) for s in candidates])
    best: dict[str, tuple[float, Sample]] = {}
    for reward, sample in zip(rewards, candidates, strict=True):
        if sample.prompt_id not in best or reward > best[sample.prompt_id][0]:
            best[sample.prompt_id] = (reward, sample)
    brief = [measure(prompts[s.prompt_id].as_chat(), s.text)["brief"] for _, s in best.values()]
    found = report["best_of_n"]
    assert (found["n"], len(candidates), len(best)) == (4, 32, 8)
    assert found["measures"]["brief"]["mean_after"] == pytest.approx(sum(brief) / 8)
    assert found["measures"]["brief"]["mean_before"] == report["measures"]["brief"]["mean_before"]
    assert found["win_rate"]["num_pairs"] == 8
    assert costs_of(runs_dir, "first")["evaluation: responses"]["calls"] == 8 + 8 + 32


def test_best_of_one_asks_and_says_nothing(runs_dir: Path) -> None:
    assert report_of(runs_dir, "second")["best_of_n"] is None
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert {sample.index for sample in ledger.used("second", 0, "7_evaluation", Sample)} == {0}


def test_the_report_says_whether_the_judge_that_evaluates_also_made_the_labels(runs_dir: Path) -> None:
    first, second = report_of(runs_dir, "first"), report_of(runs_dir, "second")
    assert (first["same_judge"], second["same_judge"]) == (True, False)
    assert "evaluation judge" not in first["provenance"]["models"]
    assert second["provenance"]["models"]["evaluation judge"]["dtype"] == "bfloat16"
    assert second["provenance"]["models"]["judge"]["dtype"] == "float32"
    page = (runs_dir / "second" / "round_00" / "7_evaluation" / "report.html").read_text()
    assert "Another judge than the one whose labels training learnt from." in page
    assert "Judge of the win rate" in page


def test_the_win_rate_of_another_judge_is_made_of_its_own_answers_alone(runs_dir: Path) -> None:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        judges = {
            run: [
                {q.judge_id for q in ledger.used(run, 0, stage, Question)} for stage in ("3_judgements", "7_evaluation")
            ]
            for run in ("first", "second")
        }
        (evaluation,) = ledger.used("second", 0, "7_evaluation", EvaluationReport)
    assert judges["first"][0] == judges["second"][0]
    assert judges["second"][1] == {evaluation.judge_id} != judges["second"][0]


def test_the_report_gives_the_win_rate_at_equal_length_beside_the_plain_one(runs_dir: Path) -> None:
    report = report_of(runs_dir, "second")
    equal = report["win_rate"]["length_controlled"]
    assert equal["win_rate"] == report["evaluation"]["win_rate_at_equal_length"]
    assert equal["win_rate"]["low"] < equal["win_rate"]["mean"] < equal["win_rate"]["high"]
    assert equal["length_sd"] > 0
    assert "at equal length" in (runs_dir / "second" / "round_00" / "7_evaluation" / "report.html").read_text()
