"""A sheet for the tests of labelling."""

from __future__ import annotations

from rlaif.calibration.sheet import Sheet, SheetItem, make_sheet
from rlaif.records import Message


def make_test_sheet(number: int = 3, *, guideline: str = "Say which is kinder.") -> Sheet:
    items = tuple(
        SheetItem(
            id=f"item{i:04}",
            question="Which is kinder?",
            messages=(Message(role="user", content=f"Hello {i}"),),
            a=f"Go away {i}",
            b=f"Welcome {i}",
        )
        for i in range(number)
    )
    return make_sheet(items, guideline=guideline)
