"""`rlaif constitution test`: begin a test of an edited principle file by people, and see where it stands.

Parses options, calls `rlaif.audit.edit_tests`, prints. What it prints is for the owner of the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.options import RunOption, RunsDirOption
from rlaif.cli.spot_check import AnswersOption
from rlaif.console import console, show_text

if TYPE_CHECKING:
    from rlaif.audit.edit_tests import Made, Status
    from rlaif.calibration.edit_test import Standing
    from rlaif.records import EditTest, Estimate


def run_test(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The principle file that the run was judged by, or its name.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The edited file.")],
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="FILE", help="The sheet for the annotators. [default: edit-OLD-NEW.json, by digests]"
        ),
    ] = None,
    answers: AnswersOption = None,
    labels: Annotated[
        int | None,
        typer.Option(
            "--labels",
            metavar="N",
            min=1,
            max=100_000,
            help="Budget: items on the sheet, three flips and then one other pair. [default: all flips, and a third as "
            "many others]",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha",
            min=0.0001,
            max=0.2,
            help="Chance that a false certificate may have, of each direction. Divide it by the number of edits that "
            "are tested on the same pairs. [default: 0.05]",
        ),
    ] = None,
    guideline: Annotated[
        Path | None,
        typer.Option(
            "--guideline",
            metavar="FILE",
            help="Text that says how to decide, shown beside every item; not in the words of the edit. [default: which "
            "reply is better as a whole]",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of the order of the pairs. [default: 0]")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Only take answers in: refused where no test of this edit was begun.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Ask the judge nothing and store nothing: count its questions, or the answers so far."
        ),
    ] = False,
) -> None:
    """Let people decide whether an edit is better: only pairs whose winner it changes are labelled, and a few others.

    Run it once to judge by the new file and to write a sheet, which people label with `rlaif spot-check label`. Run it
    again, at any time and as often as you like: it takes the answers in and says better, worse or undecided. Annotators
    should not see that.
    """
    from rlaif.audit.edit_refusals import Fixed
    from rlaif.audit.edit_tests import check_test, is_begun, load_edit, make_test, sheet_of

    files = load_edit(old, new)
    path, fixed = sheet or sheet_of(*files), Fixed(seed=seed, alpha=alpha, budget=labels, guideline=guideline)
    if status or is_begun(*files, run=run, runs_dir=runs_dir):
        found = check_test(*files, path=path, answers=answers, run=run, runs_dir=runs_dir, fixed=fixed, dry_run=dry_run)
        lines = describe_status(found)
    else:
        made = make_test(*files, path=path, run=run, runs_dir=runs_dir, fixed=fixed, dry_run=dry_run)
        lines = _describe_made(made)
    for line in lines:
        console.print(show_text(line))
    if dry_run:
        console.print(show_text("dry run: nothing was stored"))


def _describe_made(made: Made) -> Iterator[str]:
    test, plan = made.test, made.diff.plan
    if test is None:
        left = plan.num_questions - plan.num_answered
        yield f"{left} questions to ask the judge, {plan.num_answered} answered already"
        return
    yield from describe_pairs(test)
    if made.diff.result is not None and made.diff.result.is_drawn:
        yield "the judge draws its answers, so that some of these flips are by chance and not by the edit"
    if made.num_others:
        yield (
            f"{made.num_others} other edits are tested in this run: where versions are compared on the same pairs, "
            f"give each --alpha {0.05 / (made.num_others + 1):.4f}"
        )
    yield (
        f"{made.sheet_path}: {test.budget} items; give it to people, who run "
        f"`rlaif spot-check label {made.sheet_path} --as NAME`"
    )
    yield "then run this command again, as often as you like: it takes the answers in"


def describe_pairs(test: EditTest) -> Iterator[str]:
    total = len(test.flips) + len(test.rest)
    what = "the edit flips" if not test.new_run else f"the judge of run {test.new_run} decides otherwise in"
    yield f"run {test.run}, round {test.round}: {what} {len(test.flips)} of {total} decisions"
    if test.left_out:
        yield f"outside the test: {_describe_counts(test.left_out)}"
    by = "by the {} judge" if test.new_run else "under the {} file"
    for which, failed in (("old", test.failed_old), ("new", test.failed_new)):
        if failed:
            yield f"without a label {by.format(which)}: {_describe_counts(failed)}"


def _describe_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def describe_status(found: Status) -> Iterator[str]:
    test, standing = found.test, found.standing
    yield from describe_pairs(test)
    yield _describe_decision(test, standing)
    yield (
        f"evidence: for better {_format_capital(standing.capital_better)}, for worse "
        f"{_format_capital(standing.capital_worse)}; {1 / test.alpha:g} certifies, whenever you look or stop"
    )
    if standing.theta is not None and standing.delta is not None:
        yield f"of the flips, people take the new side in {_format_share(standing.theta)}"
        yield f"over all pairs {_subject(test)} changes agreement with people by {_format_points(standing.delta)}"
    yield from _describe_labels(found)
    if standing.num_expected is not None:
        yield f"about {standing.num_expected} more labels on flips are to be expected until it is decided"
    yield from _describe_sides(test, standing)
    yield (
        f"whose mean it is: this run's pairs, people's choices under the guideline {test.guideline_digest[:12]}; judge "
        f"{', '.join(found.judges)}"
    )
    yield (
        f"old file {test.old_digest[:12]}, new file {test.new_digest[:12]}, test {test.id[:12]}; the ledger's head is "
        f"{found.head}"
    )


def _describe_decision(test: EditTest, standing: Standing) -> str:
    exactly = "; every flip is labelled, so this is exact for this run's pairs" if standing.is_finished else ""
    if standing.decision != "undecided":
        return f"{standing.decision}: people's labels certify that {_subject(test)} is {standing.decision}{exactly}"
    if standing.is_withheld:
        more = sum(test.failed_new.values()) - sum(test.failed_old.values())
        return (
            f"undecided: people take the new side, but {_subject(test)} leaves {more} more pairs without a label, and "
            "that is not certified"
        )
    if standing.is_finished:
        return f"undecided: neither side is certified{exactly}"
    return f"undecided{': everything on the sheet is labelled' if standing.is_spent else ' so far'}"


def _subject(test: EditTest) -> str:
    return f"the judge of run {test.new_run}" if test.new_run else "the edit"


def _describe_labels(found: Status) -> Iterator[str]:
    test, standing, taken = found.test, found.standing, found.taken_in
    yield (
        f"labelled: {standing.num_labelled} of {len(test.flips)} flips, {standing.num_rest} other pairs; "
        f"{standing.num_ties} ties, {standing.num_unclear} unclear, {standing.num_open} skipped or open"
    )
    for state in found.states:
        yield f"{state.annotator}: {len(state.answers)} of {test.budget} answered"
    if len(found.states) > 1:
        yield "an item counts when everybody who began has answered it; until then it counts against both sides"
    yield f"labels in the ledger: {len(taken.labels)}, {taken.num_new} of them new"
    if standing.num_unclear > 0.3 * standing.num_answers:
        yield f"{standing.num_unclear} of {standing.num_answers} answers are unclear: the guideline does not decide"


def _describe_sides(test: EditTest, standing: Standing) -> Iterator[str]:
    from rlaif.calibration.edit_test import count_longer

    for one in standing.by_principle:
        yield f"flipped by {one.principle_id}: people take the new side in {one.theta:.0%} of {one.num_flips} labelled"
    longer, of = count_longer(test.flips)
    if of:
        yield f"the new winner is the longer reply in {longer} of {of} flips: what looks better may only be longer"
    if standing.agreement_old is not None and standing.agreement_new is not None:
        yield (
            f"judge and people agree on {_format_share(standing.agreement_old)} of all pairs before, on "
            f"{_format_share(standing.agreement_new)} after"
        )


def _format_capital(capital: float | None) -> str:
    return "beyond doubt" if capital is None or math.isinf(capital) else f"{capital:.3g}"


def _format_share(estimate: Estimate) -> str:
    return f"{estimate.mean:.1%} ({estimate.low:.1%} to {estimate.high:.1%}; n {estimate.n})"


def _format_points(estimate: Estimate) -> str:
    mean, low, high = (100 * value for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})"
