"""Front-desk data with planted faults, and where each was planted: what tests and a benchmark of cleaning measure by.

Faults are made without knowledge of the rules: slips of the keyboard, other punctuation, words added or left out, wrong
encodings. Beside them stand decoys that no rule may take for a fault: the same text with another word or number, and
rightly encoded text that is not ASCII.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from rlaif.cleaning.clean import clean_rows
from rlaif.cleaning.kinds import PREFERENCES, PROMPTS, Kind
from rlaif.config.cleaning import CleaningConfig
from rlaif.frontdesk.replies import make_demonstrations
from rlaif.frontdesk.world import make_prompts
from rlaif.records import PreferenceRow, Prompt

T = TypeVar("T")
Change = Callable[[str, random.Random], str]

NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiopqsdfghjklaxcvbnmz", strict=True))
FOREIGN = (
    "Grüße aus München", "the café’s menu", "señor Núñez", "“quoted” text", "10 € – or more", "naïve Zoë", "Ærøskøbing",
    "Łódź and Kraków", "Привет всем", "日本語です", "it’s fine…", "Ça va très bien", "50 °C ± 2", "Ελλάδα",
    "smile 😀 now",
)  # fmt: skip
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


class Planted(NamedTuple):
    """Prompts or preferences with faults."""

    rows: Sequence[object]
    truth: Mapping[str, frozenset[int]]
    """Rule -> places of the rows that have its fault."""
    evaluated: Sequence[Prompt]


class Found(NamedTuple):
    """How well a rule found what was planted."""

    planted: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        return self.right / self.planted

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 0.0


def slip(text: str, rng: random.Random) -> str:
    """A letter left out, doubled, swapped with the next one, or the one beside it on the keyboard."""
    at = rng.choice([place for place, letter in enumerate(text[:-1]) if letter.isalpha()])
    letter, following = text[at], text[at + 1]
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + letter + text[at:]
    if kind == 2:
        return text[:at] + following + letter + text[at + 2 :]
    return text[:at] + NEIGHBOURS.get(letter.lower(), letter) + text[at + 1 :]


def punctuate(text: str, rng: random.Random) -> str:
    return rng.choice([text.rstrip("?.!"), text + rng.choice(["!", "??", " ...", " :-)"]), text.replace(",", " -")])


def add_words(text: str, rng: random.Random) -> str:
    return rng.choice(["Hello, ", "Please: ", "Hi there. ", "One question: "]) + text[0].lower() + text[1:]


def leave_out(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.choice([place for place, word in enumerate(words) if word in ("the", "is", "does", "at", "on", "and")])
    return " ".join(words[:at] + words[at + 1 :])


def join_words(text: str, rng: random.Random) -> str:
    at = rng.choice([found.start() for found in re.finditer(" ", text)])
    return text[:at] + text[at + 1 :]


def respell(text: str, rng: random.Random) -> str:
    """Equal but for case and spaces."""
    return rng.choice([text.upper(), text.lower() + " ", f"  {text}", text.replace(" ", "  ", 1), text.title()])


def nearly(text: str, rng: random.Random, *, changes: int = 6) -> str:
    """The text with a change that is more than one of case and spaces."""
    while True:
        changed = NEAR[rng.randrange(changes)](text, rng)
        if "".join(changed.split()).casefold() != "".join(text.split()).casefold() or changed.count(" ") < text.count(
            " "
        ):
            return changed


NEAR: Sequence[Change] = (
    slip, lambda text, rng: slip(slip(text, rng), rng), punctuate, add_words, leave_out, join_words,
)  # fmt: skip


def misread(text: str, rng: random.Random) -> str:
    """The text with foreign words, in UTF-8 that was read as another encoding, once or twice."""
    while True:
        whole = f"{text} {rng.choice(FOREIGN)}"
        try:
            for _ in range(rng.choice([1, 1, 1, 2])):
                whole = whole.encode().decode(rng.choice(["cp1252", "latin-1"]))
        except UnicodeDecodeError:  # cp1252 leaves five bytes undefined
            continue
        return whole


def change_word(text: str, rng: random.Random) -> str:
    """Another number in the place of one: another text, and no duplicate."""
    here = [word for word in NUMBERS if re.search(rf"\b{word}\b", text)]
    old = rng.choice(here)
    new = rng.choice([word for word in NUMBERS if word not in here])
    return re.sub(rf"\b{old}\b", new, text)


def ask(prompt: Prompt, change: Change, rng: random.Random, *, where: int = -1) -> Prompt:
    """The prompt with one of its turns changed."""
    turns = list(prompt.messages)
    turns[where] = turns[where].model_copy(update={"content": change(turns[where].content, rng)})
    return Prompt(messages=tuple(turns))


def plant_prompts(num: int, *, seed: int, num_evaluated: int = 200) -> Planted:
    """Prompts with 10 % duplicates, 6 % leaks and 5 % mojibake; as many decoys; the first of each kind stays clean."""
    rng = random.Random(f"planted {seed}")
    clean = [Prompt.from_chat(chat) for chat in make_prompts(seed=seed, n=num)]
    evaluated = [Prompt.from_chat(chat) for chat in make_prompts(seed=seed, n=num_evaluated, held_out=True)]
    share = num // 20
    marked = set(rng.sample(range(num), 2 * share))
    wrong = set(rng.sample(sorted(marked), share))
    plain = [prompt for place, prompt in enumerate(clean) if place not in marked]
    planted: list[tuple[str, Prompt]] = []
    for prompt in rng.sample(plain, share):
        planted.append(("duplicates", ask(prompt, respell, rng, where=rng.choice([0, -1]))))
    for prompt in rng.sample(plain, share):
        planted.append(("near_duplicates", ask(prompt, nearly, rng, where=rng.choice([0, -1]))))
    leaked = rng.sample(evaluated, len(evaluated))
    for number, prompt in enumerate(leaked[: share * 6 // 5]):
        rule, change = ("leakage", respell) if number % 2 else ("near_leakage", nearly)
        planted.append((rule, ask(prompt, change, rng, where=rng.choice([0, -1]))))
    for prompt in rng.sample(plain, share):  # decoys
        planted.append(("", ask(prompt, change_word, rng, where=0)))
    for prompt in leaked[-share:]:
        planted.append(("", ask(prompt, change_word, rng, where=0)))
    base: list[tuple[str, Prompt]] = []
    for place, prompt in enumerate(clean):
        if place in wrong:
            base.append(("mojibake", ask(prompt, misread, rng)))
        elif place in marked:
            base.append(("", ask(prompt, lambda text, rng: f"{text} {rng.choice(FOREIGN)}", rng)))
        else:
            base.append(("", prompt))
    rng.shuffle(planted)
    return Planted(*_mark([*base, *planted]), evaluated)


def plant_preferences(num: int, *, seed: int) -> Planted:
    """Preferences with 10 % duplicates, 3 % each of equal and nearly equal pairs and contradictions, and 5 % flips."""
    rng = random.Random(f"planted {seed}")
    shown = make_demonstrations(seed, 3 * num)
    rows: list[PreferenceRow] = []
    for one, other in pairwise(shown):
        if one.response != other.response and len(rows) < num:
            prompt = Prompt.from_chat(one.messages)
            rows.append(PreferenceRow(prompt=prompt, chosen=one.response, rejected=other.response))
    share = num // 20
    flipped = set(rng.sample(range(num), share))
    base = [("label_flips", _turn(row)) if place in flipped else ("", row) for place, row in enumerate(rows)]
    kept = [row for rule, row in base if not rule]
    planted: list[tuple[str, PreferenceRow]] = []
    for row in rng.sample(kept, share):
        planted.append(("duplicates", row.model_copy(update={"chosen": respell(row.chosen, rng)})))
    for row in rng.sample(kept, share):
        side = rng.choice(["chosen", "rejected"])
        planted.append(("near_duplicates", row.model_copy(update={side: nearly(getattr(row, side), rng, changes=4)})))
    for row in rng.sample(kept, share // 2):
        text = f"{row.chosen} Number {rng.randrange(10**6)}."
        planted.append(("identical_pairs", row.model_copy(update={"chosen": text, "rejected": respell(text, rng)})))
        text = f"{row.chosen} Number {rng.randrange(10**6)}."
        near = nearly(row.chosen, rng, changes=4) + text[len(row.chosen) :]
        planted.append(("near_identical_pairs", row.model_copy(update={"chosen": text, "rejected": near})))
    rng.shuffle(planted)
    return Planted(*_mark([*base, *planted]), ())


def _turn(row: PreferenceRow) -> PreferenceRow:
    return row.model_copy(update={"chosen": row.rejected, "rejected": row.chosen})


def _mark(marked: Iterable[tuple[str, T]]) -> tuple[list[T], dict[str, frozenset[int]]]:
    rows: list[T] = []
    truth: dict[str, set[int]] = defaultdict(set)
    for rule, row in marked:
        truth[rule].add(len(rows))
        rows.append(row)
    truth.pop("", None)
    return rows, {rule: frozenset(places) for rule, places in truth.items()}


def measure(planted: Planted) -> dict[str, Found]:
    """Each planted rule by itself, on all rows. Flips are not among them: these few pairs do not tell which is one."""
    kind: Kind[object] = PROMPTS if isinstance(planted.rows[0], Prompt) else PREFERENCES  # type: ignore[assignment]
    found = {}
    for rule, truth in planted.truth.items():
        if rule not in CleaningConfig.model_fields or rule == "label_flips":
            continue
        off = {"duplicates": "off", "leakage": "off"}
        config = CleaningConfig.model_validate({**off, rule: "drop"})
        cleaned = clean_rows(planted.rows, kind=kind, config=config, evaluated=planted.evaluated)
        dropped = set(range(len(planted.rows))) - set(cleaned.places)
        found[rule] = Found(len(truth), len(dropped), len(dropped & truth))
    return found
