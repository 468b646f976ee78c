"""A `datasets` data set -> rows: a folder on this machine or a data set of the hub.

Never runs code that comes with a data set. Does not know what the columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlaif.errors import DataError
from rlaif.rows import SUFFIXES, Row

if TYPE_CHECKING:
    from datasets import Dataset

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def read_dataset_rows(path: str, *, split: str, wanted: Collection[str]) -> Iterator[Row]:
    """The rows of one split in their order; other columns than those wanted are not decoded."""
    data = _load(path, split=split)
    names = tuple(data.column_names)
    there = [name for name in names if name in wanted]
    rows = data.select_columns(there) if there else ({} for _ in range(len(data)))
    for number, cells in enumerate(rows, start=1):
        yield Row(cells, f"{path}, split {split}, row {number}", names)


def _load(path: str, *, split: str) -> Dataset:
    folder = Path(path)
    is_hub_id = bool(_HUB_ID.fullmatch(path)) and not path.lower().endswith(SUFFIXES)
    if not folder.exists() and not is_hub_id:
        raise DataError("there is no such file or folder", where=path, fix="check the path")

    import datasets

    try:
        with _without_bars():
            if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
                return _split_from_disk(datasets.load_from_disk(path), path=path, split=split)
            return datasets.load_dataset(path, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        fix = (
            "check the folder's files and the split"
            if folder.exists()
            else "check the path, or the name and the network"
        )
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        said = (str(cause or error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"the data set cannot be loaded: {said}", where=f"{path}, split {split}", fix=fix) from error


def _split_from_disk(saved: Dataset | dict[str, Dataset], *, path: str, split: str) -> Dataset:
    if not isinstance(saved, dict):
        return saved
    if split not in saved:
        raise DataError(
            f'there is no split "{split}"',
            where=path,
            fix=f"name one of the splits: {', '.join(sorted(saved))}",
        )
    return saved[split]


@contextmanager
def _without_bars() -> Iterator[None]:
    """`datasets` draws bars of its own while it converts a folder; ours is the only one a user sees."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
