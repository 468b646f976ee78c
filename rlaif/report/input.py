"""What a report shows, as frozen values: parts may be missing, and the report then says so.

collect.py fills them from records and numbers. Renders nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from rlaif.calibration.people import AgreementReport
from rlaif.cleaning.report import CleaningReport
from rlaif.evaluation.cost import StageCost
from rlaif.evaluation.leanings import Leaning
from rlaif.evaluation.people import CalibrationEffect, HonestRate, Predictor
from rlaif.evaluation.policy import Behaviour, Change, WinRate, list_figures
from rlaif.evaluation.reward_calibration import RewardCalibration
from rlaif.evaluation.reward_misses import RewardMiss
from rlaif.evaluation.reward_model import ProxyWin, RewardModelQuality
from rlaif.evaluation.votes import VerifiedAnswers
from rlaif.judge_health.health import JudgeHealth
from rlaif.judge_health.panel import CheckedJudge, PanelAgreement
from rlaif.records import (
    Alarm,
    CalibrationCard,
    Constitution,
    Estimate,
    EvaluationReport,
    Message,
    Model,
    Tally,
    Verdict,
)
from rlaif.records.base import Value
from rlaif.records.gate import GateResult
from rlaif.reward_model.held_out import Ensemble
from rlaif.reward_model.source_trials import SourceTrial
from rlaif.training.metrics import MetricsRow


class FunnelStage(Value):
    """What one stage took in, kept and dropped."""

    name: str
    """prompts, samples, judgements, preferences, reward model, policy or evaluation."""
    unit: str
    """What is counted: prompts, responses, questions, pairs, ..."""
    tally: Tally


class CurvePoint(Value):
    """One step of a training."""

    step: int
    numbers: dict[str, float | None]


class ShownSample(Value):
    """One prompt with a response of each policy. All of its text is untrusted."""

    prompt: tuple[Message, ...]
    before: str
    after: str
    reward_before: float | None = None
    reward_after: float | None = None
    p_after: float | None = Field(None, ge=0, le=1)
    """The judge's probability that the trained policy's response is better."""
    fell: dict[str, tuple[float, float]] = {}
    """Measures that fell by half of their range or more, from the response before to the one after: both values."""


class RewardCourse(Value):
    """How the scores of one source of PPO's rewards changed during training."""

    name: str
    weight: float
    first: float
    last: float
    """Mean scores of the first step's responses and of the last step's."""
    failed: dict[str, int] = {}
    """Responses without a score, by cause, over all steps."""


class ResponseAt(Value):
    """A response of the policy in training. Its text is untrusted."""

    step: int
    """Steps that were done."""
    text: str
    score: float
    """The reward that the policy is trained on."""
    kl: float
    """KL to the reference policy, in nats."""


class ResponseCourse(Value):
    """One held-out prompt, and the policy's responses to it during training."""

    prompt: tuple[Message, ...]
    responses: tuple[ResponseAt, ...]


class Trained(Value):
    """How both trainings of a round went, as far as they are: of a round that has no report yet too."""

    reward_model_curve: tuple[CurvePoint, ...] = ()
    policy_method: str = "ppo"
    """The method that trained the policy; of several, the last one."""
    policy_curve: tuple[CurvePoint, ...] = ()
    policy_evaluations: tuple[CurvePoint, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    kept_steps: int | None = None
    """Steps that are in the trained policy's weights; None: not known."""
    response_courses: tuple[ResponseCourse, ...] = ()


class ShownDisagreement(Value):
    """A pair on which the judge says something else than people. Its texts are untrusted."""

    principle: str
    sample_ids: tuple[str, str]
    """The two samples in canonical order; the first is `first`."""
    prompt: tuple[Message, ...]
    first: str
    second: str
    choices: dict[str, Verdict]
    """Person -> choice."""
    p_first: float
    """The judge's probability that the first is better."""
    calibrated: float
    """The same after a calibration that did not see the pair's prompt."""


class ReadoutLoss(Value):
    """What read-outs of the reward model's base know of rows whose prompts they did not see: the cross-validated log
    loss of people's choices, in nats, and how well pairs of each source are ordered."""

    with_people: float
    without: float
    """By the judge's rows alone."""
    weight: float
    """What a row of people's counts in the first one."""
    by_source: tuple[SourceTrial, ...] = ()


class PeopleAndJudge(Value):
    """What people's labels say of the judge, and what they did to the labels and to the policy."""

    agreement: AgreementReport | None = None
    """People with one another, and the judge as it was with them; None where the labels are of another run."""
    is_drawn: bool = False
    """Whether each label has the probability with which its item was drawn, so that figures are about all pairs."""
    reliability_before: RewardCalibration | None = None
    reliability_after: RewardCalibration | None = None
    """Are the judge's labels as often right as they say: as they came, and calibrated without the item's prompt."""
    accuracy: HonestRate | None = None
    """How often the judge takes the side that people would take; None where draw probabilities are not known."""
    disagreements: tuple[ShownDisagreement, ...] = ()
    """Some of those that `agreement` lists, those of which the judge was surest first."""
    effect: CalibrationEffect | None = None
    predictors: tuple[Predictor, ...] = ()
    """Who predicts people's choices on the pairs that the reward model was not trained on."""
    readout: ReadoutLoss | None = None
    """What people's rows are worth to the reward model; None where that was not measured."""
    leanings: tuple[Leaning, ...] = ()
    """What the labels lean to, before and after people's labels, and how the policy moved."""
    win_rate: HonestRate | None = None
    """Win rate of the trained policy over the start by what people would say; None where nobody labelled such pairs."""


class BestOfN(Value):
    """The change without training: of n responses of the starting policy, the most rewarded one."""

    n: int = Field(ge=2)
    measures: dict[str, Change]
    """Each measure of the starting policy, and of the best of n by the reward model, on the same prompts."""
    win_rate: WinRate | None = None
    """Win rate of the best of n over the starting policy's single response."""
    kl_bound: float
    """log n - (n - 1) / n, nats per response: the most that choosing can move from the starting policy."""


class RoundSummary(Value):
    """The results of one of several rounds."""

    round: int
    proxy_reward: float | None = None
    """How much more the round's reward model gives to the trained policy's responses than to the start's."""
    kl: float | None = None
    """KL to the policy that the run started from, in nats per response. With an interval it was measured for the
    round's policy on held-out prompts; without, for the responses that the last step trained on."""
    kl_low: float | None = None
    kl_high: float | None = None
    win_rate: Estimate | None = None
    """Win rate over the policy that the run started from."""
    measures: dict[str, Estimate] = {}
    """Measures of the round's policy, on the same held-out prompts in every round."""


class Provenance(Value):
    """Where the numbers come from, and how to prove it."""

    run: str
    round: int = 0
    rlaif_version: str
    seed: int
    models: dict[str, Model]
    """Role (start policy, trained policy, judge, reward model) -> fingerprint."""
    template_digest: str | None = None
    evaluation_template_digest: str | None = None
    """Template of the judge of the win rate; None: it is the template that the labels were made with."""
    dataset_digest: str | None = None
    ledger_seq: int | None = None
    ledger_head: str | None = None
    """The chain's head when the report was written: `rlaif audit verify` finds any change before it."""
    signed_heads: tuple[str, ...] = ()
    """Earlier heads that people signed, each in words."""
    config: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    """Options that were not set and whose value follows from a model; `config` holds them too."""


class ReportInput(Value):
    provenance: Provenance
    constitution: Constitution
    evaluation: EvaluationReport
    same_judge: bool | None = None
    """Whether the judge of the win rate also made the labels that training learnt from; None: not known."""
    win_rate: WinRate | None = None
    verified: VerifiedAnswers | None = Field(None, exclude_if=lambda answers: answers is None)
    """Right answers by the verifier; None where there is none."""
    measures: dict[str, Change] = {}
    measures_note: str = ""
    """Where the measures come from, for instance "simulated truth of the embedded world"."""
    funnel: tuple[FunnelStage, ...] = ()
    cleaning: tuple[CleaningReport, ...] = Field((), exclude_if=lambda reports: not reports)
    """What cleaning found in prompts, demonstrations and preferences; those in which it was not asked for are left
    out."""
    gates: tuple[GateResult, ...] = Field((), exclude_if=lambda gates: not gates)
    """Gates between the stages of this round, which it passed."""
    calibration: CalibrationCard | None = None
    """How the judge agrees with people's labels; None: there are none."""
    calibration_is_applied: bool = False
    """Whether the calibration was fitted before, to labels of another run's responses."""
    people: PeopleAndJudge | None = None
    """What people's labels say and did; None where none had a part in this round's preferences."""
    judge_health: JudgeHealth | None = None
    """Health of the judge that made the labels; for a panel, of its first judge."""
    judges: tuple[CheckedJudge, ...] = ()
    """Every judge that made the labels."""
    panel: PanelAgreement | None = None
    """How far the judges agree; None: there was only one."""
    reward_model: RewardModelQuality | None = None
    reward_models: Ensemble | None = None
    """The members' disagreement, where the reward model is the mean of several."""
    reward_calibration: RewardCalibration | None = None
    reward_misses: tuple[RewardMiss, ...] = ()
    """Held-out pairs on which the reward model prefers the reply that the label does not. For the audit, not shown."""
    reward_model_curve: tuple[CurvePoint, ...] = ()
    proxy_win: ProxyWin | None = None
    policy_method: str = "ppo"
    """The last training method, whose curve is shown."""
    policy_curve: tuple[CurvePoint, ...] = ()
    reward_sources: tuple[RewardCourse, ...] = ()
    """The sources of PPO's rewards."""
    policy_evaluations: tuple[CurvePoint, ...] = ()
    """Evaluations during training, on the same held-out prompts each time; `step` is the number of steps done."""
    alarms: tuple[Alarm, ...] = ()
    kept_steps: int | None = None
    """Steps that are in the trained policy's weights; None: not known."""
    response_courses: tuple[ResponseCourse, ...] = ()
    behaviour: Behaviour | None = None
    costs: tuple[StageCost, ...] = ()
    samples: tuple[ShownSample, ...] = ()
    """Responses of both policies, drawn by the seed alone."""
    samples_drawn_from: int | None = None
    """How many pairs of responses there were to draw from."""
    best_of_n: BestOfN | None = None
    rounds: tuple[RoundSummary, ...] = ()
    """The rounds in order, this round last; shown when there are two or more."""


def as_curve(rows: Sequence[MetricsRow]) -> tuple[CurvePoint, ...]:
    """Rows of metrics.jsonl as the points of a curve."""
    return tuple(CurvePoint(step=row.step, numbers=dict(row.numbers)) for row in rows)


def make_evaluation_report(
    *,
    start_model_id: str,
    policy_model_id: str,
    constitution_id: str,
    win_rate: WinRate | None,
    measures: dict[str, Change],
    behaviour: Behaviour | None,
    proxy_win: ProxyWin | None = None,
    judge_id: str | None = None,
    verified: VerifiedAnswers | None = None,
) -> EvaluationReport:
    """The ledger's record of an evaluation; the win rates are the soft ones."""
    figures = list_figures(behaviour) if behaviour else {}
    if proxy_win is not None:
        figures |= {"reward_before": proxy_win.reward.mean_before, "reward_after": proxy_win.reward.mean_after}
    if verified is not None:
        figures |= verified.figures
    return EvaluationReport(
        start_model_id=start_model_id,
        policy_model_id=policy_model_id,
        constitution_id=constitution_id,
        win_rate=win_rate.soft if win_rate else None,
        win_rate_by_principle=win_rate.soft_by_principle if win_rate else {},
        win_rate_at_equal_length=win_rate.length_controlled.win_rate
        if win_rate and win_rate.length_controlled
        else None,
        judge_id=judge_id,
        measures_before={name: change.before for name, change in measures.items() if change.before},
        measures_after={name: change.after for name, change in measures.items() if change.after},
        measures_change={name: change.change for name, change in measures.items() if change.change},
        figures=figures,
    )


def summarise_round(round: int, evaluation: EvaluationReport) -> RoundSummary:
    """The summary of a round, from the record of its evaluation."""
    return RoundSummary(
        round=round,
        proxy_reward=evaluation.proxy_reward,
        kl=evaluation.figures.get("kl"),
        kl_low=evaluation.figures.get("kl_low"),
        kl_high=evaluation.figures.get("kl_high"),
        win_rate=evaluation.win_rate,
        measures=evaluation.measures_after,
    )
