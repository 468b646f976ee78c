"""A model -> how many tokens it can read at once, prompt and response together.

Looks at the config and at learned positions; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

NO_LIMIT = 2**31
_LEARNED = ("position_embeddings", "position_embedding", "embed_positions", "wpe")


def context_tokens_of(model: nn.Module) -> int | None:
    """Longest sequence the model was made for; None where neither its config nor its weights say."""
    config: Any = model.config
    said = context_of_config(config)
    limits = [*([] if said is None else [said]), *_count_positions(model)]
    return min(limits, default=None)


def shortest_context(models: Iterable[nn.Module]) -> int | None:
    """What all of them can read; None where none says."""
    said = [context_tokens_of(model) for model in models]
    return min((tokens for tokens in said if tokens is not None), default=None)


def context_of_config(config: Any) -> int | None:
    """What a config says, that of the text where a model reads more than text."""
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if longest is None else int(longest)


def _count_positions(model: nn.Module) -> list[int]:
    """Positions that tokens can have, for each table of learned ones.

    The first rows of some tables are no position: OPT leaves out `offset`, RoBERTa all up to the padding's.
    """
    counts = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _LEARNED:
            offset = getattr(module, "offset", None)
            if not isinstance(offset, int):
                offset = 0 if module.padding_idx is None else module.padding_idx + 1
            counts.append(module.num_embeddings - offset)
    return counts
