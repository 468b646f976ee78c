"""The table as people read it: Markdown for a file, columns for a terminal.

Says what it is given and how it was made; computes no statistics.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple, Self

from rich.console import Console
from rich.table import Table as Columns
from rich.text import Text
from steer_table import ROOM, Spread, Steered, Table, format_change
from steer_targets import Target

from rlaif import __version__
from rlaif.console import show_text
from rlaif.frontdesk.truth import ATTRIBUTES
from rlaif.report.wording import MINUS

ARROWS = {1: "▲", -1: "▼"}
MOST_COLUMNS = 3
"""More constitutions than this stand below each other on a terminal."""
_LIBRARIES = ("torch", "transformers", "numpy")


class Made(NamedTuple):
    """How a table was made."""

    command: str
    num_workers: int
    wall_s: float | None
    """None where an earlier command had made some of its rows."""
    core_s: float
    """All rows and preparations together, one core each."""
    versions: dict[str, str]
    num_cores: int

    @classmethod
    def of(cls, table: Table, *, command: str, num_workers: int, wall_s: float | None) -> Self:
        core_s = sum(sum(one.seconds.values()) for one in (*table.starts, *table.rows))
        versions = {"rlaif": __version__, "python": platform.python_version()}
        versions |= {name: version(name) for name in _LIBRARIES}
        return cls(command, num_workers, wall_s, core_s, versions, os.cpu_count() or 0)

    @property
    def minutes(self) -> float:
        """By the clock; where rows were found finished, all rows' time over the number of workers."""
        return (self.core_s / self.num_workers if self.wall_s is None else self.wall_s) / 60

    def as_json(self) -> dict[str, object]:
        return {
            "command": self.command, "minutes": round(self.minutes, 1), "minutes_by_the_clock": self.wall_s is not None,
            "core_s": round(self.core_s, 1), "workers": self.num_workers, "cores": self.num_cores,
            "versions": self.versions,
        }  # fmt: skip


def render_markdown(table: Table, targets: Sequence[Target], *, made: Made) -> str:
    """The whole table, then each named principle, then the targets."""
    seeds = len(table.starts)
    over = f"the mean over {seeds} training seeds, ± half of its 95 % interval over the seeds (t)"
    lines = [
        "# Steering: edit a principle, see the behaviour move",
        "",
        f"Simulated truth on the front desk, 0 to 100: {over if seeds > 1 else 'one training seed, so no interval'}.",
        "All policies have the same start. **Bold**: the constitution names it, ▲ or ▼ in this direction. "
        "↻ turned round by the flip. What no principle names is shown all the same.",
        "",
        *_truth_rows(table),
        "",
        "## Each named principle",
        "",
        f"Change in the named direction: positive is as asked. Best of {table.num_choices}: what the same principles "
        f"do without training, where the reward model picks one of {table.num_choices} replies of the start; every "
        f"reply ever given then costs {table.num_choices} samples and {table.num_choices} scores.",
        "",
        *_named_rows(table),
        "",
        "## Targets",
        "",
        *(f"- {_describe_met(target)}: {target.what}: {target.said}." for target in targets),
        "",
        f"Made by `{made.command}` in {made.minutes:.0f} minutes"
        f"{'' if made.wall_s is not None else ' (its rows together, over the workers)'}, {made.num_workers} workers of "
        f"one thread; {', '.join(f'{name} {number}' for name, number in made.versions.items())}.",
    ]
    return "\n".join(lines) + "\n"


def _truth_rows(table: Table) -> list[str]:
    flips = {flip.flipped: flip for flip in table.flips}
    rows = [_row("", *ATTRIBUTES), _row("---", *["---:"] * len(ATTRIBUTES))]
    rows.append(_row("start", *(format_spread(table.start_truth(attribute)) for attribute in ATTRIBUTES)))
    for steered in table.steered:
        directions = _directions(steered)
        cells = []
        for attribute in ATTRIBUTES:
            cell = format_spread(table.truth(steered.name, attribute))
            if attribute in directions:
                sign = "↻ " if steered.name in flips and flips[steered.name].attribute == attribute else ""
                cell = f"{sign}**{ARROWS[directions[attribute]]} {cell}**"
            cells.append(cell)
        rows.append(_row(f"{'↳ ' if steered.name in flips else ''}`{steered.name}`", *cells))
    if table.placebo is not None:
        cells = [format_spread(table.truth(table.placebo, attribute, placebo=True)) for attribute in ATTRIBUTES]
        rows.append(_row(f"placebo: `{table.placebo}`, verdicts shuffled", *cells))
    return rows


def _named_rows(table: Table) -> list[str]:
    best = f"best of {table.num_choices}"
    head = ("constitution", "principle", "start", "trained", "change", "weakest run", best)
    rows = [_row(*head), _row("---", "---", *["---:"] * 5)]
    for move in table.named():
        wanted = f"{ARROWS[move.asked.direction]} {move.asked.attribute}"
        room = "" if move.has_room else f" (no room: {move.room:.0f} of the {ROOM:.0f} it takes)"
        rows.append(
            _row(
                f"`{move.constitution}`", f"“{move.asked.text}” {wanted}{room}", f"{move.start.mean:.0f}",
                format_spread(move.trained), _minus(format_change(move.change)),
                _minus(f"{min(move.change.values):+.0f}"),
                _minus(f"{move.best_of.mean:+.0f}"),
            )
        )  # fmt: skip
    return rows


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _directions(steered: Steered) -> dict[str, int]:
    return {asked.attribute: asked.direction for asked in steered.asked}


def format_spread(numbers: Spread) -> str:
    """ "86 ± 3"; the mean alone with one seed."""
    if numbers.interval is None:
        return f"{numbers.mean:.0f}"
    return f"{numbers.mean:.0f} ± {(numbers.interval.high - numbers.interval.low) / 2:.0f}"


def _describe_met(target: Target) -> str:
    return {True: "met", False: "**missed**", None: "open"}[target.met]


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def show_table(table: Table, targets: Sequence[Target], *, console: Console) -> None:
    """Truth per policy, each named principle, and what became of the targets."""
    console.print(_columns(table) if len(table.steered) <= MOST_COLUMNS else _wide_columns(table))
    console.print(Text("▲ ▼ named by the constitution, in this direction; ↻ turned round by the flip"))
    console.print()
    for move in table.named():
        room = "" if move.has_room else f", room {move.room:.0f} only"
        line = (
            f"{move.constitution}, {move.asked.id}: {move.start.mean:.0f} to {move.trained.mean:.0f}, as asked "
            f"{format_change(move.change)}{room}; best of {table.num_choices} without training {move.best_of.mean:+.0f}"
        )
        console.print(show_text(line))
    console.print()
    for target in targets:
        said = {True: "met   ", False: "missed", None: "open  "}[target.met]
        console.print(Text(said, style="bold") + show_text(f" {target.what}: {target.said}"))


def _columns(table: Table) -> Columns:
    """A row per attribute and a column per policy: for few policies."""
    columns = Columns(box=None, pad_edge=False, padding=(0, 2))
    columns.add_column("truth, 0-100")
    for name in ("start", *(s.name for s in table.steered), *(["placebo"] if table.placebo else [])):
        columns.add_column(show_text(name), justify="right")
    for attribute in ATTRIBUTES:
        cells = [Text(format_spread(table.start_truth(attribute)))]
        cells += [_cell(table, steered, attribute) for steered in table.steered]
        if table.placebo is not None:
            cells.append(Text(format_spread(table.truth(table.placebo, attribute, placebo=True))))
        columns.add_row(Text(attribute), *cells)
    return columns


def _wide_columns(table: Table) -> Columns:
    """A row per policy and a column per attribute."""
    columns = Columns(box=None, pad_edge=False, padding=(0, 1))
    columns.add_column("truth, 0-100", no_wrap=True)
    for attribute in ATTRIBUTES:
        columns.add_column(attribute, justify="right")
    columns.add_row(Text("start"), *(Text(f"{table.start_truth(attribute).mean:.0f}") for attribute in ATTRIBUTES))
    for steered in table.steered:
        columns.add_row(
            show_text(steered.name), *(_cell(table, steered, attribute, short=True) for attribute in ATTRIBUTES)
        )
    if table.placebo is not None:
        means = (table.truth(table.placebo, attribute, placebo=True).mean for attribute in ATTRIBUTES)
        columns.add_row(Text("placebo"), *(Text(f"{mean:.0f}") for mean in means))
    return columns


def _cell(table: Table, steered: Steered, attribute: str, *, short: bool = False) -> Text:
    truth = table.truth(steered.name, attribute)
    said = f"{truth.mean:.0f}" if short else format_spread(truth)
    direction = _directions(steered).get(attribute)
    if direction is None:
        return Text(said)
    turned = any((flip.flipped, flip.attribute) == (steered.name, attribute) for flip in table.flips)
    return Text(f"{'↻ ' if turned else ''}{ARROWS[direction]} {said}", style="bold")
