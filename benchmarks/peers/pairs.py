"""What every peer is asked to judge, and how its work is timed: standard library alone, for all their environments."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable


def make_pair(number: int) -> tuple[str, str, str]:
    """A question and two replies of ordinary length, as benchmarks/judging_endpoint.py makes them."""
    texts = [
        f"It opens at nine in the morning, as the notice {number} says, and closes at six. " * (3 + place)
        for place in range(2)
    ]
    return f"Question {number}: when does it open? " * 4, texts[0], texts[1]


def measure(judge: Callable[[range], int]) -> None:
    """`judge` judges the numbered pairs and says how many verdicts it has; the first call warms up."""
    sizes = [int(size) for size in sys.argv[2:]]
    timed = []
    first = 0
    for size in sizes:
        numbers = range(first, first + size)
        first += size
        wall, cpu = time.perf_counter(), cpu_seconds()
        verdicts = judge(numbers)
        timed.append(
            {
                "judgements": size,
                "verdicts": verdicts,
                "seconds": round(time.perf_counter() - wall, 3),
                "cpu_seconds": round(cpu_seconds() - cpu, 3),
            }
        )
    print("MEASURED " + json.dumps(timed), flush=True)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))
