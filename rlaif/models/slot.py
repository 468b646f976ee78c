"""The place in memory that one engine at a time may hold. A run gives it to every engine that it opens.

An engine takes the place when it starts and leaves it when it ends. Starts nothing and measures no memory.
"""

from __future__ import annotations

from typing import Protocol, Self


class Holder(Protocol):
    """Something that can hold the place and ends when another one needs it."""

    def close(self) -> None:
        """End, and give the memory back."""


class Slot:
    """Room for one engine that takes most of the machine's memory; two of them would not fit."""

    def __init__(self) -> None:
        self.holder: Holder | None = None

    def take(self, holder: Holder) -> None:
        """Give the place to `holder`, after ending its previous holder."""
        if self.holder is not holder:
            self.close()
        self.holder = holder

    def leave(self, holder: Holder) -> None:
        """Free the place if `holder` holds it."""
        if self.holder is holder:
            self.holder = None

    def close(self) -> None:
        """End the engine that holds the place, if one does. Asked again, it starts again."""
        if self.holder is not None:
            self.holder.close()
        self.holder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
