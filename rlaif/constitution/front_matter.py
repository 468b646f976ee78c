"""The front matter of a judge template: kind, variables and their trust, reason, marker, verdicts or scores.

A template's source in, checked fields and the body out; a closed set of keys. Does not read the body.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

from rlaif.constitution.template_rules import KINDS, TRUSTED, UNTRUSTED
from rlaif.errors import TemplateError
from rlaif.files.strict_yaml import StrictYaml, load_strict
from rlaif.records import Verdict
from rlaif.records.judgement import JudgeMode

KEYS = (
    "kind",
    "description",
    "system",
    "untrusted",
    "trusted",
    "reason",
    "verdict_marker",
    "verdicts",
    "scores",
    "labels",
    "normalise",
    "scale",
    "opposite",
)
_CONTRAST_KEYS = ("normalise", "scale", "opposite")
_ANSWER_KEYS = ("reason", "verdict_marker", "system", "untrusted")
"""Keys of templates that are answered."""
VERDICTS: tuple[Verdict, ...] = ("first", "second", "tie")
MAX_REASON_TOKENS = 4096
MAX_SCALE = 1_000_000

_Path = tuple[str | int, ...]


class ContrastRules(NamedTuple):
    """How a judge's log-likelihoods of a response become a score."""

    normalise: Literal["tokens", "sum"]
    """tokens: the mean difference by token. sum: the difference of the whole response."""
    scale: float
    """Difference of two scores, in nats, at which the odds of the better one are e to 1."""
    needs_opposite: bool
    """Whether a principle without an opposite is refused; otherwise it is contrasted with no principle at all."""


class FrontMatter(NamedTuple):
    kind: JudgeMode
    description: str
    system: str
    untrusted: tuple[str, ...]
    trusted: tuple[str, ...]
    reason_max_tokens: int
    verdict_marker: str
    verdicts: Mapping[Verdict, str]
    """Empty for a template that does not compare two."""
    scores: tuple[str, ...]
    """Lowest first; empty for a template that does not score."""
    labels: tuple[str, ...]
    """Labels of the replies in the order shown; empty for a template that does not rank."""
    contrast: ContrastRules | None
    """None for a template that is answered."""
    body: str
    body_line: int
    """Line of the file on which the body begins."""


def read_front_matter(source: str, *, where: str) -> FrontMatter:
    """Split a template's source and check everything above its body."""
    lines = source.split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        raise TemplateError(
            "the template has no front matter",
            where=f"{where}:1",
            fix="begin the file with a line ---, the keys, and another line ---",
        )
    # A comment in the first line's place keeps the line numbers of the file.
    document = load_strict("\n".join(["#", *lines[1 : ends[1]]]), where=where, error=TemplateError)
    return _Reader(document, where).read("\n".join(lines[ends[1] + 1 :]).rstrip("\n"), body_line=ends[1] + 2)


class _Reader:
    def __init__(self, document: StrictYaml, where: str) -> None:
        self._document = document
        self._where = where

    def read(self, body: str, *, body_line: int) -> FrontMatter:
        fields = self._mapping(self._document.value, (), keys=KEYS)
        given = self._text(fields.get("kind"), ("kind",))
        kind = next((known for known in KINDS if known == given), None)
        if kind is None:
            *others, last = (f"`kind: {known}`" for known in KINDS)
            fix = f"write {', '.join(others)} or {last}"
            self._refuse(f'the kind "{given[:80]}" is not known', ("kind",), fix)
        rules = KINDS[kind]
        elsewhere = {name for other in KINDS.values() for name in other.needed} - set(rules.needed)
        known = tuple(name for name in UNTRUSTED if name not in elsewhere)
        self._refuse_keys_of_others(fields, kind)
        if rules.answers is None:
            untrusted: tuple[str, ...] = ()
            allowed = rules.needed
        else:
            untrusted = self._names(fields.get("untrusted"), ("untrusted",), allowed=known, other=TRUSTED)
            allowed = TRUSTED
        trusted = self._names(fields.get("trusted"), ("trusted",), allowed=allowed, other=known)
        for name in rules.needed:
            if name not in (*untrusted, *trusted):
                trust = "untrusted" if name in UNTRUSTED else "trusted"
                self._refuse(f'the template does not declare "{name}"', (trust,), f"add it to `{trust}:` and show it")
        return FrontMatter(
            kind=kind,
            description=self._text(fields.get("description", ""), ("description",), empty=True),
            system=self._text(fields.get("system", ""), ("system",), empty=True),
            untrusted=untrusted,
            trusted=trusted,
            reason_max_tokens=self._reason(fields.get("reason")),
            verdict_marker=self._text(fields.get("verdict_marker"), ("verdict_marker",)) if rules.answers else "",
            verdicts=self._verdicts(fields.get("verdicts")) if rules.answers == "verdicts" else {},
            scores=self._listed(fields.get("scores"), "score") if rules.answers == "scores" else (),
            labels=self._listed(fields.get("labels"), "label") if rules.answers == "labels" else (),
            contrast=self._contrast(fields) if rules.answers is None else None,
            body=body,
            body_line=body_line,
        )

    def _refuse_keys_of_others(self, fields: Mapping[str, Any], kind: JudgeMode) -> None:
        """Refuse keys that say how other kinds of templates are answered."""
        answers = KINDS[kind].answers
        for key in sorted({other.answers for other in KINDS.values() if other.answers} - {answers}):
            if key in fields:
                fix = f"write `{answers}:` instead" if answers else "remove it"
                self._refuse(f"a {kind} template has no `{key}`", (key,), fix)
        for other_key in _CONTRAST_KEYS if answers else _ANSWER_KEYS:
            if other_key in fields:
                self._refuse(f"a {kind} template has no `{other_key}`", (other_key,), "remove it")

    def _contrast(self, fields: Mapping[str, Any]) -> ContrastRules:
        normalise, opposite = fields.get("normalise", "tokens"), fields.get("opposite", "optional")
        if normalise not in ("tokens", "sum"):
            self._refuse("`normalise` must be tokens or sum", ("normalise",), "write `normalise: tokens`")
        if opposite not in ("optional", "needed"):
            self._refuse("`opposite` must be optional or needed", ("opposite",), "write `opposite: optional`")
        scale = fields.get("scale")
        if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale <= MAX_SCALE:
            self._refuse(
                f"`scale` must be a number above 0 and at most {MAX_SCALE:,}", ("scale",), "write `scale: 0.1`"
            )
        return ContrastRules(normalise, float(scale), opposite == "needed")

    def _mapping(self, value: Any, path: _Path, *, keys: Sequence[str]) -> Mapping[str, Any]:
        noun = f"`{path[-1]}`" if path else "the front matter"
        if not isinstance(value, dict):
            self._refuse(f"{noun} must be `key: value` lines", path, f"its keys are {', '.join(keys)}")
        for key in value:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                meant = f'did you mean "{close[0]}"?' if close else f"its keys are {', '.join(keys)}"
                self._refuse(f'{noun} has no key "{key[:80]}"', (*path, key), meant)
        return value

    def _text(self, value: Any, path: _Path, *, empty: bool = False) -> str:
        if value is None and not empty:
            self._refuse(f"the front matter has no `{path[-1]}`", path, f"write `{path[-1]}: ...`")
        if not isinstance(value, str) or not (value.strip() or empty):
            self._refuse(f"`{path[-1]}` must be text", path, "put it in quotes")
        return value

    def _names(self, value: Any, path: _Path, *, allowed: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
        if not isinstance(value, list):
            self._refuse(f"`{path[0]}` must list variables", path, f"write `{path[0]}: [{', '.join(allowed)}]`")
        for number, name in enumerate(value):
            if name in other:
                right = "untrusted" if name in UNTRUSTED else "trusted"
                self._refuse(f'the variable "{name}" is {right}', (*path, number), f"move it to `{right}:`")
            if name not in allowed:
                shown = str(name)[:80]
                close = difflib.get_close_matches(shown, (*allowed, *other), n=1)
                meant = f'did you mean "{close[0]}"?' if close else f"the variables are {', '.join(allowed)}"
                self._refuse(f'there is no variable "{shown}"', (*path, number), meant)
        return tuple(dict.fromkeys(value))

    def _reason(self, value: Any) -> int:
        if value is None:
            return 0
        path = ("reason", "max_tokens")
        number = self._mapping(value, ("reason",), keys=("max_tokens",)).get("max_tokens")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_REASON_TOKENS:
            self._refuse(
                f"`reason.max_tokens` must be a whole number from 1 to {MAX_REASON_TOKENS}",
                path,
                "leave `reason` out for a verdict alone",
            )
        return number

    def _verdicts(self, value: Any) -> Mapping[Verdict, str]:
        given = self._mapping(value, ("verdicts",), keys=VERDICTS)
        verdicts: dict[Verdict, str] = {}
        for name in VERDICTS:
            if name != "tie" or name in given:
                text = self._text(given.get(name), ("verdicts", name))
                if text in verdicts.values():
                    self._refuse(f'two verdicts are written "{text}"', ("verdicts", name), "give each its own string")
                verdicts[name] = text
        return verdicts

    def _listed(self, value: Any, noun: str) -> tuple[str, ...]:
        """`scores` or `labels`: different strings."""
        key = f"{noun}s"
        if not isinstance(value, list) or len(value) < 2:
            example = '" 1", " 2", ...' if noun == "score" else '" A", " B", ...'
            self._refuse(f"`{key}` must list two strings or more", (key,), f"write `{key}: [{example}]`")
        texts = [self._text(text, (key, number)) for number, text in enumerate(value)]
        for number, text in enumerate(texts):
            if text in texts[:number]:
                self._refuse(f'two {key} are written "{text}"', (key, number), "give each its own string")
        return tuple(texts)

    def _refuse(self, what: str, path: _Path, fix: str) -> NoReturn:
        raise TemplateError(what, where=f"{self._where}:{self._document.line_of(path)}", fix=fix)
