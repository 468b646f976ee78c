"""A run and its ledger -> a pack: a folder that a third party checks without the run, its models or a network.

A pack holds all rows of the ledger, for the chain runs through all of them, and the texts of this run alone. A redacted
text stays redacted. Reads the ledger and writes one new folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import rlaif
from rlaif.audit.heads import read_printed
from rlaif.audit.ledger_file import VerifiedLedger, verify_file
from rlaif.audit.pack_files import Packed, write_pack
from rlaif.audit.signed_heads import find_text
from rlaif.errors import InputError
from rlaif.ledger.rows import KINDS, ChainRow, rows_in_order
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import KeptText, Redaction, StoredRow, find_texts
from rlaif.preferences.stage import DATASET
from rlaif.records import Constitution, Question, SpotCheck
from rlaif.run.finished import read_stage_values
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.state import ledger_path_of, open_ledger

ROWS_AT_ONCE = 1000


class PackMade(NamedTuple):
    """A pack that was written."""

    path: Path
    packed: Packed
    num_bytes: int


def pack_run(out: Path, *, runs_dir: Path, run: str | None, signed: Sequence[Path]) -> PackMade | VerifiedLedger:
    """Write the pack of a run into the new folder `out`; or what is wrong with its ledger, which is then not packed.

    signed: signatures of heads, to be packed with the texts that they are of.
    """
    if out.exists():
        raise InputError("this folder is there already", where=str(out), fix="name a new one")
    files = sorted({*signed, *map(find_text, signed)})
    if len({file.name for file in files}) < len(files):
        raise InputError("two signatures, or their texts, have one name", where="--signed-head", fix="rename one")
    folder = open_run(runs_dir, run)
    path = ledger_path_of(folder.config, runs_dir=runs_dir)
    verified = verify_file(runs_dir, run=folder.name, ledger=path)
    if verified.problems:
        return verified
    with open_ledger(folder, path, read_only=True) as ledger, ledger.snapshot():
        packed = gather(ledger, folder)
    return PackMade(out, packed, write_pack(out, packed, version=rlaif.__version__, signed=files))


def gather(ledger: Ledger, run: RunFolder) -> Packed:
    """What the pack of a run holds."""
    rows = list(rows_in_order(ledger))
    texts = dict(_find_texts(ledger, rows, run.name))
    stages = {
        f"{folder.parent.name}/{folder.name}": values
        for folder in run.stage_dirs
        if (values := read_stage_values(folder)) is not None
    }
    heads = [[head.seq, head.hex, Path(head.where).name] for head in read_printed(run).heads]
    values = {"config": run.config, "stages": stages, "heads": heads, "parquet": _find_writer(run)}
    return Packed(run.name, ledger.head(), rows, texts, values)


def _find_writer(run: RunFolder) -> str | None:
    """The name and version of what wrote the training files, by which alone their bytes can be made again."""
    for folder in run.stage_dirs:
        for file in sorted((folder / DATASET).rglob("*.parquet")):
            return written_by(file)
    return None


def written_by(parquet: Path) -> str | None:
    import pyarrow.parquet as pq

    name = pq.read_metadata(parquet).created_by
    return None if name is None else str(name)


def _find_texts(ledger: Ledger, rows: Sequence[ChainRow], run: str) -> Iterator[tuple[str, str | None]]:
    """The texts of the records that a run used, those that these name, and None for each that was redacted."""
    used = defaultdict(set)
    for table, record_id, constitution_id in ledger.rows(
        "SELECT DISTINCT record_table, record_id, json_extract(content, '$.constitution_id') FROM uses WHERE run = ?",
        (run,),
    ):
        used[table].add(record_id)
        used[Constitution.table].add(constitution_id)
    named = set(_find_named(ledger, used[Question.table], run))
    for place, kind in enumerate(KINDS):
        if not kind.text_fields:
            continue
        own = [row for row in rows if row.place == place and (row.id in used[kind.table] or kind.type is KeptText)]
        for start in range(0, len(own), ROWS_AT_ONCE):
            stored = [
                StoredRow(row.seq, row.id, row.content, row.observed) for row in own[start : start + ROWS_AT_ONCE]
            ]
            found = find_texts(ledger.rows, kind.type, stored)
            yield from (one for one in found.items() if kind.type is not KeptText or one[0] in named)
    yield from ((digest, None) for (digest,) in ledger.rows(f"SELECT digest FROM {Redaction.table}"))


def _find_named(ledger: Ledger, question_ids: set[str], run: str) -> Iterator[str]:
    """Digests of the texts that records name and do not hold: principles, templates and guidelines."""
    for question in ledger.find(Question, question_ids).values():
        yield question.template_digest or ""
        for principle in question.principles:
            yield from (principle.text_digest, principle.opposite_digest)
    for seq, record_id, content, observed in ledger.rows(f"SELECT seq, id, content, observed FROM {SpotCheck.table}"):
        [check] = ledger.restore(SpotCheck, [StoredRow(seq, record_id, content, observed)])
        if run in check.runs:
            yield check.guideline_digest
