"""The records of the program: frozen values named by a hash of their content. Each record class is a ledger table.

base: what all records share: the content, its hash, and texts stored apart
prompt: prompts, demonstrations and the parts of a rendered prompt
sample: responses, the models that made them, and how they were sampled
constitution: a principle file and its principles
panel: several judges who decide together
judgement: questions to a judge, its answers, failures, and pairs compared in both orders
human_label: what people said of a pair
spot_check: which pairs were drawn for people to label, and with what probability
edit_test: a test of an edited principle file by people: what was fixed beforehand, and what came out
dispute: what a person says of one decision of the judge
sign_off: a head of the chain that somebody signed, taken in
calibration: how people and judge agree, and the map from the judge's labels to calibrated ones
preference: what training reads, by ids
preference_row: the same as texts, as in an exported preference set
gate: what a gate between two stages said
cards: what was trained or measured, alarms, and which stage used which record
tally: how many items a stage took in, kept and dropped
"""

from rlaif.records.base import Observed, Record, Served, Value, digest_bytes, digest_text
from rlaif.records.calibration import (
    TIE_BAND,
    Agreement,
    CalibrationCard,
    CalibrationMap,
    MapKind,
    PartMap,
    TransportCheck,
)
from rlaif.records.cards import Alarm, Estimate, EvaluationReport, PolicyCard, RewardModelCard, Use
from rlaif.records.constitution import Constitution, Example, Principle
from rlaif.records.dispute import Dispute, DisputeReason, Says
from rlaif.records.edit_test import Decision, EditItem, EditOutcome, EditTest
from rlaif.records.human_label import HumanLabel
from rlaif.records.judgement import (
    Comparison,
    FailedJudgement,
    FailureCause,
    Judgement,
    OrderVerdict,
    PrincipleKey,
    Question,
    Verdict,
    VerdictLogprob,
)
from rlaif.records.panel import Panel, PanelMember
from rlaif.records.preference import CountedAs, LabelMaking, Preference
from rlaif.records.preference_row import ChoiceRow, PreferenceRow, RankingRow, RatedRow, Source, TrainingRow
from rlaif.records.prompt import (
    Demonstration,
    Message,
    Prompt,
    Segment,
    SegmentedMessage,
    find_held_out,
    put_before,
    split_of,
)
from rlaif.records.sample import (
    FinishReason,
    Model,
    ModelObserved,
    Sample,
    SamplingParams,
    sample_request_key,
)
from rlaif.records.sign_off import SignOff
from rlaif.records.spot_check import Design, DrawnItem, SpotCheck
from rlaif.records.tally import Tally

RECORD_TYPES: tuple[type[Record], ...] = (
    Prompt, Demonstration, Model, Sample, Constitution, Panel, Question, Judgement, FailedJudgement, Comparison,
    HumanLabel, SpotCheck, EditTest, EditOutcome, Dispute, SignOff, CalibrationCard, Preference, RewardModelCard,
    PolicyCard, EvaluationReport, Use,
)  # fmt: skip

__all__ = [
    "RECORD_TYPES",
    "TIE_BAND",
    "Agreement",
    "Alarm",
    "CalibrationCard",
    "CalibrationMap",
    "ChoiceRow",
    "Comparison",
    "Constitution",
    "CountedAs",
    "Decision",
    "Demonstration",
    "Design",
    "Dispute",
    "DisputeReason",
    "DrawnItem",
    "EditItem",
    "EditOutcome",
    "EditTest",
    "Estimate",
    "EvaluationReport",
    "Example",
    "FailedJudgement",
    "FailureCause",
    "FinishReason",
    "HumanLabel",
    "Judgement",
    "LabelMaking",
    "MapKind",
    "Message",
    "Model",
    "ModelObserved",
    "Observed",
    "OrderVerdict",
    "Panel",
    "PanelMember",
    "PartMap",
    "PolicyCard",
    "Preference",
    "PreferenceRow",
    "Principle",
    "PrincipleKey",
    "Prompt",
    "Question",
    "RankingRow",
    "RatedRow",
    "Record",
    "RewardModelCard",
    "Sample",
    "SamplingParams",
    "Says",
    "Segment",
    "SegmentedMessage",
    "Served",
    "SignOff",
    "Source",
    "SpotCheck",
    "Tally",
    "TrainingRow",
    "TransportCheck",
    "Use",
    "Value",
    "Verdict",
    "VerdictLogprob",
    "digest_bytes",
    "digest_text",
    "find_held_out",
    "put_before",
    "sample_request_key",
    "split_of",
]  # fmt: skip
