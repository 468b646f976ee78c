"""The nouns of the program: a file per noun, a table of the ledger per record class."""

from rlaif.records.base import Observed, Record, Served, Value, digest_bytes, digest_text
from rlaif.records.calibration import TIE_BAND, Agreement, CalibrationCard, CalibrationMap, MapKind
from rlaif.records.cards import Alarm, Estimate, EvaluationReport, PolicyCard, RewardModelCard, Use
from rlaif.records.constitution import Constitution, Principle
from rlaif.records.human_label import HumanLabel
from rlaif.records.judgement import (
    AskedPrinciple,
    Comparison,
    FailedJudgement,
    FailureCause,
    Judgement,
    OrderVerdict,
    Question,
    Verdict,
    VerdictLogprob,
)
from rlaif.records.panel import Panel, PanelMember
from rlaif.records.preference import CountedAs, LabelMaking, Preference
from rlaif.records.preference_row import ChoiceRow, PreferenceRow
from rlaif.records.prompt import Demonstration, Message, Prompt, Segment, SegmentedMessage, split_of
from rlaif.records.sample import (
    FinishReason,
    Model,
    ModelObserved,
    Sample,
    SamplingParams,
    sample_request_key,
)
from rlaif.records.tally import Tally

RECORD_TYPES: tuple[type[Record], ...] = (
    Prompt, Demonstration, Model, Sample, Constitution, Panel, Question, Judgement, FailedJudgement, Comparison,
    HumanLabel, CalibrationCard, Preference, RewardModelCard, PolicyCard, EvaluationReport, Use,
)  # fmt: skip

__all__ = [
    "RECORD_TYPES",
    "TIE_BAND",
    "Agreement",
    "Alarm",
    "AskedPrinciple",
    "CalibrationCard",
    "CalibrationMap",
    "ChoiceRow",
    "Comparison",
    "Constitution",
    "CountedAs",
    "Demonstration",
    "Estimate",
    "EvaluationReport",
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
    "PolicyCard",
    "Preference",
    "PreferenceRow",
    "Principle",
    "Prompt",
    "Question",
    "Record",
    "RewardModelCard",
    "Sample",
    "SamplingParams",
    "Segment",
    "SegmentedMessage",
    "Served",
    "Tally",
    "Use",
    "Value",
    "Verdict",
    "VerdictLogprob",
    "digest_bytes",
    "digest_text",
    "sample_request_key",
    "split_of",
]  # fmt: skip
