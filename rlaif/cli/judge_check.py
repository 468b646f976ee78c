"""`rlaif judge-check`: the judge's health on a run, as a table or as JSON.

Parses options, asks `rlaif.judge_health.check`, prints. With --pairs, judge_trial.py compares judges before any run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rlaif.cli.judge_against import AgainstOption, AnswersOption, SheetOption, check_against
from rlaif.cli.judge_trial import (
    PARAPHRASE_PAIRS,
    ConstitutionOption,
    JudgesOption,
    OutOption,
    PairsOption,
    ParaphrasePairsOption,
    ParaphrasesOption,
    TemplatesOption,
    TrialOptions,
    compare,
)
from rlaif.cli.options import ConfigOption, RunOption, RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError, StageError

if TYPE_CHECKING:
    from rlaif.judge_health.check import JudgeCheck
    from rlaif.judge_health.health import JudgeHealth
    from rlaif.judge_health.length_effect import LengthEffect
    from rlaif.judge_health.panel import JudgesAgree, PanelAgreement
    from rlaif.judge_health.sentinels import SentinelCheck
    from rlaif.records import Estimate

Row = tuple[str, str, str, str]


def judge_check(
    run: RunOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    sentinels: Annotated[
        bool,
        typer.Option(
            "--sentinels",
            help="Ask the judge 40 of the run's questions again and compare; the first time draws and stores them. "
            "Exit code 1 if it no longer answers as it did.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    pairs: PairsOption = None,
    judge: JudgesOption = None,
    template: TemplatesOption = None,
    constitution: ConstitutionOption = None,
    paraphrases: ParaphrasesOption = None,
    paraphrase_pairs: ParaphrasePairsOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    against: AgainstOption = None,
    sheet: SheetOption = None,
    answers: AnswersOption = None,
) -> None:
    """The judge's health on a run, or with --pairs a comparison of judges on labelled pairs before any run.

    On a run, from its ledger: place, order, length, label mass, principles, circles, repeats; without --sentinels no
    model is loaded and nothing is asked. With --pairs, each judge is asked with each template: how often it is right,
    beside the rule that the longer reply wins. Intervals are 95 % and count prompts, n.
    """
    if against is None and (sheet is not None or answers is not None):
        raise InputError("--sheet and --answers are about a test of two judges", fix="add --against NAME")
    if pairs is not None:
        if run is not None or sentinels or against is not None:
            raise InputError("--pairs compares judges before any run", fix="leave out --run, --sentinels and --against")
        options = TrialOptions(
            config=config, judges=judge or [], templates=template or [], constitution=constitution,
            paraphrases=paraphrases, out=out,
            num_asked_again=PARAPHRASE_PAIRS if paraphrase_pairs is None else paraphrase_pairs,
        )  # fmt: skip
        compare(pairs, options=options, as_json=as_json)
        return
    _refuse_without_pairs(
        judge=judge, template=template, constitution=constitution, paraphrases=paraphrases,
        paraphrase_pairs=paraphrase_pairs is not None, out=out, config=config,
    )  # fmt: skip
    if against is not None:
        if sentinels or as_json:
            raise InputError("--against asks no judge and prints text", fix="leave out --sentinels and --json")
        check_against(run, against=against, sheet=sheet, answers=answers, runs_dir=runs_dir)
        return
    _check_run(run, runs_dir=runs_dir, sentinels=sentinels, as_json=as_json)


def _refuse_without_pairs(**given: object) -> None:
    for name, value in given.items():
        if value:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is about labelled pairs, and none are given", fix="add --pairs FILE")


def _check_run(run: str | None, *, runs_dir: Path, sentinels: bool, as_json: bool) -> None:
    from rlaif.run.folder import open_run

    open_run(runs_dir, run)  # a run that is not there costs no import of torch
    from rlaif.judge_health.check import check_judge_of_run

    check = check_judge_of_run(run, runs_dir=runs_dir, sentinels=sentinels)
    if as_json:
        typer.echo(check.model_dump_json(indent=1))
    else:
        _print(check)
    if check.sentinels is not None and check.sentinels.drift:
        raise StageError(
            f"the judge is not what it was: {'; '.join(check.sentinels.drift)}",
            where=f"run {check.run}",
            fix="judge the run's responses again in a new run before comparing it with others",
        )


def _print(check: JudgeCheck) -> None:
    who = f"{len(check.further) + 1} judges" if check.further else f"judge {check.judge}"
    console.print(show_text(f"run {check.run}, round {check.round}: {who}, constitution {check.constitution}"))
    _print_health(check, name=check.judge if check.further else None, health=check.health)
    for judge in check.further:
        _print_health(check, name=judge.name, health=judge.health)
    agreement = [*_panel_figures(check.panel), *_agreement_figures(check.judges)]
    if agreement:
        console.print(show_text("\nagreement between judges; a comparison is a pair under one principle"))
        _show(("figure", "value", "95 % interval", "n"), iter(agreement))
    for line in _notes(check):
        console.print(show_text(line))


def _print_health(check: JudgeCheck, *, name: str | None, health: JudgeHealth) -> None:
    """Print one judge's figures, under its name where there are several judges."""
    if name is not None:
        console.print(show_text(f"\njudge {name}"))
    line = (
        f"{health.num_judgements} judgements, {sum(health.failed_by_cause.values())} failed{_describe_causes(health)}; "
        f"{health.num_comparisons} comparisons{_describe_orders(health)}"
    )
    console.print(show_text(line))
    is_first = health is check.health
    _show(("figure", "value", "95 % interval", "n"), _figures(health, check.sentinels if is_first else None))
    console.print()
    _show(
        ("principle", "weight", "place, logits", "order flips", "turns the label", "agrees with it"),
        _principles(health),
    )
    if health.label_mass_bins:
        console.print(show_text(f"\nlabel mass of the judgements: {_describe_mass(health)}"))


def _describe_orders(health: JudgeHealth) -> str:
    from rlaif.judging.modes import MODES

    mode = MODES[health.mode]
    if mode.shows == "one":
        return f": each response was {mode.words.first_shown} by itself, so no order has a say and none can flip"
    return f", {health.num_one_order} of them {mode.words.too_few}"


def _show(columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(show_text, row))
    console.print(table, soft_wrap=False)


def _describe_causes(health: JudgeHealth) -> str:
    causes = ", ".join(f"{cause} {count}" for cause, count in health.failed_by_cause.items())
    return f" ({causes})" if causes else ""


def _figures(health: JudgeHealth, sentinels: SentinelCheck | None) -> Iterator[Row]:
    from rlaif.judging.modes import MODES

    mode = MODES[health.mode]
    if mode.shows != "one":
        yield _row("position effect, logits for the first place", health.position_effect, signed=True)
        yield _row("order flips", health.flipped, percent=True)
    if health.label_mass is not None or not mode.words.scale:
        yield _row(f"label mass on the {mode.words.answers}", health.label_mass, percent=True)
    yield _row("labels beyond .99", health.saturated, percent=True)
    if health.length is not None:
        yield from _length_figures(health.length)
    if health.transitivity is not None:
        found = health.transitivity
        yield _row(f"circles among {found.num_triples} triples", found.circular, percent=True)
    if health.duplicates is not None and health.duplicates.num_repeated_questions:
        found_twice = health.duplicates
        what = f"{found_twice.num_repeated_questions} repeated questions, same verdict"
        yield _row(what, found_twice.repeated_agree, percent=True)
    if sentinels is not None:
        yield from _sentinel_figures(sentinels)


def _panel_figures(panel: PanelAgreement | None) -> Iterator[Row]:
    if panel is None or len(panel.judges) < 3:  # for two judges the rows about the pair are the same figures
        return
    yield _row(f"all {len(panel.judges)} judges, same winner of a pair", panel.unanimous, percent=True)
    yield _row(f"  Krippendorff's alpha, {panel.num_comparisons} comparisons", panel.alpha)
    for name, alpha in panel.alpha_by_principle.items():
        yield _row(f"    under {name}", alpha)


def _agreement_figures(pairs: Sequence[JudgesAgree]) -> Iterator[Row]:
    for pair in pairs:
        yield _row(f"{pair.judges[0]} and {pair.judges[1]} agree", pair.agreement.share, percent=True)
        yield _row(f"  kappa, {pair.agreement.n} comparisons", pair.agreement.kappa)
        if pair.correlation is not None:
            yield _row("  correlation of logits", pair.correlation)
        if pair.winners is not None and len(pair.by_principle) > 1:
            yield _row("  same winner of a pair over all principles", pair.winners, percent=True)
        if len(pair.by_principle) > 1:
            for name, agreement in pair.by_principle.items():
                yield _row(f"    kappa under {name}", agreement.kappa)


def _length_figures(length: LengthEffect) -> Iterator[Row]:
    unit = f"logits per {length.length_sd:.1f} words"
    yield _row(f"length, association, {unit}", length.association, signed=True)
    if length.bias is not None:
        yield _row(f"length, bias at equal worth, {unit}", length.bias, signed=True)
    for name, bias in length.biases.items():
        whence = "by labels" if bias.source == "labels" else "by a measure"
        yield _row(f"  under {name}, {whence}", bias.slope, signed=True)


def _sentinel_figures(check: SentinelCheck) -> Iterator[Row]:
    yield _row(f"{check.num_asked} sentinels, verdict changed", check.verdicts_changed, percent=True)
    yield _row("  mean move, logits", check.mean_move, digits=4)


def _row(name: str, estimate: Estimate | None, *, percent: bool = False, signed: bool = False, digits: int = 2) -> Row:
    if estimate is None:
        return (name, "not known", "", "")
    spec = ".1%" if percent else f"{'+' if signed else ''}.{digits}f"
    return (
        name,
        format(estimate.mean, spec),
        f"{format(estimate.low, spec)} to {format(estimate.high, spec)}",
        str(estimate.n),
    )


def _principles(health: JudgeHealth) -> Iterator[tuple[str, ...]]:
    for name, steady in health.by_principle.items():
        influence = health.influence.get(name)
        yield (
            name,
            "-" if influence is None else f"{influence.weight_share:.0%}",
            _format_short(steady.position_effect, percent=False),
            _format_short(steady.flipped, percent=True),
            "alone" if influence is None or influence.flips is None else _format_short(influence.flips, percent=True),
            "-" if influence is None else _format_short(influence.agrees, percent=True),
        )


def _format_short(estimate: Estimate | None, *, percent: bool) -> str:
    if estimate is None:
        return "-"
    spec = ".0%" if percent else "+.2f"
    return f"{format(estimate.mean, spec)} ({format(estimate.low, spec)} to {format(estimate.high, spec)})"


def _describe_mass(health: JudgeHealth) -> str:
    from rlaif.judge_health.health import MASS_EDGES

    names = [f"up to {MASS_EDGES[0]:g}", *(f"to {edge:g}" for edge in MASS_EDGES[1:]), "above"]
    found = zip(names, health.label_mass_bins, strict=True)
    return ", ".join(f"{count} {name}" for name, count in found if count)


def _notes(check: JudgeCheck) -> Iterator[str]:
    length, duplicates = check.health.length, check.health.duplicates
    if length is not None and length.bias is None:
        yield "length: an association; longer responses may be better ones, and no labels or measures tell"
    if length is not None and length.is_simulated:
        yield "length: the worth of responses is the simulated truth of an embedded world"
    if length is not None and length.not_separable:
        names = ", ".join(length.not_separable)
        yield f"length: under {names} worth goes so closely with length that a bias cannot be told from it"
    if duplicates is not None and (duplicates.num_identical_pairs or duplicates.num_repeated_pairs):
        yield (
            f"{duplicates.num_identical_pairs} pairs are one text twice, {duplicates.num_repeated_pairs} have the two "
            "texts of another pair"
        )
    for health in (check.health, *(judge.health for judge in check.further)):
        if len(health.served_models) > 1:
            named = ", ".join(f"{name} {count}" for name, count in health.served_models.items())
            yield f"the server answered as more than one model: {named}"
    if check.sentinels is not None:
        when = "stored now" if check.sentinels.stored_now else "stored before"
        yield f"sentinels: {when}; {'drift' if check.sentinels.drift else 'the judge answers as it did'}"
        yield from _drawn_sentinels(check.sentinels)


def _drawn_sentinels(check: SentinelCheck) -> Iterator[str]:
    if check.drawn_apart is not None and check.chance is not None:
        beside = "" if check.drawn_by_chance is None else f", two answers of one time {check.drawn_by_chance:.2f}"
        yield (
            f"sentinels: the judge draws its answers to {check.num_drawn} of them; then and now are "
            f"{check.drawn_apart:.2f} apart on average{beside}; chance alone does this with a probability of "
            f"{check.chance:.2g}"
        )
