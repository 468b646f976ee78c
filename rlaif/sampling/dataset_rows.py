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
from rlaif.files.row_parts import find_parts, list_parts, no_training_part
from rlaif.files.rows import SUFFIXES, Row

if TYPE_CHECKING:
    from datasets import Dataset

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def read_dataset_rows(path: str, *, split: str, wanted: Collection[str], option: str) -> Iterator[Row]:
    """The rows of one split in their order; only the wanted columns are decoded.

    split: as `find_parts` reads it; `train` is whatever is for training. option: the option that names the split, for
    messages.
    """
    data = _load(path, split=split, option=option)
    names = tuple(data.column_names)
    there = [name for name in names if name in wanted]
    rows = data.select_columns(there) if there else ({} for _ in range(len(data)))
    for number, cells in enumerate(rows, start=1):
        yield Row(cells, f"{path}, split {split}, row {number}", names)


def _load(path: str, *, split: str, option: str) -> Dataset:
    folder = Path(path)
    is_hub_id = bool(_HUB_ID.fullmatch(path)) and not path.lower().endswith(SUFFIXES)
    if not folder.exists() and not is_hub_id:
        raise DataError("there is no such file or folder", where=path, fix="check the path")

    import datasets

    try:
        with _without_bars():
            if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
                saved = datasets.load_from_disk(path)
                return _split_from_disk(saved, path=path, split=split, option=option)
            if folder.is_dir() and (files := _find_files(folder, split=split, option=option)):
                _, bracket, slice_ = split.partition("[")
                return datasets.load_dataset(path, data_files={"train": files}, split=f"train{bracket}{slice_}")
            subset, _, name = split.rpartition("/")
            return datasets.load_dataset(path, subset or None, split=name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        fix = (
            f"check the folder's files, and the split by {option}"
            if folder.exists()
            else f"check the path, or the name, the network, and the split by {option} (SUBSET/SPLIT names a subset)"
        )
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        said = (str(cause or error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"the data set cannot be loaded: {said}", where=f"{path}, split {split}", fix=fix) from error


def _find_files(folder: Path, *, split: str, option: str) -> list[str]:
    """The files of the split, by their paths in the folder; none where `datasets` finds the split by its name."""
    parts, name = list_parts(folder), split.partition("[")[0]
    if all(part.role and part.pattern == "*" and not part.subset for part in parts):
        return []
    found = find_parts(parts, None if name == "train" else name, option=option, where=str(folder))
    if not found:
        raise no_training_part(parts, option=option, where=str(folder))
    return [file.relative_to(folder).as_posix() for part in found for file in part.files]


def _split_from_disk(saved: Dataset | dict[str, Dataset], *, path: str, split: str, option: str) -> Dataset:
    if not isinstance(saved, dict):
        return saved
    if split not in saved:
        raise DataError(
            f'there is no split "{split}"',
            where=path,
            fix=f"name one of the splits: {', '.join(sorted(saved))}; {option} does",
        )
    return saved[split]


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hides the progress bars that `datasets` draws while it converts a folder, so that a user sees ours alone."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
