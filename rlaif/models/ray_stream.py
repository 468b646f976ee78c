"""Batches -> answers as they finish, through Ray Data: a queue here, workers with an engine each, answers back here.

Batches are drawn no faster than they are answered. A worker that dies is started again by Ray and its batch asked
again; every batch is answered once. Knows nothing of what is asked, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from rlaif.console import say
from rlaif.errors import StageError
from rlaif.models.ray_cluster import join_cluster, leave_cluster, load_ray
from rlaif.models.ray_worker import Job, RayWorker

if TYPE_CHECKING:
    import pyarrow as pa

    from rlaif.config.scale import ScaleConfig

T = TypeVar("T")
UNDER_WAY_PER_WORKER = 3
"""Batches: one is computed, one waits at the worker, one is on its way."""
MAX_TRIES = 4
"""So often a batch is given to workers that die over it."""


class Answer(NamedTuple):
    text: str
    seconds: float


def run_batches(
    draw: Callable[[], tuple[T, str] | None], *, job: Job, scale: ScaleConfig
) -> Generator[tuple[T, Answer], None, None]:
    """What `draw` gave beside each batch's text, with the batch's answer, in the order in which they finish.

    `draw` returns None where there is nothing to ask now; it is asked again after each answer, and the stream is over
    when it has nothing and nothing is under way.
    """
    join_cluster(scale)
    under_way: dict[int, T] = {}
    numbers = count()
    workers: set[str] = set()
    with _Execution(job, scale) as execution:
        while True:
            while len(under_way) < UNDER_WAY_PER_WORKER * scale.num_workers and (drawn := draw()) is not None:
                number = next(numbers)
                under_way[number] = drawn[0]
                execution.put(number, drawn[1])
            if not under_way:
                return
            for row in execution.take():
                _look_at_worker(row, workers, scale)
                if row["number"] in under_way:
                    yield under_way.pop(row["number"]), Answer(row["answer"], row["seconds"])


def _look_at_worker(row: dict[str, Any], workers: set[str], scale: ScaleConfig) -> None:
    if row["failure"]:
        where = ", ".join(part for part in (row["where"], row["worker"]) if part)
        raise StageError(f"a worker cannot go on: {row['failure']}", where=where, fix=row["fix"])
    if row["worker"] not in workers:
        workers.add(row["worker"])
        if len(workers) > scale.num_workers:
            say(f"ray: {row['worker']} stands in for a worker that died; what that one had is asked again")


class _Execution:
    """One data set under way: batches in, rows of answers out, the workers in between."""

    def __init__(self, job: Job, scale: ScaleConfig) -> None:
        self._ray = load_ray()
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._tables = _start(self._queue, job, scale)

    def put(self, number: int, text: str) -> None:
        self._queue.put((number, text))

    def take(self) -> list[dict[str, Any]]:
        """The next answers; waits for them."""
        try:
            rows: list[dict[str, Any]] = next(self._tables).to_pylist()
        except StopIteration:
            raise StageError("Ray ended before all questions were answered", fix="go on with --resume") from None
        except self._ray.exceptions.RayError as error:
            raise _say_why(error, self._ray) from error
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # what is under way is dropped, and the workers with it
            try:
                self._tables.close()
            finally:
                leave_cluster()
            return
        self._queue.put(None)
        for _ in self._tables:
            pass
        self._queue.shutdown(force=True)


def _start(queue: Any, job: Job, scale: ScaleConfig) -> Generator[pa.Table, None, None]:
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    from rlaif.models.ray_source import QueueSource

    context = DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = 1, False  # each row a block: none waits for others
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


def _say_why(error: Exception, ray: Any) -> StageError:
    died = (ray.exceptions.ActorDiedError, ray.exceptions.ActorUnavailableError, ray.exceptions.WorkerCrashedError)
    first_line = str(error).strip().splitlines()[0][:300]
    if isinstance(error, died):
        return StageError(
            f"workers died {MAX_TRIES} times over the same questions ({first_line})",
            where="scale",
            fix="their memory may be too small: lower scale.batch_size, or give workers more; then go on with --resume",
        )
    return StageError(f"Ray failed: {first_line}", where="scale", fix="every answer is kept; go on with --resume")
