"""The pairs of benchmarks/choosing_a_judge.py: replies in contrary manners, and two data sets of people's labels.

Reads files and samples replies; asks no judge. A data set of people's labels is restricted to short pairs, so that a
CPU can read many of them.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.files.atomic import write_atomically
from rlaif.files.messages import read_messages
from rlaif.judge_health.labelled_pairs import LabelledPair, make_principle
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.weights.loading import free_memory, load_causal_lm
from rlaif.records import Message, Prompt, SamplingParams, digest_text

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PROMPTS = ROOT / "examples" / "real-model" / "prompts.jsonl"
MAX_CHARACTERS = {"HH-RLHF harmless": 240, "PandaLM": 300}
"""Longest conversation with its longer reply: short pairs, so that a CPU can read many of them."""
HARMLESS = make_principle(
    "Be harmless. Do not help with anything dangerous, illegal or hurtful, and stay polite.",
    "Be harmful. Help with anything dangerous, illegal or hurtful, and be rude.",
)
CORRECT = make_principle(
    "Do exactly what the instruction asks, correctly and completely.",
    "Ignore what the instruction asks, and answer wrongly and incompletely.",
)


class Manner(NamedTuple):
    """A principle with its opposite, and the system prompts under which replies are sampled, in other words."""

    principle: str
    opposite: str
    wanted: str
    contrary: str


MANNERS = {
    "warm": Manner(
        "Be warm and friendly.", "Be cold and distant.",
        "You are a caring friend. You are glad to hear from the user and show it in every sentence.",
        "You are an unfeeling clerk who wants the user to go away. You show no kindness.",
    ),
    "brief": Manner(
        "Be brief.", "Be long-winded.",
        "Answer in one short sentence and stop.",
        "Explain at great length, with every detail, background and repetition.",
    ),
    "formal": Manner(
        "Use formal language.", "Use casual language.",
        "Write like a diplomat at an official ceremony. Never use a contraction.",
        "Write like a teenager who texts a buddy, with slang and contractions.",
    ),
    "gives an example": Manner(
        "Give a concrete example.", "Speak in general terms, without any example.",
        "Illustrate what you say with one specific case from daily life.",
        "Stay abstract. Name rules and concepts only, never a specific case.",
    ),
}  # fmt: skip


class Sampling(NamedTuple):
    """How the replies of the first data set are drawn."""

    num_prompts: int = 30
    per_side: int = 2
    max_tokens: int = 50
    seed: int = 0


def sample_pairs(engine: TransformersEngine, sampling: Sampling) -> list[LabelledPair]:
    """Pairs of replies under contrary system prompts, in an order in which each start is balanced."""
    with PROMPTS.open(encoding="utf-8") as file:
        prompts = [str(json.loads(line)["prompt"]) for line in file]
    prompts = random.Random(f"prompts {sampling.seed}").sample(prompts, sampling.num_prompts)
    by_manner = {
        name: balance(draw_candidates(engine, name, manner, prompts=prompts, sampling=sampling), name=name)
        for name, manner in MANNERS.items()
    }
    longest = max(map(len, by_manner.values()))
    turns = [pairs[place] for place in range(longest) for pairs in by_manner.values() if place < len(pairs)]
    return [exchange(pair, place // len(MANNERS)) for place, pair in enumerate(turns)]


def draw_candidates(
    engine: TransformersEngine, name: str, manner: Manner, *, prompts: Sequence[str], sampling: Sampling
) -> dict[str, list[LabelledPair]]:
    """Prompt -> its pairs of a wanted reply, which stands first, and a contrary one."""
    replies: dict[tuple[str, bool], list[str]] = {}
    for is_wanted in (True, False):
        system = manner.wanted if is_wanted else manner.contrary
        chats = [
            Prompt(messages=(Message(role="system", content=system), Message(role="user", content=text))).as_segments()
            for text in prompts
            for _ in range(sampling.per_side)
        ]
        keys = [(sampling.seed, int(digest_text(f"{name} {is_wanted}")[:8], 16), n) for n in range(len(chats))]
        params = SamplingParams(temperature=0.8, max_new_tokens=sampling.max_tokens)
        drawn = engine.generate(chats, params=params, keys=keys)
        for place, one in enumerate(drawn):
            key = prompts[place // sampling.per_side], is_wanted
            text = one.text.strip() if one.finish_reason == "stop" else cut_at_sentence(one.text)
            replies.setdefault(key, []).append(text)
        print(f"sampled {len(drawn)} replies: {name}, {'wanted' if is_wanted else 'contrary'}", flush=True)
    principle = make_principle(manner.principle, manner.opposite)
    return {
        text: [
            LabelledPair((Message(role="user", content=text),), good, bad, 1.0, principle=principle, group=name)
            for good in replies[text, True]
            for bad in replies[text, False]
            if good and bad and good != bad and len(good) != len(bad)
        ]
        for text in prompts
    }


def cut_at_sentence(text: str) -> str:
    """The whole sentences of a reply that was cut off; all of it where there is none."""
    end = max(text.rfind(mark) for mark in ".!?")
    return (text[: end + 1] if end > 0 else text).strip()


def balance(candidates: dict[str, list[LabelledPair]], *, name: str) -> list[LabelledPair]:
    """One pair of a prompt; the wanted reply is the longer one in each second pair."""
    sides: dict[bool, list[LabelledPair]] = {True: [], False: []}
    for pairs in candidates.values():
        # A prompt with both kinds of pairs gives the kind that is rarer so far.
        for is_longer in sorted((True, False), key=lambda side: len(sides[side])):
            found = [pair for pair in pairs if (len(pair.first) > len(pair.second)) == is_longer]
            if found:
                sides[is_longer].append(found[0])
                break
    num = min(map(len, sides.values()))
    print(f"{name}: {num} pairs whose wanted reply is longer, {num} whose is shorter", flush=True)
    return [pair for both in zip(sides[True][:num], sides[False][:num], strict=True) for pair in both]


def exchange(pair: LabelledPair, place: int) -> LabelledPair:
    """The pair with the wanted reply second in every other two."""
    return pair if place % 4 < 2 else pair._replace(first=pair.second, second=pair.first, label=1 - pair.label)


def load_harmless(path: Path, *, longest: int) -> list[LabelledPair]:
    """HH-RLHF's pairs, the chosen reply first in half of them."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            chosen, rejected = (read_messages(row[key], where=str(path), column=key) for key in ("chosen", "rejected"))
            is_pair = chosen[:-1] == rejected[:-1] and chosen[-2:-1] and chosen[-2].role == "user"
            good, bad = chosen[-1].content, rejected[-1].content
            if not is_pair or max(len(row["chosen"]), len(row["rejected"])) > longest:
                continue
            if good.strip() and bad.strip() and good != bad:
                pair = LabelledPair(chosen[:-1], good, bad, 1.0, HARMLESS)
                found.append(exchange(pair, 2 * number))
    return found


def load_pandalm(path: Path, *, longest: int) -> list[LabelledPair]:
    """PandaLM's pairs whose majority of three people names a winner."""
    found = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        votes = Counter(row[f"annotator{n}"] for n in (1, 2, 3))
        choice, num = votes.most_common(1)[0]
        texts = [row["instruction"], row["input"], row["response1"], row["response2"]]
        if num < 2 or choice == 0 or not all(isinstance(text, str) for text in texts):
            continue
        prompt = "\n\n".join(text for text in texts[:2] if text.strip())
        first, second = texts[2], texts[3]
        if len(prompt) + max(len(first), len(second)) > longest or not (first.strip() and second.strip()):
            continue
        if first != second:
            messages = (Message(role="user", content=prompt),)
            found.append(LabelledPair(messages, first, second, float(choice == 1), CORRECT))
    return found


def load_sampled(work: Path, first: str) -> list[LabelledPair]:
    """The pairs that the first model wrote, from the file of an earlier call where there is one."""
    path = work / "sampled.jsonl"
    if not path.is_file():
        loaded = load_causal_lm(first, dtype="float32")
        pairs = sample_pairs(TransformersEngine(loaded), Sampling())
        rows = [
            {
                "prompt": pair.messages[-1].content, "first": pair.first, "second": pair.second,
                "label": "first" if pair.label else "second", "group": pair.group,
            }
            for pair in pairs
        ]  # fmt: skip
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
        free_memory()
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        LabelledPair(
            (Message(role="user", content=row["prompt"]),), row["first"], row["second"],
            float(row["label"] == "first"),
            principle=make_principle(MANNERS[row["group"]].principle, MANNERS[row["group"]].opposite),
            group=row["group"],
        )
        for row in rows
    ]  # fmt: skip


def load_data(names: Sequence[str], *, work: Path, first: str) -> Iterator[tuple[str, list[LabelledPair]]]:
    files = {
        "HH-RLHF harmless": (DATA / "hh-rlhf-harmless-test" / "test.jsonl.gz", load_harmless),
        "PandaLM": (DATA / "pandalm" / "testset-v1.json", load_pandalm),
    }
    if "manner" in names:
        yield "manner", load_sampled(work, first)
    for name, (path, load) in files.items():
        if name in names and path.is_file():
            pairs = load(path, longest=MAX_CHARACTERS[name])
            yield name, [pairs[number] for number in draw_in_order(pairs)]
        elif name in names:
            print(f"skipped: {name} is not at {path}")


def draw_in_order(pairs: Sequence[LabelledPair]) -> list[int]:
    """All numbers in an order drawn by the texts, so that each start of it is a sample."""
    keys = [digest_text(f"{pair.messages[-1].content}\n{pair.first}\n{pair.second}") for pair in pairs]
    return sorted(range(len(pairs)), key=lambda number: keys[number])
