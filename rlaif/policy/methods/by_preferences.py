"""What DPO and KTO share: items and turns -> token ids, and their common refusals.

The tokens are those of sampling and PPO. Trains nothing; `dpo.py` and `kto.py` do, by `trl.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rlaif.config.by_preferences import ByPreferencesConfig
from rlaif.errors import ConfigError, StageError
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.context import context_tokens_of, describe_length_bound
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.preference_items import Item, Items, Turn, check_items
from rlaif.records import Tally


class Encoded(NamedTuple):
    """Items as token ids, in the items' order."""

    items: list[Item]
    """Those that are kept."""
    prompt_ids: list[list[int]]
    response_ids: list[list[list[int]]]
    """Of each item its responses, with the token that ends one."""
    tally: Tally
    """Dropped: what `Items` dropped, `over_length`, `empty`, `identical`."""


def check_one_process(name: str, num_processes: int) -> None:
    """Refuse several processes."""
    if num_processes > 1:
        raise ConfigError(
            f"{name} trains in one process",
            where="methods",
            fix=f"run `rlaif train --method {name}` without the launcher",
        )


def encode_items(found: Items, *, encoder: PromptEncoder, max_length: int) -> Encoded:
    """Token ids; what does not fit is dropped and counted: a cut response would never end."""
    encoded = Encoded([], [], [], Tally(num_in=found.num_in))
    dropped: Counter[str] = Counter(found.dropped)
    prompts: dict[str, list[int]] = {}
    for item in found.items:
        if item.prompt.id not in prompts:
            prompts[item.prompt.id] = encoder.encode(item.prompt.as_segments())
        prompt_ids = prompts[item.prompt.id]
        responses = [encoder.encode_response(text) for text in item.responses]
        if not all(text.strip() for text in item.responses):
            dropped["empty"] += 1
        elif len(prompt_ids) + max(map(len, responses)) > max_length:
            dropped["over_length"] += 1
        elif len(responses) > len(set(map(tuple, responses))):
            dropped["identical"] += 1
        else:
            encoded.items.append(item)
            encoded.prompt_ids.append(prompt_ids)
            encoded.response_ids.append(responses)
    return encoded._replace(tally=Tally(num_in=found.num_in, dropped=dict(dropped)))


def encode_for(base: LoadedModel, found: Items, *, config: ByPreferencesConfig, name: str) -> Encoded:
    """The items as the model reads them. Raises `StageError` where there is nothing to learn from.

    name: the method, whose options have its name.
    """
    check_items(found, name=name)
    context = context_tokens_of(base.model) or config.max_length
    encoded = encode_items(found, encoder=base.encoder, max_length=min(config.max_length, context))
    if encoded.tally.dropped.get("over_length") and not encoded.items:
        raise StageError(
            f"{name} has nothing to learn from: {encoded.tally}",
            where=f"{name}.preferences",
            fix=describe_length_bound(f"{name}.max_length", max_length=config.max_length, context=context),
        )
    left = Items(encoded.items, Counter(encoded.tally.dropped))
    check_items(left, name=name)
    return encoded


def count_steps(turns: Sequence[Turn], config: ByPreferencesConfig) -> int:
    return math.ceil(len(turns) / config.batch_size)
