"""A run that is there -> one of its rounds, to be read: its config, its ledger, what its stages used.

Takes no lock, makes no log and touches no stage: whoever reads may write to the ledger and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlaif.config.load import parse_config
from rlaif.run.book import Book
from rlaif.run.folder import RunFolder
from rlaif.run.round import Round, find_round_constitution
from rlaif.run.state import ledger_path_of, open_ledger


@contextmanager
def open_stored(
    run: RunFolder, *, runs_dir: Path, number: int, read_only: bool = False
) -> Iterator[tuple[Round, Book]]:
    """A round of a run as a value, and the run's book, while its ledger is open."""
    stored = json.dumps(run.config["config"])
    config = parse_config(stored, where=str(run.path / "config.json"), is_complete=True)
    with open_ledger(run, ledger_path_of(run.config, runs_dir=runs_dir), read_only=read_only) as ledger:
        constitution = find_round_constitution(config, run=run, ledger=ledger, number=number)
        yield Round(config, run=run, ledger=ledger, constitution=constitution, number=number), Book(run, ledger)
