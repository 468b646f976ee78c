"""A draw's labels so far -> the sentences that tell its owner where it stands.

The command line and the owner's page print the same ones. Annotators should see none of them: they would steer.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlaif.calibration.so_far import SoFar
from rlaif.calibration.taken_in import TakenIn
from rlaif.records import Estimate, SpotCheck


def describe_progress(check: SpotCheck, taken: TakenIn, so_far: SoFar) -> Iterator[str]:
    """Which sheet it is, how far everybody is, and which labels there are."""
    yield f"sheet {check.sheet_id[:12]} of run {', '.join(check.runs)}: {so_far.num_items} items"
    yield from describe_annotators(so_far)
    changes = [
        f"{number} {what}"
        for number, what in ((taken.num_overridden, "overridden"), (taken.num_withdrawn, "withdrawn"))
        if number
    ]
    yield f"labels: {len(taken.labels)}, {taken.num_new} of them new{''.join(f', {one}' for one in changes)}"


def describe_annotators(so_far: SoFar) -> Iterator[str]:
    """How many answers of whom."""
    for one in so_far.annotators:
        unclear = f", {one.num_unclear} of them unclear" if one.num_unclear else ""
        skipped = f", {one.num_skipped} skipped for later" if one.num_skipped else ""
        yield f"{one.name}: {one.num_answered} answered{unclear}{skipped}"
    if not so_far.annotators:
        yield "nobody has begun"


def describe_agreement(so_far: SoFar) -> Iterator[str]:
    """How far judge and people agree, what is certain of it, and how many labels remain; nothing without labels."""
    if so_far.agreement is None:
        return
    weighted = (
        "a tie counts as half an agreement, and each label 1 / its probability, so this is about all pairs that "
        "could be drawn"
    )
    share = f"judge and people agree on {so_far.agreement:.1%} of {so_far.num_labelled} items"
    if so_far.interval is not None:
        yield f"{share} {_format_interval(so_far.interval, unit='items')}; {weighted}"
    else:
        yield f"{share} so far; {weighted}"
    if so_far.bounds is not None:
        yield (
            f"certain by now (95 %, whenever you look or stop): from {so_far.bounds.low:.1%} to "
            f"{so_far.bounds.high:.1%}; items without a label count against both ends. A narrower interval is given "
            "when every annotator has answered every item"
        )
    if any(one.num_unclear for one in so_far.annotators):
        yield "answers that say unclear are no labels: the figures are about the pairs that people could decide"
    if so_far.between_people is not None:
        people = so_far.between_people
        yield f"two people chose the same on {people.mean:.1%} {_format_interval(people, unit='prompts')}"
    yield from describe_remaining(so_far)


def _format_interval(estimate: Estimate, *, unit: str) -> str:
    return f"(95 % interval {estimate.low:.1%} to {estimate.high:.1%}, n {estimate.n} {unit})"


def describe_remaining(so_far: SoFar) -> Iterator[str]:
    """Items without a label, and about how many labels an interval of a known width needs."""
    left = so_far.num_items - so_far.num_labelled
    needed = so_far.num_for_half_width
    enough = "" if needed is None else f"; for an interval of +- 10 points about {needed} labels are needed in all"
    yield f"{left} items have no label yet{enough}"
    unclear = sum(one.num_unclear for one in so_far.annotators)
    answered = sum(one.num_answered for one in so_far.annotators)
    if unclear > 0.3 * answered:
        yield f"{unclear} of {answered} answers are unclear: the guideline does not decide"
