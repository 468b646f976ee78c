"""Several processes that train together, as `torchrun` or `accelerate launch` started them.

Each process gets its share of the work, and all get the whole result. One process is a team of one and costs nothing.
Only the first process writes. Knows no stage.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rlaif.errors import ConfigError, OtherProcessFailed, RlaifError

if TYPE_CHECKING:
    from torch import Tensor, nn

S = TypeVar("S")
T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long a process waits for one that is loading, judging or saving. A process that died is noticed at once."""


class Team(NamedTuple):
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1
    objects: Any = None
    """The process group for objects other than tensors: on the CPU, whatever the tensors are on."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of a sequence that all have: consecutive parts of like length."""
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
        """What `make` returns in the first process, given to all of them; or its failure, raised in all."""
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
        """Wait until all processes are here."""
        self.gather([None])

    def in_shares(self, answer: Callable[[Sequence[S]], Sequence[T]]) -> Callable[[Sequence[S]], Sequence[T]]:
        """`answer` for all processes to call with the same items: each answers its share, and all get all answers."""
        if self.size == 1:
            return answer

        def answer_own(items: Sequence[S]) -> list[T]:
            own = self.share(items)
            return self.gather(list(answer(own)) if own else [])

        return answer_own

    def by_first(self, answer: Callable[[Sequence[S]], Sequence[T]]) -> Callable[[Sequence[S]], Sequence[T]]:
        """`answer` for all processes to call with the same items: the first one alone answers, for all."""
        return answer if self.size == 1 else lambda items: self.ask_first(lambda: answer(items))

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module to call instead, so that gradients become the mean over all processes (DDP).

        All begin with the first process's weights. Not every pass need train every weight.
        """
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 is renaming the option that older ones know
            return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def adding_up(called: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Context for a pass and its gradients: DDP takes the mean over the processes in the last pass alone."""
    from torch.nn.parallel import DistributedDataParallel

    return called.no_sync() if isinstance(called, DistributedDataParallel) and not is_last else nullcontext()


ALONE = Team()


def num_launched() -> int:
    """How many processes a launcher started for this command; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if {"WORLD_SIZE", "RANK", "LOCAL_RANK"} <= os.environ.keys() else 1


def launched_rank() -> int:
    """This process's number among those that a launcher started; 0 without a launcher."""
    return int(os.environ["RANK"]) if num_launched() > 1 else 0


def refuse_several(command: str) -> None:
    """Refuse a launcher for a command that does not train: each process would do the same work."""
    if num_launched() > 1:
        raise ConfigError(
            f"`rlaif {command}` works in one process, and {num_launched()} were started",
            fix="run it without the launcher, and only `rlaif train` with it",
        )


@contextmanager
def join_team(*, on_cpu: bool = False) -> Iterator[Team]:
    """Connect the processes that a launcher started, each on its own device; without a launcher, this one alone.

    A process that fails simply ends: the others lose the connection to it and end as well.
    """
    if num_launched() == 1:
        yield ALONE
        return
    # subtle: with accelerate's default for FSDP, transformers would give all but the first process empty weights.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    import torch
    from accelerate import PartialState
    from torch import distributed

    # subtle: without a GPU and without cpu=True, PartialState takes each process for one that is alone.
    state = PartialState(cpu=on_cpu or not torch.cuda.is_available(), timeout=PATIENCE)
    if state.num_processes != num_launched():
        raise ConfigError(
            f"{num_launched()} processes were started and accelerate knows of {state.num_processes}",
            fix="start them with `torchrun` or `accelerate launch`",
        )
    objects = distributed.new_group(backend="gloo", timeout=PATIENCE)
    yield Team(state.process_index, state.num_processes, objects)
    state.destroy_process_group()


def has_lost_another(error: BaseException) -> bool:
    """Whether a process gets this error because another one of the team has ended."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection closed"))
    )
