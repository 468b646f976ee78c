"""A principle file (YAML) -> a validated `Constitution`; every refusal names the file and the line.

Also checks the wording against a judge that knows a closed set of words. Does not ask the judge.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from rlaif.constitution.shipped import find_file
from rlaif.errors import ConstitutionError, ModelError
from rlaif.files.own_files import json_of, read_own
from rlaif.files.strict_yaml import StrictYaml, load_strict
from rlaif.files.texts import read_text_file
from rlaif.records import Constitution, Example, Principle

MAX_BYTES = 1 << 20
MAX_WEIGHT = 1_000_000
SUFFIX = ".yaml"
VOCABULARY_FILE = "principle_vocabulary.json"
PRINCIPLE_KEYS = ("id", "text", "weight", "tags", "opposite", "examples")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def load_constitution(path_or_name: str | Path) -> Constitution:
    """Read and validate a principle file, by its path or by the name of a known one."""
    path = find_file("constitutions", path_or_name, suffix=SUFFIX)
    return parse_constitution(read_text_file(path, error=ConstitutionError, max_bytes=MAX_BYTES), where=str(path))


def parse_constitution(source: str, *, where: str) -> Constitution:
    """Validate the text of a principle file; `where` names the file in messages."""
    document = load_strict(source, where=where, error=ConstitutionError)
    return _Reader(document, where).constitution(source)


class _Reader:
    """Checks the document part by part; every refusal names the line of its part."""

    def __init__(self, document: StrictYaml, where: str) -> None:
        self._document = document
        self._where = where

    def constitution(self, source: str) -> Constitution:
        root = self._mapping(
            self._document.value, (), keys=("name", "description", "principles"), noun="a constitution"
        )
        name = self._text(root, "name", (), noun="a constitution")
        description = self._text(root, "description", (), noun="a constitution", default="")
        listed = root.get("principles")
        if not isinstance(listed, list) or not listed:
            self._refuse(
                f'constitution "{name}" has no principles',
                ("principles",),
                "list at least one under `principles:`, each with `id:` and `text:`",
            )
        principles = [self._principle(item, number) for number, item in enumerate(listed)]
        self._refuse_repeated_ids(principles)
        if not any(principle.weight > 0 for principle in principles):
            self._refuse("all weights are zero", ("principles",), "give at least one principle a weight above 0")
        return Constitution(name=name, description=description, principles=tuple(principles), source=source)

    def _principle(self, item: Any, number: int) -> Principle:
        at = ("principles", number)
        fields = self._mapping(item, at, keys=PRINCIPLE_KEYS, noun="a principle")
        principle_id = self._text(fields, "id", at, noun=f"principle {number + 1}")
        if not _ID.fullmatch(principle_id):
            self._refuse(
                f'"{principle_id[:80]}" is not a valid principle id',
                (*at, "id"),
                "use at most 64 of a-z 0-9 . _ -, a letter or digit first",
            )
        noun = f'principle "{principle_id}"'
        text = self._text(fields, "text", at, noun=noun, fix="write one sentence that says which reply is better")
        return Principle(
            id=principle_id,
            text=text,
            weight=self._weight(fields.get("weight", 1.0), (*at, "weight"), noun=noun),
            tags=self._tags(fields.get("tags", []), (*at, "tags"), noun=noun),
            opposite=self._opposite(fields, at, text=text, noun=noun),
            examples=self._examples(fields.get("examples", []), (*at, "examples"), noun=noun),
        )

    def _opposite(self, fields: Mapping[str, Any], at: tuple[str | int, ...], *, text: str, noun: str) -> str:
        fix = "write the sentence that asks for the contrary, or take the key out"
        opposite = self._text(fields, "opposite", at, noun=noun, fix=fix) if "opposite" in fields else ""
        if opposite == text:
            self._refuse(f"the opposite of {noun} is its own text", (*at, "opposite"), fix)
        return opposite

    def _examples(self, value: Any, path: tuple[str | int, ...], *, noun: str) -> tuple[Example, ...]:
        if not isinstance(value, list):
            self._refuse(
                f"the examples of {noun} are not a list",
                path,
                "write `- prompt: ...`, with `good:` and `bad:` under it",
            )
        return tuple(self._example(item, (*path, number), noun=noun) for number, item in enumerate(value))

    def _example(self, item: Any, at: tuple[str | int, ...], *, noun: str) -> Example:
        part = f"example {int(at[-1]) + 1} of {noun}"
        fields = self._mapping(item, at, keys=("prompt", "good", "bad"), noun=part)
        prompt, good, bad = (self._text(fields, key, at, noun=part) for key in ("prompt", "good", "bad"))
        if good == bad:
            self._refuse(f"the good and the bad reply of {part} are the same", (*at, "bad"), "give two that differ")
        return Example(prompt=prompt, good=good, bad=bad)

    def _mapping(self, value: Any, path: tuple[str | int, ...], *, keys: Sequence[str], noun: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            shown = "the file is empty" if value is None and not path else f"{noun} must be `key: value` lines"
            self._refuse(shown, path, f"the keys of {noun} are {', '.join(keys)}")
        for key in value:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                meant = f'did you mean "{close[0]}"?' if close else f"the keys are {', '.join(keys)}"
                self._refuse(f'{noun} has no key "{key[:80]}"', (*path, key), meant)
        return value

    def _text(
        self,
        fields: Mapping[str, Any],
        key: str,
        path: tuple[str | int, ...],
        *,
        noun: str,
        default: str | None = None,
        fix: str = "",
    ) -> str:
        value = fields.get(key, default)
        if value is None or (isinstance(value, str) and not value.strip() and default is None):
            self._refuse(f"{noun} has no {key}", (*path, key), fix or f"write `{key}: ...`")
        if not isinstance(value, str):
            self._refuse(
                f"the {key} of {noun} must be text, but YAML reads {_shown(value)}",
                (*path, key),
                "put it in quotes",
            )
        return value.strip()

    def _weight(self, value: Any, path: tuple[str | int, ...], *, noun: str) -> float:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if number is None or not math.isfinite(number) or not 0 <= number <= MAX_WEIGHT:
            fix = f"give a number from 0 to {MAX_WEIGHT:,}, such as 1"
            self._refuse(f"the weight of {noun} is {_shown(value)}", path, fix)
        return float(number)

    def _tags(self, value: Any, path: tuple[str | int, ...], *, noun: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            self._refuse(f"the tags of {noun} are not a list", path, "write `tags: [one, two]`")
        for number, tag in enumerate(value):
            if not isinstance(tag, str) or not tag.strip():
                self._refuse(
                    f"a tag of {noun} must be text, but YAML reads {_shown(tag)}",
                    (*path, number),
                    "put it in quotes",
                )
        return tuple(tag.strip() for tag in value)

    def _refuse_repeated_ids(self, principles: Sequence[Principle]) -> None:
        first: dict[str, int] = {}
        for number, principle in enumerate(principles):
            if principle.id in first:
                line = self._document.line_of(("principles", first[principle.id], "id"))
                self._refuse(
                    f'the principle id "{principle.id}" stands here a second time',
                    ("principles", number, "id"),
                    f"rename this one or the one on line {line}",
                )
            first[principle.id] = number

    def _refuse(self, what: str, path: tuple[str | int, ...], fix: str) -> NoReturn:
        raise ConstitutionError(what, where=f"{self._where}:{self._document.line_of(path)}", fix=fix)


def _shown(value: Any) -> str:
    """A value as YAML would write it, short."""
    words = {True: "true", False: "false", None: "nothing"}
    if value is None or isinstance(value, bool):
        return words[value]
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else str(value)[:80]


class PrincipleVocabulary(NamedTuple):
    """What a judge with a closed vocabulary can read."""

    words: frozenset[str]
    """In lower case."""
    wordings: tuple[str, ...]
    """Principle texts that the judge knows."""


def load_vocabulary(judge_dir: str | Path) -> PrincipleVocabulary | None:
    """The vocabulary in a judge's folder; None where the judge has none and so reads any word."""
    path = Path(judge_dir) / VOCABULARY_FILE
    if not path.is_file():
        return None
    fields = read_own(
        path, json_of(dict[Literal["words", "wordings"], list[str]]), fix="fetch the judge again", error=ModelError
    )
    return PrincipleVocabulary(frozenset(fields.get("words", ())), tuple(fields.get("wordings", ())))


def check_wording(constitution: Constitution, *, judge_dir: str | Path) -> None:
    """Refuse a principle with a word that this judge has never met; a judge without a vocabulary reads any word."""
    vocabulary = load_vocabulary(judge_dir)
    if vocabulary is None:
        return
    # Words are known as they are written: a judge that read "Prefer" and "polite" never read "Polite".
    known = vocabulary.words.union(word for wording in vocabulary.wordings for word in _words(wording))
    for principle in constitution.principles:
        unknown = [word for word in _words(principle.text) if word not in known]
        # A word that lower case alone would make known comes last: the others are what has to be reworded.
        for word in sorted(unknown, key=lambda word: word.lower() in vocabulary.words):
            _refuse_word(word, principle, constitution=constitution, vocabulary=vocabulary)


def _refuse_word(
    word: str, principle: Principle, *, constitution: Constitution, vocabulary: PrincipleVocabulary
) -> NoReturn:
    fix = f'write it in lower case, "{word.lower()}"'
    if word.lower() not in vocabulary.words:
        fix = (
            f'the nearest wording that it knows is "{find_nearest_wording(principle.text, vocabulary)}"; all that it '
            "knows are listed by `rlaif constitution words`, and a judge of yours (judge.model.path) reads any words"
        )
    raise ConstitutionError(
        f'the judge has never met the word "{word[:80]}" of principle "{principle.id}"',
        where=place_of(principle, constitution=constitution),
        fix=fix,
    )


def place_of(principle: Principle, *, constitution: Constitution) -> str:
    """Where a principle's text stands, for messages."""
    document = load_strict(constitution.source, where=constitution.name, error=ConstitutionError)
    number = constitution.principles.index(principle)
    return f'constitution "{constitution.name}", line {document.line_of(("principles", number, "text"))}'


def find_nearest_wording(text: str, vocabulary: PrincipleVocabulary) -> str:
    """The known wording that shares most with a text: half by common words, half by common letters."""
    words = {word.lower() for word in _words(text)}

    def likeness(wording: str) -> float:
        other = {word.lower() for word in _words(wording)}
        shared = len(words & other) / max(len(words | other), 1)
        return shared + difflib.SequenceMatcher(None, text.lower(), wording.lower()).ratio()

    return max(vocabulary.wordings, key=likeness, default="none")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", text)
