"""`rlaif constitution check, show`: does the judge understand a principle file, and what exactly will it read?

Parses options, reads the files, prints. `check` asks the judge about probe pairs; `show` loads no model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.loop import ConfigOption

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from rlaif.config.generate import JudgeConfig
    from rlaif.constitution.probe import Reading
    from rlaif.constitution.render import JudgeTemplate
    from rlaif.records import Constitution, Principle, SegmentedMessage

constitution_app = typer.Typer(
    no_args_is_help=True,
    help="Check a principle file and whether the judge understands it; show the exact prompt that the judge reads.",
)

FRONTDESK = "frontdesk"
EXAMPLE = {
    "conversation": "user: When does the museum open?",
    "first": "The museum opens at nine.",
    "second": "Good morning! The museum opens at nine. Can I help you with anything else?",
}

NameArgument = Annotated[str, typer.Argument(metavar="FILE_OR_NAME", help="Principle file, or the name of one.")]


@constitution_app.command("check")
def check(
    name: NameArgument,
    judge: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The judge: a model folder or hub id. [default: the config's]"),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Judge template, a file or a name. [default: the config's; for a --judge other than the front desk's: "
            "pair]",
        ),
    ] = None,
    config: ConfigOption = None,
    probes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Pairs of clear contrast, JSONL with prompt, first, second and, where known, expected. "
            "[default: probes.jsonl in the judge's folder]",
        ),
    ] = None,
    max_flips: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of probe pairs on which the order may turn the verdict.")
    ] = 0.15,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Check the words alone, ask the judge nothing.")] = False,
) -> None:
    """Validate a principle file and probe the judge: does it understand each principle, and the right way round?

    Every probe pair is asked under every principle in both orders. A principle is refused when the order turns
    the verdict too often, or when the reply that should win, where that is known, does not.
    """
    from rlaif.console import console, show_text
    from rlaif.constitution.principles import load_constitution, load_vocabulary
    from rlaif.constitution.probe import refuse_misread
    from rlaif.constitution.render import load_template
    from rlaif.errors import InputError
    from rlaif.models.model_folder import find_model_folder
    from rlaif.work import check_judge, resolve_path

    if no_probe and probes is not None:
        raise InputError("--probes and --no-probe exclude each other", fix="leave one of them out")
    constitution = load_constitution(name)
    asked = _judge_config(config, judge=judge, template=template)
    judge_template = load_template(asked.template)
    check_judge(asked.model, constitution=constitution, template=judge_template)
    folder = find_model_folder(resolve_path(asked.model.path, part="judge"), revision=asked.model.revision).folder
    given, why_not = _find_probes(probes, folder, template=judge_template, no_probe=no_probe)
    readings: list[Reading] = []
    if given is not None:
        readings = _probe(constitution, given, asked=asked, template=judge_template, max_flips=max_flips)
    console.print(_table(constitution, readings))
    _show_contradictions(readings)
    refuse_misread(readings, constitution=constitution, max_flips=max_flips, vocabulary=load_vocabulary(folder))
    for reading in readings:
        if not reading.names and reading.read_as is not None:
            note = (
                f'note: the judge reads principle "{reading.principle.id}" as "{reading.read_as}"; '
                f"write `tags: [{reading.read_as}]` if that is meant, and it is held to it"
            )
            console.print(show_text(note))
    if why_not:
        console.print(show_text(f"not probed, only the words were checked: {why_not}"))
    console.print(
        show_text(f"ok: {constitution.name}, for the judge {asked.model.path} and the template {judge_template.name}")
    )


def _judge_config(config: Path | None, *, judge: str | None, template: str | None) -> JudgeConfig:
    """The config's judge (its file, else ./rlaif.yaml, else the defaults), or the one that the options name."""
    from rlaif.config.generate import ModelConfig
    from rlaif.config.load import load_config

    if config is None and Path("rlaif.yaml").is_file():
        config = Path("rlaif.yaml")
    asked = load_config(config).judge
    if judge is not None:
        named = "frontdesk_pair" if judge == FRONTDESK else "pair"
        asked = asked.model_copy(update={"model": ModelConfig(path=judge), "template": named})
    return asked if template is None else asked.model_copy(update={"template": template})


def _find_probes(
    given: Path | None, judge_dir: Path, *, template: JudgeTemplate, no_probe: bool
) -> tuple[Path | None, str]:
    """The file of probes, or why there is none."""
    from rlaif.constitution.probe_file import PROBE_FILE, find_probes
    from rlaif.errors import InputError

    if template.kind != "pair":
        if given is not None:
            raise InputError("this template scores single replies, and probes are pairs", where=template.name,
                             fix="choose a pair template with --template")  # fmt: skip
        return None, "the template scores single replies, and probes are pairs"
    if no_probe:
        return None, "--no-probe"
    found = given or find_probes(judge_dir)
    return found, "" if found else f"this judge brings no {PROBE_FILE}; give pairs of clear contrast with --probes FILE"


def _probe(
    constitution: Constitution, path: Path, *, asked: JudgeConfig, template: JudgeTemplate, max_flips: float
) -> list[Reading]:
    """Load the judge and ask it; says what was asked and how long it took."""
    from rlaif.console import Progress, say
    from rlaif.constitution.probe import probe_principles
    from rlaif.constitution.probe_file import load_probes
    from rlaif.judging.probe_judge import make_probe_judge
    from rlaif.models.transformers_engine import TransformersEngine
    from rlaif.work import load_model

    started = time.monotonic()
    probes = load_probes(path)
    engine = TransformersEngine(load_model(asked.model, part="judge"))
    num_principles = sum(principle.weight > 0 for principle in constitution.principles)
    num_questions = 2 * len(probes) * num_principles
    with Progress("probes", num_questions, unit="questions") as progress:
        judge = make_probe_judge(
            engine, template=template, config=asked,
            on_batch=lambda done, failed: progress.advance(done, failed=failed),
        )  # fmt: skip
        readings = probe_principles(constitution, probes=probes, judge=judge, max_flips=max_flips)
    say(
        f"probed in {time.monotonic() - started:.1f} s, loading included: {num_principles} principles x {len(probes)} "
        f"pairs x 2 orders = {num_questions} questions"
    )
    return readings


def _show_contradictions(readings: Sequence[Reading]) -> None:
    from rlaif.console import console, show_text
    from rlaif.constitution.probe import find_contradictions

    for found in find_contradictions(readings):
        warning = (
            f'warning: principles "{found.one.id}" and "{found.other.id}" contradict each other: the judge wants '
            f"opposite replies on {found.num_opposite} of {found.num_pairs} probe pairs"
        )
        console.print(show_text(warning), style="yellow")


@constitution_app.command("show")
def show(
    name: NameArgument,
    principle: Annotated[
        str | None, typer.Option(metavar="ID", help="The principle to ask about. [default: the first]")
    ] = None,
    template: Annotated[str, typer.Option(metavar="NAME", help="Judge template, a file or a name.")] = "frontdesk_pair",
) -> None:
    """Print the judge's exact prompt for an example pair, with all untrusted text marked."""
    from rlaif.console import console, show_text
    from rlaif.constitution.principles import load_constitution
    from rlaif.constitution.render import load_template, render

    constitution = load_constitution(name)
    asked = _find_principle(constitution, principle)
    judge_template = load_template(template)
    console.print(show_text(f"principle {asked.id} of {constitution.name}, template {judge_template.name}"))
    console.print(_mark("text from a model or a data set"), "- never a control token; all else is trusted")
    for message in render(judge_template, **EXAMPLE, principle=asked.text):
        console.print(_show_message(message))
    reason = judge_template.reason_max_tokens
    asks = f"a reason of at most {reason} tokens, then {judge_template.verdict_marker!r}" if reason else "no reason"
    verdicts = ", ".join(f"{text!r} = {verdict}" for verdict, text in judge_template.verdicts.items())
    console.print(show_text(f"\nreply: {asks}; verdicts {verdicts}"))


def _find_principle(constitution: Constitution, principle_id: str | None) -> Principle:
    from rlaif.errors import ConstitutionError

    for principle in constitution.principles:
        if principle_id in (None, principle.id):
            return principle
    raise ConstitutionError(
        f'constitution "{constitution.name}" has no principle "{principle_id}"',
        fix=f"its principles are {', '.join(p.id for p in constitution.principles)}",
    )


def _table(constitution: Constitution, readings: Sequence[Reading]) -> Table:
    from rich.table import Table

    from rlaif.console import show_text

    by_id = {reading.principle.id: reading for reading in readings}
    probed = ("order flips", "expected wins", "read as") if readings else ()
    table = Table("id", "weight", "words", "tags", *probed, box=None)
    for principle in constitution.principles:
        cells = [
            principle.id,
            f"{principle.weight:g}",
            str(len(principle.text.split())),
            ", ".join(principle.tags) or "-",
        ]
        if readings:
            reading = by_id.get(principle.id)
            cells += _probe_cells(reading) if reading is not None else ["not asked", "-", "-"]
        table.add_row(*map(show_text, cells))
    return table


def _probe_cells(reading: Reading) -> list[str]:
    if reading.num_pairs == 0:
        return ["no pair is about it", "-", "-"]
    flips = f"{reading.num_flipped} of {reading.num_answered}"
    if reading.num_tied:
        flips += f", {reading.num_tied} ties"
    if reading.failed:
        flips += f", {reading.failed.total()} failed"
    wins = f"{reading.num_right} of {reading.num_expected}" if reading.num_expected else "-"
    return [flips, wins, reading.read_as or "-"]


def _show_message(message: SegmentedMessage) -> Text:
    from rich.text import Text

    from rlaif.console import show_text

    parts = [_mark(s.text) if not s.trusted else show_text(s.text) for s in message.segments]
    return Text("\n").append_text(Text(f"--- {message.role} ---\n", style="dim")).append_text(Text("").join(parts))


def _mark(text: str) -> Text:
    """Untrusted text in colour, and between brackets where there is no colour."""
    from rich.text import Text

    from rlaif.console import show_text

    marked = Text("⟦").append_text(show_text(text)).append("⟧")
    marked.stylize("yellow")
    return marked
