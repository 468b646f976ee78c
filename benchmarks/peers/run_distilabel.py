"""distilabel judges pairs: Prometheus' relative task in a pipeline. Run by benchmarks/judging_peers.py.

The pipeline works in a process of its own, so the CPU of children is counted too.
"""

from __future__ import annotations

import os
import sys

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import PrometheusEval
from pairs import make_pair, measure


def judge(numbers: range) -> int:
    rows = [{"instruction": q, "generations": [a, b]} for q, a, b in (make_pair(number) for number in numbers)]
    with Pipeline(name=f"judge-{numbers.start}") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=64)
        task = PrometheusEval(
            llm=OpenAILLM(model="stub-result", base_url=sys.argv[1], api_key="none"), mode="relative",
            rubric="helpfulness", input_batch_size=64,
        )  # fmt: skip
        load >> task
    done = pipeline.run(use_cache=False)
    return sum(row["result"] in ("A", "B") for row in done["default"]["train"])


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    measure(judge)
