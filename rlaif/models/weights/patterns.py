"""The patterns in an adapter's config, tried on the names of a model's modules within a time limit.

peft runs them as regular expressions without one, and a pattern with repeats inside repeats may take for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped] # its types are a package of their own

from rlaif.errors import ModelError

SECONDS = 2.0
"""The longest that all patterns of an adapter may take on all names. [M] Usual ones take 1 ms for 300 names."""
_MOST_REPEATS = 8
"""Unbounded repeats in a pattern; usual ones have up to four."""
_LONGEST = 4000


def check_patterns(config: Mapping[str, Any], names: Sequence[str], *, where: str) -> None:
    """Refuse an adapter whose patterns are none, or would not end. names: of the base model's modules."""
    for option, pattern in _patterns_in(config):
        reason = _why_not(pattern, names)
        if reason is not None:
            raise ModelError(
                f"{option} in adapter_config.json is a pattern that {reason}",
                where=where,
                fix="list the names of the modules there",
            )


def _patterns_in(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for option in ("target_modules", "exclude_modules"):
        if isinstance(value := config.get(option), str) and value != "all-linear":
            yield option, value
    layers = config.get("layers_pattern")
    for value in [layers] if isinstance(layers, str) else layers if isinstance(layers, list) else []:
        yield "layers_pattern", rf".*\.[^.]*{value}\.(\d+)\."
    for option in ("rank_pattern", "alpha_pattern"):
        for value in config.get(option) or {}:
            yield option, rf"(.*\.)?({value})$"


def _why_not(pattern: str, names: Sequence[str]) -> str | None:
    """What is wrong with a pattern; None where it can be run."""
    if len(pattern) > _LONGEST or len(regex.findall(r"[*+]|,\}", pattern)) > _MOST_REPEATS + 2:
        return "is too long to be run"
    try:
        re.compile(pattern)
        compiled = regex.compile(pattern)
        if _has_nested_repeats(pattern):
            return "repeats a repeat, so that it may not end"
        for name in names:
            compiled.match(name, timeout=SECONDS / max(len(names), 1))
    except (re.error, regex.error, RecursionError, OverflowError) as cause:
        return f"is not valid ({cause})"
    except TimeoutError:
        return f"does not end within {SECONDS:g} s"
    return None


def _has_nested_repeats(pattern: str) -> bool:
    """Whether something that repeats without bound stands inside something that does."""
    from re import _parser as parser  # type: ignore[attr-defined] # the standard library has no public name for it

    def walk(items: Any, *, inside: bool) -> bool:
        for operation, argument in items:
            name = str(operation)
            repeats = name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and argument[1] > 1
            if repeats and inside:
                return True
            for below in _parts(argument):
                if walk(below, inside=inside or repeats):
                    return True
        return False

    return walk(parser.parse(pattern), inside=False)


def _parts(argument: Any) -> Iterator[Any]:
    """The sequences of items inside an item of a parsed pattern."""
    if type(argument).__name__ == "SubPattern":
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _parts(one)
