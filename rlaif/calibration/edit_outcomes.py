"""What the ledger knows of tests of edited principle files: the test of an edit, its newest outcome, and in words.

Reads the ledger and writes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Constitution, EditOutcome, EditTest

RECORDED = "recorded"
"""Name of the constitutions that stand for the standard of a recorded judge: two of them are no edit of each other."""


class Tested(NamedTuple):
    """A test and the newest outcome; None where no answers were taken in yet."""

    test: EditTest
    outcome: EditOutcome | None


def find_outcomes(ledger: Ledger, test: EditTest) -> list[EditOutcome]:
    """The outcomes of a test, the newest last."""
    return [outcome for outcome in list_records(ledger, EditOutcome) if outcome.test_id == test.id]


def find_tested(ledger: Ledger, *, new: str, old: str | None = None, run: str | None = None) -> Tested | None:
    """The newest test of an edit that leads to the file with the digest `new`; old, run: of this edit, in this run."""
    tests = [
        test
        for test in list_records(ledger, EditTest)
        if test.new_digest == new and old in (None, test.old_digest) and run in (None, test.run) and not test.new_run
    ]
    if not tests:
        return None
    return Tested(tests[-1], next(reversed(find_outcomes(ledger, tests[-1])), None))


def find_judge_test(ledger: Ledger, *, old_run: str, new_run: str) -> EditTest | None:
    """The newest test of the judge of one run against that of another."""
    tests = [test for test in list_records(ledger, EditTest) if (test.run, test.new_run) == (old_run, new_run)]
    return tests[-1] if tests else None


def describe_tested(tested: Tested) -> str:
    """What people said of an edit, as the end of a sentence about it."""
    test, outcome = tested
    if outcome is None or not outcome.num_labelled:
        return f"under test by people, without labels so far ({len(test.flips)} decisions flip)"
    labels = f"{outcome.num_labelled} of {outcome.num_flips} flips labelled, run {test.run}"
    if outcome.decision == "undecided":
        return f"tested by people and not certified ({labels})"
    return f"certified as {outcome.decision} by people ({labels})"


def is_earlier_file(other: Constitution, constitution: Constitution) -> bool:
    """Whether a constitution can be edited into another one: one name, and a principle of one id."""
    ids = {principle.id for principle in constitution.principles}
    shares_one = any(principle.id in ids for principle in other.principles)
    return other.name == constitution.name != RECORDED and shares_one


def describe_training(ledger: Ledger, constitution: Constitution) -> str:
    """Whether a policy that is trained by this constitution is trained under an edit, and under a tested one.

    Empty where the ledger knows no test that leads to the file, and no earlier file that it is an edit of.
    """
    tested = find_tested(ledger, new=constitution.file_digest)
    if tested is not None:
        return f"trained under an edit that was {describe_tested(tested)}"
    for other in list_records(ledger, Constitution):
        if other.file_digest == constitution.file_digest:
            return ""
        if is_earlier_file(other, constitution):
            return "trained under an edit that was not tested by people"
    return ""
