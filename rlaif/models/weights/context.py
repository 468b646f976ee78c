"""A model -> the number of tokens that it can read at once, prompt and response together.

Reads the config and the tables of learned positions; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

NO_LIMIT = 2**31
_LEARNED = ("position_embeddings", "position_embedding", "embed_positions", "wpe")


def context_tokens_of(model: nn.Module) -> int | None:
    """The longest sequence that the model was made for; None where neither its config nor its weights say."""
    config: Any = model.config
    said = context_of_config(config)
    limits = [*([] if said is None else [said]), *_count_positions(model)]
    return min(limits, default=None)


def shortest_context(models: Iterable[nn.Module]) -> int | None:
    """The longest sequence that all of the models can read; None where none says."""
    said = [context_tokens_of(model) for model in models]
    return min((tokens for tokens in said if tokens is not None), default=None)


def context_of_config(config: Any) -> int | None:
    """The longest sequence by a config; of a model that reads more than text, by the config of the text."""
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if longest is None else int(longest)


def _count_positions(model: nn.Module) -> list[int]:
    """Number of positions that tokens can have, for each table of learned positions.

    The first rows of some tables are no positions: OPT skips `offset` rows, RoBERTa all up to the padding's row.
    """
    counts = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _LEARNED:
            offset = getattr(module, "offset", None)
            if not isinstance(offset, int):
                offset = 0 if module.padding_idx is None else module.padding_idx + 1
            counts.append(module.num_embeddings - offset)
    return counts


def describe_length_bound(option: str, *, max_length: int, context: int) -> str:
    """What helps where texts are longer than the smaller of an option and the model's context."""
    if context <= max_length:
        return f"give shorter texts, or a model with a longer context than {context:,} tokens: {option} cannot help"
    return f"give shorter texts, or raise {option} above {max_length:,}; the model reads {context:,} tokens"
