"""`rlaif judge-check --pairs FILE`: several judges compared on pairs whose better reply is known.

Finds the judges that the options and the config name, asks `rlaif.judge_health.comparing`, prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Table

from rlaif.console import console, show_text
from rlaif.errors import Interrupted

if TYPE_CHECKING:
    from rlaif.config.judge import JudgeConfig
    from rlaif.config.run import RunConfig
    from rlaif.judge_health.comparing import JudgeComparison
    from rlaif.judge_health.trial_figures import TrialRow
    from rlaif.records import Constitution, Estimate

PARAPHRASE_PAIRS = 40

PairsOption = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="Compare judges on these labelled pairs instead of checking a run. JSONL, CSV or Parquet with prompt, "
        "first, second, label (first, second, tie, or the probability that the first is better) and, where known, "
        "principle, opposite, group.",
    ),
]
JudgesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="With --pairs: a further judge, a model folder or hub id; may be repeated. [default: the config's]",
    ),
]
TemplatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="NAME",
        help="With --pairs: a judge template, a file or a name; may be repeated, and every judge is asked with each. "
        "[default: the one that suits the judge]",
    ),
]
ConstitutionOption = Annotated[
    str | None,
    typer.Option(
        "--constitution",
        metavar="FILE_OR_NAME",
        help="With --pairs: what pairs without a principle are judged by. [default: the config's]",
    ),
]
ParaphrasesOption = Annotated[
    Path | None,
    typer.Option(
        "--paraphrases",
        metavar="FILE",
        help="With --pairs: three paraphrases of each principle and of prompts, in the columns text, one, two and "
        "three. [default: three fixed frames round the principle and the user's last turn]",
    ),
]
ParaphrasePairsOption = Annotated[
    int | None,
    typer.Option(
        "--paraphrase-pairs",
        min=0,
        max=1_000_000,
        help="With --pairs: on how many pairs each judge is asked again in three paraphrases; 0: on none. "
        f"[default: {PARAPHRASE_PAIRS}]",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="With --pairs: folder of the answers, by which an interrupted comparison resumes. [default: NAME.judges "
        "beside the file]",
    ),
]

RIGHT = ("judge", "right", "pairs", "beyond the longer reply")
STEADY = ("judge", "flips", "place", "label mass", "survives", "s a pair", "tokens")


class TrialOptions(NamedTuple):
    """A comparison of judges as it was asked for on the command line."""

    config: Path | None
    judges: Sequence[str]
    templates: Sequence[str]
    constitution: str | None
    paraphrases: Path | None
    num_asked_again: int
    out: Path | None


def compare(pairs: Path, *, options: TrialOptions, as_json: bool) -> None:
    """Ask the judges about the labelled pairs of a file and print a row for each."""
    from rlaif.config.load import find_config, load_config
    from rlaif.judge_health.labelled_pairs import load_labelled_pairs

    config_path = find_config(options.config)
    config = load_config(config_path)
    judges = _find_judges(config, options=options, is_configured=config_path is not None)
    loaded = load_labelled_pairs(pairs)
    constitution = _find_constitution(config, options=options, is_configured=config_path is not None)
    # What can be refused by the files alone is refused before torch is imported.
    from rlaif.judge_health.wordings import FRAMES, load_wordings

    principles = [pair.principle for pair in loaded if pair.principle is not None]
    if constitution is not None and len(principles) < len(loaded):
        principles += constitution.principles
    wordings = FRAMES if options.paraphrases is None else load_wordings(options.paraphrases, principles=principles)
    from rlaif.judge_health.comparing import compare_judges
    from rlaif.judge_health.trial import Trial

    try:
        comparison = compare_judges(
            Trial(loaded, constitution, draw_seed=config.seed), judges=judges,
            folder=options.out or pairs.with_name(f"{pairs.name.partition('.')[0]}.judges"),
            wordings=wordings, num_asked_again=options.num_asked_again,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise Interrupted(
            "the comparison was interrupted; the answers so far are saved", fix="run the same command again"
        ) from error
    if as_json:
        typer.echo(comparison.model_dump_json(indent=1))
    else:
        _print(comparison)


def _find_judges(config: RunConfig, *, options: TrialOptions, is_configured: bool) -> list[JudgeConfig]:
    """The configuration's judges and those of --judge, each with every template.

    The default judge, which a config file did not name, gives way to those of --judge.
    """
    from rlaif.config.judge import JudgeModelConfig
    from rlaif.config.resolve import find_gpu, suit_judge

    models = list(config.judge.judges()) if is_configured or not options.judges else []
    for path in options.judges:
        other = JudgeModelConfig(path=path)
        suits = suit_judge(other, on_gpu=find_gpu())
        changed = {"model": other.model_copy(update={"dtype": suits.dtype}), "template": suits.template, "panel": ()}
        models.append(config.judge.model_copy(update=changed))
    found = [
        one.model_copy(update={"template": template})
        for one in models
        for template in options.templates or [one.template]
    ]
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _find_constitution(config: RunConfig, *, options: TrialOptions, is_configured: bool) -> Constitution | None:
    from rlaif.constitution.principles import load_constitution

    name = options.constitution or (config.constitution if is_configured else None)
    return None if name is None else load_constitution(name)


def _print(comparison: JudgeComparison) -> None:
    tied = f", {comparison.num_ties} of them labelled a tie and in no share" if comparison.num_ties else ""
    console.print(show_text(f"{comparison.num_pairs} pairs{tied}; intervals are 95 %, over prompts"))
    names = find_names(comparison.rows)
    _print_table(RIGHT, [(name, *_format_right(row)) for name, row in zip(names, comparison.rows, strict=True)])
    console.print()
    judges = [(name, row) for name, row in zip(names, comparison.rows, strict=True) if row.mode is not None]
    _print_table(STEADY, [(name, *_format_steady(row)) for name, row in judges])
    console.print()
    for line in _describe(comparison, names=names):
        console.print(show_text(line))


def _print_table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(show_text, row))
    console.print(table, soft_wrap=False)


def find_names(rows: Sequence[TrialRow]) -> list[str]:
    """A short name for each row: the last part of the model's path, where no other model shares it."""
    folders = dict.fromkeys(row.judge for row in rows)
    last = Counter(Path(judge).name for judge in folders)
    short = {judge: Path(judge).name if last[Path(judge).name] == 1 else judge for judge in folders}
    return [f"{short[row.judge]} {row.template}".strip() for row in rows]


def _format_right(row: TrialRow) -> tuple[str, ...]:
    return (format_share(row.right), str(row.num_decided), format_share(row.beyond_length, signed=True))


def _format_steady(row: TrialRow) -> tuple[str, ...]:
    return (
        _format_mean(row.flipped, ".0%"), _format_mean(row.position_effect, "+.2f"),
        _format_mean(row.label_mass, ".2f"), _format_mean(row.survives, ".0%"),
        "-" if row.seconds is None else f"{row.seconds:.2f}", "-" if row.tokens is None else f"{row.tokens:.0f}",
    )  # fmt: skip


def _format_mean(estimate: Estimate | None, spec: str) -> str:
    return "-" if estimate is None else format(estimate.mean, spec)


def format_share(estimate: Estimate | None, *, signed: bool = False) -> str:
    """A share with its interval; "-" where it is not known."""
    if estimate is None:
        return "-"
    spec = "+.2f" if signed else ".2f"
    return f"{format(estimate.mean, spec)} [{format(estimate.low, spec)}, {format(estimate.high, spec)}]"


def _describe(comparison: JudgeComparison, *, names: Sequence[str]) -> Iterator[str]:
    """The lines under the tables: failures, ties, groups, notes, and which judges beat the longer reply."""
    for name, row in zip(names, comparison.rows, strict=True):
        if row.failed_by_cause:
            causes = ", ".join(f"{cause} {count}" for cause, count in row.failed_by_cause.items())
            yield f"{name}: {row.num_pairs - row.num_decided} pairs without a verdict; failed questions: {causes}"
        if row.num_ties:
            yield f"{name}: {row.num_ties} exact ties, each counted as half right"
        if row.by_group:
            yield f"{name}: " + ", ".join(f"{group} {format_share(found)}" for group, found in row.by_group.items())
    if any(row.survives is not None for row in comparison.rows):
        yield (
            f"survives: the same winner in three other wordings, on {comparison.num_asked_again} pairs; "
            "winners drawn by chance survive in 12%"
        )
    yield from comparison.notes
    yield describe_winners(comparison.rows, names=names)


def describe_winners(rows: Sequence[TrialRow], *, names: Sequence[str]) -> str:
    """Which judges are right more often than the longer reply on the same pairs, and which are not shown to be."""
    judges = [(name, row) for name, row in zip(names, rows, strict=True) if row.mode is not None]
    better = [name for name, row in judges if row.beats_length]
    others = [name for name, row in judges if not row.beats_length]
    if not better:
        return "No judge is shown to beat the longer reply on these pairs."
    beaten = f"; not shown for {', '.join(others)}" if others else ""
    return f"Right more often than the longer reply, with 95 % confidence: {', '.join(better)}{beaten}."
