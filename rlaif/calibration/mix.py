"""Human labels and the judge's labels of the same pairs -> how they agree, and a calibration.

Labels of single principles and of whole pairs fit one map. The map is linear in the logit, so mapping each comparison
before principles are combined is the same as mapping the pair's label. Does not call the judge and writes no files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from rlaif.calibration.agreement import choice_of, measure_agreement
from rlaif.calibration.calibrate import apply_map, length_difference
from rlaif.calibration.human_rows import chosen_in_order, pair_of
from rlaif.calibration.judged import Judged, JudgedPair, LabelledItem, fit_items, majority
from rlaif.calibration.match import Pair
from rlaif.records import (
    TIE_BAND,
    Agreement,
    CalibrationCard,
    CalibrationMap,
    Constitution,
    Estimate,
    HumanLabel,
    Tally,
)
from rlaif.stats.intervals import effective_size, share_interval


def calibrate_judge(
    labels: Sequence[HumanLabel],
    judged: Judged,
    *,
    texts: Mapping[str, str],
    judge_id: str | None,
    constitution: Constitution,
    labels_digest: str,
    human_weight: float,
    is_scaled: bool = True,
) -> CalibrationCard | None:
    """The map, and how judge and people agree without and with it; None where the judge compared no labelled pair.

    texts: the samples' texts by id; the spread of their lengths is the map's unit of length. is_scaled: whether the
    judge's log-odds claim a probability; those of a contrast do not, and their size is then the unit of the slope.
    """
    found = fit_items(labels, judged, texts=texts, is_scaled=is_scaled)
    if found is None:
        return None
    beside = _Beside(found.items, is_weighted=found.is_weighted)
    before = [item.judged.p_first for item in found.items]
    fitted, after = found.fitted, found.out_of_fold
    return CalibrationCard(
        judge_id=judge_id,
        constitution_id=constitution.id,
        labels_digest=labels_digest,
        num_labels=len(labels),
        num_annotators=len({label.annotator for label in labels}),
        simulated=all(label.simulated for label in labels),
        before=beside.agreement(before),
        after=beside.agreement(after),
        between_people=_between_people(labels, is_weighted=found.is_weighted),
        num_tied=beside.people.count("tie"),
        before_decided=beside.decided(before),
        after_decided=beside.decided(after),
        effective_n=effective_size(beside.weights) if beside.weights and len(set(beside.weights)) > 1 else None,
        map=fitted.map,
        log_loss=fitted.log_loss,
        human_weight=human_weight,
    )


class _Beside:
    """People's choices, to be set beside labels of the same items."""

    def __init__(self, items: Sequence[LabelledItem], *, is_weighted: bool) -> None:
        self.people = [majority(item.labels) for item in items]
        self.prompts = [item.prompt_id for item in items]
        self.weights = [item.weight for item in items] if is_weighted else None
        self.band = TIE_BAND if "tie" in self.people else 0.0

    def agreement(self, labels: Sequence[float]) -> Agreement:
        judged = [choice_of(p_first, band=self.band) for p_first in labels]
        return measure_agreement(self.people, judged, clusters=self.prompts, weights=self.weights)

    def decided(self, labels: Sequence[float]) -> Estimate | None:
        """Agreement on the items on which most people chose a side; None where they did on all or on none."""
        at = [place for place, choice in enumerate(self.people) if choice != "tie"]
        if len(at) == len(self.people):
            return None
        return share_interval(
            [float(choice_of(labels[place], band=self.band) == self.people[place]) for place in at],
            clusters=[self.prompts[place] for place in at],
            weights=self.weights and [self.weights[place] for place in at],
        )


def relabel(map: CalibrationMap, judged: JudgedPair, *, first: str, second: str) -> float:
    """The calibrated label of a pair; first, second: the pair's texts in canonical order."""
    if map.kind == "identity":
        return judged.p_first
    length = length_difference(first, second, map=map)
    return apply_map(map, logit=judged.read_logit, length=length, parts=judged.parts)


def describe_mix(card: CalibrationCard | None, *, labels: Tally, num_human: int, weight: float) -> Iterator[str]:
    """How people's labels changed the judge's, in a few lines."""
    yield from describe_calibration(card, labels=labels)
    none = "" if num_human else ": labels of single principles calibrate the judge and make no rows"
    yield f"people's rows: {num_human} pairs, weight {weight:g}{none}"


def describe_calibration(card: CalibrationCard | None, *, labels: Tally) -> Iterator[str]:
    """What the labels say of the judge, and the map that was fitted to them, in a few lines."""
    if card is None:
        yield f"human labels: {labels}; none is of a pair that the judge compared, so there is nothing to calibrate by"
        return
    people = f"{card.num_annotators} annotator{'s' if card.num_annotators > 1 else ''}"
    between = f"; among themselves they {_describe_agreement(card.between_people)}" if card.between_people else ""
    yield f"human labels{', SIMULATED' if card.simulated else ''}: {labels}, by {people}{between}"
    before, after = _describe_agreement(card.before), _describe_agreement(card.after)
    yield f"judge and people: before they {before}; after they {after}"
    yield from describe_design(card)
    losses = ", ".join(f"{kind} {loss:.3f}" for kind, loss in card.log_loss.items())
    yield f"calibration: {describe_map(card.map)}; cross-validated log loss: {losses}"


def describe_design(card: CalibrationCard) -> Iterator[str]:
    """Lines to read with the agreement: how the items were drawn, and what counts as a tie."""
    if card.effective_n is not None:
        yield (
            "agreement is about all pairs that could have been drawn: each item counts 1 / inclusion_probability; "
            f"the {card.before.n} items tell as much as {card.effective_n:.0f} drawn with one probability"
        )
    if card.num_tied:
        sides = card.before.n - card.num_tied
        shares = (card.before_decided, card.after_decided)
        before, after = (_format_share(share) if share is not None else "not known" for share in shares)
        yield (
            f"ties: most people chose no side on {card.num_tied} of {card.before.n} items, and a label of the judge "
            f"agrees with that within {TIE_BAND:g} of one half only; on the other {sides} judge and people agree on "
            f"{before} before, on {after} after"
        )


def _between_people(labels: Sequence[HumanLabel], *, is_weighted: bool) -> Agreement | None:
    """Every two people who labelled the same item, as one series against another."""
    by_item: dict[tuple[Pair, str], list[HumanLabel]] = defaultdict(list)
    for label in labels:
        by_item[pair_of(label), label.principle_id].append(label)
    twos = [
        (a, b)
        for given in by_item.values()
        for a, b in combinations(sorted(given, key=lambda label: label.annotator), 2)
        if a.annotator != b.annotator
    ]
    if not twos:
        return None
    return measure_agreement(
        [choice_of(chosen_in_order(a)) for a, _ in twos],
        [choice_of(chosen_in_order(b)) for _, b in twos],
        clusters=[a.prompt_id for a, _ in twos],
        weights=[1 / (a.inclusion_probability or 1.0) for a, _ in twos] if is_weighted else None,
    )


def _describe_agreement(agreement: Agreement) -> str:
    parts = [f"agree on {_format_share(agreement.share)} of {agreement.n}"]
    for name, value in (("kappa", agreement.kappa), ("AC1", agreement.ac1)):
        if value is not None:
            parts.append(f"{name} {value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]")
    return ", ".join(parts)


def _format_share(share: Estimate) -> str:
    return f"{share.mean:.1%} [{share.low:.1%}, {share.high:.1%}]"


def describe_map(map: CalibrationMap) -> str:
    """The map in one line."""
    if map.kind == "identity":
        return "the judge's labels stay as they are"
    length = f", length {map.length:+.2f} logits per {map.length_sd:.1f} words" if map.kind != "temperature" else ""
    parts = [f"{part.name} slope {part.slope:.2f}, length {part.length:+.2f}" for part in map.by_principle]
    parts += [f"judge {part.name[:12]} slope {part.slope:.2f}" for part in map.by_judge]
    return f"slope {map.slope:.2f}{length}{''.join(f'; {part}' for part in parts)}"
