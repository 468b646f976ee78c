"""Several processes that train together, as `torchrun` or `accelerate launch` started them.

Each gets its share of the work and all get the whole result. One process is a team of one and costs nothing. Only
the first one writes. Wraps no model and knows no stage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rlaif.errors import OtherProcessFailed, RlaifError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long a process waits for another that is at work: loading, judging, saving. One that died is noticed at once."""


class Team(NamedTuple):
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1
    objects: Any = None
    """The process group for what is no tensor: on the CPU, whatever the tensors are on."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of what all of them hold: parts of like length that follow one another."""
        start, end = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return items[start:end]

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, the first one's first, in all of them."""
        if self.size == 1:
            return items
        from torch import distributed

        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, items, group=self.objects)
        return [item for part in parts for item in part]

    def ask_first(self, make: Callable[[], T]) -> T:
        """What the first process alone makes, or its failure, in all of them."""
        if self.size == 1:
            return make()
        from torch import distributed

        failure: Exception | None = None
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except Exception as error:  # noqa: BLE001 - raised again below, once the others know
                failure = error
                made[1] = error.exit_code if isinstance(error, RlaifError) else 1
        distributed.broadcast_object_list(made, src=0, group=self.objects)
        if failure is not None:
            raise failure
        if made[1] is not None:
            raise OtherProcessFailed(made[1])
        answer: T = made[0]
        return answer

    def add_up(self, *tensors: Tensor) -> None:
        """Each tensor becomes its sum over all processes."""
        if self.size == 1:
            return
        from torch import distributed

        for tensor in tensors:
            distributed.all_reduce(tensor)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self.gather([None])


ALONE = Team()


def num_launched() -> int:
    """How many processes a launcher started for this command; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if {"WORLD_SIZE", "RANK", "LOCAL_RANK"} <= os.environ.keys() else 1


def launched_rank() -> int:
    """Which of them this one is."""
    return int(os.environ["RANK"]) if num_launched() > 1 else 0


@contextmanager
def join_team() -> Iterator[Team]:
    """The processes that a launcher started, connected, each on its own device; without a launcher this one alone.

    A process that fails simply ends: the others lose the connection to it and end as well.
    """
    if num_launched() == 1:
        yield ALONE
        return
    # subtle: with accelerate's default for FSDP, transformers would give all but the first process empty weights.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    from accelerate import PartialState
    from torch import distributed

    state = PartialState(timeout=PATIENCE)
    objects = distributed.new_group(backend="gloo", timeout=PATIENCE)
    yield Team(state.process_index, state.num_processes, objects)
    state.destroy_process_group()


def has_lost_another(error: BaseException) -> bool:
    """Whether this is what a process gets when one that it works with has ended."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection closed"))
    )
