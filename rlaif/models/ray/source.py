"""The driver's queue as a data set of Ray Data: a row is a batch.

One task on the driver's node reads it until the driver puts None. Imports Ray, so it is imported only where Ray is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.util.queue import Queue


class QueueSource(Datasource):  # type: ignore[misc]
    """Rows (number, text) in the order in which they were put."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    @property
    def supports_distributed_reads(self) -> bool:
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        queue = self._queue

        def read() -> Iterator[pa.Table]:
            while (batch := queue.get()) is not None:
                yield pa.table({"number": [batch[0]], "text": [batch[1]]})

        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(read, unknown)]
