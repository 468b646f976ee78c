"""A batch that does not fit into memory is cut until it does, and nothing else is caught."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from families import build_family

import rlaif.models.local.engine as engine_module
from rlaif.errors import ModelError
from rlaif.models.interface import ScoreRequest
from rlaif.models.local.decode import Decoded, decode
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.local.halving import in_halves
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import Segment, SegmentedMessage


class Memory:
    """Room for some rows at once; remembers which batches were tried."""

    def __init__(self, room: int, error: BaseException) -> None:
        self.room, self.error = room, error
        self.tried: list[list[int]] = []

    def run(self, rows: Sequence[int]) -> list[int]:
        self.tried.append(list(rows))
        if len(rows) > self.room:
            raise self.error
        return [10 * row for row in rows]


def join(first: list[int], second: list[int]) -> list[int]:
    return first + second


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to ..."
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        MemoryError(),
    ],
)
def test_a_batch_of_seven_with_room_for_two_is_halved_until_it_fits(error: BaseException) -> None:
    memory = Memory(2, error)
    assert in_halves(memory.run, range(7), join=join) == [0, 10, 20, 30, 40, 50, 60]
    assert memory.tried == [[*range(7)], [0, 1, 2], [0], [1, 2], [3, 4, 5, 6], [3, 4], [5, 6]]


def test_a_single_row_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="one prompt alone does not fit into memory"):
        in_halves(Memory(0, MemoryError()).run, range(3), join=join)


def test_other_errors_pass_through() -> None:
    memory = Memory(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_halves(memory.run, range(3), join=join)
    assert memory.tried == [[0, 1, 2]]


def test_torchs_own_error_of_a_cpu_without_memory_is_known() -> None:
    def run(rows: Sequence[int]) -> list[int]:
        if len(rows) > 1:
            torch.empty(1 << 50)
        return list(rows)

    assert in_halves(run, [4, 5], join=join) == [4, 5]


def test_the_engine_gives_the_replies_of_the_whole_batch(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(load_causal_lm(str(build_family("llama3", tmp_path_factory.mktemp("m"))), device="cpu"))
    chats = [[SegmentedMessage("user", (Segment(f"When does museum {row} open?", False),))] for row in range(5)]
    request = ScoreRequest("Verdict:", (" A", " B"), 0)
    whole = engine.score(chats, request=request)

    def with_room_for_two(model: object, prompts: Sequence[Sequence[int]], **options: object) -> Decoded:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return decode(model, prompts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_module, "decode", with_room_for_two)
    halved = engine.score(chats, request=request)
    for one, other in zip(whole, halved, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
