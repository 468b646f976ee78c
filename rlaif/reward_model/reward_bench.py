"""RewardBench's rows and a reward model -> how often it rewards a chosen response most, by subset and section.

Columns: `prompt`, `chosen`, `rejected` and, where there are any, `subset`. `chosen` and `rejected` are texts, or lists
of texts as in RewardBench 2. Loads no model and reads no hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.errors import DataError
from rlaif.files.messages import read_messages
from rlaif.files.row import Row
from rlaif.files.rows import read_rows
from rlaif.records import Estimate, Prompt, Value
from rlaif.reward_model.score import ScoreFailure
from rlaif.stats.intervals import share_interval
from rlaif.stats.ranks import FLOAT32_TOLERANCE, is_same

SECTIONS = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst", "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond", "donotanswer",
    ),
    "Reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}  # fmt: skip
"""RewardBench's sections and their subsets (Lambert et al. 2024, arXiv:2403.13787)."""

ScoreEach = Callable[[Sequence[tuple[Prompt, str]]], Sequence[float | ScoreFailure]]


class BenchRow(NamedTuple):
    prompt: Prompt
    responses: tuple[str, ...]
    num_chosen: int
    """The first so many of the responses are right."""
    subset: str


class BenchPart(Value):
    """A subset, a section or all rows."""

    name: str
    accuracy: Estimate | None
    """Share of the rows in which the highest reward is a chosen response's; of equal highest ones, the chosen share."""
    num_rows: int


class BenchResult(Value):
    subsets: tuple[BenchPart, ...]
    sections: tuple[BenchPart, ...]
    """Of RewardBench, over their subsets' rows; empty where none of them is there."""
    all_rows: BenchPart
    num_unscored: int
    """Rows left out because a response could not be scored."""


def read_bench(path: Path) -> list[BenchRow]:
    """The rows of a file; one that cannot be read is refused with its place."""
    rows = [_read(row) for row in read_rows(path, wanted=("prompt", "chosen", "rejected", "subset"))]
    if not rows:
        raise DataError("there is no row to score", where=str(path), fix="give rows of prompt, chosen and rejected")
    return rows


def _read(row: Row) -> BenchRow:
    row.value("prompt")
    messages = read_messages(row.cells["prompt"], where=row.where, column="prompt")
    if not messages or not messages[-1].content.strip():
        raise DataError('"prompt" is empty', where=row.where, fix="give the conversation before the responses")
    chosen, rejected = _texts(row, "chosen"), _texts(row, "rejected")
    return BenchRow(
        Prompt(messages=messages), (*chosen, *rejected), len(chosen), subset=str(row.cells.get("subset") or "")
    )


def _texts(row: Row, column: str) -> tuple[str, ...]:
    value = row.value(column)
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f'"{column}" holds no text', where=row.where, fix="give a response as text, or several as a list of texts"
        )
    return tuple(texts)


def measure_bench(rows: Sequence[BenchRow], score_each: ScoreEach) -> BenchResult:
    """Score every response, and measure each part. Rows of one prompt go together in the intervals."""
    scores = iter(score_each([(row.prompt, text) for row in rows for text in row.responses]))
    scored: list[tuple[BenchRow, float]] = []
    for row in rows:
        own = [next(scores) for _ in row.responses]
        rewards = [one for one in own if not isinstance(one, str)]
        if len(rewards) == len(own):
            scored.append((row, _share_right(rewards, num_chosen=row.num_chosen)))
    by_subset: dict[str, list[tuple[BenchRow, float]]] = {}
    for row, right in scored:
        by_subset.setdefault(row.subset, []).append((row, right))
    sections = {
        name: [one for subset in subsets for one in by_subset.get(subset, [])] for name, subsets in SECTIONS.items()
    }
    return BenchResult(
        subsets=tuple(_part(name, found) for name, found in sorted(by_subset.items()) if name),
        sections=tuple(_part(name, found) for name, found in sections.items() if found),
        all_rows=_part("all rows", scored),
        num_unscored=len(rows) - len(scored),
    )


def _share_right(rewards: Sequence[float], *, num_chosen: int) -> float:
    highest = max(rewards)
    best = [place for place, one in enumerate(rewards) if is_same(one, highest, tolerance=FLOAT32_TOLERANCE)]
    return sum(place < num_chosen for place in best) / len(best)


def _part(name: str, found: Sequence[tuple[BenchRow, float]]) -> BenchPart:
    accuracy = share_interval([right for _, right in found], clusters=[row.prompt.id for row, _ in found])
    return BenchPart(name=name, accuracy=accuracy, num_rows=len(found))
