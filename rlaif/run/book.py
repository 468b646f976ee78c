"""What each stage of a run used, and whether it is done. Only this file writes stage.json and the ledger's uses.

Takes values: a stage, the number of a round, records. Knows no model and no judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rlaif.console import say
from rlaif.errors import RunFolderError
from rlaif.ledger.export import write_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.writer import GroupWriter
from rlaif.records import Record, Tally, Use
from rlaif.run.finished import finish_stage, stage_done
from rlaif.run.folder import RunFolder
from rlaif.run.stages import Stage
from rlaif.run.state import check_used

R = TypeVar("R", bound=Record)


class Book:
    """The stages of one run, in its folder and in its ledger. Holds no state but these two."""

    def __init__(self, run: RunFolder, ledger: Ledger) -> None:
        self._run, self._ledger = run, ledger

    def is_done(self, stage: Stage, *, round: int) -> bool:
        """Whether the stage is finished. Raises `RunFolderError` where a file of it is not what it wrote."""
        return stage_done(self._run.stage_dir(round, stage))

    def require(self, stage: Stage, *, round: int) -> None:
        """Raises `RunFolderError` where a stage that is needed now is not finished."""
        if not self.is_done(stage, round=round):
            raise RunFolderError(
                f"this run has no {stage.product} yet", where=str(self._run.path), fix=f"run `{stage.command}` first"
            )

    def use(self, stage: Stage, records: Sequence[Record], *, round: int, constitution_id: str | None = None) -> None:
        """Store the records, and that this stage used them.

        constitution_id: that of the round, for a stage that is judged.
        """
        if stage.is_judged and constitution_id is None:
            raise ValueError(f"stage {stage.folder} is judged: its records are stored with their constitution")
        making = self._ledger.makings(self._run.name, round, stage.folder).number
        uses = [
            Use(
                run=self._run.name, round=round, stage=stage.folder, record_table=record.table, record_id=record.id,
                constitution_id=constitution_id if stage.is_judged else None, making=making,
            )
            for record in records
        ]  # fmt: skip
        with GroupWriter(self._ledger) as writer:  # short commits: other writers wait for moments only
            for record in (*records, *uses):
                writer.submit(record)

    def used(self, stage: Stage, kind: type[R], *, round: int) -> list[R]:
        """The records of one kind that a finished stage used, in the order in which it used them."""
        found = self._ledger.used(self._run.name, round, stage.folder, kind)
        check_used(self._run, round=round, stage=stage, table=kind.table, num_found=len(found), where=self._ledger.path)
        return found

    def used_before(self, stage: Stage, kind: type[R], *, round: int) -> list[R]:
        """The records of one kind that the stage used in all rounds before this one."""
        return [record for earlier in range(round) for record in self.used(stage, kind, round=earlier)]

    def finish(
        self,
        stage: Stage,
        *,
        round: int,
        tally: Tally,
        records: Sequence[Record] = (),
        constitution_id: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Close a stage: its records and their use, a table for each kind of record, its tally, stage.json last.

        unit: what the tally counts, where it is not the stage's usual one.
        """
        self.use(stage, records, round=round, constitution_id=constitution_id)
        folder = self._run.stage_dir(round, stage)
        folder.mkdir(parents=True, exist_ok=True)
        by_table: dict[str, list[Record]] = {}
        for record in records:
            by_table.setdefault(record.table, []).append(record)
        for table in stage.exports.intersection(by_table):
            write_records(by_table[table], folder / f"{table}.parquet")
        counted = self._ledger.count_used(self._run.name, round, stage.folder)
        finish_stage(folder, tally=tally, unit=unit or stage.unit, used=counted)
        say(f"{stage.name}: {tally} {unit or stage.unit}")

    def make_again(self, stage: Stage, *, round: int) -> None:
        """Open a finished stage. What it used before stays in the ledger and no longer counts."""
        self._ledger.make_again(self._run.name, round, stage.folder)
        (self._run.stage_dir(round, stage) / "stage.json").unlink(missing_ok=True)
