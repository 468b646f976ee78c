"""Finished cells on disk: kept, read again, and never mixed with those of other prices."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_cells import make_cell

from rlaif.errors import DataError, RunFolderError, RunFolderInUse
from rlaif.study.plan import Prices
from rlaif.study.results import CELLS_FILE, open_finished, read_finished

PRICES = Prices(demo_cost=10, label_cost=1, judgement_cost=0.1, label_kind="thumb", algorithm="rloo")
CELLS = [make_cell("sft", 80, 0.25), make_cell("rl", 80, 0.125, seed=1)]


def store(folder: Path) -> Path:
    with open_finished(folder, PRICES) as finished:
        for cell in CELLS:
            finished.add(cell)
    return folder / CELLS_FILE


def test_cells_are_read_as_they_were_stored(tmp_path: Path) -> None:
    store(tmp_path / "study")
    assert read_finished(tmp_path / "study") == (PRICES, CELLS)
    with open_finished(tmp_path / "study", PRICES) as finished:
        assert finished.cells == CELLS


def test_a_line_that_a_kill_cut_off_is_owed_again(tmp_path: Path) -> None:
    path = store(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with open_finished(tmp_path, PRICES) as finished:
        assert finished.cells == CELLS[:1]
        finished.add(CELLS[1])
    assert read_finished(tmp_path) == (PRICES, CELLS)


def test_cells_of_other_prices_are_refused(tmp_path: Path) -> None:
    store(tmp_path)
    dearer = PRICES.model_copy(update={"demo_cost": 20.0, "label_kind": "rating"})
    with (
        pytest.raises(RunFolderError, match=r"has demo_cost 10\.0 and not 20\.0, label_kind thumb and not rating"),
        open_finished(tmp_path, dearer),
    ):
        pass


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        open_finished(tmp_path, PRICES),
        pytest.raises(RunFolderInUse, match="another process works on this study"),
        open_finished(tmp_path, PRICES),
    ):
        pass


def test_what_is_no_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no study here"):
        read_finished(tmp_path)
    path = store(tmp_path)
    path.write_text(path.read_text() + '{"recipe": "sft"}\n')
    with pytest.raises(DataError, match=rf"the line is no cell of a study \({path}:4\)"):
        read_finished(tmp_path)
    path.write_text("{}\n")
    with pytest.raises(DataError, match="the first line does not say what was paid for"):
        read_finished(tmp_path)
