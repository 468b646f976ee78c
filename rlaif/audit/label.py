"""A label as a person reads it: what every comparison said, what it counted as, and each step from there.

Takes what the ledger found, returns lines for the terminal. Text from models and data sets goes through `show_text`
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.text import Text

from rlaif.config.preferences import PreferencesConfig
from rlaif.console import show_text

if TYPE_CHECKING:
    from rlaif.ledger.labels import LabelDecision
    from rlaif.records import Comparison, CountedAs, Preference

WHY = {
    "": "",
    "orders_disagree": "a tie, as its two orders disagree",
    "not_drawn": "nothing: its principle was not drawn for this pair",
    "not_dominant": "nothing: under another principle the judge is surer",
}


def label_parts(found: LabelDecision) -> Iterator[Text]:
    """Everything about the label, from its evidence to what training reads."""
    preference = found.preference
    yield Text(f"preference {preference.id}", style="bold")
    yield _line("prompt", preference.prompt_id)
    if preference.kind == "choice":
        for sample_id, share in zip(preference.sample_ids, preference.shares, strict=True):
            yield _line("response", f"{sample_id}, the best with p {share:.4f}")
    else:
        yield _line("pair", " and ".join(preference.sample_ids))
        yield _line("label", f"{preference.label:.4f} that the first is preferred, weight {preference.weight:g}")
    if found.constitution is not None:
        yield _line("constitution", f"{found.constitution.name} ({found.constitution.id})")
    yield from _evidence(found)
    yield from _steps(found)
    for use in found.uses:
        yield _line("used by", f"run {use.run}, round {use.round}, stage {use.stage}")


def label_line(preference: Preference) -> Text:
    """One of the labels that a comparison went into."""
    return _line("went into", f"preference {preference.id}, label {preference.label:.4f}")


def _evidence(found: LabelDecision) -> Iterator[Text]:
    weights = {p.id: p.weight for p in found.constitution.principles} if found.constitution is not None else {}
    making = found.preference.making
    several = len(found.judges) > 1
    for number, comparison in enumerate(found.comparisons):
        yield Text("")
        if comparison is None:
            yield _line("comparison", f"{found.preference.evidence_ids[number]} is not in the ledger")
            continue
        yield Text(f"comparison {comparison.id}", style="bold")
        name = comparison.principle.id
        yield _line("principle", f"{name}, weight {weights[name]:g}" if name in weights else name)
        model = found.judges[comparison.judge_id]
        judge = PurePath(model.observed.name).name if model is not None else comparison.judge_id
        yield _line("judge", f"{judge}, weight {found.weights[comparison.judge_id]:g}" if several else judge)
        yield from _said(comparison)
        if making is not None and making.counted:
            yield _line("counts as", _counted(making.counted[number]))
    for label in found.labels:
        yield _line("label by", f"{label.annotator}: {label.choice} of {' and '.join(label.sample_ids)}")


def _said(comparison: Comparison) -> Iterator[Text]:
    yield _line("says", _probability(comparison.p_first, comparison.logit))
    for number, order in enumerate(comparison.orders, start=1):
        logit = "" if order.logit is None else f", logit {order.logit:+.4f}"
        yield _line(f"order {number}", f"{order.verdict} of the pair{logit}")


def _counted(counted: CountedAs) -> str:
    if not counted.is_used:
        return WHY[counted.why]
    shown = _probability(counted.p_first, counted.logit)
    return f"{shown} ({WHY[counted.why]})" if counted.why else shown


def _steps(found: LabelDecision) -> Iterator[Text]:
    preference, making = found.preference, found.preference.making
    yield Text("")
    if preference.source == "human":
        yield _line("made", "the mean of people's choices, which stands instead of the judge's label")
        return
    mean = "the mean of the log-odds, of probabilities where log-odds are missing, weighted over principles"
    yield _line("made", f"{mean}{', then over judges' if len(found.judges) > 1 else ''}")
    if making is not None:
        for sentence in PreferencesConfig.model_validate(making.options).describe_making():
            yield _line("but", sentence)
        if preference.kind != "choice":
            yield _line("combined", f"{making.combined:.4f}")
    if found.calibration is not None:
        map = found.calibration.map
        shown = "" if making is None or making.calibrated is None else f"{making.calibrated:.4f}, "
        yield _line("calibrated", f"{shown}{map.kind}, slope {map.slope:.4f}, length {map.length:+.4f}")
    if making is not None and making.turned:
        yield _line("turned round", "by the label noise")
    if preference.kind != "choice":
        yield _line("label", f"{preference.label:.4f}")


def _probability(p: float, logit: float | None) -> str:
    return f"p {p:.4f}, logit {'not known' if logit is None else f'{logit:+.4f}'}"


def _line(label: str, value: str) -> Text:
    return Text(f"{label:>20}  ", style="cyan") + show_text(value)
