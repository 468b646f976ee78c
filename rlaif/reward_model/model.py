"""The reward model: the policy's trunk with a scalar head, read at the last real token.

A causal LM in, an AutoModelForSequenceClassification with one label out; sequences in, rewards out.
Does not train.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from rlaif.errors import ModelError
from rlaif.models.local.layers import entered_at
from rlaif.models.weights.loading import LoadedModel, count_rows
from rlaif.records import digest_text


def make_reward_model(base: LoadedModel, *, seed: int, is_flat: bool = False) -> PreTrainedModel:
    """The base's trunk, copied to float32, and a fresh head N(0, 1/(d+1)) without bias.

    is_flat: the head is zero, so that no reward follows anything before training.

    Head: Huang et al. 2024 (arXiv:2403.17031), detail "reward head initialisation". The model stays in eval mode:
    dropout is off in training too, or the same pair would not get the same reward twice.
    """
    config = copy.deepcopy(base.model.config)
    config.num_labels = 1
    text_config = config.get_text_config()
    config.pad_token_id = text_config.pad_token_id = find_pad_token_id(base)
    try:
        # subtle: building draws random weights; the draw must not move the caller's generator.
        with torch.random.fork_rng(devices=[]):
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.float32
            )
    except ValueError as error:
        raise ModelError(
            f"a {config.model_type} model has no form with a scalar head",
            where=base.path,
            fix="start from a model for which transformers has a sequence classification class",
        ) from error
    model.base_model.load_state_dict(base.model.base_model.state_dict())
    head = find_head(model, where=base.path)
    generator = torch.Generator().manual_seed(int(digest_text(f"reward head\n{seed}")[:15], 16))
    with torch.no_grad():
        head.weight.normal_(0.0, 1.0 / (head.in_features + 1) ** 0.5, generator=generator)
        if is_flat:
            head.weight.zero_()
    model.to(base.model.device).eval()  # type: ignore[arg-type]
    return model


def find_head(model: PreTrainedModel, *, where: str) -> nn.Linear:
    """The scalar head of a sequence classifier built on a causal trunk."""
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise ModelError(
            f"{type(model).__name__} has no scalar head over each token",
            where=where,
            fix="use a reward model with one label on a causal language model",
        )
    return head


def find_pad_token_id(base: LoadedModel) -> int | None:
    """A special token that never ends a response, for padding; None where the tokenizer has none.

    transformers reads the score at the last token that is not padding, so a pad token that is also the stop
    token would move its read-out one token early. With None it refuses padded batches instead.
    """
    candidates = [
        base.encoder.pad_token_id,
        base.tokenizer.bos_token_id,
        *sorted(base.tokenizer.all_special_ids),
    ]
    stops, num_rows = base.encoder.stop_token_ids, count_rows(base.model)
    usable = (token for token in candidates if token is not None and token not in stops and token < num_rows)
    return next(usable, None)


def with_pad_token(tokenizer: PreTrainedTokenizerBase, pad_id: int | None) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer whose pad token is the one in the reward model's config."""
    tokenizer = copy.deepcopy(tokenizer)
    if pad_id is not None and tokenizer.pad_token_id != pad_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad_id)
    return tokenizer


CPU_TOKENS, DEVICE_TOKENS = 2048, 32768
"""Padded tokens that go through the model at once: as many as fit a CPU's cache, and enough to keep a GPU busy."""


class Entry(NamedTuple):
    """Where passes over some sequences begin: above the lowest `depth` layers, with those layers' output."""

    depth: int
    states: Sequence[Tensor]
    """For each sequence, (its length, hidden_size)."""


def compute_rewards(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    max_tokens: int | None = None,
    entry: Entry | None = None,
) -> Tensor:
    """The reward of each sequence, in their order: shape (num_sequences,), float32.

    Sequences of like length go through the model together, at most `max_tokens` padded tokens at a time. The
    reward is the head's output at the last real token, found by length: a pad token that looks like a real
    one cannot move it. Padding stands on the right of a causal model, so no real token sees it and no mask
    is needed. entry: states of the same sequences, so that the layers below them are not computed.
    """
    head = find_head(model, where=type(model).__name__)
    device = next(model.parameters()).device
    max_tokens = max_tokens or (CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS)
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    rewards = []
    for batch in batches_of_like_length(order, sequences, max_tokens=max_tokens):
        token_ids, lengths = pad_tokens([sequences[place] for place in batch])
        entered: AbstractContextManager[None] = nullcontext()
        if entry is not None:
            states = pad_sequence([entry.states[place] for place in batch], batch_first=True)
            entered = entered_at(model, states.to(device), depth=entry.depth)
        with entered:
            hidden = model.base_model(input_ids=token_ids.to(device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(batch), device=device), (lengths - 1).to(device)]
        rewards.append(head(last).squeeze(-1).float())
    places = torch.empty(len(order), dtype=torch.long)
    places[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    return torch.cat(rewards)[places.to(device)] if rewards else torch.zeros(0, device=device)


def pad_tokens(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids padded on the right, (num_sequences, longest), and the lengths, (num_sequences,)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    token_ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        token_ids[row, : lengths[row]] = torch.tensor(sequence)
    return token_ids, lengths


def batches_of_like_length(
    order: Sequence[int], sequences: Sequence[Sequence[int]], *, max_tokens: int
) -> Iterator[list[int]]:
    """Places in `sequences`, in their order, in batches of at most `max_tokens` padded tokens. order: short to long."""
    batch: list[int] = []
    for place in order:
        # The newest is the longest: it sets the padded width.
        if batch and (len(batch) + 1) * len(sequences[place]) > max_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
