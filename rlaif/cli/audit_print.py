"""Views of `rlaif.audit` on a terminal: titles, named facts, exact prompts, tables.

Prints and nothing else. Texts come from models and data sets: all of them go through `show_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from rlaif.console import console, say, show_text
from rlaif.errors import LedgerError, RunFolderError

if TYPE_CHECKING:
    from rlaif.audit.listing import Listing
    from rlaif.audit.proof import Proof
    from rlaif.audit.view import Fact, Section


MIN_WIDTHS = {"key": 6, "judgement": 12, "comparison": 12, "failed": 12, "principle": 12, "cause": 10}
"""Characters that a column of a list gets at least; any other gets those of its name."""


def print_listing(listing: Listing) -> None:
    """A table whose last column gets what width is left."""
    if not listing.rows:
        console.print(show_text("nothing found"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in listing.columns[:-1]:
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=MIN_WIDTHS.get(column, len(column)))
    table.add_column(listing.columns[-1], no_wrap=True, overflow="ellipsis")
    for row in listing.rows:
        table.add_row(*map(show_text, row))
    console.print(table, soft_wrap=False)
    if listing.next_key is not None:
        console.print(show_text(f"more: add --after {listing.next_key}"))


def print_sections(sections: Iterable[Section]) -> None:
    """Sections with an empty line between them."""
    for number, section in enumerate(sections):
        if number:
            print_line("")
        print_section(section)


def print_section(section: Section) -> None:
    """A title, where there is one, and its facts."""
    if section.title:
        shown = Text("", style="bold") + show_text(section.title)
        print_line(shown)
    print_facts(section.facts)


def print_facts(facts: Iterable[Fact]) -> None:
    """A line for each fact."""
    for name, text in facts:
        print_line(_fact_line(name, text))


def print_proof(proof: Proof) -> None:
    """Whether the prompt is proven, and the prompt."""
    print_line(_fact_line("exact prompt", proof.sentence))
    for message in proof.messages or ():
        print_line(Text(f"[{message.role}]", style="dim"))
        print_line(show_text(message.text))


def print_line(line: Text | str) -> None:
    """One line as wide as it is, so that an id or a prompt can be copied whole."""
    console.print(line, soft_wrap=True)


def _fact_line(name: str, text: str) -> Text:
    return Text("", style="cyan") + show_text(f"{name:>20}  ") + show_text(text)


@contextmanager
def passing_over(damaged: Sequence[RunFolderError]) -> Iterator[None]:
    """Name the runs that are passed over, do the rest, and then fail because of them."""
    for damage in damaged:
        say(f"skipped: {damage.sentence}")
    yield
    if damaged:
        which = "a run was" if len(damaged) == 1 else f"{len(damaged)} runs were"
        raise LedgerError(f"{which} skipped, as said above", fix="restore their files, or name a run by --run")
