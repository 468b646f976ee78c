"""`rlaif agreement`: do people agree with one another, and does a judge agree with them? Straight from files.

Parses options, reads the files, prints a table or JSON. Needs no run and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.table import Table

from rlaif.console import console, show_text
from rlaif.errors import InputError

if TYPE_CHECKING:
    from rlaif.calibration.judge_quality import JudgeReport
    from rlaif.calibration.people import AgreementReport, PeopleReport, PoliciesReport, Scores
    from rlaif.records import Estimate, Verdict

POLICIES_SHOWN = 10
FAILED_SHOWN = 5
DISAGREEMENTS_SHOWN = 10
KEY_SHOWN = 16
MAX_WIDTH = 40
"""Of the column of names, in characters."""
"""Characters of each part of an item's key that are shown; of a longer one the first 12."""


def agreement(
    people: Annotated[
        Path, typer.Argument(metavar="FILE", help="People's choices (CSV, JSON, JSONL, Parquet).", show_default=False)
    ],
    columns: Annotated[
        Path,
        typer.Option("--columns", help="YAML map of the columns, as in examples/agreement.", show_default=False),
    ],
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", help="A judge's verdicts on the same items, to compare with people.")
    ] = None,
    failed_as: Annotated[
        Literal["tie"] | None,
        typer.Option(
            "--failed-as",
            help="Count failed judgements as this verdict, as some published figures do; the output says so.",
        ),
    ] = None,
    split_votes: Annotated[
        Literal["leave-out", "earliest", "tie"],
        typer.Option(
            "--split-votes",
            help="The majority where several choices have the most votes. leave-out: none; earliest: the one of them "
            "that was given first; tie: a tie.",
        ),
    ] = "leave-out",
    combine: Annotated[
        Literal["majority", "dawid-skene"],
        typer.Option(
            "--combine",
            help="How several people's choices make the one that a judge is compared with. majority: the most votes; "
            "dawid-skene: the likeliest one, from how often each person errs (three people or more).",
        ),
    ] = "majority",
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of the resampling behind the intervals.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with every figure.")] = False,
) -> None:
    """Agreement of people with one another and of a judge with people, every figure with its 95 % interval."""
    from rlaif.calibration.agreement_columns import load_columns
    from rlaif.calibration.choices import read_people, read_verdicts
    from rlaif.calibration.people import report_agreement

    if verdicts is None and failed_as is not None:
        raise InputError("--failed-as is about verdicts, and none are given", fix="add --verdicts FILE")
    column_map = load_columns(columns)
    read = read_people(people, column_map)
    report = report_agreement(
        read,
        None if verdicts is None else read_verdicts(verdicts, column_map, items=read.items),
        by_prompt=column_map.prompt is not None,
        failed_as=failed_as,
        split_votes=split_votes,
        right_by=combine,
        seed=seed,
    )
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        print_agreement(report)


def print_agreement(report: AgreementReport) -> None:
    """Every figure with its interval, as tables."""
    unit = "items" if report.people.num_prompts is None else "prompts"
    _print_people(report.people, unit=unit)
    if report.judge is not None:
        _print_judge(report.judge, unit=unit)
    if report.policies is not None:
        _print_policies(report.policies, unit=unit)


def _print_people(people: PeopleReport, *, unit: str) -> None:
    of = f" of {people.num_prompts} prompts" if people.num_prompts is not None else ""
    _print_line(f"People: {people.num_annotators} on {people.num_items} items{of}")
    _print_line(f"choices: {people.tally}; {_format_rates(people.base_rates)}")
    if people.effective_items is not None:
        _print_line(
            "every figure counts an item one over its inclusion probability, and so describes all items that could "
            f"have been drawn; these tell as much as {people.effective_items:.0f} drawn with one probability"
        )
    if not people.is_drawn:
        _print_line(
            "no inclusion probabilities are given, so every figure describes these items alone, and not the pairs that "
            "they were taken from"
        )
    table = _table()
    shared = f"{people.num_shared_items} items"
    _add(table, "any two people, same choice", people.any_two, shared, unit=unit)
    _add(table, "Krippendorff's alpha", people.alpha, shared, unit=unit)
    for pair in people.pairs:
        names, items = f"{pair.a} + {pair.b}", f"{pair.agreement.n} items"
        _add(table, f"{names}: same", pair.agreement.share, items, unit=unit)
        _add(table, f"{names}: kappa", pair.agreement.kappa, items, unit=unit)
        _add(table, f"{names}: AC1", pair.agreement.ac1, items, unit=unit)
    _show(table)
    if people.reliability:
        _print_line("by Dawid and Skene's model each would choose what is right:")
        table = _table(("person", "of all items", "of each right choice"))
        for one in people.reliability:
            rates = ", ".join(f"{choice} {row[choice]:.1%}" for choice, row in one.confusion.items())
            table.add_row(show_text(one.person), f"{one.accuracy:.1%}", rates)
        _show(table)


def _print_judge(judge: JudgeReport, *, unit: str) -> None:
    _print_line("\nJudge against people")
    _print_line(f"verdicts: {judge.tally}; {_format_rates(judge.base_rates)}")
    if judge.failed:
        kinds = [f'"{text}" {count}' for text, count in list(judge.failed.items())[:FAILED_SHOWN]]
        more = f" and {len(judge.failed) - FAILED_SHOWN} other values" if len(judge.failed) > FAILED_SHOWN else ""
        counted = f"counted as a {judge.failed_as} by --failed-as" if judge.failed_as else "no numbers, left out"
        _print_line(f"failed judgements, {counted}: {', '.join(kinds)}{more}")
    if judge.split_votes != "leave-out":
        _print_line(f"items without a majority are taken by --split-votes {judge.split_votes}")
    if judge.right_by == "dawid-skene":
        _print_line("the majority is here the likeliest choice by Dawid and Skene's model, --combine dawid-skene")
    effective = f"; they tell as much as {judge.effective_items:.0f} of equal weight" if judge.effective_items else ""
    _print_line(f"items with people's majority: {judge.items}{effective}")
    if judge.majority is not None:
        _print_line(f"the majority says: {_format_rates(judge.majority.base_rates)}")
    for line in _describe_bounds(judge):
        _print_line(line)
    table = _table()
    items = f"{judge.items.kept} items"
    if judge.majority is not None:
        _add(table, "accuracy, against the majority", judge.majority.share, items, unit=unit)
        _add(table, "Cohen's kappa", judge.majority.kappa, items, unit=unit)
        _add(table, "Gwet's AC1", judge.majority.ac1, items, unit=unit)
    _add(table, "precision, macro", judge.precision, items, unit=unit)
    _add(table, "recall, macro", judge.recall, items, unit=unit)
    _add(table, "F1, macro", judge.f1, items, unit=unit)
    _add(table, "accuracy where neither ties", judge.neither_ties, f"{judge.num_neither_ties} items", unit=unit)
    _add(table, "one person, same choice", judge.one_person, f"{judge.num_judged_items} items", unit=unit)
    if judge.num_ceiling_items:
        shared = f"{judge.num_ceiling_items} items"
        _add(table, "the same, of any two people's", judge.of_ceiling, shared, unit=unit)
    _show(table)
    _print_groups(judge, unit=unit)
    _print_disagreements(judge)


def _print_groups(judge: JudgeReport, *, unit: str) -> None:
    """The judge under each principle, and by how much longer one response is than the other."""
    table = _table(("part", "accuracy", "95 % interval", "kappa", "AC1", "n"))
    for group in judge.groups:
        found = group.majority
        n = f"{found.n} items" + (f", {found.share.n} {unit}" if unit != "items" else "")
        kappa, ac1 = ("not defined" if one is None else f"{one.mean:.2f}" for one in (found.kappa, found.ac1))
        named = show_text(f"under {group.name}" if group.by == "principle" else f"one reply {group.name}")
        table.add_row(named, f"{found.share.mean:.4f}", _format_interval(found.share, 3), kappa, ac1, n)
    _show(table)


def _print_disagreements(judge: JudgeReport) -> None:
    if not judge.disagreements:
        return
    shown = judge.disagreements[:DISAGREEMENTS_SHOWN]
    more = f"; the first {len(shown)}, all by --json" if len(shown) < len(judge.disagreements) else ""
    _print_line(f"judge and people disagree on {len(judge.disagreements)} of {judge.items.kept} items{more}:")
    for one in shown:
        parts = [part for part in one.key if part != one.principle] or [*one.key]
        named = " ".join(part if len(part) <= KEY_SHOWN else f"{part[: KEY_SHOWN - 4]}..." for part in parts)
        under = f" under {one.principle}" if one.principle else ""
        choices = ", ".join(f"{person} {choice}" for person, choice in one.choices.items())
        _print_line(f"  {named}{under}: people {one.people}, judge {one.judge} ({choices})")


def _describe_bounds(judge: JudgeReport) -> Iterator[str]:
    """The figures that could not be 1 whatever the judge said."""
    if judge.majority is not None and judge.majority_at_most < 1:
        missing = [choice for choice in judge.majority.base_rates if choice not in judge.base_rates]
        yield (
            f"the judge never says {' or '.join(missing)}, and the majority does: its accuracy against the majority "
            f"could be {judge.majority_at_most:.4f} at most"
        )
    if judge.num_judged_items and judge.one_person_at_most < 1:
        yield (
            "people differ on an item, so no judge could choose as each of them does: one person, same choice, could "
            f"be {judge.one_person_at_most:.4f} at most"
        )


def _print_policies(policies: PoliciesReport, *, unit: str) -> None:
    _print_line("\nPolicies by Bradley-Terry score, a tie as half a win for each")
    for who, scores in (("people", policies.people), ("judge", policies.judge)):
        if scores is not None and scores.why_not:
            _print_line(f"{who}: no finite scores, {scores.why_not}")
    if policies.rank_correlation is not None:
        table = _table()
        _add(table, "rank correlation of people and judge", policies.rank_correlation, "", unit="policies", digits=6)
        _show(table)
    if not policies.people.scores:
        return
    table = _table(("policy", "people", "95 % interval", "n"))
    ranks = _ranks(policies.judge)
    if ranks:
        table.add_column("judge's rank", justify="right")
    for name, score in list(policies.people.scores.items())[:POLICIES_SHOWN]:
        judged = [str(ranks.get(name, "none"))] if ranks else []
        table.add_row(show_text(name), f"{score.mean:+.2f}", _format_interval(score, 2), f"{score.n} {unit}", *judged)
    _show(table)
    if (more := len(policies.people.scores) - POLICIES_SHOWN) > 0:
        _print_line(f"and {more} more: add --json")


def _ranks(scores: Scores | None) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(scores.scores, start=1)} if scores else {}


def _format_rates(rates: Mapping[str, float] | Mapping[Verdict, float]) -> str:
    return ", ".join(f"{choice} {share:.1%}" for choice, share in rates.items())


def _table(columns: Sequence[str] = ("", "value", "95 % interval", "n")) -> Table:
    first, *others = columns
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold", max_width=MAX_WIDTH)
    for column in others:
        table.add_column(column, no_wrap=True)
    return table


def _add(table: Table, what: str, estimate: Estimate | None, items: str, *, unit: str, digits: int = 4) -> None:
    if estimate is None:
        table.add_row(show_text(what), "not defined", "", items)
        return
    n = ", ".join(part for part in (items, f"{estimate.n} {unit}" if unit != "items" else "") if part)
    table.add_row(
        show_text(what), f"{estimate.mean:.{digits}f}", _format_interval(estimate, 3), n or f"{estimate.n} items"
    )


def _format_interval(estimate: Estimate, digits: int) -> str:
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def _show(table: Table) -> None:
    """As wide as it is: on a narrow terminal no figure is left out."""
    if table.row_count:
        wide = console.options.update(width=10_000)
        wide = wide.update(width=Measurement.get(console, wide, table).maximum)
        for line in console.render_lines(table, wide, pad=False):
            shown = Segments([*line, Segment.line()])
            console.print(shown, crop=False, end="")


def _print_line(line: str) -> None:
    console.print(show_text(line))
