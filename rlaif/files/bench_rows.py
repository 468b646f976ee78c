"""Decided pairs -> rows as RewardBench's own data set has them: prompt, chosen, rejected, subset, id.

`rlaif reward-bench` reads them back, and so does RewardBench (Lambert et al. 2024, arXiv:2403.13787). Writes no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rlaif.errors import DataError
from rlaif.files.messages import read_messages
from rlaif.records import Message


class DecidedPair(NamedTuple):
    messages: tuple[Message, ...]
    """The conversation before the responses."""
    chosen: str
    rejected: str
    subset: str
    """Pairs of one subset are counted together."""


def bench_rows(pairs: Sequence[DecidedPair]) -> list[dict[str, Any]]:
    """A row for each pair, numbered from 0.

    Prompts are texts, as in RewardBench. Where one would not be read back as it was, because it has several turns or
    looks like a transcript, all of them are lists of messages, so that the column has one type.
    """
    is_text = all(_is_text(pair.messages) for pair in pairs)
    return [
        {
            "prompt": pair.messages[0].content if is_text else [message.model_dump() for message in pair.messages],
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "subset": pair.subset,
            "id": number,
        }
        for number, pair in enumerate(pairs)
    ]


def _is_text(messages: tuple[Message, ...]) -> bool:
    """Whether the conversation is one turn that is read back from its text."""
    if len(messages) != 1:
        return False
    try:
        return read_messages(messages[0].content, where="", column="prompt") == messages
    except DataError:
        return False
