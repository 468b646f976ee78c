"""A finished round -> what its report shows: people, the judge, both models, the comparison, the cost.

Reads what the stages left in the ledger, the metrics and their folders. Renders nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from rlaif import __version__
from rlaif.config.base import RESOLVED
from rlaif.evaluation.best_of_n import NO_PICKS, Picks, bound_kl
from rlaif.evaluation.cost import StageCost, cost_of_judging, cost_of_sampling, cost_of_training
from rlaif.evaluation.measures import compute_measures, load_measure
from rlaif.evaluation.policy import (
    PolicyPair,
    compute_behaviour,
    compute_pair_probabilities,
    compute_win_rate,
)
from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_model import (
    ScoredPair,
    compute_proxy_win,
    compute_reward_model_quality,
)
from rlaif.judge_health.facts import check_judges, find_agreement
from rlaif.judging.judge import Judging
from rlaif.judging.panel import is_recorded
from rlaif.judging.question_log import read_question_ids
from rlaif.policy.rewards.judge import FOLDER as JUDGE_FOLDER
from rlaif.policy.rewards.judge import STAGE as JUDGE_STAGE
from rlaif.policy.rewards.sources import collect_courses
from rlaif.preferences.export import digest_preferences
from rlaif.records import (
    CalibrationCard,
    Estimate,
    EvaluationReport,
    Judgement,
    Model,
    PolicyCard,
    PreferenceRow,
    Prompt,
    Question,
    Sample,
    digest_text,
)
from rlaif.report.input import (
    BestOfN,
    FunnelStage,
    Provenance,
    ReportInput,
    ResponseAt,
    ResponseCourse,
    RoundSummary,
    ShownSample,
    as_curve,
    make_evaluation_report,
    summarise_round,
)
from rlaif.reward_model.score import RewardModelScorer
from rlaif.run.folder import read_stage
from rlaif.run.work import FRONTDESK_MEASURE, STAGE_NAMES, Work
from rlaif.training.log import EVALUATION, read_kl

SHOWN_SAMPLES = 12
SHOWN_COURSES = 6
SHOWN_STEPS = 5


def collect_report(
    work: Work,
    *,
    prompts: Sequence[Prompt],
    pairs: Sequence[PolicyPair],
    judging: Judging,
    held_out: Sequence[PreferenceRow],
    picks: Picks = NO_PICKS,
) -> ReportInput:
    """`pairs`: both policies' responses to the held-out prompts; `judging`: what the judge said of them.

    picks: beside the starting policy's responses, those that the reward model chose among further ones.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    scorer = RewardModelScorer(work.reward_model) if work.has_reward_model else None
    rewards = {} if scorer is None else _rewards(scorer, pairs, by_id)
    p_after = compute_pair_probabilities(
        judging.comparisons, pairs=pairs, constitution=work.constitution, draw_seed=work.draw_seed
    )
    win_rate = compute_win_rate(
        judging.comparisons, pairs=pairs, constitution=work.constitution, draw_seed=work.draw_seed
    )
    measures = compute_measures(pairs, prompts=by_id, measures={spec: load_measure(spec) for spec in work.measures})
    policy_rows = work.metrics.read("policy")
    card = next(iter(work.used("6_policy", PolicyCard)), None)
    behaviour = compute_behaviour(pairs, **_find_kl(work, card))
    proxy_win = compute_proxy_win(rewards, pairs=pairs)
    scored = [] if scorer is None else _score_held_out(scorer, held_out)
    start, trained = work.start_policy.fingerprint, work.trained_policy.fingerprint
    evaluation = make_evaluation_report(
        start_model_id=start.id, policy_model_id=trained.id, constitution_id=work.constitution.id,
        win_rate=win_rate, measures=measures, behaviour=behaviour, proxy_win=proxy_win,
        judge_id=work.evaluation_judge.fingerprint.id,
    )  # fmt: skip
    same_judge = _is_same_judge(work)
    judges = check_judges(work)
    calibrations = work.used("4_preferences", CalibrationCard)
    seq, head = work.ledger.head()
    return ReportInput(
        provenance=Provenance(
            run=work.run.name,
            round=work.round,
            rlaif_version=__version__,
            seed=work.config.seed,
            models={
                "start policy": start,
                "trained policy": trained,
                **_judges(work, same_judge),
                **({} if scorer is None else {"reward model": work.reward_model.fingerprint}),
            },
            template_digest=work.template.digest,
            evaluation_template_digest=None if same_judge else work.evaluation_template.digest,
            dataset_digest=digest_preferences(work.dataset_dir) if work.dataset_dir.is_dir() else None,
            ledger_seq=seq,
            ledger_head=head,
            config=work.config.model_dump(mode="json"),
            resolved=work.run.config.get(RESOLVED, {}),
        ),
        constitution=work.constitution,
        evaluation=evaluation,
        same_judge=same_judge,
        win_rate=win_rate,
        measures=measures,
        measures_note="simulated truth of the embedded world" if FRONTDESK_MEASURE in work.measures else "",
        funnel=(*_funnel(work), FunnelStage(name="evaluation", unit="questions", tally=judging.tally)),
        calibration=calibrations[-1] if calibrations else None,
        judge_health=judges[0].health if judges else None,
        judges=tuple(judges),
        panel=find_agreement(work),
        reward_model=compute_reward_model_quality(scored) if scored else None,
        reward_calibration=compute_reward_calibration(scored),
        reward_model_curve=as_curve(work.metrics.read("reward_model")),
        proxy_win=proxy_win,
        policy_curve=as_curve(policy_rows),
        reward_sources=collect_courses(work.config.ppo.rewards, policy_rows),
        policy_evaluations=as_curve(work.metrics.read(EVALUATION)),
        alarms=() if card is None else card.alarms,
        kept_steps=None if card is None else card.num_steps,
        response_courses=tuple(_read_courses(work)),
        behaviour=behaviour,
        costs=_costs(work, pairs=pairs, picks=picks, judging=judging),
        samples=_shown(pairs, by_id, rewards=rewards, p_after=p_after, seed=work.config.seed),
        samples_drawn_from=len(pairs),
        best_of_n=_best_of_n(work, picks, judging=judging, prompts=by_id) if picks.pairs else None,
        rounds=_rounds(work, evaluation),
    )


class _FoundKl(TypedDict):
    kl: float | None
    kl_interval: Estimate | None


def _find_kl(work: Work, card: PolicyCard | None) -> _FoundKl:
    """The KL of the kept policy on held-out prompts; where training evaluated nothing, that of its last responses."""
    if card is None:
        return {"kl": None, "kl_interval": None}
    path = work.run.stage_dir(work.round, "6_policy") / "evaluations.jsonl"
    measured = None if card.num_steps is None else read_kl(path, step=card.num_steps)
    return {"kl": card.metrics.get("objective/kl") if measured is None else measured.mean, "kl_interval": measured}


def _read_courses(work: Work) -> Iterator[ResponseCourse]:
    """The first prompts of the evaluations during training, with their responses at some of them."""
    path = work.run.stage_dir(work.round, "6_policy") / "evaluations.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    steps = sorted({row["step"] for row in rows})
    # The first and the last, and others between them at like distances.
    last, places = len(steps) - 1, min(SHOWN_STEPS, len(steps)) - 1
    shown = {steps[round(place * last / max(1, places))] for place in range(places + 1)}
    by_prompt: dict[str, list[ResponseAt]] = {}
    for row in rows:
        if row["step"] in shown:
            at = ResponseAt(step=row["step"], text=row["response"], score=row["score"], kl=row["kl"])
            by_prompt.setdefault(row["prompt_id"], []).append(at)
    prompts = work.ledger.find(Prompt, by_prompt)
    for prompt_id, responses in list(by_prompt.items())[:SHOWN_COURSES]:
        yield ResponseCourse(prompt=prompts[prompt_id].messages, responses=tuple(responses))


def _is_same_judge(work: Work) -> bool | None:
    """Whether model and template of the evaluation made this round's labels too; None where no judge here did."""
    labelled_by = {(q.judge_id, q.template_digest) for q in work.used("3_judgements", Question)}
    here = (work.evaluation_judge.fingerprint.id, work.evaluation_template.digest)
    return here in labelled_by if labelled_by else None


def _judges(work: Work, same: bool | None) -> dict[str, Model]:
    """Who made the labels, and who evaluates where that is none of them."""
    evaluates = work.evaluation_judge.fingerprint
    if same is None or (same and len(work.judges) == 1):
        return {"judge": evaluates}
    ids = dict.fromkeys(question.judge_id for question in work.used("3_judgements", Question))
    models = work.ledger.find(Model, ids)
    labelled = [models[judge_id] for judge_id in ids if judge_id in models]
    roles = {"judge" if n == 1 else f"judge {n}": model for n, model in enumerate(labelled, start=1)}
    return roles if same else {**roles, "evaluation judge": evaluates}


def _rewards(scorer: RewardModelScorer, pairs: Sequence[PolicyPair], prompts: Mapping[str, Prompt]) -> dict[str, float]:
    samples = [sample for pair in pairs for sample in pair]
    outcomes = scorer.score_each([(prompts[sample.prompt_id], sample.text) for sample in samples])
    return {s.id: o for s, o in zip(samples, outcomes, strict=True) if isinstance(o, float)}


def _funnel(work: Work) -> tuple[FunnelStage, ...]:
    """The stages before the evaluation, which is under way."""
    found = [(name, read_stage(work.run.stage_dir(work.round, stage))) for stage, name in STAGE_NAMES.items()]
    return tuple(
        FunnelStage(name=name, unit=stage.unit, tally=stage.tally)
        for name, stage in found
        if stage is not None and name != "evaluation"
    )


def _score_held_out(scorer: RewardModelScorer, rows: Sequence[PreferenceRow]) -> list[ScoredPair]:
    """The held-out preferences that count and whose two rewards are both known."""
    rows = [row for row in rows if row.weight > 0]
    chosen = scorer.score_each([(row.prompt, row.chosen) for row in rows])
    rejected = scorer.score_each([(row.prompt, row.rejected) for row in rows])
    return [
        ScoredPair(
            row.prompt.id, first, second, row.label, len(row.chosen), len(row.rejected), row.weight,
            (row.chosen, row.rejected),
        )
        for row, first, second in zip(rows, chosen, rejected, strict=True)
        if isinstance(first, float) and isinstance(second, float)
    ]  # fmt: skip


def _best_of_n(work: Work, picks: Picks, *, judging: Judging, prompts: Mapping[str, Prompt]) -> BestOfN:
    n = work.config.evaluation.best_of
    measures = {spec: load_measure(spec) for spec in work.measures}
    return BestOfN(
        n=n,
        measures=compute_measures(picks.pairs, prompts=prompts, measures=measures),
        win_rate=compute_win_rate(
            judging.comparisons, pairs=picks.pairs, constitution=work.constitution, draw_seed=work.draw_seed
        ),
        kl_bound=bound_kl(n),
    )


def _costs(work: Work, *, pairs: Sequence[PolicyPair], picks: Picks, judging: Judging) -> tuple[StageCost, ...]:
    """Of this round: the plans of its stages tell what it asked for, and what the ledger held already."""
    costs = [
        _sampling_cost(work, "2_samples", "sampling", num_used=len(work.used("2_samples", Sample))),
        *_judging_costs(work),
        *(
            cost_of_training(name, rows)
            for stage, name in (("sft", "SFT"), ("reward_model", "reward model"), ("policy", "policy (PPO)"))
            if (rows := work.metrics.read(stage))
        ),
        *_reward_costs(work),
        *_checks_costs(work),
        _sampling_cost(work, "7_evaluation", "evaluation: responses", num_used=2 * len(pairs) + len(picks.candidates)),
        _judging_cost(work, work.folder("7_evaluation"), "evaluation: judging", num_used=len(judging.judgements)),
    ]
    return tuple(cost for cost in costs if cost.calls or cost.found)


def _checks_costs(work: Work) -> Iterator[StageCost]:
    """What the evaluations during training cost: their own time, and the judge's checks within it."""
    if rows := work.metrics.read(EVALUATION):
        yield cost_of_training("policy (PPO): evaluations", rows, unit="evaluations")
    folder = work.folder("6_policy")
    if read_question_ids(folder):
        yield _judging_cost(work, folder, "policy (PPO): judge's checks", num_used=_count_judged(work).checked)


def _sampling_cost(work: Work, stage: str, name: str, *, num_used: int) -> StageCost:
    drawn = work.ledger.samples_for(_planned(work.run.stage_dir(work.round, stage), "*samples_plan.json"))
    return cost_of_sampling(name, list(drawn.values()), num_used=num_used)


def _judging_costs(work: Work) -> Iterator[StageCost]:
    """What each judge's labels cost."""
    judged = [judgement for judgement in work.used("3_judgements", Judgement) if judgement.origin == "asked"]
    folder = work.run.stage_dir(work.round, "3_judgements")
    if not folder.is_dir():
        return
    if len(work.judges) == 1 or is_recorded(work.run):
        yield _judging_cost(work, folder, "judging", num_used=len(judged))
        return
    asked = {question.id: question.judge_id for question in work.used("3_judgements", Question)}
    used = Counter(asked[judgement.question_id] for judgement in judged)
    for judge, judge_id in zip(work.judges, dict.fromkeys(asked.values()), strict=True):
        yield _judging_cost(work, judge.folder(folder), f"judging: {judge.name}", num_used=used[judge_id])


def _reward_costs(work: Work) -> Iterator[StageCost]:
    """What the judge cost as a source of rewards."""
    folder = work.run.stage_dir(work.round, JUDGE_STAGE) / JUDGE_FOLDER
    if folder.is_dir():
        yield _judging_cost(work, folder, "policy (PPO): judge's rewards", num_used=_count_judged(work).rewarded)


class _Judged(NamedTuple):
    rewarded: int
    checked: int


def _count_judged(work: Work) -> _Judged:
    """The judgements of the policy's stage: rewards, and checks of responses that are kept as the stage's samples."""
    kept = {sample.id for sample in work.used(JUDGE_STAGE, Sample)}
    shown = {question.id: question.sample_ids[0] for question in work.used(JUDGE_STAGE, Question)}
    judgements = work.used(JUDGE_STAGE, Judgement)
    num_checked = sum(shown[judgement.question_id] in kept for judgement in judgements)
    return _Judged(len(judgements) - num_checked, num_checked)


def _judging_cost(work: Work, folder: Path, name: str, *, num_used: int) -> StageCost:
    asked = read_question_ids(folder)
    answers, failures = work.ledger.judgements_for(asked), work.ledger.failures_for(asked)
    return cost_of_judging(name, list(answers.values()), failures=list(failures.values()), num_used=num_used)


def _planned(folder: Path, pattern: str) -> list[str]:
    """The keys in a stage's plans of batches."""
    batches = [batch for path in sorted(folder.glob(pattern)) for batch in json.loads(path.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(key for batch in batches for key in batch))


def _rounds(work: Work, evaluation: EvaluationReport) -> tuple[RoundSummary, ...]:
    """This round and those before it that were evaluated."""
    earlier = [
        summarise_round(round, found[-1])
        for round in range(work.round)
        if (found := work.used("7_evaluation", EvaluationReport, round=round))
    ]
    return (*earlier, summarise_round(work.round, evaluation))


def _shown(
    pairs: Sequence[PolicyPair],
    prompts: Mapping[str, Prompt],
    *,
    rewards: Mapping[str, float],
    p_after: Mapping[tuple[str, str], float],
    seed: int,
) -> tuple[ShownSample, ...]:
    """Drawn by the seed and the prompts alone, so that nobody chose them and every round shows the same."""

    def place(pair: PolicyPair) -> str:
        return digest_text(f"shown\n{seed}\n{pair.start.prompt_id}\n{pair.start.index}")

    shown = []
    for pair in sorted(pairs, key=place)[:SHOWN_SAMPLES]:
        shown.append(
            ShownSample(
                prompt=prompts[pair.start.prompt_id].messages,
                before=pair.start.text,
                after=pair.trained.text,
                reward_before=rewards.get(pair.start.id),
                reward_after=rewards.get(pair.trained.id),
                p_after=p_after.get((pair.start.id, pair.trained.id)),
            )
        )
    return tuple(shown)
