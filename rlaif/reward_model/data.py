"""Preference rows -> token ids and a fixed plan of batches.

A pair whose prompt and response do not fit is dropped and counted, never cut. The plan follows from the pairs, the seed
and the epoch alone. Does not run models.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.records import (
    ChoiceRow,
    PreferenceRow,
    Prompt,
    RankingRow,
    RatedRow,
    Segment,
    SegmentedMessage,
    Source,
    Tally,
    TrainingRow,
    digest_text,
)
from rlaif.reward_model.ratings import Scale, find_scales


class Pair(NamedTuple):
    """Two responses to one prompt, as places in `Pairs.sequences`."""

    prompt_id: str
    chosen: int
    rejected: int
    label: float
    """Probability that chosen is preferred."""
    weight: float
    source: Source | None = None


class Choice(NamedTuple):
    """The best of several responses to one prompt, as places in `Pairs.sequences`."""

    prompt_id: str
    places: tuple[int, ...]
    shares: tuple[float, ...]
    """Probability of each that it is the best."""
    weight: float
    source: Source | None = None


class Rated(NamedTuple):
    """One response with a rating or a thumb, as a place in `Pairs.sequences`."""

    prompt_id: str
    place: int
    kind: Literal["rating", "thumb"]
    target: float
    """A rating in deviations from its annotator's mean; of a thumb the probability that it is up."""
    weight: float
    source: Source | None = None


Item = Pair | Choice | Rated


def places_of(item: Item) -> tuple[int, ...]:
    """The item's responses."""
    if isinstance(item, Pair):
        return item.chosen, item.rejected
    return item.places if isinstance(item, Choice) else (item.place,)


class Pairs(NamedTuple):
    sequences: list[tuple[int, ...]]
    """Prompt and response with its stop token, each once however many pairs it is in."""
    pairs: list[Item]
    tally: Tally
    """Dropped: `over_length`; `identical` (two responses are the same tokens); `weightless`; `unscaled` (a rating of
    an annotator whose ratings that are trained on do not differ)."""


def encode_pairs(
    rows: Sequence[TrainingRow], *, encoder: PromptEncoder, max_length: int, scales: Mapping[str, Scale] | None = None
) -> Pairs:
    """Rows as tokens, as in PPO and scoring: the template's prompt, then the bare response and the stop token.

    scales: the annotators' scales, by which ratings are brought to one; None: those that the rows themselves show.
    """
    scales = find_scales(rows) if scales is None else scales
    prompts: dict[str, list[int]] = {}
    places: dict[tuple[int, ...], int] = {}
    pairs: list[Item] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        if row.weight == 0:
            dropped["weightless"] += 1
            continue
        if isinstance(row, RatedRow) and row.kind == "rating" and row.annotator not in scales:
            dropped["unscaled"] += 1
            continue
        texts = _texts_of(row)
        if encoder.follows_prompt:
            prompt_ids = prompts.get(row.prompt.id)
            if prompt_ids is None:
                prompt_ids = prompts[row.prompt.id] = encoder.encode(row.prompt.as_segments())
            sequences = [(*prompt_ids, *encoder.encode_response(text)) for text in texts]
        else:
            sequences = [encode_example(row.prompt, text, encoder=encoder) for text in texts]
        if max(map(len, sequences)) > max_length:
            dropped["over_length"] += 1
            continue
        if len(set(sequences)) < len(sequences):
            dropped["identical"] += 1
            continue
        at = tuple(places.setdefault(sequence, len(places)) for sequence in sequences)
        if isinstance(row, ChoiceRow):
            choice = Choice(row.prompt.id, places=at, shares=row.shares, weight=row.weight, source=row.source)
            pairs.append(choice)
        elif isinstance(row, RankingRow):
            pairs += choices_of_ranking(row, at)
        elif isinstance(row, RatedRow):
            target = scales[row.annotator].standardise(row.value) if row.kind == "rating" else row.value
            pairs.append(Rated(row.prompt.id, at[0], row.kind, target, weight=row.weight, source=row.source))
        else:
            chosen, rejected = at
            pair = Pair(row.prompt.id, chosen, rejected, label=row.label, weight=row.weight, source=row.source)
            pairs.append(pair)
    return Pairs(list(places), pairs, Tally(num_in=len(rows), dropped=dict(dropped)))


def _texts_of(row: TrainingRow) -> tuple[str, ...]:
    if isinstance(row, PreferenceRow):
        return row.chosen, row.rejected
    return (row.response,) if isinstance(row, RatedRow) else row.responses


def choices_of_ranking(row: RankingRow, places: tuple[int, ...]) -> list[Choice]:
    """The ranking as choices of the best among what is left: the first of all, the second of the others, and so on.

    The sum of their losses is that of Plackett-Luce over the whole ranking (Plackett 1975): the sum over k of
    logsumexp(r_k .. r_K) - r_k. places: of the responses, best first.
    """
    return [
        Choice(
            row.prompt.id,
            places[k:],
            shares=(1.0, *[0.0] * (len(places) - k - 1)),
            weight=row.weight,
            source=row.source,
        )
        for k in range(len(places) - 1)
    ]


def smooth_labels(items: Sequence[Item], *, share: float) -> list[Item]:
    """The items with this share of each label spread evenly over its responses; ratings stay as they are."""
    smoothed: list[Item] = []
    for item in items:
        if isinstance(item, Pair):
            smoothed.append(item._replace(label=(1 - share) * item.label + share / 2))
        elif isinstance(item, Choice):
            even = share / len(item.shares)
            smoothed.append(item._replace(shares=tuple((1 - share) * one + even for one in item.shares)))
        elif item.kind == "thumb":
            smoothed.append(item._replace(target=(1 - share) * item.target + share / 2))
        else:
            smoothed.append(item)
    return smoothed


def encode_example(prompt: Prompt, response: str, *, encoder: PromptEncoder) -> tuple[int, ...]:
    """One prompt and response as the reward model reads them."""
    return tuple(encoder.encode_answered(prompt.as_segments(), response))


def encode_whole(prompt: Prompt, response: str, *, encoder: PromptEncoder) -> tuple[int, ...]:
    """One prompt and response as a reward model from elsewhere reads them: the conversation as the template ends it."""
    answer = SegmentedMessage("assistant", (Segment(response, False),))
    return tuple(encoder.encode_conversation((*prompt.as_segments(), answer)))


def plan_epoch(pairs: Sequence[Item], *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The epoch's batches, as places in `pairs`: every pair once, all batches full but the last.

    Prompts are shuffled by (seed, epoch) and nothing else, and the pairs of a prompt follow one another
    (Ouyang et al. 2022, section 3.5): a response is then read once however many pairs it is in.
    """
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        by_prompt[pair.prompt_id].append(place)
    groups = list(by_prompt.values())
    import torch  # here alone: who reads figures of held-out pairs, as a page does, loads no torch

    generator = torch.Generator().manual_seed(int(digest_text(f"pairs\n{seed}\n{epoch}")[:15], 16))
    shuffled = torch.randperm(len(groups), generator=generator).tolist()
    order = [place for group in shuffled for place in groups[group]]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def cut_batch(batch: Sequence[Item], *, size: int | None) -> Iterator[Sequence[Item]]:
    """The batch in micro-batches of at most `size` pairs; None: in one piece."""
    step = size or len(batch)
    for start in range(0, len(batch), step):
        yield batch[start : start + step]


def digest_pairs(pairs: Pairs, *, with_sources: bool = False) -> str:
    """The digest of what a training sees: tokens, labels and weights in their order.

    with_sources: the training also sees who preferred.
    """
    digest = hashlib.sha256()
    for sequence in pairs.sequences:
        digest.update(struct.pack(f"<{len(sequence) + 1}q", len(sequence), *sequence))
    for pair in pairs.pairs:
        if isinstance(pair, Pair):
            digest.update(struct.pack("<qqdd", pair.chosen, pair.rejected, pair.label, pair.weight))
        elif isinstance(pair, Rated):
            digest.update(f"{pair.kind}\n".encode() + struct.pack("<qdd", pair.place, pair.target, pair.weight))
        else:
            num = len(pair.places)
            digest.update(struct.pack(f"<q{num}q{num}dd", num, *pair.places, *pair.shares, pair.weight))
        if with_sources:
            digest.update(f"{pair.source}\n".encode())
    return digest.hexdigest()
