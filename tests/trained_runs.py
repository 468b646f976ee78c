"""Two recorded runs of the same pairs with other verdicts, with what trainings leave in them: for the tests of pages.

No model is trained: metrics, responses, cards and evaluations are made up, and stored as a training stores them.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

from lineage_world import Trained, make_trained
from recorded_run import write_recorded
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.ledger.store import Ledger
from rlaif.policy.ppo.log import PolicyLog
from rlaif.records import Alarm, Estimate, EvaluationReport, PolicyCard, Prompt, Record, Use
from rlaif.run.stages import EVALUATION, POLICY, REWARD_MODEL, Stage
from rlaif.training.listener import Evaluated, ShownResponse, StepMetrics
from rlaif.training.metrics import MetricsLog

RUNS = ("001", "002")
HOSTILE = "<script>ran()</script>\u202e{{ 7 * 7 }}"
ALARM = Alarm(
    name="kl_ceiling", step=4, value=21.0, limit=20.0, sentence="the KL is 21.0 nats per response, above 20",
    answer="training stops and the policy of step 2 is kept",
)  # fmt: skip
STEPS = 4


class TrainedRuns(NamedTuple):
    """The runs' folder, and what each run's only round trained."""

    runs_dir: Path
    trained: dict[str, Trained]
    policies: dict[str, PolicyCard]
    folder: Path
    """Where the recorded files are."""


def make_trained_runs(folder: Path, *, pairs: int = 40) -> TrainedRuns:
    """Run 001, whose training raised an alarm, and 002 of the same pairs, whose policy was trained from that of 001."""
    for seed, name in enumerate(RUNS):
        _judge(folder, name, pairs=pairs, seed=seed)
    runs_dir = folder / "runs"
    trained: dict[str, Trained] = {}
    policies: dict[str, PolicyCard] = {}
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        for number, name in enumerate(RUNS):
            trained[name] = make_trained(number, before=trained.get("001"))
            policies[name] = _train(ledger, runs_dir / name, trained[name], alarms=(ALARM,) if number == 0 else ())
    return TrainedRuns(runs_dir, trained, policies, folder)


def _judge(folder: Path, name: str, *, pairs: int, seed: int) -> None:
    options = write_recorded(folder, name=name, pairs=pairs, seed=seed)
    samples = folder / f"inputs-{name}" / "samples.jsonl"
    samples.write_text(samples.read_text().replace(f"of {name}?", "of both?"))
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, ["generate-prefs", *options, "--run", name])
    assert done.exit_code == 0, done.exception


def _train(ledger: Ledger, run: Path, trained: Trained, *, alarms: tuple[Alarm, ...]) -> PolicyCard:
    """What the stages reward model, policy and evaluation leave of round 0."""
    metrics = MetricsLog(run / "metrics.jsonl")
    for step in range(6):
        metrics.write("reward_model", step=step, numbers={"loss": 0.7 - 0.1 * step, "accuracy": 0.5 + 0.05 * step})
    folder = run / "round_00" / POLICY.folder
    folder.mkdir(parents=True)
    prompts = [ledger.find(Prompt, [key])[key] for (key,) in ledger.rows("SELECT id FROM prompts ORDER BY seq LIMIT 3")]
    with PolicyLog(metrics, total=STEPS, folder=folder) as log:
        log.begin(0)
        listener = log.listener(stop_requested=lambda: False)
        for step in range(STEPS + 1):
            if step % 2 == 0:
                shown = [
                    ShownResponse(prompt, f"{HOSTILE} said after {step}", 0.1 * step, 5.0 * step, finished=True)
                    for prompt in prompts
                ]
                numbers = {"eval/scores": 0.1 * step, "eval/kl": 5.0 * step, "eval/measures/kind": 50.0 + step}
                listener.on_evaluation(Evaluated(step, numbers, shown, len(shown)))
            if step < STEPS:
                listener.on_metrics(StepMetrics(step, {"objective/scores": 0.2 * step, "objective/kl": 4.0 * step}))
    card = trained.policy_card.changed(
        alarms=alarms, num_steps=2 if alarms else STEPS, stopped=alarms[0].sentence if alarms else "",
        metrics={"objective/kl": 12.0},
    )  # fmt: skip
    constitution_id = ledger.rows("SELECT id FROM constitutions ORDER BY seq LIMIT 1")[0][0]
    report = EvaluationReport(
        start_model_id=card.reference_model_id, policy_model_id=card.model_id, constitution_id=constitution_id,
        win_rate=Estimate(mean=0.625, low=0.5, high=0.75, n=20), win_rate_by_principle={},
        measures_before={"kind": Estimate(mean=50.0, low=45.0, high=55.0, n=20)},
        measures_after={"kind": Estimate(mean=61.0, low=56.0, high=66.0, n=20)},
        measures_change={"kind": Estimate(mean=11.0, low=6.0, high=16.0, n=20)}, figures={"kl": 10.0},
    )  # fmt: skip
    reward_card = trained.reward_card.changed(accuracy=Estimate(mean=0.8, low=0.7, high=0.9, n=30))
    ledger.append([trained.reward_model, trained.policy, reward_card, card, report])
    used: list[tuple[Stage, Record]] = [(REWARD_MODEL, reward_card), (POLICY, card), (EVALUATION, report)]
    ledger.append(
        Use(run=run.name, round=0, stage=stage.folder, record_table=record.table, record_id=record.id)
        for stage, record in used
    )
    return card


class Counted(NamedTuple):
    same: int
    """Pairs with the same verdict in both orders."""
    other_winner: int
    """Pairs of which each run names another winner, or one of them none."""


def count_decided(folder: Path) -> Counted:
    """What both runs' verdicts say of the same pairs, by the recorded files alone."""
    one, other = (_read_verdicts(folder / f"inputs-{name}" / "verdicts.jsonl") for name in RUNS)
    winners = [[listed if listed == swapped else "tie" for listed, swapped in verdicts] for verdicts in (one, other)]
    return Counted(
        sum(a == b for a, b in zip(one, other, strict=True)), sum(a != b for a, b in zip(*winners, strict=True))
    )


def _read_verdicts(path: Path) -> list[tuple[str, str]]:
    """The reply that each order of each pair names, as `first` or `second` of the order listed."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    turned = {"first": "second", "second": "first"}
    return [(rows[n]["winner"], turned[rows[n + 1]["winner"]]) for n in range(0, len(rows), 2)]
