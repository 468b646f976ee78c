"""A finished round -> what its report shows: people, the judge, both models, the comparison.

Takes values, computes with `rlaif.evaluation`, and renders nothing. What the round cost is in costs.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from rlaif import __version__
from rlaif.cleaning.report import CleaningReport
from rlaif.config.evaluation import is_built_in
from rlaif.config.methods import BY_REWARDS, name_metrics
from rlaif.evaluation.best_of_n import Picks, bound_kl
from rlaif.evaluation.cost import StageCost
from rlaif.evaluation.measures import Measure, compute_measures, find_falls, load_measure
from rlaif.evaluation.people import estimate_win_rate
from rlaif.evaluation.policy import (
    Change,
    PolicyPair,
    compute_behaviour,
    compute_pair_probabilities,
    compute_win_rate,
)
from rlaif.evaluation.reward_calibration import compute_reward_calibration
from rlaif.evaluation.reward_misses import find_reward_misses
from rlaif.evaluation.reward_model import (
    ScoredPair,
    compute_proxy_win,
    compute_reward_model_quality,
)
from rlaif.judge_health.facts import check_judges, find_agreement
from rlaif.judging.judge import Judging
from rlaif.judging.panel import RunJudge
from rlaif.judging.stage import JudgedRound
from rlaif.ledger.sign_offs import StatedHead
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.ppo.log import EVALUATION, EVALUATIONS_FILE, read_kl
from rlaif.records import (
    CalibrationCard,
    Estimate,
    EvaluationReport,
    HumanLabel,
    Model,
    PolicyCard,
    PreferenceRow,
    Prompt,
    digest_text,
)
from rlaif.records.gate import GateResult
from rlaif.report.courses import collect_sources, read_responses
from rlaif.report.input import (
    BestOfN,
    FunnelStage,
    PeopleAndJudge,
    Provenance,
    ReportInput,
    RoundSummary,
    ShownSample,
    as_curve,
    make_evaluation_report,
    summarise_round,
)
from rlaif.report.labelled import LabelledRound, choose_for_trained, collect_people
from rlaif.reward_model.ensemble import Scorer, open_scorer, read_ensemble
from rlaif.training.metrics import MetricsLog

SHOWN_SAMPLES = 12


@dataclass(frozen=True)
class Evaluated:
    """What a round's evaluation made."""

    prompts: Sequence[Prompt]
    """Held-out prompts."""
    pairs: Sequence[PolicyPair]
    """Both policies' responses to them."""
    picks: Picks
    """Beside the starting policy's responses, those that the reward model chose among further ones."""
    judging: Judging
    """What the judge said of the pairs and the picks."""
    judge: Model
    """The judge of the evaluation."""
    judge_config: RunJudge
    start: Model
    """The policy that the run started from."""
    trained: Model
    """The policy that the round trained."""
    reward_model: LoadedModel | None
    """None where the round trained none."""
    held_out: Sequence[PreferenceRow]
    """Preferences that the reward model was not trained on."""
    labels: Sequence[HumanLabel] = ()
    """People's labels of pairs of both policies' responses."""


@dataclass(frozen=True)
class RoundFacts:
    """What the stages before the evaluation left."""

    judged: JudgedRound
    judges: Sequence[RunJudge]
    """Who labelled the pairs, as configured."""
    resolved: Mapping[str, Any]
    """Options that were not given, and what they came to."""
    measures: Sequence[str]
    has_simulated_measure: bool
    """Whether a measure is the embedded world's simulated truth."""
    funnel: Sequence[FunnelStage]
    metrics: MetricsLog
    policy_dir: Path
    """Folder of the method that trained by rewards, if one did."""
    policy_card: PolicyCard | None
    calibration: CalibrationCard | None
    labelled: LabelledRound | None
    """What people's labels are set beside; None where none had a part in the preferences."""
    dataset_digest: str | None
    ledger_head: StatedHead
    earlier: Sequence[tuple[int, EvaluationReport]]
    """The rounds before this one that were evaluated."""
    cleaning: Sequence[CleaningReport] = ()
    gates: Sequence[GateResult] = ()
    """What the gates between the stages said."""


def collect_report(facts: RoundFacts, evaluated: Evaluated, *, costs: Sequence[StageCost]) -> ReportInput:
    """Everything that the round's report shows. costs: what each stage of the round cost."""
    judged, judging, pairs, picks = facts.judged, evaluated.judging, evaluated.pairs, evaluated.picks
    constitution, draw_seed = judged.constitution, judged.draw_seed
    by_id = {prompt.id: prompt for prompt in evaluated.prompts}
    scorer = None if evaluated.reward_model is None else open_scorer(evaluated.reward_model)
    rewards = {} if scorer is None else _rewards(scorer, pairs, by_id)
    p_after = compute_pair_probabilities(
        judging.comparisons, pairs=pairs, constitution=constitution, draw_seed=draw_seed
    )
    win_rate = compute_win_rate(judging.comparisons, pairs=pairs, constitution=constitution, draw_seed=draw_seed)
    loaded_measures = {spec: load_measure(spec) for spec in facts.measures}
    measures = compute_measures(pairs, prompts=by_id, measures=loaded_measures)
    card = facts.policy_card
    method = "ppo" if card is None else card.method
    policy_rows = facts.metrics.read(name_metrics(method))
    is_by_rewards = method in BY_REWARDS
    behaviour = compute_behaviour(
        pairs, **_find_kl(card, facts.policy_dir / EVALUATIONS_FILE, start_id=evaluated.start.id)
    )
    proxy_win = compute_proxy_win(rewards, pairs=pairs)
    scored = [] if scorer is None else _score_held_out(scorer, evaluated.held_out)
    evaluation = make_evaluation_report(
        start_model_id=evaluated.start.id, policy_model_id=evaluated.trained.id, constitution_id=constitution.id,
        win_rate=win_rate, measures=measures, behaviour=behaviour, proxy_win=proxy_win, judge_id=evaluated.judge.id,
    )  # fmt: skip
    same_judge = _is_same_judge(judged, evaluated)
    judges = check_judges(judged, measures=facts.measures, has_simulated_measure=facts.has_simulated_measure)
    return ReportInput(
        provenance=_find_provenance(facts, evaluated, same_judge=same_judge),
        constitution=constitution,
        evaluation=evaluation,
        same_judge=same_judge,
        win_rate=win_rate,
        measures=measures,
        measures_note="simulated truth of the embedded world" if facts.has_simulated_measure else "",
        funnel=(*facts.funnel, FunnelStage(name="evaluation", unit="questions", tally=judging.tally)),
        cleaning=tuple(facts.cleaning),
        gates=tuple(facts.gates),
        calibration=facts.calibration,
        calibration_is_applied=facts.calibration is not None and not judged.labels,
        people=_collect_people(
            facts, evaluated, held_out=scored, measures=loaded_measures, moved=measures, p_after=p_after
        ),
        judge_health=judges[0].health if judges else None,
        judges=tuple(judges),
        panel=find_agreement(judged),
        reward_model=compute_reward_model_quality(scored) if scored else None,
        reward_models=None if evaluated.reward_model is None else read_ensemble(evaluated.reward_model.folder),
        reward_calibration=compute_reward_calibration(scored),
        reward_misses=find_reward_misses(scored),
        reward_model_curve=as_curve(facts.metrics.read("reward_model")),
        proxy_win=proxy_win,
        policy_method=method,
        policy_curve=as_curve(policy_rows),
        reward_sources=collect_sources(judged.config.ppo.rewards, policy_rows),
        policy_evaluations=as_curve(facts.metrics.read(EVALUATION)) if is_by_rewards else (),
        alarms=() if card is None else card.alarms,
        kept_steps=card.num_steps if card is not None and is_by_rewards else None,
        response_courses=tuple(read_responses(judged.ledger, facts.policy_dir / EVALUATIONS_FILE)),
        behaviour=behaviour,
        costs=tuple(costs),
        samples=_shown(
            pairs,
            by_id,
            rewards=rewards,
            p_after=p_after,
            seed=judged.config.seed,
            measures={spec: measure for spec, measure in loaded_measures.items() if not is_built_in(spec)},
        ),
        samples_drawn_from=len(pairs),
        best_of_n=_best_of_n(facts, evaluated, prompts=by_id) if picks.pairs else None,
        rounds=_rounds(facts, evaluation),
    )


def _collect_people(
    facts: RoundFacts,
    evaluated: Evaluated,
    *,
    held_out: Sequence[ScoredPair],
    measures: Mapping[str, Measure],
    moved: Mapping[str, Change],
    p_after: Mapping[tuple[str, str], float],
) -> PeopleAndJudge | None:
    """What people's labels say and did; None where there are none, neither of judged pairs nor of evaluated ones."""
    pairs, labels = evaluated.pairs, evaluated.labels
    win_rate = estimate_win_rate(pairs, p_after=p_after, chosen=choose_for_trained(labels, pairs)) if labels else None
    if facts.labelled is None:
        return None if win_rate is None else PeopleAndJudge(win_rate=win_rate)
    by_id = {prompt.id: prompt for prompt in evaluated.prompts}
    people = collect_people(
        facts.labelled, held_out=held_out, measures=measures, moved=moved, pairs=pairs, prompts=by_id
    )
    return people.model_copy(update={"win_rate": win_rate})


def _find_provenance(facts: RoundFacts, evaluated: Evaluated, *, same_judge: bool | None) -> Provenance:
    judged = facts.judged
    scored_by = {} if evaluated.reward_model is None else {"reward model": evaluated.reward_model.fingerprint}
    return Provenance(
        run=judged.run,
        round=judged.number,
        rlaif_version=__version__,
        seed=judged.config.seed,
        models={
            "start policy": evaluated.start,
            "trained policy": evaluated.trained,
            **_judges(facts, evaluated, same=same_judge),
            **scored_by,
        },
        template_digest=facts.judges[0].template.digest,
        evaluation_template_digest=None if same_judge else evaluated.judge_config.template.digest,
        dataset_digest=facts.dataset_digest,
        ledger_seq=facts.ledger_head.seq,
        ledger_head=facts.ledger_head.hex,
        signed_heads=tuple(one.describe() for one in facts.ledger_head.signed),
        config=judged.config.model_dump(mode="json"),
        resolved=facts.resolved,
    )


class _FoundKl(TypedDict):
    kl: float | None
    kl_interval: Estimate | None


def _find_kl(card: PolicyCard | None, evaluations_path: Path, *, start_id: str) -> _FoundKl:
    """The KL of the kept policy on held-out prompts; where training evaluated nothing, that of its last responses.

    None where no method measures it, or against another policy than the starting one.
    """
    if card is None or card.method not in BY_REWARDS or card.reference_model_id != start_id:
        return {"kl": None, "kl_interval": None}
    measured = None if card.num_steps is None else read_kl(evaluations_path, step=card.num_steps)
    return {"kl": card.metrics.get("objective/kl") if measured is None else measured.mean, "kl_interval": measured}


def _is_same_judge(judged: JudgedRound, evaluated: Evaluated) -> bool | None:
    """Whether model and template of the evaluation made this round's labels too; None where no judge here did."""
    labelled_by = {(q.judge_id, q.template_digest) for q in judged.questions}
    here = (evaluated.judge.id, evaluated.judge_config.template.digest)
    return here in labelled_by if labelled_by else None


def _judges(facts: RoundFacts, evaluated: Evaluated, *, same: bool | None) -> dict[str, Model]:
    """Who made the labels, and who evaluates where that is none of them."""
    evaluates = evaluated.judge
    if same is None or (same and len(facts.judges) == 1):
        return {"judge": evaluates}
    ids = dict.fromkeys(question.judge_id for question in facts.judged.questions)
    models = facts.judged.ledger.find(Model, ids)
    labelled = [models[judge_id] for judge_id in ids if judge_id in models]
    roles = {"judge" if n == 1 else f"judge {n}": model for n, model in enumerate(labelled, start=1)}
    return roles if same else {**roles, "evaluation judge": evaluates}


def _rewards(scorer: Scorer, pairs: Sequence[PolicyPair], prompts: Mapping[str, Prompt]) -> dict[str, float]:
    samples = [sample for pair in pairs for sample in pair]
    outcomes = scorer.score_each([(prompts[sample.prompt_id], sample.text) for sample in samples])
    return {s.id: o for s, o in zip(samples, outcomes, strict=True) if isinstance(o, float)}


def _score_held_out(scorer: Scorer, rows: Sequence[PreferenceRow]) -> list[ScoredPair]:
    """The held-out preferences that count and whose two rewards are both known."""
    rows = [row for row in rows if row.weight > 0]
    chosen = scorer.score_each([(row.prompt, row.chosen) for row in rows])
    rejected = scorer.score_each([(row.prompt, row.rejected) for row in rows])
    return [
        ScoredPair(
            prompt_id=row.prompt.id,
            score_first=first,
            score_second=second,
            label=row.label,
            length_first=len(row.chosen),
            length_second=len(row.rejected),
            weight=row.weight,
            source=row.source,
            responses=(row.chosen, row.rejected),
        )
        for row, first, second in zip(rows, chosen, rejected, strict=True)
        if isinstance(first, float) and isinstance(second, float)
    ]


def _best_of_n(facts: RoundFacts, evaluated: Evaluated, *, prompts: Mapping[str, Prompt]) -> BestOfN:
    n, judged = facts.judged.config.evaluation.best_of, facts.judged
    measures = {spec: load_measure(spec) for spec in facts.measures}
    return BestOfN(
        n=n,
        measures=compute_measures(evaluated.picks.pairs, prompts=prompts, measures=measures),
        win_rate=compute_win_rate(
            evaluated.judging.comparisons, pairs=evaluated.picks.pairs, constitution=judged.constitution,
            draw_seed=judged.draw_seed,
        ),
        kl_bound=bound_kl(n),
    )  # fmt: skip


def _rounds(facts: RoundFacts, evaluation: EvaluationReport) -> tuple[RoundSummary, ...]:
    """This round and those before it that were evaluated."""
    earlier = [summarise_round(number, found) for number, found in facts.earlier]
    return (*earlier, summarise_round(facts.judged.number, evaluation))


def _shown(
    pairs: Sequence[PolicyPair],
    prompts: Mapping[str, Prompt],
    *,
    rewards: Mapping[str, float],
    p_after: Mapping[tuple[str, str], float],
    measures: Mapping[str, Measure],
    seed: int,
) -> tuple[ShownSample, ...]:
    """Drawn by the seed and the prompts alone, so that nobody chose them and every round shows the same."""

    def place(pair: PolicyPair) -> str:
        return digest_text(f"shown\n{seed}\n{pair.start.prompt_id}\n{pair.start.index}")

    drawn = sorted(pairs, key=place)[:SHOWN_SAMPLES]
    fell = find_falls(drawn, prompts=prompts, measures=measures)
    shown = []
    for pair in drawn:
        shown.append(
            ShownSample(
                prompt=prompts[pair.start.prompt_id].messages,
                before=pair.start.text,
                after=pair.trained.text,
                reward_before=rewards.get(pair.start.id),
                reward_after=rewards.get(pair.trained.id),
                p_after=p_after.get((pair.start.id, pair.trained.id)),
                fell=fell.get((pair.start.id, pair.trained.id), {}),
            )
        )
    return tuple(shown)
