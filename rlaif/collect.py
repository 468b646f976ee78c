"""A finished round -> what its report shows: the funnel, the judge, both models, the comparison.

Reads what the stages left in the ledger, the metrics and their folders. Renders nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlaif import __version__
from rlaif.evaluation.judge_health import JudgeHealth, compute_judge_health
from rlaif.evaluation.measures import compute_measures, load_measure
from rlaif.evaluation.policy import (
    PolicyPair,
    compute_behaviour,
    compute_pair_probabilities,
    compute_win_rate,
)
from rlaif.evaluation.report_input import (
    FunnelStage,
    Provenance,
    ReportInput,
    ShownSample,
    as_curve,
    make_evaluation_report,
)
from rlaif.evaluation.reward_model import (
    RewardModelQuality,
    ScoredPair,
    compute_proxy_win,
    compute_reward_model_quality,
)
from rlaif.judging.judge import Judging
from rlaif.preferences.export import digest_preferences
from rlaif.records import Comparison, FailedJudgement, Judgement, PreferenceRow, Prompt
from rlaif.reward_model.score import RewardModelScorer
from rlaif.runs import read_stage
from rlaif.work import FRONTDESK_MEASURE, STAGE_NAMES, Work

SHOWN_SAMPLES = 12


def collect_report(
    work: Work,
    *,
    prompts: Sequence[Prompt],
    pairs: Sequence[PolicyPair],
    judging: Judging,
    held_out: Sequence[PreferenceRow],
) -> ReportInput:
    """`pairs`: both policies' responses to the held-out prompts; `judging`: what the judge said of them."""
    by_id = {prompt.id: prompt for prompt in prompts}
    scorer = RewardModelScorer(work.reward_model)
    rewards = _rewards(scorer, pairs, by_id)
    p_after = compute_pair_probabilities(judging.comparisons, pairs=pairs, constitution=work.constitution)
    win_rate = compute_win_rate(judging.comparisons, pairs=pairs, constitution=work.constitution)
    measures = compute_measures(pairs, prompts=by_id, measures={spec: load_measure(spec) for spec in work.measures})
    policy_rows = work.metrics.read("policy")
    kl = policy_rows[-1].numbers.get("objective/kl") if policy_rows else None
    behaviour = compute_behaviour(pairs, kl=kl)
    start, trained = work.start_policy.fingerprint, work.trained_policy.fingerprint
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
                "judge": work.judge.fingerprint,
                "reward model": work.reward_model.fingerprint,
            },
            template_digest=work.template.digest,
            dataset_digest=digest_preferences(work.dataset_dir) if work.dataset_dir.is_dir() else None,
            ledger_seq=seq,
            ledger_head=head,
            config=work.config.model_dump(mode="json"),
        ),
        constitution=work.constitution,
        evaluation=make_evaluation_report(
            start_model_id=start.id,
            policy_model_id=trained.id,
            constitution_id=work.constitution.id,
            win_rate=win_rate,
            measures=measures,
            behaviour=behaviour,
        ),
        win_rate=win_rate,
        measures=measures,
        measures_note="simulated truth of the embedded world" if FRONTDESK_MEASURE in work.measures else "",
        funnel=(*_funnel(work), FunnelStage(name="evaluation", unit="questions", tally=judging.tally)),
        judge_health=_judge_health(work),
        reward_model=_reward_model_quality(scorer, held_out),
        reward_model_curve=as_curve(work.metrics.read("reward_model")),
        proxy_win=compute_proxy_win(rewards, pairs=pairs),
        policy_curve=as_curve(policy_rows),
        behaviour=behaviour,
        samples=_shown(pairs, by_id, rewards=rewards, p_after=p_after),
    )


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


def _judge_health(work: Work) -> JudgeHealth | None:
    comparisons = work.used("3_judgements", Comparison)
    if not comparisons:
        return None
    return compute_judge_health(
        comparisons,
        judgements=work.used("3_judgements", Judgement),
        failures=work.used("3_judgements", FailedJudgement),
    )


def _reward_model_quality(scorer: RewardModelScorer, rows: Sequence[PreferenceRow]) -> RewardModelQuality | None:
    chosen = scorer.score_each([(row.prompt, row.chosen) for row in rows])
    rejected = scorer.score_each([(row.prompt, row.rejected) for row in rows])
    scored = [
        ScoredPair(row.prompt.id, first, second, row.label, len(row.chosen), len(row.rejected))
        for row, first, second in zip(rows, chosen, rejected, strict=True)
        if isinstance(first, float) and isinstance(second, float)
    ]
    return compute_reward_model_quality(scored) if scored else None


def _shown(
    pairs: Sequence[PolicyPair],
    prompts: Mapping[str, Prompt],
    *,
    rewards: Mapping[str, float],
    p_after: Mapping[tuple[str, str], float],
) -> tuple[ShownSample, ...]:
    """The first pairs by prompt id: a draw that nobody chose."""
    shown = []
    for pair in sorted(pairs, key=lambda pair: pair.start.prompt_id)[:SHOWN_SAMPLES]:
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
