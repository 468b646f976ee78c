"""The preference folders of all rounds so far, or a user's own -> the rows that a reward model trains on.

What is held out is the folders' own test split, or a share of the prompts where they have none. Knows no run: the
folders come as paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.files.atomic import digest_file
from rlaif.preferences.export import digest_preferences
from rlaif.preferences.read import odd_preferences, read_preferences
from rlaif.records import Tally, TrainingRow, digest_text, find_held_out


class SplitRows(NamedTuple):
    train: list[TrainingRow]
    test: list[TrainingRow]
    num_odd: int = 0
    """Rows that were left out because they cannot be read."""
    dropped: Mapping[str, int] = {}
    """Rows to train on that cleaning dropped, by reason."""

    def count_cleaned(self, tally: Tally) -> Tally:
        """The training's tally, with what cleaning dropped before."""
        num = sum(self.dropped.values())
        return Tally(num_in=tally.num_in + num, dropped={**self.dropped, **tally.dropped}) if num else tally


def read_pool(
    folders: Sequence[Path],
    *,
    test_fraction: float,
    given: str | None = None,
    part: str | None = None,
    max_odd_rows: int = 0,
    option: str = "reward_model",
) -> SplitRows:
    """The rows of the rounds' folders; of `given`, a folder, file or hub data set of the user, in their place.

    part: the part of `given` to train on, for example `train_prefs`; None: the one that is for training.
    max_odd_rows: most rows of each split of `given` that may be left out because they cannot be read.
    option: the group of options that names `given`, for messages.
    """
    if given is not None:
        odd, odd_test = (odd_preferences(given, at_most=max_odd_rows, option=option) for _ in range(2))
        train = read_preferences(given, part=part, odd=odd, option=f"{option}.split")
        test = read_preferences(given, split="test", part=part, odd=odd_test, option=f"{option}.split")
        splits = SplitRows(train, test) if test else split_rows(train, test_fraction=test_fraction)
        return splits._replace(num_odd=odd.num + odd_test.num)
    train = [row for folder in folders for row in read_preferences(folder)]
    test = [row for folder in folders for row in read_preferences(folder, split="test")]
    return SplitRows(train, test) if test else split_rows(train, test_fraction=test_fraction)


def split_rows(rows: Sequence[TrainingRow], *, test_fraction: float) -> SplitRows:
    """Hold out a share of the prompts, for data that come without a test split."""
    splits = SplitRows([], [])
    held_out = find_held_out((row.prompt.id for row in rows), test_fraction=test_fraction)
    for row in rows:
        (splits.test if row.prompt.id in held_out else splits.train).append(row)
    return splits


def digest_pool(folders: Sequence[Path], *, given: str | None = None) -> str:
    """The digest of what `read_pool` reads: of the bytes of files, and of the name of a data set on the hub."""
    if given is None:
        digests = [digest_preferences(folder) for folder in folders]
        return digests[0] if len(digests) == 1 else digest_text("\n".join(digests))
    path = Path(given)
    if path.is_dir():
        return digest_preferences(path)
    return digest_file(path) if path.is_file() else digest_text(given)
