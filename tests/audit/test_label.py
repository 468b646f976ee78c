"""The steps that a label took, as a person is shown them."""

from __future__ import annotations

import pytest

from rlaif.audit.label import LabelView, label_view
from rlaif.ledger.labels import LabelDecision
from rlaif.records import (
    Agreement,
    CalibrationCard,
    CalibrationMap,
    Estimate,
    HumanLabel,
    PartMap,
    Preference,
    Verdict,
)

AGREEMENT = Agreement(n=1, share=Estimate(mean=1.0, low=0.2, high=1.0, n=1), kappa=None, ac1=None, base_rates={})


def view(
    preference: Preference, *, labels: list[HumanLabel] | None = None, map: CalibrationMap | None = None
) -> LabelView:
    card = None if map is None else CalibrationCard(
        judge_id="j", constitution_id="c", labels_digest="d", num_labels=1, num_annotators=1, simulated=False,
        before=AGREEMENT, after=AGREEMENT, between_people=None, map=map, log_loss={}, human_weight=5.0,
    )  # fmt: skip
    found = LabelDecision(
        preference=preference, comparisons=[], labels=labels or [], judges={}, weights={}, constitution=None,
        calibration=card, uses=[],
    )  # fmt: skip
    return label_view(found)


def test_a_calibration_with_parts_shows_the_slope_of_each() -> None:
    parts = (PartMap(name="polite", slope=0.9, length=-0.2), PartMap(name="brief", slope=0.4))
    made = Preference(prompt_id="p", sample_ids=("a", "b"), label=0.7, evidence_ids=("x",), calibration_id="card")
    steps = view(made, map=CalibrationMap(kind="pooled", slope=0.6, by_principle=parts)).steps
    assert [(fact.name.strip(), fact.text) for fact in steps if "slope" in fact.text] == [
        ("calibrated", "pooled, slope 0.6000, length +0.0000"),
        ("polite", "slope 0.9000, length -0.2000"),
        ("brief", "slope 0.4000, length +0.0000"),
    ]


@pytest.mark.parametrize(("label", "said"), [(2 / 3, "the mean of people's choices"), (0.9, "how often each of them")])
def test_a_label_of_people_says_how_their_choices_made_it(label: float, said: str) -> None:
    choices: list[tuple[str, Verdict, tuple[str, str]]] = [
        ("ann", "first", ("a", "b")), ("bob", "second", ("b", "a")), ("cem", "second", ("a", "b")),
    ]  # fmt: skip
    labels = [HumanLabel(annotator=who, prompt_id="p", sample_ids=ids, choice=choice) for who, choice, ids in choices]
    made = Preference(prompt_id="p", sample_ids=("a", "b"), label=label, source="human", evidence_ids=("x",))
    [step] = [fact for fact in view(made, labels=labels).steps if fact.name == "made"]
    assert said in step.text
