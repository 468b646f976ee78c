"""A test of an edited principle file by people: what was fixed before the first label, and what came out.

For the owner of the run alone. Decides nothing.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rlaif.records.base import Observed, Record, Value
from rlaif.records.cards import Estimate
from rlaif.records.judgement import Verdict

Decision = Literal["better", "worse", "undecided"]
Direction = Literal["better", "worse"]


class EditItem(Value):
    """A pair that both files label."""

    item_id: str
    """Its name on the sheet, which says nothing of the samples."""
    prompt_id: str
    sample_ids: tuple[str, str]
    """The samples that the sheet calls a and b."""
    old: Verdict
    """Which of them wins under the old file; `first` is a."""
    new: Verdict
    lengths: tuple[int, int]
    """Characters of a and b."""
    flipped_by: tuple[str, ...] = ()
    """Principles whose edit alone makes the new winner."""

    @property
    def principle_id(self) -> str:
        return "overall"

    @property
    def inclusion_probability(self) -> None:
        """None: how likely an item is to be labelled depends on when people stop."""


class EditTest(Record):
    """Everything that a test fixes before its first label."""

    table: ClassVar[str] = "edit_tests"
    sheet_id: str
    run: str
    round: int
    old_constitution_id: str
    new_constitution_id: str
    old_digest: str
    """Digest of the old file."""
    new_digest: str
    judge_ids: tuple[str, ...]
    template_digests: tuple[str, ...]
    guideline_digest: str
    """Digest of the text that annotators read; the ledger keeps the text."""
    seed: int
    alpha: float
    """Chance that a false certificate may have, of each direction."""
    directions: tuple[Direction, ...]
    budget: int
    """Items on the sheet: three flips, then one of the rest, and so on."""
    flips: tuple[EditItem, ...]
    """All pairs whose winner the edit changes, in the random order in which they are labelled."""
    rest: tuple[EditItem, ...]
    """All other pairs, likewise."""
    left_out: dict[str, int]
    """Pairs that are outside the test, by reason."""
    failed_old: dict[str, int]
    """Pairs without a label under the old file, by cause."""
    failed_new: dict[str, int]
    new_run: str = ""
    """Where two judges are compared: the run of the new one, under the same file. Empty: an edit is tested."""
    new_judge_ids: tuple[str, ...] = ()
    """Where two judges are compared: the new one; `judge_ids` is the old one."""
    observed: Observed = Observed()

    @property
    def stage(self) -> str:
        """The stage of a run's uses under which this test and the labels that count of it stand."""
        return f"edit_test_{self.sheet_id[:12]}"


class EditOutcome(Record):
    """What the labels of a test came to when they were taken in."""

    table: ClassVar[str] = "edit_outcomes"
    test_id: str
    number: int
    """How many outcomes of the test were stored before."""
    decision: Decision
    num_labelled: int
    """Flips that everybody who labels has answered."""
    num_flips: int
    capital_better: float | None
    """Evidence for "better", of which 1 / alpha certifies. None: over 1e9, or no other result is left."""
    capital_worse: float | None
    theta: Estimate | None
    """Share of the flips that move to the side people take; None without labels."""
    delta: Estimate | None
    """How much the share of agreement with people changes over all pairs."""
    label_ids: tuple[str, ...]
    """The human labels behind it."""
    observed: Observed = Observed()
