"""Rows that cannot be read: all are counted, the first few are named, and few enough may be left out.

One message for all of them, so that a user with many sees how many there are. Decides nothing about a single row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rlaif.errors import DataError
from rlaif.files.row import Row
from rlaif.records import Tally

T = TypeVar("T")
MAX_NAMED = 5
"""Most rows that a message names."""


class OddRows:
    """The odd rows of a source so far, and how many of them may be left out."""

    def __init__(self, *, at_most: int = 0, option: str = "", where: str = "") -> None:
        """option: what allows more, for messages; empty where nothing does. where: the source, for messages."""
        self.num = 0
        self._num_read = 0
        self._at_most = at_most
        self._option = option
        self._where = where
        self._first: list[DataError] = []

    def add(self, error: DataError, row: Row | None = None) -> None:
        """Count a row that cannot be read."""
        if not error.where and row is not None:
            error = DataError(error.what, where=row.where, fix=error.fix)
        self.num += 1
        if len(self._first) < MAX_NAMED:
            self._first.append(error)

    def read(self, rows: Iterable[Row], make: Callable[[Row], T]) -> Iterator[T]:
        """What `make` makes of each row; rows that it refuses are counted. Ends by `refuse_too_many`."""
        for row in rows:
            try:
                made = make(row)
            except DataError as error:
                self.add(error, row)
                continue
            self._num_read += 1
            yield made
        self.refuse_too_many()

    def count_in(self, tally: Tally) -> Tally:
        """The tally of the rows that were read, with the odd ones counted as left out."""
        if not self.num:
            return tally
        return Tally(num_in=tally.num_in + self.num, dropped={**tally.dropped, "odd": self.num})

    def refuse_too_many(self) -> None:
        """Raise one error for all odd rows where there are more than may be left out."""
        if self.num <= self._at_most:
            return
        first = self._first[0]
        is_one_fault = len({error.what for error in self._first}) == 1
        if is_one_fault and not self._num_read:
            raise DataError(first.what, where=first.where, fix=first.fix)
        if self.num == 1:
            raise DataError(first.what, where=first.where, fix=f"{first.fix}{self._way_out()}")
        raise DataError(
            f"{self.num} rows of {self.num + self._num_read} cannot be read: {self._name_first()}",
            where=self._where,
            fix=f"correct them{self._way_out()}",
        )

    def _name_first(self) -> str:
        named = "; ".join(f"{error.what} ({error.where})" for error in self._first)
        return f"{named}; and {self.num - len(self._first)} more" if self.num > len(self._first) else named

    def _way_out(self) -> str:
        return f", or leave such rows out by {self._option}={self.num}" if self._option else ""
