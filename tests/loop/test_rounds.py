"""Two small rounds on the front desk: what each takes from the one before, and what stops the loop."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import start_rlaif

from rlaif import pipeline
from rlaif.config.generate import JudgeConfig
from rlaif.config.load import load_config
from rlaif.errors import ConfigError, StageError
from rlaif.judging.estimate import JudgeEstimate
from rlaif.ledger.store import Ledger
from rlaif.loop.dry_run import RunEstimate, describe_estimate
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.loop.rounds import Rounds, describe_rounds, require_good_round
from rlaif.records import (
    Estimate,
    EvaluationReport,
    PolicyCard,
    Preference,
    Prompt,
    Question,
    RewardModelCard,
    Sample,
)
from rlaif.reward_model.stage import read_rows_so_far
from rlaif.run.stages import EVALUATION, JUDGEMENTS, REWARD_MODEL
from rlaif.sampling.stage import read_given_prompts
from rlaif.training.metrics import MetricsLog

SMALL = {
    "prompts.num_prompts": 16,
    "prompts.test_fraction": 0.25,
    "sampling.num_samples": 2,
    "sampling.num_pairs": 1,
    "sampling.batch_size": 16,
    "judge.batch_tokens": 3072,
    "reward_model.num_epochs": 1,
    "ppo.num_steps": 2,
    "ppo.num_prompts_per_step": 4,
    "ppo.num_samples_per_prompt": 2,
    "ppo.num_reference_samples": 8,
    "ppo.value_warmup_steps": 0,
    "ppo.checkpoint_every": 1,
    "evaluation.num_prompts": 4,
    "gates.min_win_rate": "null",
    "gates.min_accuracy": "null",
    "gates.max_flipped": "null",
    "gates.max_eos_drop": "null",
}


def settings(**changes: object) -> list[str]:
    return [f"{key}={value}" for key, value in {**SMALL, "rounds": 2, **changes}.items()]


def run_loop(runs_dir: Path, name: str, overrides: list[str], *, resume: bool = False) -> Rounds:
    config = load_config(overrides=overrides)
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=resume) as work:
        return pipeline.run_rounds(work)


def outcome(run_dir: Path) -> dict[str, str]:
    """Digest of every byte of the data sets, the weights and the table."""
    files = [*run_dir.rglob("*.safetensors"), *run_dir.rglob("dataset/**/*.parquet"), run_dir / "rounds.json"]
    return {str(f.relative_to(run_dir)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_loop(folder, "two", settings())
    return folder


@pytest.fixture
def ledger(runs_dir: Path) -> Iterator[Ledger]:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
        yield opened


def card(ledger: Ledger, round: int, run: str = "two") -> PolicyCard:
    return ledger.used(run, round, "6_policy", PolicyCard)[0]


def test_each_round_samples_new_prompts_with_the_policy_that_the_last_one_trained(ledger: Ledger) -> None:
    first, second = (ledger.used("two", round, "2_samples", Sample) for round in (0, 1))
    assert {s.policy_id for s in first} == {card(ledger, 0).reference_model_id}
    assert {s.policy_id for s in second} == {card(ledger, 0).model_id} != {card(ledger, 0).reference_model_id}
    prompts = [{p.id for p in ledger.used("two", round, "1_prompts", Prompt)} for round in (0, 1)]
    assert [len(ids) for ids in prompts] == [16, 16]
    assert not prompts[0] & prompts[1]
    held_out = {p.id for p in ledger.used("two", 0, "7_evaluation", Prompt)}
    assert not held_out & (prompts[0] | prompts[1])


def test_the_reward_model_is_fitted_to_the_preferences_of_all_rounds(runs_dir: Path, ledger: Ledger) -> None:
    fitted = [ledger.used("two", round, "5_reward_model", RewardModelCard)[0] for round in (0, 1)]
    made = [ledger.used("two", round, "4_preferences", Preference) for round in (0, 1)]
    assert {p.round for p in made[1]} == {1}
    pairs = [int(c.metrics["num_pairs"] + c.metrics["num_held_out_pairs"]) for c in fitted]
    assert pairs == [len(made[0]), len(made[0]) + len(made[1])]
    assert fitted[0].dataset_digest != fitted[1].dataset_digest
    assert fitted[0].base_model_id == fitted[1].base_model_id == card(ledger, 0).reference_model_id
    with open_work(
        load_config(overrides=settings()), run_name="two", runs_dir=runs_dir, resume=True, stages=(REWARD_MODEL,)
    ) as work:
        assert work.round.number == 1, "later commands act on the newest round"
        rows = read_rows_so_far(work.round, work.book)
    texts = {
        s.text for made_in in made for s in ledger.find(Sample, [i for p in made_in for i in p.sample_ids]).values()
    }
    assert {row.chosen for row in (*rows.train, *rows.test)} <= texts
    assert not {row.prompt.id for row in rows.train} & {row.prompt.id for row in rows.test}
    for made_in in made:
        assert {p.prompt_id for p in made_in} <= {row.prompt.id for row in (*rows.train, *rows.test)}


def test_every_evaluation_is_against_the_policy_that_the_run_started_from(ledger: Ledger) -> None:
    reports = [ledger.used("two", round, "7_evaluation", EvaluationReport)[0] for round in (0, 1)]
    start = card(ledger, 0).reference_model_id
    assert [r.start_model_id for r in reports] == [start, start]
    assert [r.policy_model_id for r in reports] == [card(ledger, round).model_id for round in (0, 1)]
    answers = [
        {s.id for s in ledger.used("two", round, "7_evaluation", Sample) if s.policy_id == start and s.index == 0}
        for round in (0, 1)
    ]
    assert len(answers[0]) == 4
    assert answers[0] == answers[1], "drawn once"
    assert reports[0].measures_before == reports[1].measures_before


def test_training_starts_anew_or_from_the_last_round_and_its_kl_is_to_the_start(runs_dir: Path, ledger: Ledger) -> None:
    run_loop(runs_dir, "onward", settings(**{"ppo.start_from": "last_round"}))
    start = card(ledger, 0).reference_model_id
    for run, initial in (("two", start), ("onward", card(ledger, 0, "onward").model_id)):
        assert card(ledger, 0, run).trained_from_id == start
        assert card(ledger, 1, run).trained_from_id == initial
        assert card(ledger, 1, run).reference_model_id == start
    first_kl = {
        run: MetricsLog(runs_dir / run / "metrics.jsonl", round=1).read("policy")[0].numbers["objective/kl"]
        for run in ("two", "onward")
    }
    assert first_kl["two"] == pytest.approx(0, abs=1e-4)
    assert first_kl["onward"] is not None
    assert abs(first_kl["onward"]) > 1e-3
    readme = (runs_dir / "onward" / "round_01" / "6_policy" / "model" / "README.md").read_text()
    assert f"Trained from `{card(ledger, 0, 'onward').model_id}`, the round before" in readme
    assert f"reference `{start}`" in readme


def test_the_first_rounds_of_runs_that_differ_later_share_every_answer(runs_dir: Path, ledger: Ledger) -> None:
    before = ledger.rows("SELECT count(*) FROM samples")[0][0], ledger.rows("SELECT count(*) FROM judgements")[0][0]
    with open_work(load_config(overrides=settings()), run_name="again", runs_dir=runs_dir, resume=False) as work:
        pipeline.generate_preferences(work)
        again = work.book.used(JUDGEMENTS, Question, round=work.round.number)
    after = ledger.rows("SELECT count(*) FROM samples")[0][0], ledger.rows("SELECT count(*) FROM judgements")[0][0]
    assert after == before
    assert [q.id for q in again] == [q.id for q in ledger.used("two", 0, "3_judgements", Question)]


def test_a_closed_gate_stops_the_loop_and_an_opened_one_lets_it_go_on(runs_dir: Path) -> None:
    strict = settings(**{"gates.min_win_rate": 0.999})
    stopped = run_loop(runs_dir, "gated", strict)
    assert [gate.name for gate in stopped.stopped_by] == ["gates.min_win_rate"]
    assert (len(stopped.rows), stopped.last_good) == (1, None)
    with pytest.raises(StageError, match=r"no round passed its gates: the judge's win rate"):
        require_good_round(stopped)
    assert not (runs_dir / "gated" / "round_01").exists()
    told = json.loads((runs_dir / "gated" / "rounds.json").read_text())
    assert told["stopped_by"][0]["sentence"] == stopped.stopped_by[0].sentence
    done = run_loop(runs_dir, "gated", settings(), resume=True)
    assert (len(done.rows), done.stopped_by) == (2, ())
    require_good_round(done)
    same, unbroken = outcome(runs_dir / "gated"), outcome(runs_dir / "two")
    assert {k: v for k, v in same.items() if k != "rounds.json"} == {
        k: v for k, v in unbroken.items() if k != "rounds.json"
    }


def test_fewer_rounds_than_were_begun_are_refused(runs_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 rounds of this run were begun and 1 asked for"):
        run_loop(runs_dir, "two", settings(rounds=1), resume=True)


def test_rounds_and_preferences_of_others_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match=r"reward_model\.preferences must be null"):
        load_config(overrides=["rounds=2", "reward_model.preferences=somewhere"])


def test_the_prompts_of_a_file_come_again_and_are_answered_anew(runs_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("".join(f'{{"prompt": "When does museum {n} open?"}}\n' for n in range(4)))
    config = load_config(overrides=settings(**{"prompts.path": tmp_path / "p.jsonl"}))
    with open_work(config, run_name="file", runs_dir=tmp_path / "runs", resume=False) as work:
        read = [read_given_prompts(config, round=round).prompts for round in (0, 1)]
        assert [p.id for p in read[0]] == [p.id for p in read[1]]
        assert len({work.round.at(number).seed for number in range(4)}) == 4
        assert work.round.at(0).seed == config.seed


def test_a_loop_killed_in_its_second_round_ends_as_the_unbroken_one(runs_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "runs"
    command = ["run", "--run", "two", "--runs-dir", str(broken)]
    command += [part for setting in settings() for part in ("--set", setting)]
    environment = {**os.environ, "COLUMNS": "200"}
    for number, place in enumerate(("3_judgements/questions_plan.json", "6_policy/checkpoints")):
        extra = ["--resume"] if number else []
        process = start_rlaif([*command, *extra], environ=environment)
        waited_for = broken / "two" / "round_01" / place
        while not process.has_ended and not waited_for.exists():
            time.sleep(0.002)
        process.send(signal.SIGKILL)
        killed = process.wait()
        assert killed.returncode == -9, killed.stderr
    done = start_rlaif([*command, "--resume"], environ=environment).wait()
    assert done.returncode == 0, done.stderr
    assert outcome(broken / "two") == outcome(runs_dir / "two")
    assert done.stdout.splitlines()[0].split()[:4] == ["round", "reward", "win", "rate"]
    assert "2 rounds done; the last round that passed its gates is 1: round_01/6_policy/model" in done.stderr


def share(mean: float) -> Estimate:
    return Estimate(mean=mean, low=mean - 0.05, high=mean + 0.05, n=100)


def test_the_table_names_each_round_what_it_reached_and_what_nobody_asked_for(runs_dir: Path) -> None:
    with open_work(
        load_config(overrides=settings()), run_name="two", runs_dir=runs_dir, resume=True, stages=(EVALUATION,)
    ) as work:
        rounds = _with_known_numbers(pipeline.run_rounds(work), work)
        lines = list(describe_rounds(rounds, constitution=work.round.constitution))
    assert [" ".join(line.split()) for line in lines[:4]] == [
        "round reward win rate KL accuracy pairs courteous (calm)",
        "start 55.0 80.0",
        "0 +1.25 0.600 (0.550 to 0.650) 3.00 0.900 (0.850 to 0.950) 400 70.0 79.0",
        "1 unknown 0.600 (0.550 to 0.650) unknown 0.900 (0.850 to 0.950) 400 70.0 79.0",
    ]


def _with_known_numbers(rounds: Rounds, work: OpenRun) -> Rounds:
    def estimate(mean: float) -> Estimate:
        return Estimate(mean=mean, low=mean - 1, high=mean + 1, n=100)

    rows = []
    for row, figures in zip(rounds.rows, ({"kl": 3.0, "reward_before": -0.25, "reward_after": 1.0}, {}), strict=True):
        evaluation = row.evaluation.changed(
            win_rate=share(0.6), figures=figures,
            measures_before={"calm": estimate(80), "courteous": estimate(55)},
            measures_after={"calm": estimate(79), "courteous": estimate(70)},
            measures_change={"calm": estimate(-1), "courteous": estimate(15)},
        )  # fmt: skip
        figures_of = row.figures.model_copy(update={"accuracy": share(0.9)})
        rows.append(row.model_copy(update={"evaluation": evaluation, "figures": figures_of, "num_pairs": 400}))
    return rounds.model_copy(update={"rows": tuple(rows)})


def test_a_dry_run_counts_all_rounds() -> None:
    judge = JudgeEstimate(240, 8, 100.0, 24_000, 4_800, None)
    one = RunEstimate(1, 20, 80, 4_000, 5_120, 12.5, (judge,), JudgeConfig())
    assert not any("rounds" in line for line in describe_estimate(one))
    lines = list(describe_estimate(one._replace(num_rounds=3)))
    assert "that is one round; 3 rounds: 240 responses, at most 720 questions" in lines
