"""Answers to a sheet and the draw behind it -> human labels, with what must be true of both.

Refuses answers that the draw cannot explain. Knows which labels were taken in before, so that taking in twice changes
nothing, an undone choice is overridden and a label that changed without an undo is refused. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from rlaif.calibration.answers import Answer, Answered
from rlaif.calibration.sheet import Sheet
from rlaif.errors import DataError
from rlaif.records import DrawnItem, HumanLabel, Observed, SpotCheck
from rlaif.stats.logits import canonical_pair

LabelKey = tuple[str, tuple[str, str], str]
"""Annotator, sample ids in canonical order, principle's id."""


class AskedItem(Protocol):
    """What stands behind an item of a sheet."""

    @property
    def prompt_id(self) -> str: ...
    @property
    def sample_ids(self) -> tuple[str, str]:
        """The samples that the sheet calls a and b."""
        ...

    @property
    def principle_id(self) -> str: ...
    @property
    def inclusion_probability(self) -> float | None: ...


class TakenIn(NamedTuple):
    """The labels of a sheet as they are now."""

    labels: list[HumanLabel]
    num_new: int
    """Labels that were not taken in before, overrides among them."""
    num_overridden: int
    num_withdrawn: int
    """Labels that were taken in before, were undone since and are not given again."""


def key_of_label(label: HumanLabel) -> LabelKey:
    return label.annotator, canonical_pair(*label.sample_ids), label.principle_id


def chosen_side(label: HumanLabel) -> str:
    """The id of the sample that was chosen, whatever the order shown; empty for a tie."""
    return "" if label.choice == "tie" else label.sample_ids[0 if label.choice == "first" else 1]


def check_draw(check: SpotCheck, sheet: Sheet) -> dict[str, DrawnItem]:
    """The draw's items by id, refused where draw and sheet do not belong together."""
    items = {item.item_id: item for item in check.items}
    where = f"draw {check.id}"
    for item in check.items:
        if not 0 < item.inclusion_probability <= 1:
            raise DataError(
                f"the probability of item {item.item_id} is {item.inclusion_probability:g}, and none of a draw is "
                "outside (0, 1]",
                where=where,
                fix="run `rlaif audit verify` to see what was changed",
            )
    if check.sheet_id != sheet.id or check.guideline_digest != sheet.guideline_digest:
        raise DataError("the sheet is not the one that was drawn", where=where, fix="name the draw's own sheet")
    for shown in sheet.items:
        if shown.id not in items:
            raise DataError(f"nobody drew item {shown.id} of the sheet", where=where, fix="name the draw's own sheet")
    return items


def take_in(check: SpotCheck, sheet: Sheet, states: Sequence[Answered], *, before: Iterable[HumanLabel]) -> TakenIn:
    """The labels that the annotators' answers come to. before: those that were taken in from this sheet earlier."""
    return take_in_items(check_draw(check, sheet), states, before=before)


def take_in_items(
    items: Mapping[str, AskedItem], states: Sequence[Answered], *, before: Iterable[HumanLabel]
) -> TakenIn:
    """The same for the items of any sheet, by their names on it."""
    known = {key_of_label(label): label for label in before}
    labels: list[HumanLabel] = []
    num_new = num_overridden = 0
    for state in states:
        for answer in state.answers.values():
            label = _label(answer, items[answer.item_id], annotator=state.annotator)
            if label is None:
                continue
            old = known.pop(key_of_label(label), None)
            if old is not None and _says_the_same(old, label):
                labels.append(old)
                continue
            if old is not None:
                label = _override(old, label, answer)
                num_overridden += 1
            labels.append(label)
            num_new += 1
    kept, num_withdrawn = _keep(known, states, items)
    return TakenIn([*labels, *kept], num_new, num_overridden, num_withdrawn)


def _label(answer: Answer, item: AskedItem, *, annotator: str) -> HumanLabel | None:
    """None where the annotator could not decide: that is no choice, and is counted apart."""
    if answer.verdict is None:
        return None
    a, b = item.sample_ids
    return HumanLabel(
        annotator=annotator,
        prompt_id=item.prompt_id,
        sample_ids=(a, b) if answer.order == "ab" else (b, a),
        principle_id=item.principle_id,
        guideline_digest=answer.guideline,
        choice=answer.verdict,
        seconds=answer.seconds,
        inclusion_probability=item.inclusion_probability,
        note=answer.note or None,
        observed=Observed(at=answer.at),
    )


def _says_the_same(old: HumanLabel, label: HumanLabel) -> bool:
    """Whether it is the same choice at the same time; an override has the reason in its note."""
    return (old.choice, old.sample_ids, old.seconds, old.observed.at) == (
        label.choice, label.sample_ids, label.seconds, label.observed.at,
    )  # fmt: skip


def _override(old: HumanLabel, label: HumanLabel, answer: Answer) -> HumanLabel:
    if not answer.is_override:
        raise DataError(
            f"{label.annotator} labelled item {answer.item_id} twice: the ledger has the choice {old.choice} of "
            f"{old.observed.at}, the answers say {label.choice} at {label.observed.at}, and nothing was undone between",
            fix="restore the file of answers that was taken in",
        )
    why = f"the annotator undid the choice {old.choice}"
    return label.changed(replaces=old.id, note=why if label.note is None else f"{why}; {label.note}")


def _keep(
    known: Mapping[LabelKey, HumanLabel], states: Sequence[Answered], items: Mapping[str, AskedItem]
) -> tuple[list[HumanLabel], int]:
    """The earlier labels that the answers do not name and did not undo, and how many were undone."""
    undone = {
        (state.annotator, canonical_pair(*items[item].sample_ids), items[item].principle_id)
        for state in states
        for item in state.undone
    }
    kept = [label for key, label in known.items() if key not in undone]
    return kept, len(known) - len(kept)
