"""All cells of a study, one after the other; those that are finished are not trained again.

Seed by seed, so that a study that was stopped has whole seeds. Fits nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rlaif.config.models import FRONTDESK, resolve_path
from rlaif.console import Progress, say
from rlaif.errors import RunFolderError
from rlaif.study.plan import START, Cell, Prices
from rlaif.study.results import CELLS_FILE, CellResult, open_finished


class HasCells(Protocol):
    """A plan, or a part of one."""

    @property
    def prices(self) -> Prices: ...

    def cells(self) -> list[Cell]: ...


def refuse_used(folder: Path) -> None:
    """Raise RunFolderError where a folder holds a study."""
    if (folder / CELLS_FILE).exists():
        raise RunFolderError(
            "this folder already holds a study",
            where=str(folder),
            fix="continue or extend it with --resume, or give another folder by --out",
        )


def run_study(plan: HasCells, folder: Path) -> list[CellResult]:
    """Train and measure every cell that the folder does not have; returns all that it has then."""
    cells = plan.cells()
    with open_finished(folder, plan.prices) as finished:
        known = {cell.key for cell in finished.cells}
        owed = [cell for cell in cells if cell.key not in known]
        if owed or START not in {cell.recipe for cell in finished.cells}:
            from rlaif.models.weights.loading import load_causal_lm
            from rlaif.study.teach import measure_start, teach_cell

            start = load_causal_lm(resolve_path(FRONTDESK, part="policy"), device="cpu")
            if START not in {cell.recipe for cell in finished.cells}:
                finished.add(measure_start(start))
            with Progress("study", len(cells), unit="cells") as progress:
                progress.count_known(len(cells) - len(owed))
                for cell in owed:
                    result = teach_cell(cell, plan.prices, start=start)
                    finished.add(result)
                    say(f"{cell.describe()}: success {result.success:.1%}, KL {result.kl:.2f}, {result.wall_s:.0f} s")
                    progress.advance()
        return finished.cells
