"""Prompts -> samples: draw each prompt's responses from the policy, once; and which pairs of them are judged.

Responses that the ledger holds are not drawn again. Batches come from a plan that is written before the first is
drawn, so a killed run resumes with the same batches. Does not judge.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from rlaif.config.generate import SamplingConfig
from rlaif.console import Progress, say
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConstitutionError
from rlaif.files.atomic import utc_now
from rlaif.files.batch_plan import find_strangers, planned_batches, refuse_other_plan
from rlaif.ledger.store import Ledger
from rlaif.models.interface import Chat, Generation, StreamingGenerator, TextGenerator
from rlaif.records import (
    Constitution,
    Observed,
    Prompt,
    Sample,
    SamplingParams,
    Tally,
    digest_text,
    put_before,
    sample_request_key,
)


class Pairs(NamedTuple):
    pairs: list[tuple[Sample, Sample]]
    """Each pair sorted by sample id."""
    tally: Tally
    """Pairs; dropped as `identical` (both responses are one text) or `not_drawn`."""


class _Request(NamedTuple):
    prompt: Prompt
    number: int
    key: str
    instruction: str
    """A system turn for this response alone; empty: none."""

    @property
    def instruction_digest(self) -> str:
        return digest_text(self.instruction) if self.instruction else ""


def sample_responses(
    prompts: Sequence[Prompt],
    *,
    generator: TextGenerator,
    config: SamplingConfig,
    num_samples: int,
    seed: int,
    round: int,
    ledger: Ledger,
    plan_path: Path,
    label: str = "samples",
    instructions: Sequence[str] = ("",),
) -> list[Sample]:
    """`num_samples` responses per prompt, in the order of the prompts and their indices.

    instructions: system turns, of which a prompt's responses get one after the other; an empty one is none.
    """
    params = SamplingParams(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    policy = generator.fingerprint
    requests = [
        _make_request(prompt, index, instructions, policy_id=policy.id, params=params, seed=seed)
        for prompt in prompts
        for index in range(num_samples)
    ]
    by_key = {request.key: request for request in requests}
    known = ledger.samples_for(list(by_key))
    missing = [key for key in by_key if key not in known]
    missing.sort(key=lambda key: (sum(len(m.content) for m in by_key[key].prompt.messages), key))
    batches = planned_batches(plan_path, missing, batch_size=config.batch_size)
    if strangers := find_strangers(batches, by_key):
        known_strangers = ledger.samples_for(strangers).values()
        changed = _find_changed(known_strangers, policy_id=policy.id, params=params, seed=seed)
        refuse_other_plan(plan_path, num=len(strangers), changed=changed)
    num_held = len(requests) - sum(len(batch) for batch in batches)
    if num_held:
        say(f"{label}: {len(requests)}, of which {num_held} found in the ledger")
    with Progress(label, len(requests), unit="responses") as progress:
        progress.count_known(num_held)
        owed = (batch for batch in batches if _is_owed(batch, ledger, progress))
        for requests_of_batch, generations, seconds in _draw(
            ([by_key[key] for key in batch] for batch in owed), generator, params=params, seed=seed
        ):
            drawn = _to_samples(
                requests_of_batch, generations, seconds, policy_id=policy.id, params=params, seed=seed, round=round
            )
            held = ledger.samples_for(sample.request_key for sample in drawn)
            ledger.append([policy, *(s for s in drawn if s.request_key not in held)])
            progress.advance(len(drawn))
    found = ledger.samples_for(list(by_key))
    return [found[request.key] for request in requests]


def find_instructions(constitution: Constitution, *, under: Literal["prompt", "principles"]) -> tuple[str, ...]:
    """The system turns under which a prompt's responses are drawn in turn: none, or each principle and its opposite."""
    if under == "prompt":
        return ("",)
    principles = weighted_principles(constitution)
    for principle in principles:
        if not principle.opposite:
            raise ConstitutionError(
                f'principle "{principle.id}" has no opposite, and `sampling.under: principles` draws under both',
                where=f'constitution "{constitution.name}"',
                fix="write `opposite: ...`, the instruction of the contrary manner, or say sampling.under: prompt",
            )
    return tuple(text for principle in principles for text in (principle.text, principle.opposite))


def _make_request(
    prompt: Prompt, index: int, instructions: Sequence[str], *, policy_id: str, params: SamplingParams, seed: int
) -> _Request:
    request = _Request(prompt, index, key="", instruction=instructions[index % len(instructions)])
    key = sample_request_key(
        prompt_id=prompt.id,
        policy_id=policy_id,
        params=params,
        seed=seed,
        index=index,
        instruction_digest=request.instruction_digest,
    )
    return request._replace(key=key)


def _find_changed(drawn: Iterable[Sample], *, policy_id: str, params: SamplingParams, seed: int) -> str:
    """What changed since a plan was written, so that samples drawn by it are no longer wanted."""
    for sample in drawn:
        if sample.policy_id != policy_id:
            return f"the policy's fingerprint changed from {sample.policy_id[:12]} to {policy_id[:12]}"
        if (sample.params, sample.seed) != (params, seed):
            return "the sampling options or the seed changed"
        return "the prompts changed"
    return "the policy, the prompts or the sampling options changed"


def _is_owed(batch: Sequence[str], ledger: Ledger, progress: Progress) -> bool:
    """Whether a batch has to be drawn, always as a whole; a batch that the ledger holds is counted as done."""
    if len(ledger.samples_for(batch)) < len(batch):
        return True
    progress.count_known(len(batch))
    return False


def _draw(
    batches: Iterable[list[_Request]], generator: TextGenerator, *, params: SamplingParams, seed: int
) -> Iterator[tuple[list[_Request], list[Generation], float]]:
    """Each batch with its responses and the seconds they took: in order, or as a streaming generator finishes them."""
    if isinstance(generator, StreamingGenerator):
        under_way: dict[int, list[_Request]] = {}

        def ask() -> Iterator[tuple[list[Chat], list[tuple[int, ...]]]]:
            for number, batch in enumerate(batches):
                under_way[number] = batch
                yield _chats_and_keys(batch, seed=seed)

        for number, generations, seconds in generator.generate_batches(ask(), params=params):
            yield under_way.pop(number), generations, seconds
        return
    for batch in batches:
        started = time.monotonic()
        chats, keys = _chats_and_keys(batch, seed=seed)
        generations = generator.generate(chats, params=params, keys=keys)
        yield batch, generations, time.monotonic() - started


def _chats_and_keys(requests: Sequence[_Request], *, seed: int) -> tuple[list[Chat], list[tuple[int, ...]]]:
    return (
        [put_before(request.prompt.messages, request.instruction) for request in requests],
        [(seed, int(request.prompt.id[:15], 16), request.number) for request in requests],
    )


def _to_samples(
    requests: Sequence[_Request],
    generations: Sequence[Generation],
    seconds: float,
    *,
    policy_id: str,
    params: SamplingParams,
    seed: int,
    round: int,
) -> list[Sample]:
    at = utc_now()
    return [
        Sample(
            prompt_id=request.prompt.id,
            policy_id=policy_id,
            params=params,
            seed=seed,
            index=request.number,
            instruction_digest=request.instruction_digest,
            round=round,
            finish_reason=generation.finish_reason,
            token_count=len(generation.token_ids),
            text=generation.text,
            observed=Observed(
                at=at,
                latency_s=seconds / len(requests),
                prompt_tokens=generation.prompt_tokens,
                reply_tokens=len(generation.token_ids),
            ),
        )
        for request, generation in zip(requests, generations, strict=True)
    ]


def draw_pairs(samples: Iterable[Sample], *, num_pairs: int, seed: int) -> Pairs:
    """The pairs of each prompt's responses that are judged: drawn by (seed, prompt), never two equal texts."""
    by_prompt: Mapping[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_prompt[sample.prompt_id].append(sample)
    pairs: list[tuple[Sample, Sample]] = []
    dropped: Counter[str] = Counter()
    num_in = 0
    for prompt_id, group in by_prompt.items():
        candidates = [sorted_pair(a, b) for a, b in itertools.combinations(group, 2)]
        num_in += len(candidates)
        random.Random(int(digest_text(f"pairs\n{seed}\n{prompt_id}")[:15], 16)).shuffle(candidates)
        different = [pair for pair in candidates if pair[0].text != pair[1].text]
        dropped["identical"] += len(candidates) - len(different)
        dropped["not_drawn"] += max(0, len(different) - num_pairs)
        pairs.extend(different[:num_pairs])
    return Pairs(pairs, Tally(num_in=num_in, dropped={k: v for k, v in dropped.items() if v}))


def sorted_pair(a: Sample, b: Sample) -> tuple[Sample, Sample]:
    """Two samples in the canonical order of a pair: by id."""
    return (a, b) if a.id <= b.id else (b, a)
