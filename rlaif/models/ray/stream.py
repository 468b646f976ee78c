"""Batches -> answers as they finish, through Ray Data: a queue here, workers with an engine each, answers back here.

Batches are taken no faster than they are answered. Ray starts a worker that died again, and its batch is asked again;
every batch is answered once. Does not know what is in a batch, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from rlaif.console import say
from rlaif.errors import StageError
from rlaif.models.ray.cluster import join_cluster, leave_cluster, load_ray
from rlaif.models.ray.worker import Job, RayWorker

if TYPE_CHECKING:
    import pyarrow as pa

    from rlaif.config.scale import ScaleConfig

T = TypeVar("T")
UNDER_WAY_PER_WORKER = 3
"""Batches: one is computed, one waits at the worker, one is on its way."""
MAX_TRIES = 4
"""How often Ray gives a batch to a worker that is down, before the worker is lost."""
MAX_LOSSES = 2
"""How often the workers may be lost over the same batches before the run ends."""
RESUME = "every answer is kept; continue with --resume"


class Answer(NamedTuple):
    """A worker's answer to a batch, and how long it took."""

    text: str
    seconds: float


class _Batch(Generic[T]):
    """A batch under way."""

    def __init__(self, item: T, text: str) -> None:
        self.item, self.text = item, text
        self.num_lost = 0
        """How often the workers were lost while it was under way."""


def run_batches(
    draw: Callable[[], tuple[T, str] | None], *, job: Job, scale: ScaleConfig
) -> Generator[tuple[T, Answer], None, None]:
    """Each batch's item with the batch's answer, in the order in which they finish.

    `draw` returns an item and the batch's text, or None where there is nothing to ask now. It is called again after
    each answer; the stream ends when it returns None and nothing is under way.
    """
    ray = load_ray()
    under_way: dict[int, _Batch[T]] = {}
    numbers = count()
    try:
        while True:
            join_cluster(scale)
            try:
                yield from _run_until_lost(draw, under_way, numbers, job=job, scale=scale)
                return
            except ray.exceptions.RayError as error:
                _take_up(under_way, error, ray)
                leave_cluster()  # a worker that Ray is starting again would occupy its place in vain
    except BaseException:  # also where the caller closes the stream: drop batches under way, and the workers
        leave_cluster()
        raise


def _run_until_lost(
    draw: Callable[[], tuple[T, str] | None],
    under_way: dict[int, _Batch[T]],
    numbers: Iterator[int],
    *,
    job: Job,
    scale: ScaleConfig,
) -> Generator[tuple[T, Answer], None, None]:
    """Answers from one set of workers; batches under way from before are asked first."""
    workers: set[str] = set()
    with _Execution(job, scale) as execution:
        for number, batch in under_way.items():
            execution.put(number, batch.text)
        while True:
            while len(under_way) < UNDER_WAY_PER_WORKER * scale.num_workers and (drawn := draw()) is not None:
                number = next(numbers)
                under_way[number] = _Batch(*drawn)
                execution.put(number, drawn[1])
            if not under_way:
                return
            for row in execution.take():
                _look_at_worker(row, workers, scale)
                if row["number"] in under_way:
                    yield under_way.pop(row["number"]).item, Answer(row["answer"], row["seconds"])


def _take_up(under_way: dict[int, _Batch[T]], error: Exception, ray: Any) -> None:
    """Prepare a new set of workers after some were lost; raise if the same batches were under way too often."""
    first_line = str(error).strip().splitlines()[0][:200]
    if isinstance(error, ray.exceptions.RayTaskError):
        raise StageError(f"Ray failed: {first_line}", where="scale", fix=RESUME) from error
    for batch in under_way.values():
        batch.num_lost += 1
    if not under_way or max(batch.num_lost for batch in under_way.values()) >= MAX_LOSSES:
        raise StageError(
            f"the workers died {MAX_LOSSES} times over the same questions ({first_line})",
            where="scale",
            fix="their memory may be too small: lower scale.batch_size or give them more, then continue with --resume",
        ) from error
    say(f"ray: workers were lost ({first_line}); they are started again, and {len(under_way)} batches asked again")


def _look_at_worker(row: dict[str, Any], workers: set[str], scale: ScaleConfig) -> None:
    if row["failure"]:
        where = ", ".join(part for part in (row["where"], row["worker"]) if part)
        raise StageError(f"a worker cannot continue: {row['failure']}", where=where, fix=row["fix"])
    if row["worker"] not in workers:
        workers.add(row["worker"])
        if len(workers) > scale.num_workers:
            say(f"ray: {row['worker']} replaces a worker that died; the dead worker's questions are asked again")


class _Execution:
    """One data set under way: batches in, rows of answers out, the workers in between."""

    def __init__(self, job: Job, scale: ScaleConfig) -> None:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._tables = _start(self._queue, job, scale)

    def put(self, number: int, text: str) -> None:
        self._queue.put((number, text))

    def take(self) -> list[dict[str, Any]]:
        """Wait for the next answers."""
        try:
            rows: list[dict[str, Any]] = next(self._tables).to_pylist()
        except StopIteration:
            raise StageError("Ray ended before all questions were answered", where="scale", fix=RESUME) from None
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._queue.put(None)
            for _ in self._tables:
                pass
        self._tables.close()
        self._queue.shutdown(force=True)


def _start(queue: Any, job: Job, scale: ScaleConfig) -> Generator[pa.Table, None, None]:
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    from rlaif.models.ray.source import QueueSource

    context = DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = (
        1,
        False,
    )  # each row is a block, so that no row waits for others
    try:
        answers = ray.data.read_datasource(QueueSource(queue), override_num_blocks=1, num_cpus=0).map_batches(
            RayWorker,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(size=scale.num_workers),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=scale.cpus_per_worker,
            num_gpus=scale.gpus_per_worker or None,
            max_restarts=-1,  # deprecated in 2.60 without a successor, as is every other way to say it
            max_task_retries=MAX_TRIES - 1,
        )
    finally:
        context.target_max_block_size, context.enable_progress_bars = before
    tables: Generator[pa.Table, None, None] = iter(
        answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )
    return tables
