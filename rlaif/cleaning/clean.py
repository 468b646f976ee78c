"""Rows -> the rows that are kept, corrected where the configuration says so, and a report of every rule.

First each text by itself, then each row, then the rows among one another and beside held-out prompts. A row that one
rule dropped is not seen by the next. Reads and writes no files, changes no row in place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from rlaif.cleaning.alike import NearIndex, Parts, Plain, Vocabulary, are_near, exact_key, find_twice, simplify
from rlaif.cleaning.flips import LabelledPair, find_flips
from rlaif.cleaning.kinds import Kind, preferred, prompt_parts, sides
from rlaif.cleaning.personal import fix_personal
from rlaif.cleaning.report import MAX_EXAMPLES, MAX_SHOWN, CleaningReport, Example, RuleReport
from rlaif.cleaning.texts import LOST, fix_control, fix_markup, fix_mojibake, fix_unicode
from rlaif.config.cleaning import CleaningConfig
from rlaif.records import Prompt

T = TypeVar("T")

FIXERS: Mapping[str, Callable[[str], str]] = {
    "mojibake": fix_mojibake,
    "markup": fix_markup,
    "control": fix_control,
    "unicode": fix_unicode,
    "personal": fix_personal,
}
"""Rules about a text by itself, in the order in which they correct it."""


class Cleaned(NamedTuple, Generic[T]):
    rows: list[T]
    """The rows that are kept, in their order."""
    places: list[int]
    """Their places among the rows that came in."""
    report: CleaningReport


class _Fault(NamedTuple):
    text: str
    beside: str = ""


class _Rows(Generic[T]):
    """The rows that are left, and what the rules so far found."""

    def __init__(self, rows: Sequence[T], kind: Kind[T]) -> None:
        self.rows: dict[int, T] = dict(enumerate(rows))
        self.kind = kind
        self.num_in = len(rows)
        self.reports: list[RuleReport] = []

    def text(self, place: int) -> str:
        return _join(self.kind.texts(self.rows[place]))

    def apply(self, rule: str, mode: str, faults: Mapping[int, _Fault], fixed: Mapping[int, T] | None = None) -> None:
        """Note the faults by the places of their rows; drop those rows, or take the corrected ones."""
        if fixed is not None:
            self.rows.update(fixed)
        is_drop = mode == "drop"
        for place in faults if is_drop else ():
            del self.rows[place]
        self.reports.append(
            RuleReport(
                rule=rule,
                mode=mode,
                found=len(faults),
                fixed=len(fixed or {}),
                dropped=len(faults) if is_drop else 0,
                examples=tuple(_show(place, fault) for place, fault in list(faults.items())[:MAX_EXAMPLES]),
            )
        )


def clean_rows(
    rows: Sequence[T],
    *,
    kind: Kind[T],
    config: CleaningConfig,
    evaluated: Collection[Prompt] = (),
    find_held_out: Callable[[Iterable[str]], Collection[str]] | None = None,
    can_fix: bool = True,
) -> Cleaned[T]:
    """The rows without the faults that the configuration names.

    evaluated: prompts that nothing may be trained on. find_held_out: of the ids of the rows' prompts those that are
    held out of training; such rows are compared with one another, and never leak. can_fix: False for texts that must
    stay as a model wrote them; fix then only reports.
    """
    left = _Rows(rows, kind)
    for rule in FIXERS:
        _clean_texts(left, rule, getattr(config, rule), can_fix=can_fix)
    if config.length != "off":
        left.apply("length", config.length, _find_lengths(left, config))
    if config.identical_pairs != "off":
        left.apply("identical_pairs", config.identical_pairs, _find_identical(left))
    if config.near_identical_pairs != "off":
        left.apply("near_identical_pairs", config.near_identical_pairs, _find_nearly_identical(left, config))
    held_out = frozenset(find_held_out(kind.prompt(row).id for row in left.rows.values()) if find_held_out else ())
    _compare_rows(left, config, held_out)
    _compare_with_held_out(left, config, held_out, evaluated)
    report = CleaningReport(noun=kind.noun, num_in=left.num_in, rules=tuple(left.reports))
    return Cleaned(list(left.rows.values()), list(left.rows), report)


def _clean_texts(left: _Rows[T], rule: str, mode: str, *, can_fix: bool) -> None:
    if mode == "off":
        return
    fix, kind = FIXERS[rule], left.kind
    faults: dict[int, _Fault] = {}
    fixed: dict[int, T] = {}
    for place, row in left.rows.items():
        texts = kind.texts(row)
        clean = tuple(map(fix, texts))
        changed = [(old, new) for old, new in zip(texts, clean, strict=True) if old != new]
        if rule == "mojibake":
            changed += [(text, "") for text in texts if LOST in text and fix(text) == text]
        if changed:
            faults[place] = _around(*changed[0])
            if clean != texts and mode == "fix" and can_fix:
                fixed[place] = kind.with_texts(row, clean)
    left.apply(rule, mode, faults, fixed)


def _find_lengths(left: _Rows[T], config: CleaningConfig) -> dict[int, _Fault]:
    found = {}
    for place, row in left.rows.items():
        asked = left.kind.prompt(row).messages[-1].content
        short = [text for text in (asked, *left.kind.responses(row)) if len(text.strip()) < config.min_characters]
        long = [text for text in left.kind.texts(row) if len(text) > config.max_characters]
        if short or long:
            found[place] = _Fault((short or long)[0])
    return found


def _find_identical(left: _Rows[T]) -> dict[int, _Fault]:
    return {
        place: _Fault(*pair)
        for place, row in left.rows.items()
        for pair in sides(row)
        if simplify(pair[0]) == simplify(pair[1])
    }


def _find_nearly_identical(left: _Rows[T], config: CleaningConfig) -> dict[int, _Fault]:
    vocabulary = Vocabulary(left.kind.parts(row) for row in left.rows.values())
    found: dict[int, _Fault] = {}
    for place, row in left.rows.items():
        for one, other in sides(row):
            plain = (Plain.of(one), Plain.of(other))
            if simplify(one) != simplify(other) and are_near(
                *plain, similarity=config.near_similarity, vocabulary=vocabulary
            ):
                found[place] = _Fault(one, other)
    return found


def _compare_rows(left: _Rows[T], config: CleaningConfig, held_out: frozenset[str]) -> None:
    """Duplicates, near duplicates and contradictions: those held out among themselves, and so the others."""
    kind = left.kind
    if config.duplicates != "off":
        places = list(left.rows)
        parts = [kind.parts(row) for row in left.rows.values()]
        twice = find_twice(parts, [kind.prompt(row).id in held_out for row in left.rows.values()])
        faults = {places[one]: _Fault(left.text(places[one]), left.text(places[first])) for one, first in twice.items()}
        left.apply("duplicates", config.duplicates, faults)
    if config.near_duplicates != "off":
        left.apply("near_duplicates", config.near_duplicates, _find_near(left, config, held_out))
    if config.contradictions != "off":
        left.apply("contradictions", config.contradictions, _find_contradictions(left))
    if config.label_flips != "off":
        left.apply("label_flips", config.label_flips, _find_flips(left, config, held_out))


def _find_near(left: _Rows[T], config: CleaningConfig, held_out: frozenset[str]) -> dict[int, _Fault]:
    """Rows that are near an earlier row which is itself near none; exact duplicates are another rule's."""
    parts = {place: left.kind.parts(row) for place, row in left.rows.items()}
    vocabulary = Vocabulary(parts.values())
    indexes = [NearIndex(similarity=config.near_similarity, vocabulary=vocabulary) for _ in range(2)]
    seen: set[object] = set()
    found: dict[int, _Fault] = {}
    for place, row in left.rows.items():
        is_held_out = left.kind.prompt(row).id in held_out
        key = (is_held_out, exact_key(parts[place]))
        if key in seen:
            continue
        seen.add(key)
        index = indexes[is_held_out]
        first = index.find(parts[place])
        if first is None:
            index.add(place, parts[place])
        else:
            found[place] = _Fault(left.text(place), left.text(first))
    return found


def _find_contradictions(left: _Rows[T]) -> dict[int, _Fault]:
    ways: dict[object, dict[tuple[str, str], list[int]]] = {}
    for place, row in left.rows.items():
        if (pair := preferred(row)) is not None:
            way = (simplify(pair[0]), simplify(pair[1]))
            key = (exact_key(prompt_parts(left.kind.prompt(row))), frozenset(way))
            ways.setdefault(key, {}).setdefault(way, []).append(place)
    places = sorted(place for by_way in ways.values() if len(by_way) > 1 for of in by_way.values() for place in of)
    return {place: _Fault(*(preferred(left.rows[place]) or ("", ""))) for place in places}


def _find_flips(left: _Rows[T], config: CleaningConfig, held_out: frozenset[str]) -> dict[int, _Fault]:
    """Pairs to train on whose label the other pairs contradict; each with the response that is said to be better."""
    pairs = {
        place: LabelledPair(left.kind.prompt(row).id, *sides)
        for place, row in left.rows.items()
        if left.kind.prompt(row).id not in held_out and (sides := preferred(row)) is not None
    }
    places = list(pairs)
    found = [places[at] for at in find_flips(list(pairs.values()), margin=config.flip_margin)]
    return {place: _Fault(pairs[place].better, pairs[place].worse) for place in found}


def _compare_with_held_out(
    left: _Rows[T], config: CleaningConfig, held_out: frozenset[str], evaluated: Collection[Prompt]
) -> None:
    """Rows to train on whose prompt is among those that are held out or evaluated on."""
    own = (left.kind.prompt(row) for row in left.rows.values())
    others = {prompt.id: prompt for prompt in (*evaluated, *(one for one in own if one.id in held_out))}
    by_key = {exact_key(prompt_parts(prompt)): prompt for prompt in others.values()}
    trained = {
        place: prompt for place, row in left.rows.items() if (prompt := left.kind.prompt(row)).id not in held_out
    }
    if config.leakage != "off":
        keys = {place: exact_key(prompt_parts(prompt)) for place, prompt in trained.items()}
        faults = {place: _between(trained[place], by_key[key]) for place, key in keys.items() if key in by_key}
        left.apply("leakage", config.leakage, faults)
    if config.near_leakage == "off":
        return
    listed = list(others.values())
    asked = {prompt.id: prompt_parts(prompt) for prompt in trained.values()}
    vocabulary = Vocabulary([*map(prompt_parts, listed), *asked.values()])
    index = NearIndex(similarity=config.near_similarity, vocabulary=vocabulary)
    for number, prompt in enumerate(listed):
        index.add(number, prompt_parts(prompt))
    near = {one: index.find(parts) for one, parts in asked.items() if exact_key(parts) not in by_key}
    found: dict[int, _Fault] = {}
    for place, prompt in trained.items():
        first = near.get(prompt.id)
        if first is not None and place in left.rows:
            found[place] = _between(prompt, listed[first])
    left.apply("near_leakage", config.near_leakage, found)


def _between(prompt: Prompt, other: Prompt) -> _Fault:
    return _Fault(*(_join(tuple(turn.content for turn in one.messages)) for one in (prompt, other)))


def _join(parts: Parts) -> str:
    """A row's texts in a line, the last first to be cut off: what is asked and answered stands last."""
    return " | ".join(" ".join(part.split()) for part in parts)


def _around(old: str, new: str) -> _Fault:
    """The place where two texts begin to differ, with a little before it."""
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0 if not new else len(new))
    start = max(0, at - MAX_SHOWN // 4)
    return _Fault(old[start : start + MAX_SHOWN], new[start : start + MAX_SHOWN])


def _show(place: int, fault: _Fault) -> Example:
    """An example without personal data, whatever rule found it."""
    text, beside = (_cut(fix_personal(one)) for one in fault)
    return Example(row=place + 1, text=text, beside=beside)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"\u2026{text[1 - MAX_SHOWN :]}"
