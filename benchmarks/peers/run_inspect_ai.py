"""inspect_ai grades answers by a model; its scorer alone asks the server, 64 at once.

Run by benchmarks/judging_peers.py.
"""

from __future__ import annotations

import os
import sys
import tempfile

os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"] = "none", sys.argv[1]

from inspect_ai import Task, eval  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import GenerateConfig, ModelOutput, get_model  # noqa: E402
from inspect_ai.scorer import model_graded_qa  # noqa: E402
from inspect_ai.solver import Generate, Solver, TaskState, solver  # noqa: E402
from pairs import make_pair, measure  # noqa: E402


@solver
def given_answer() -> Solver:
    """The answer is there already: nobody is asked for it."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content("none", state.metadata["answer"])
        return state

    return solve


def judge(numbers: range) -> int:
    samples = [
        Sample(input=q, target=a, metadata={"answer": b}) for q, a, b in (make_pair(number) for number in numbers)
    ]
    grader = get_model(
        "openai/stub-grade", config=GenerateConfig(max_connections=64), responses_api=False, memoize=False
    )
    task = Task(dataset=MemoryDataset(samples), solver=given_answer(), scorer=model_graded_qa(model=grader))
    with tempfile.TemporaryDirectory() as folder:
        (log,) = eval(task, model="mockllm/model", display="none", log_dir=folder, max_samples=64, log_level="error")
        return sum(bool(sample.scores) for sample in log.samples or [])


if __name__ == "__main__":
    measure(judge)
