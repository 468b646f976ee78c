"""`rlaif constitution check, show, words, diff, test`: does the judge understand a principle file?

Parses options, asks `rlaif.judging.probing`, prints. `show` prints what the judge will read, `words` what it can read;
both load no model. `diff` is in constitution_diff.py, `test` in constitution_test.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from rlaif.cli.constitution_diff import diff
from rlaif.cli.constitution_test import run_test
from rlaif.cli.options import ConfigOption
from rlaif.console import console, show_text
from rlaif.errors import ConstitutionError, describe_names

if TYPE_CHECKING:
    from rlaif.config.generate import JudgeConfig
    from rlaif.constitution.probe import Reading
    from rlaif.constitution.render import JudgeTemplate
    from rlaif.judging.probing import Probing
    from rlaif.records import Constitution, Principle, SegmentedMessage

constitution_app = typer.Typer(
    no_args_is_help=True,
    help="Check a principle file and whether the judge understands it; show the exact prompt that the judge reads; "
    "compare two files by what a run's judge decides under them, and by people.",
)
constitution_app.command("diff")(diff)
constitution_app.command("test")(run_test)

WORDINGS_SHOWN = 40

QUESTION = "When does the museum open?"
EXAMPLE = {
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
            "[default: each principle's own examples; for one without, probes.jsonl in the judge's folder]",
        ),
    ] = None,
    max_flips: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of probe pairs on which the order may turn the verdict.")
    ] = 0.15,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Check the words alone, ask the judge nothing.")] = False,
) -> None:
    """Validate a principle file and probe the judge: does it understand each principle, and the right way round?

    Every probe pair is asked under every principle in both orders; a principle's own examples under it alone. Of a
    panel each judge is asked. A principle is refused when the order turns the verdict too often, or when the reply that
    should win, where that is known, does not. How often it wins stands beside how often it is the longer reply: a judge
    that is right no more often than that may only measure length.
    """
    from rlaif.constitution.principles import load_constitution
    from rlaif.constitution.probe_file import load_probes
    from rlaif.constitution.render import load_template
    from rlaif.loop.preflight import check_judge_place

    constitution = load_constitution(name)
    judges = _configured_judges(config, model=judge, template=template)
    for one in judges:  # what needs no model is refused before torch is imported
        load_template(one.template)
        check_judge_place(one, constitution)
    if probes is not None:
        load_probes(probes)
    for one in judges:
        if len(judges) > 1:
            console.print(show_text(f"judge {one.model.path}"))
        _check_for(one, constitution, probes=probes, ask=not no_probe, max_flips=max_flips)


def _check_for(
    judge: JudgeConfig, constitution: Constitution, *, probes: Path | None, ask: bool, max_flips: float
) -> None:
    from rlaif.constitution.probe import refuse_misread
    from rlaif.judging.probing import probe_judge

    done = probe_judge(constitution, config=judge, probes=probes, ask=ask, max_flips=max_flips)
    console.print(_table(constitution, done.readings))
    for reading in done.readings:
        if reading.num_expected:
            console.print(show_text(_describe_right(reading)))
    for warning in _contradictions(done.readings):
        console.print(show_text(warning), style="yellow")
    refuse_misread(done.readings, constitution=constitution, max_flips=max_flips, vocabulary=done.vocabulary)
    for reading in done.readings:
        if not reading.names and reading.read_as is not None:
            note = (
                f'note: the judge reads principle "{reading.principle.id}" as "{reading.read_as}"; '
                f"write `tags: [{reading.read_as}]` if that is meant, and it is held to it"
            )
            console.print(show_text(note))
    print_result(
        done,
        whom=f"{constitution.name}, for the judge {judge.model.path} and the template {done.template.name}",
        is_asked=ask,
    )


def print_result(done: Probing, *, whom: str, is_asked: bool) -> None:
    """The last lines: `ok` is for principles that the judge was asked about, or for words where that was all wanted."""
    from rlaif.constitution.probe_file import MIN_PROBES

    unasked = [reading.principle.id for reading in done.readings if not reading.num_pairs]
    small = [reading.principle.id for reading in done.readings if reading.is_too_small]
    if done.why_not:
        lines = [f"not probed, only the words were checked: {done.why_not}"]
        not_known = f"{whom}: whether the judge understands the principles is not known, for it was asked nothing"
        lines.append(not_known if is_asked else f"ok: {whom}, by the words alone")
    elif unasked:
        lines = [
            f"probed in part: {whom}: no probe pair is about {', '.join(unasked)}",
            "whether the judge understands that is not known: give pairs of clear contrast with --probes FILE",
        ]
    elif small:
        lines = [
            f"probed in part: {whom}: fewer than {MIN_PROBES} examples say little of {', '.join(small)}",
            f"whether the judge understands that is not known: write at least {MIN_PROBES} examples of it",
        ]
    else:
        lines = [f"ok: {whom}"]
    for line in lines:
        console.print(show_text(line))


def _configured_judges(config: Path | None, *, model: str | None, template: str | None) -> tuple[JudgeConfig, ...]:
    """The config's judges (its file, else ./rlaif.yaml, else the defaults), or the one that the options name."""
    from rlaif.config.generate import JudgeModelConfig
    from rlaif.config.load import find_config, load_config
    from rlaif.config.resolve import find_gpu, suit_judge

    asked = load_config(find_config(config)).judge
    if model is not None:
        other = JudgeModelConfig(path=model)
        suits = suit_judge(other, on_gpu=find_gpu())
        other = other.model_copy(update={"dtype": suits.dtype})
        asked = asked.model_copy(update={"model": other, "template": suits.template, "panel": ()})
    judges = asked.judges()
    return judges if template is None else tuple(one.model_copy(update={"template": template}) for one in judges)


def _contradictions(readings: Sequence[Reading]) -> Iterator[str]:
    from rlaif.constitution.probe import find_contradictions

    for found in find_contradictions(readings):
        yield (
            f'warning: principles "{found.one.id}" and "{found.other.id}" contradict each other: the judge wants '
            f"opposite replies on {found.num_opposite} of {found.num_pairs} probe pairs"
        )


@constitution_app.command("show")
def show(
    name: NameArgument,
    principle: Annotated[
        str | None, typer.Option(metavar="ID", help="The principle to ask about. [default: the first]")
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="Judge template, a file or a name. [default: the config's]")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the judge's exact prompt for an example pair, with all untrusted text marked."""
    from rlaif.constitution.principles import load_constitution
    from rlaif.constitution.render import load_template
    from rlaif.constitution.selection import prepare_constitution

    judge = _configured_judges(config, model=None, template=template)[0]
    constitution = load_constitution(name)
    if principle is None:
        constitution = prepare_constitution(constitution, mode=judge.principles)
    asked = _find_principle(constitution, principle)
    judge_template = load_template(judge.template)
    console.print(show_text(f"principle {asked.id} of {constitution.name}, template {judge_template.name}"))
    console.print(_mark("text from a model or a data set"), "- never a control token; all else is trusted")
    for message in _render_example(judge_template, principle=asked):
        console.print(_show_message(message))
    console.print(show_text(f"\nreply: {_describe_reply(judge_template)}"))


@constitution_app.command("words")
def words(
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The judge: a model folder or hub id. [default: the config's]")
    ] = None,
    config: ConfigOption = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"Every wording; without it {WORDINGS_SHOWN} of them, spread evenly.")
    ] = False,
) -> None:
    """List the principles and words that a judge with a closed vocabulary, such as the front desk's, can read."""
    from rlaif.judging.setup import find_judge_folder, find_vocabulary

    for one in _configured_judges(config, model=judge, template=None):
        found = find_vocabulary(find_judge_folder(one))
        if found is None:
            console.print(show_text(f"the judge {one.model.path} has no closed vocabulary: it reads any words"))
            continue
        console.print(show_text(f"the judge {one.model.path} knows {len(found.wordings)} wordings of a principle:"))
        step = 1 if every else max(1, len(found.wordings) // WORDINGS_SHOWN)
        for wording in found.wordings[::step]:
            console.print(show_text(f"  {wording}"))
        if step > 1:
            console.print(show_text("  (--all lists every one)"))
        console.print(show_text(f"and principles of your own from these {len(found.words)} words:"))
        console.print(show_text(f"  {' '.join(sorted(found.words))}"))


def _render_example(template: JudgeTemplate, *, principle: Principle) -> tuple[SegmentedMessage, ...]:
    from rlaif.judging.modes import MODES
    from rlaif.judging.modes.mode import Shown
    from rlaif.records import Message

    conversation = [Message(role="user", content=QUESTION)]
    mode, replies = MODES[template.kind], [Shown(EXAMPLE["first"]), Shown(EXAMPLE["second"])]
    shown = replies[1:] if mode.shows == "one" else replies
    return mode.render(template, conversation=conversation, responses=shown, principle=principle)


def _describe_reply(template: JudgeTemplate) -> str:
    """What the judge is to answer, in words."""
    from rlaif.judging.modes import MODES

    if template.contrast is not None:
        return f"nothing is written; {MODES[template.kind].words.describe_choices(template)}"
    reason = template.reason_max_tokens
    first = f"a reason of at most {reason} tokens, then {template.verdict_marker!r}" if reason else "no reason"
    return f"{first}; {MODES[template.kind].words.describe_choices(template)}"


def _find_principle(constitution: Constitution, principle_id: str | None) -> Principle:
    for principle in constitution.principles:
        if principle_id in (None, principle.id):
            return principle
    raise ConstitutionError(
        f'constitution "{constitution.name}" has no principle "{principle_id}"',
        fix=describe_names(principle_id or "", [p.id for p in constitution.principles], noun="its principles"),
    )


def _table(constitution: Constitution, readings: Sequence[Reading]) -> Table:
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


def _describe_right(reading: Reading) -> str:
    """How often the judge is right under a principle, beside a rule that merely counts characters."""
    from rlaif.stats.intervals import wilson

    share = wilson(reading.num_right, reading.num_expected)
    reply = "good" if reading.is_by_examples else "expected"
    return (
        f"{reading.principle.id}: the {reply} reply wins {reading.num_right} of {reading.num_expected} "
        f"({share.low:.0%} to {share.high:.0%}); it is the longer one in {reading.num_longer} of {reading.num_expected}"
    )


def _show_message(message: SegmentedMessage) -> Text:
    parts = [_mark(s.text) if not s.trusted else show_text(s.text) for s in message.segments]
    return Text("\n").append_text(Text(f"--- {message.role} ---\n", style="dim")).append_text(Text("").join(parts))


def _mark(text: str) -> Text:
    """Untrusted text, in colour and between brackets, which are seen without colour too."""
    marked = Text("⟦").append_text(show_text(text)).append("⟧")
    marked.stylize("yellow")
    return marked
