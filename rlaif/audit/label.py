"""A label -> everything that a person is shown of it: what each comparison said and counted as, and every step since.

Takes what the ledger found, returns values that a terminal and a page print alike. Prints nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import PurePath
from typing import NamedTuple

from rlaif.audit.view import Fact, Section, use_facts
from rlaif.calibration.human_rows import chosen_in_order
from rlaif.config.preferences import PreferencesConfig
from rlaif.ledger.labels import LabelDecision
from rlaif.records import Comparison, CountedAs
from rlaif.stats.ranks import is_same

WHY = {
    "": "",
    "orders_disagree": "a tie, as its two orders disagree",
    "not_drawn": "nothing: its principle was not drawn for this pair",
    "not_dominant": "nothing: under another principle the judge is surer",
}

LIKELY = "what is likely by people's choices, by how often each of them errs"


class LabelView(NamedTuple):
    """A label as a person reads it, from its evidence to what training reads."""

    head: Section
    """The preference, its responses and its constitution."""
    comparisons: tuple[Section, ...]
    """What the judge said of the pair under each principle, and what that counted as; empty where people decided."""
    people: tuple[Fact, ...]
    """People's labels, where they decided."""
    steps: tuple[Fact, ...]
    """The steps from the evidence to the label, in the order in which they were taken."""
    uses: tuple[Fact, ...]


def label_view(found: LabelDecision) -> LabelView:
    """The whole label, of a pair or of a choice among several responses."""
    return LabelView(
        head=Section(f"preference {found.preference.id}", tuple(_head_facts(found))),
        comparisons=tuple(_evidence(found)),
        people=tuple(
            Fact("label by", f"{label.annotator}: {label.choice} of {' and '.join(label.sample_ids)}")
            for label in found.labels
        ),
        steps=tuple(_steps(found)),
        uses=tuple(use_facts("used by", found.uses)),
    )


def _head_facts(found: LabelDecision) -> Iterator[Fact]:
    preference = found.preference
    yield Fact("prompt", preference.prompt_id)
    if preference.kind == "choice":
        for sample_id, share in zip(preference.sample_ids, preference.shares, strict=True):
            yield Fact("response", f"{sample_id}, the best with p {share:.4f}")
    else:
        yield Fact("pair", " and ".join(preference.sample_ids))
        yield Fact("label", f"{preference.label:.4f} that the first is preferred, weight {preference.weight:g}")
    if found.constitution is not None:
        yield Fact("constitution", f"{found.constitution.name} ({found.constitution.id})")


def _evidence(found: LabelDecision) -> Iterator[Section]:
    making = found.preference.making
    for number, comparison in enumerate(found.comparisons):
        if comparison is None:
            missing = f"{found.preference.evidence_ids[number]} is not in the ledger"
            yield Section("", (Fact("comparison", missing),))
            continue
        facts = list(_comparison_facts(comparison, found))
        if making is not None and making.counted:
            facts.append(Fact("counts as", _describe_counted(making.counted[number])))
        yield Section(f"comparison {comparison.id}", tuple(facts))


def _comparison_facts(comparison: Comparison, found: LabelDecision) -> Iterator[Fact]:
    weights = {p.id: p.weight for p in found.constitution.principles} if found.constitution is not None else {}
    name = comparison.principle.id
    yield Fact("principle", f"{name}, weight {weights[name]:g}" if name in weights else name)
    model = found.judges[comparison.judge_id]
    judge = PurePath(model.observed.name).name if model is not None else comparison.judge_id
    several = len(found.judges) > 1
    yield Fact("judge", f"{judge}, weight {found.weights[comparison.judge_id]:g}" if several else judge)
    yield Fact("says", _describe_probability(comparison.p_first, comparison.logit))
    for number, order in enumerate(comparison.orders, start=1):
        logit = "" if order.logit is None else f", logit {order.logit:+.4f}"
        yield Fact(f"order {number}", f"{order.verdict} of the pair{logit}")


def _describe_counted(counted: CountedAs) -> str:
    if not counted.is_used:
        return WHY[counted.why]
    shown = _describe_probability(counted.p_first, counted.logit)
    return f"{shown} ({WHY[counted.why]})" if counted.why else shown


def _steps(found: LabelDecision) -> Iterator[Fact]:
    preference, making = found.preference, found.preference.making
    if preference.source == "human":
        mean = statistics.fmean(chosen_in_order(label) for label in found.labels) if found.labels else preference.label
        how = "the mean of people's choices" if is_same(mean, preference.label) else LIKELY
        yield Fact("made", f"{how}, which stands instead of the judge's label")
        return
    made = "the mean of the log-odds, of probabilities where log-odds are missing, weighted over principles"
    yield Fact("made", f"{made}{', then over judges' if len(found.judges) > 1 else ''}")
    if making is not None:
        for sentence in PreferencesConfig.model_validate(making.options).describe_making():
            yield Fact("but", sentence)
        if preference.kind != "choice":
            yield Fact("combined", f"{making.combined:.4f}")
    if found.calibration is not None:
        map = found.calibration.map
        shown = "" if making is None or making.calibrated is None else f"{making.calibrated:.4f}, "
        yield Fact("calibrated", f"{shown}{map.kind}, slope {map.slope:.4f}, length {map.length:+.4f}")
        for part in (*map.by_principle, *map.by_judge):
            yield Fact(f"  {part.name[:12]}", f"slope {part.slope:.4f}, length {part.length:+.4f}")
    if making is not None and making.turned:
        yield Fact("inverted", "by the label noise")
    if preference.kind != "choice":
        yield Fact("label", f"{preference.label:.4f}")


def _describe_probability(p: float, logit: float | None) -> str:
    return f"p {p:.4f}, logit {'not known' if logit is None else f'{logit:+.4f}'}"
