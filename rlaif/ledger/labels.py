"""A preference's id -> everything behind its label: comparisons, judges, weights, or people's labels.

Hands over records; computes and prints nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from rlaif.errors import InputError
from rlaif.ledger.store import Ledger
from rlaif.records import CalibrationCard, Comparison, Constitution, HumanLabel, Model, Panel, Preference, Use


class LabelDecision(NamedTuple):
    """Everything behind one label. A part that is None is not in the ledger."""

    preference: Preference
    comparisons: list[Comparison | None]
    """The preference's evidence, in its order; empty where people decided."""
    labels: list[HumanLabel]
    judges: dict[str, Model | None]
    weights: dict[str, float]
    """Weight of each judge, by its id."""
    constitution: Constitution | None
    calibration: CalibrationCard | None
    uses: list[Use]


def find_label(ledger: Ledger, prefix: str) -> LabelDecision | None:
    """Everything behind the preference whose id begins with `prefix`; None where there is none."""
    rows = ledger.rows(
        "SELECT id FROM preferences WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (prefix, prefix + "g")
    )
    if not prefix or not rows:
        return None
    if len(rows) > 1:
        raise InputError(f"several preferences have an id that begins with {prefix}", fix="give more of it")
    preference = ledger.find(Preference, [rows[0][0]])[rows[0][0]]
    found = ledger.find(Comparison, preference.evidence_ids) if preference.source == "judge" else {}
    comparisons = [found.get(key) for key in preference.evidence_ids] if preference.source == "judge" else []
    judge_ids = dict.fromkeys(comparison.judge_id for comparison in comparisons if comparison is not None)
    models = ledger.find(Model, judge_ids)
    panel = ledger.get(Panel, preference.judge_id) if preference.judge_id else None
    used = ledger.rows("SELECT id FROM uses WHERE record_id = ? ORDER BY seq LIMIT 1000", (preference.id,))
    return LabelDecision(
        preference=preference,
        comparisons=comparisons,
        labels=list(ledger.find(HumanLabel, preference.evidence_ids).values()) if not comparisons else [],
        judges={judge_id: models.get(judge_id) for judge_id in judge_ids},
        weights=dict.fromkeys(judge_ids, 1.0) | ({} if panel is None else panel.weights),
        constitution=ledger.get(Constitution, preference.constitution_id) if preference.constitution_id else None,
        calibration=ledger.get(CalibrationCard, preference.calibration_id) if preference.calibration_id else None,
        uses=list(ledger.find(Use, [row[0] for row in used]).values()),
    )


def find_labels_of(ledger: Ledger, comparison: Comparison) -> list[Preference]:
    """The preferences that a comparison went into."""
    rows = ledger.rows(
        "SELECT id FROM preferences WHERE prompt_id = ? ORDER BY seq LIMIT 1000", (comparison.prompt_id,)
    )
    found = ledger.find(Preference, [row[0] for row in rows]).values()
    return [preference for preference in found if comparison.id in preference.evidence_ids]
