"""What each stage of a round cost: calls, tokens, seconds and money, from the plans that the stages left.

Reads plans, the ledger and the metrics. Shows nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rlaif.evaluation.cost import StageCost, cost_of_judging, cost_of_sampling, cost_of_training
from rlaif.files.batch_plan import read_plan
from rlaif.judging.panel import RunJudge
from rlaif.judging.question_log import read_question_ids
from rlaif.judging.stage import JudgedRound
from rlaif.ledger.store import Ledger
from rlaif.policy.ppo.log import EVALUATION
from rlaif.policy.rewards.judge import FOLDER as JUDGE_FOLDER
from rlaif.records import Judgement, Question, Sample
from rlaif.training.metrics import MetricsLog

TRAINED = (
    ("sft", "SFT"), ("reward_model", "reward model"), ("seft", "policy (SEFT)"), ("dpo", "policy (DPO)"),
    ("kto", "policy (KTO)"), ("policy", "policy (PPO)"),
)  # fmt: skip
"""Names of trainings in metrics.jsonl, and what people read."""


@dataclass(frozen=True)
class Spending:
    """Where the stages of a round left what they asked for."""

    judged: JudgedRound
    judges: Sequence[RunJudge]
    metrics: MetricsLog
    samples_dir: Path
    judgements_dir: Path
    policy_dir: Path
    evaluation_dir: Path
    policy_samples: Sequence[Sample]
    """Samples that the stage `policy` used: responses of the policy in training that the judge compared."""
    policy_questions: Sequence[Question]
    policy_judgements: Sequence[Judgement]


def find_costs(spending: Spending, *, num_responses: int, num_judgements: int) -> list[StageCost]:
    """The costs of a round. Plans tell what it asked for, and the ledger which of it was there already.

    num_responses, num_judgements: those that the evaluation used.
    """
    judged, metrics, ledger = spending.judged, spending.metrics, spending.judged.ledger
    trainings = [(name, metrics.read(stage)) for stage, name in TRAINED]
    costs = [
        _sampling_cost(ledger, spending.samples_dir, "sampling", num_used=len(judged.samples)),
        *find_judging_costs(judged, spending.judges, folder=spending.judgements_dir),
        *(cost_of_training(name, rows) for name, rows in trainings if rows),
        *_reward_costs(spending),
        *_checks_costs(spending),
        _sampling_cost(ledger, spending.evaluation_dir, "evaluation: responses", num_used=num_responses),
        _judging_cost(ledger, spending.evaluation_dir, "evaluation: judging", num_used=num_judgements),
    ]
    return [cost for cost in costs if cost.calls or cost.found]


def _checks_costs(spending: Spending) -> Iterator[StageCost]:
    """What the evaluations during training cost: their own time, and the judge's checks within it."""
    if rows := spending.metrics.read(EVALUATION):
        yield cost_of_training("policy (PPO): evaluations", rows, unit="evaluations")
    if read_question_ids(spending.policy_dir):
        num_used = _count_judged(spending).checked
        ledger = spending.judged.ledger
        yield _judging_cost(ledger, spending.policy_dir, "policy (PPO): judge's checks", num_used=num_used)


def find_judging_costs(judged: JudgedRound, judges: Sequence[RunJudge], *, folder: Path) -> Iterator[StageCost]:
    """What each judge's labels cost. folder: that of the stage `judgements`."""
    if not folder.is_dir():
        return
    answered = [judgement for judgement in judged.judgements if judgement.origin == "asked"]
    if len(judges) == 1 or judged.is_recorded:
        yield _judging_cost(judged.ledger, folder, "judging", num_used=len(answered))
        return
    judge_of = {question.id: question.judge_id for question in judged.questions}
    used = Counter(judge_of[judgement.question_id] for judgement in answered)
    for judge, judge_id in zip(judges, dict.fromkeys(judge_of.values()), strict=True):
        name = f"judging: {judge.name}"
        yield _judging_cost(judged.ledger, judge.folder(folder), name, num_used=used[judge_id])


def _reward_costs(spending: Spending) -> Iterator[StageCost]:
    """What the judge cost as a source of rewards."""
    folder = spending.policy_dir / JUDGE_FOLDER
    if folder.is_dir():
        num_used = _count_judged(spending).rewarded
        yield _judging_cost(spending.judged.ledger, folder, "policy (PPO): judge's rewards", num_used=num_used)


class _Judged(NamedTuple):
    rewarded: int
    checked: int


def _count_judged(spending: Spending) -> _Judged:
    """The judgements of the policy's stage: rewards, and checks of responses that are kept as the stage's samples."""
    kept = {sample.id for sample in spending.policy_samples}
    shown = {question.id: question.sample_ids[0] for question in spending.policy_questions}
    num_checked = sum(shown[judgement.question_id] in kept for judgement in spending.policy_judgements)
    return _Judged(len(spending.policy_judgements) - num_checked, num_checked)


def _sampling_cost(ledger: Ledger, folder: Path, name: str, *, num_used: int) -> StageCost:
    drawn = ledger.samples_for(_planned(folder, "*samples_plan.json"))
    return cost_of_sampling(name, list(drawn.values()), num_used=num_used)


def _judging_cost(ledger: Ledger, folder: Path, name: str, *, num_used: int) -> StageCost:
    ids = read_question_ids(folder)
    answers, failures = ledger.judgements_for(ids), ledger.failures_for(ids)
    return cost_of_judging(name, list(answers.values()), failures=list(failures.values()), num_used=num_used)


def _planned(folder: Path, pattern: str) -> list[str]:
    """The keys in a stage's plans of batches."""
    batches = [batch for path in sorted(folder.glob(pattern)) for batch in read_plan(path)]
    return list(dict.fromkeys(key for batch in batches for key in batch))
