"""A round of a run -> how its reward model and its policy were trained, and what that was worth at which KL.

Reads what the stages left, also of a training that is under way. Worth is what the run's measures said of the policy at
each evaluation, or of the policy of each round, and what people said. Only the front desk's simulated truth is measured
again, for its intervals: no function of a user is called. Loads no model and writes nothing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from rlaif.config.load import parse_stored
from rlaif.config.methods import BY_REWARDS, name_metrics
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, RunFolderError
from rlaif.evaluation.measures import find_wanted, load_measure
from rlaif.evaluation.people import HonestRate
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.store import Ledger
from rlaif.policy.ppo.log import EVALUATION as EVALUATIONS
from rlaif.policy.ppo.log import EVALUATIONS_FILE, SAMPLES_FILE, ShownRow, read_shown
from rlaif.records import Constitution, Estimate, EvaluationReport, PolicyCard, Prompt, RewardModelCard
from rlaif.report.charts import Spot
from rlaif.report.courses import collect_sources, read_responses
from rlaif.report.input import RewardCourse, Trained, as_curve
from rlaif.run.chain import find_by_rewards
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.stages import EVALUATION, JUDGEMENTS, POLICY, REWARD_MODEL
from rlaif.run.world import FRONTDESK_MEASURE, find_measures
from rlaif.stats.intervals import mean_interval
from rlaif.training.metrics import MetricsLog, MetricsRow

REWARD_MODEL_ROWS = "reward_model"
"""The reward model's stage in metrics.jsonl."""
MEASURES = "eval/measures/"
"""How the names of the measures' means begin there."""


class Worth(NamedTuple):
    """A measure that nothing was trained on, over the KL to the policy that the run started from."""

    name: str
    principles: tuple[str, ...]
    """Ids of the principles whose tags name it."""
    spots: tuple[Spot, ...]
    has_intervals: bool
    """False: means as the training wrote them."""


class RoundTraining(NamedTuple):
    """The trainings of a round."""

    run: str
    round: int
    trained: Trained
    sources: tuple[RewardCourse, ...]
    """What the policy was rewarded by."""
    responses_file: str
    """Name of the file in the policy's folder that has the responses over time."""
    is_same_prompts: bool
    """Whether the responses over time answer the same held-out prompts each time."""
    reward_model: RewardModelCard | None
    policy: PolicyCard | None
    """None before the training has ended."""
    worth: tuple[Worth, ...]
    is_by_step: bool
    """Whether `worth` has a place for each evaluation while the policy was trained; else one for each round."""
    has_report: bool


def find_training(runs_dir: Path, ledger: Ledger, *, run: str, number: int) -> RoundTraining:
    """How a round's models were trained, refused where the round has trained none."""
    folder = open_run(runs_dir, run)
    metrics = MetricsLog(folder.path / "metrics.jsonl", round=number).read()
    policy = next(iter(ledger.used(run, number, POLICY.folder, PolicyCard)), None)
    config = _parse_config(folder)
    method = _find_method(policy, config)
    rows = _of_stage(metrics, name_metrics(method))
    if not rows and not _of_stage(metrics, REWARD_MODEL_ROWS):
        raise RunFolderError(
            f"round {number} of run {run} has trained nothing yet", where=str(folder.path), fix="run `rlaif train`"
        )
    is_by_rewards = method in BY_REWARDS
    policy_dir = folder.stage_dir(number, POLICY)
    if config is not None:
        policy_dir = find_by_rewards(config).find_dir(folder, round=number)
    evaluated = read_shown(policy_dir / EVALUATIONS_FILE)
    responses = policy_dir / (EVALUATIONS_FILE if evaluated else SAMPLES_FILE)
    by_step = tuple(
        _measure_steps(
            _of_stage(metrics, EVALUATIONS),
            _measure_truth(ledger, evaluated, config),
            num_prompts=Counter(row["step"] for row in evaluated),
            constitution=_find_constitution(ledger, run, number),
        )
    )
    return RoundTraining(
        run=run,
        round=number,
        trained=Trained(
            reward_model_curve=as_curve(_of_stage(metrics, REWARD_MODEL_ROWS)),
            policy_method=method,
            policy_curve=as_curve(rows),
            policy_evaluations=as_curve(_of_stage(metrics, EVALUATIONS)) if is_by_rewards else (),
            alarms=() if policy is None else policy.alarms,
            kept_steps=policy.num_steps if policy is not None and is_by_rewards else None,
            response_courses=tuple(read_responses(ledger, responses)),
        ),
        sources=collect_sources(config.ppo.rewards, rows) if config is not None and is_by_rewards else (),
        responses_file=responses.name,
        is_same_prompts=bool(evaluated),
        reward_model=next(iter(ledger.used(run, number, REWARD_MODEL.folder, RewardModelCard)), None),
        policy=policy,
        worth=(*(by_step or _measure_rounds(ledger, run=run, number=number)), *_ask_people(folder, ledger, number)),
        is_by_step=bool(by_step),
        has_report=(folder.stage_dir(number, EVALUATION) / "report.html").is_file(),
    )


def _find_method(policy: PolicyCard | None, config: RunConfig | None) -> str:
    """The method that trained the policy, or that trains it; of several, the last one."""
    if policy is not None:
        return policy.method
    return "ppo" if config is None else config.chain.after[-1]


def _of_stage(rows: Sequence[MetricsRow], stage: str) -> list[MetricsRow]:
    return [row for row in rows if row.stage == stage]


def _parse_config(folder: RunFolder) -> RunConfig | None:
    """The run's options; None where this version of rlaif would not take them."""
    try:
        return parse_stored(folder.config, where=str(folder.path / "config.json")).config
    except ConfigError:
        return None


def _measure_steps(
    rows: Sequence[MetricsRow],
    known: Mapping[tuple[int, str], Estimate],
    *,
    num_prompts: Mapping[int, int],
    constitution: Constitution | None,
) -> Iterator[Worth]:
    """The measures of each evaluation while the policy was trained, those that the constitution names.

    known: (step, measure) -> its mean with an interval; a mean that has none stands alone. num_prompts: by step.
    """
    measures = {name.removeprefix(MEASURES): 0 for row in rows for name in row.numbers if name.startswith(MEASURES)}
    for name, principles in _name_measures(constitution, measures).items():
        spots = []
        for row in rows:
            kl, mean = row.numbers.get("eval/kl"), row.numbers.get(f"{MEASURES}{name}")
            if kl is not None and mean is not None:
                bare = Estimate(mean=mean, low=mean, high=mean, n=num_prompts.get(row.step, 0))
                up = known.get((row.step, name), bare)
                spots.append(Spot(max(0.0, kl), up, up.n))
        if spots:
            yield Worth(name, principles, tuple(spots), has_intervals=any((row.step, name) in known for row in rows))


def _measure_truth(
    ledger: Ledger, rows: Sequence[ShownRow], config: RunConfig | None
) -> dict[tuple[int, str], Estimate]:
    """(step, measure) -> the mean over the prompts of the simulated truth; empty where the run does not have it."""
    if config is None or FRONTDESK_MEASURE not in find_measures(config):
        return {}
    measure = load_measure(FRONTDESK_MEASURE)
    prompts = ledger.find(Prompt, {row["prompt_id"] for row in rows})
    values: dict[tuple[int, str], list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        if (prompt := prompts.get(row["prompt_id"])) is not None:
            for name, value in measure(prompt.as_chat(), row["response"]).items():
                values[row["step"], name].append((prompt.id, value))
    found = {key: mean_interval([v for _, v in pairs], clusters=[p for p, _ in pairs]) for key, pairs in values.items()}
    return {key: estimate for key, estimate in found.items() if estimate is not None}


def _find_constitution(ledger: Ledger, run: str, number: int) -> Constitution | None:
    return find_constitution(ledger, run=run, round=number, stage=JUDGEMENTS.folder)


def _name_measures(constitution: Constitution | None, measures: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The measures that principles name, each with their ids; where none is named, all of them."""
    named: dict[str, tuple[str, ...]] = {}
    for principle in () if constitution is None else constitution.principles:
        for tag in principle.tags:
            if (wanted := find_wanted(tag, measures)) is not None and principle.weight > 0:
                named[wanted.name] = (*named.get(wanted.name, ()), principle.id)
    return named or dict.fromkeys(measures, ())


def _measure_rounds(ledger: Ledger, *, run: str, number: int) -> Iterator[Worth]:
    """What evaluations measured of the starting policy and of the policy of each round."""
    found = find_evaluations(ledger, run, number)
    reports = [(report, kl) for report in found.values() if (kl := report.figures.get("kl")) is not None]
    if not reports:
        return
    start = reports[0][0].measures_before
    for name, principles in _name_measures(_find_constitution(ledger, run, number), start).items():
        points = [(0.0, start[name]), *((kl, report.measures_after.get(name)) for report, kl in reports)]
        yield Worth(name, principles, tuple(_spots(points)), has_intervals=True)


def _spots(points: Iterable[tuple[float, Estimate | None]]) -> Iterator[Spot]:
    return (Spot(max(0.0, kl), up, up.n) for kl, up in points if up is not None)


def find_evaluations(ledger: Ledger, run: str, number: int) -> dict[int, EvaluationReport]:
    """Round -> its evaluation, of this round and those before it that have one."""
    found = {one: ledger.used(run, one, EVALUATION.folder, EvaluationReport) for one in range(number + 1)}
    return {one: reports[-1] for one, reports in found.items() if reports}


def _ask_people(folder: RunFolder, ledger: Ledger, number: int) -> Iterator[Worth]:
    """The win rate over the starting policy by what people would say, of each round whose pairs they labelled."""
    rates = []
    for one, report in find_evaluations(ledger, folder.name, number).items():
        rate = _read_people_rate(folder.stage_dir(one, EVALUATION) / "report.json")
        if rate is not None and (kl := report.figures.get("kl")) is not None:
            rates.append(Spot(max(0.0, kl), rate, rate.n))
    if rates:
        yield Worth("win rate by people", (), tuple(rates), has_intervals=True)


def _read_people_rate(path: Path) -> Estimate | None:
    """None where there is no report, or one that cannot be read: the report itself then says why."""
    try:
        return HonestRate.model_validate(json.loads(path.read_bytes())["people"]["win_rate"]).estimate
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
