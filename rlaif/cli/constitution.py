"""`rlaif constitution check, show`: is a principle file right, and what exactly will the judge read?

Parses options, reads the files, prints. Loads the judge's tokenizer but never its weights, and asks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from rlaif.records import Constitution, Principle, SegmentedMessage

constitution_app = typer.Typer(
    no_args_is_help=True, help="Check a principle file; show the exact prompt that the judge reads."
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
    judge: Annotated[str, typer.Option(metavar="MODEL", help="The judge: a model folder or hub id.")] = FRONTDESK,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Judge template, a file or a name. [default: frontdesk_pair for the front desk, else pair]",
        ),
    ] = None,
) -> None:
    """Validate a principle file; make sure that the judge knows its words and can give the verdicts."""
    from rlaif.config.generate import ModelConfig
    from rlaif.console import console, show_text
    from rlaif.constitution.principles import load_constitution
    from rlaif.constitution.render import load_template
    from rlaif.work import check_judge

    constitution = load_constitution(name)
    judge_template = load_template(template or ("frontdesk_pair" if judge == FRONTDESK else "pair"))
    check_judge(ModelConfig(path=judge), constitution=constitution, template=judge_template)
    console.print(_table(constitution))
    console.print(show_text(f"ok: {constitution.name}, for the judge {judge} and the template {judge_template.name}"))


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


def _table(constitution: Constitution) -> Table:
    from rich.table import Table

    from rlaif.console import show_text

    table = Table("id", "weight", "words", "tags", box=None)
    for principle in constitution.principles:
        cells = (
            principle.id,
            f"{principle.weight:g}",
            str(len(principle.text.split())),
            ", ".join(principle.tags) or "-",
        )
        table.add_row(*map(show_text, cells))
    return table


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
