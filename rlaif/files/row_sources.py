"""A source of rows -> its rows: a file, a folder of files, a folder of `save_to_disk`, or a data set of the hub.

One reader for every option that takes rows. Never runs code that comes with a data set, and does not know what the
columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.errors import DataError
from rlaif.files.json_rows import OnOdd
from rlaif.files.row import Row
from rlaif.files.row_parts import Part, find_parts, list_parts, no_training_part, refuse_part_of_file
from rlaif.files.rows import SUFFIXES, is_row_file, read_rows, refuse

if TYPE_CHECKING:
    from datasets import DatasetDict

Choose = Callable[[Sequence[Part]], list[Part]]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SLICE = re.compile(r"(.*)\[(-?\d*)(%?):(-?\d*)(%?)\]")


def is_file_source(path: str | Path) -> bool:
    """Whether a path is a file of rows, or is named like one: a file that is missing is no data set of the hub."""
    return Path(path).is_file() or (is_row_file(path) and not Path(path).is_dir())


def read_source(
    path: str | Path,
    *,
    part: str | None = None,
    wanted: Collection[str] | None = None,
    option: str = "",
    on_odd: OnOdd = refuse,
) -> Iterator[Row]:
    """The rows of a source, or of the part of it that is named; where several fit and none is named, it is refused.

    part: a split, `SUBSET/SPLIT`, several joined by `+`, or a slice such as `train[:100]`; None: the part for training.
    option: the option that names the part, for messages. on_odd: as in `read_rows`.
    """
    part = None if part == "train" else part
    sliced = _SLICE.fullmatch(part or "")
    if sliced and not is_file_source(path):
        rows = list(read_source(path, part=sliced[1] or None, wanted=wanted, option=option, on_odd=on_odd))
        first, last = (_cut(sliced[n], sliced[n + 1], len(rows)) for n in (2, 4))
        yield from rows[first:last]
        return
    if is_file_source(path):
        refuse_part_of_file(Path(path), part, option=option)

    def choose(parts: Sequence[Part]) -> list[Part]:
        found = find_parts(parts, part, option=option, where=str(path))
        if not found and parts:
            raise no_training_part(parts, option=option, where=str(path))
        return found

    yield from read_chosen(path, choose=choose, subset=_subset_of(part), wanted=wanted, option=option, on_odd=on_odd)


def read_chosen(
    path: str | Path,
    *,
    choose: Choose,
    subset: str | None = None,
    wanted: Collection[str] | None = None,
    option: str = "",
    on_odd: OnOdd = refuse,
) -> Iterator[Row]:
    """The rows of the parts of a source that `choose` picks; a file is one part without a name.

    subset: the configuration of a hub data set to load, where a part of it is named.
    """
    if is_file_source(path):
        if choose([Part("", "", (Path(path),))]):
            yield from read_rows(path, wanted=wanted, on_odd=on_odd)
        return
    if not Path(path).exists():
        yield from _hub_rows(str(path), choose=choose, subset=subset, option=option)
        return
    parts = list_parts(Path(path))
    if not parts:
        raise DataError(
            f"there is no file of rows in this folder: {_describe_contents(Path(path))}",
            where=str(path),
            fix=f"give a folder with files that end in one of {', '.join(SUFFIXES)}",
        )
    for file in sorted({file for found in choose(parts) for file in found.files}):
        yield from read_rows(file, wanted=wanted, on_odd=on_odd)


def _subset_of(part: str | None) -> str | None:
    """The configuration in a part's name, or the name itself, which may be one of a configuration."""
    first = (part or "").partition("+")[0].partition("[")[0]
    return first.rpartition("/")[0] or None


def _cut(digits: str, percent: str, num: int) -> int | None:
    if not digits:
        return None
    return round(num * int(digits) / 100) if percent else int(digits)


def _describe_contents(folder: Path) -> str:
    names = sorted(path.name for path in islice(folder.iterdir(), 100))
    return f"it holds {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}" if names else "it is empty"


def _hub_rows(path: str, *, choose: Choose, subset: str | None, option: str) -> Iterator[Row]:
    """The rows of a hub data set; its splits are parts of one configuration."""
    if not _HUB_ID.fullmatch(path):
        raise DataError("there is no such file or folder", where=path, fix="check the path")
    found = _load_from_hub(path, subset=subset, option=option)
    parts = [Part(subset or "", str(split)) for split in found]
    for one in choose(parts):
        for number, cells in enumerate(found[one.split], start=1):
            yield Row(cells, f"{path} {one.name} row {number}", tuple(cells))


def _load_from_hub(path: str, *, subset: str | None, option: str) -> DatasetDict:
    import datasets

    try:
        with _without_bars():
            loaded: Any = datasets.load_dataset(path, subset) if subset else datasets.load_dataset(path)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        lines = str(cause or error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"the data set cannot be loaded: {' '.join(lines[:2]).rstrip('.')}",
            where=path,
            fix=f"check the path, or the name and the network; {option}=SUBSET/SPLIT names a configuration",
        ) from error
    return loaded


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hides the progress bars that `datasets` draws, so that a user sees ours alone."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
