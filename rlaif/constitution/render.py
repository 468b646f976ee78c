"""Judge templates (Jinja2 with front matter) -> chat messages whose parts are marked as trusted or not.

Text from a model or a data set enters as a value and leaves as a separate segment, never as template
source and never joined to trusted text. Does not tokenise and does not ask the judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rlaif.constitution.front_matter import ContrastRules, FrontMatter, read_front_matter
from rlaif.constitution.shipped import find_file
from rlaif.constitution.template_rules import FILTERS, KINDS, TESTS, TemplateRules
from rlaif.errors import TemplateError
from rlaif.files.texts import read_text_file
from rlaif.records import Message, Segment, SegmentedMessage, Verdict, digest_text
from rlaif.records.base import Value
from rlaif.records.judgement import JudgeMode

SUFFIX = ".j2"
MAX_SOURCE_BYTES = 64 << 10
MAX_TRUSTED_CHARACTERS = 256 << 10
"""Longest that the trusted parts of a prompt may become; a template that loops stops here."""


class JudgeTemplate(Value):
    """A checked judge template."""

    name: str
    """Path or name, for messages."""
    source: str
    kind: JudgeMode
    description: str
    system: str
    """Literal text of the system message; empty: the prompt has none."""
    body: str
    """Source of the user message."""
    variables: tuple[str, ...]
    reason_max_tokens: int
    """0: the verdict alone."""
    verdict_marker: str
    verdicts: Mapping[Verdict, str] = {}
    """Text that the judge writes after the marker, by verdict; empty unless the template compares two."""
    scores: tuple[str, ...] = ()
    """Texts that the judge writes after the marker for 1, 2, ...; empty unless the template scores."""
    labels: tuple[str, ...] = ()
    """Texts that the judge writes after the marker for the replies in the order shown; empty unless the template
    ranks."""
    contrast: ContrastRules | None = None
    """How likelihoods become a score; None for a template that is answered."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts of which the judge writes one."""
        return tuple(self.verdicts.values()) or self.scores or self.labels

    @property
    def digest(self) -> str:
        return digest_text(self.source)


def load_template(path_or_name: str | Path, *, kind: str | None = None) -> JudgeTemplate:
    """Read and check a template, by its path or by the name of a known one; with `kind`, no other kind is accepted."""
    path = find_file("prompts", path_or_name, suffix=SUFFIX)
    source = read_text_file(path, error=TemplateError, max_bytes=MAX_SOURCE_BYTES)
    template = template_from_source(source, name=str(path))
    if kind not in (None, template.kind):
        what = f"the template {KINDS[template.kind].does}"
        raise TemplateError(what, where=str(path), fix=f"name one of `kind: {kind}`")
    return template


def template_from_source(source: str, *, name: str) -> JudgeTemplate:
    """Check a template's source; `name` stands for the file in messages."""
    if len(source.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise TemplateError(
            f"the template is larger than {MAX_SOURCE_BYTES >> 10} KiB", where=name, fix="make it shorter"
        )
    front = read_front_matter(source, where=name)
    _compile(front.body, where=name, front=front)
    return JudgeTemplate(
        name=name,
        source=source,
        kind=front.kind,
        description=front.description,
        system=front.system,
        body=front.body,
        variables=(*front.untrusted, *front.trusted),
        reason_max_tokens=front.reason_max_tokens,
        verdict_marker=front.verdict_marker,
        verdicts=front.verdicts,
        scores=front.scores,
        labels=front.labels,
        contrast=front.contrast,
    )


def _compile(body: str, *, where: str, front: FrontMatter) -> None:
    """Check the body: parsed first, compiled only when nothing but allowed nodes is in it."""
    rules = TemplateRules(where, first_line=front.body_line, declared=(*front.untrusted, *front.trusted))
    try:
        tree = _environment().parse(body)
        rules.check(tree)
        _compiled(body)
    except TemplateSyntaxError as cause:
        line = front.body_line + cause.lineno - 1
        rules.refuse(f"this is not valid Jinja2: {cause.message}", line=line, fix="see the braces on this line")
    except (RecursionError, ValueError, SyntaxError) as cause:
        # Python's own limits: brackets too deep, numbers too long, blocks too nested.
        rules.refuse(
            f"the template is too complicated to read: {type(cause).__name__}",
            line=front.body_line,
            fix="use text and bare {{ variables }}",
        )


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


@lru_cache(maxsize=64)
def _compiled(body: str) -> Template:
    return _environment().from_string(body)


class _Slot(str):
    """Placeholder of an untrusted value while the template runs; recognised by its identity, not by its text."""

    __slots__ = ()

    def __str__(self) -> str:
        # subtle: str() of a str subclass makes a plain copy, unless __str__ gives back the object itself.
        return self


class _Listed(_Slot):
    """One of several untrusted values; its label is trusted."""

    label: str


def render(
    template: JudgeTemplate, *, conversation: str, first: str, second: str, principle: str
) -> tuple[SegmentedMessage, ...]:
    """The prompt that compares two replies, as messages of segments: (text, trusted)."""
    values = {"conversation": conversation, "first": first, "second": second}
    return _render(template, values, principle=principle, replies_fence=fence_for(*sorted((first, second))))


def render_single(
    template: JudgeTemplate, *, conversation: str, response: str, principle: str
) -> tuple[SegmentedMessage, ...]:
    """The prompt that scores one reply, as messages of segments: (text, trusted)."""
    values = {"conversation": conversation, "response": response}
    return _render(template, values, principle=principle, replies_fence=fence_for(response))


def render_list(
    template: JudgeTemplate, *, conversation: str, responses: Sequence[str], principle: str
) -> tuple[SegmentedMessage, ...]:
    """The prompt that ranks several replies, in the order given, as messages of segments: (text, trusted)."""
    fence = fence_for(*sorted(responses))
    values = {"conversation": conversation}
    return _render(template, values, responses=responses, principle=principle, replies_fence=fence)


def render_instruction(template: JudgeTemplate, *, principle: str) -> str:
    """The instruction that a contrast puts before a conversation, all of it trusted."""
    return "".join(_compiled(template.body).generate(principle=principle)).strip()


def _render(
    template: JudgeTemplate,
    values: Mapping[str, str],
    *,
    principle: str,
    replies_fence: str,
    responses: Sequence[str] = (),
) -> tuple[SegmentedMessage, ...]:
    slots = {name: _Slot(name) for name in values}
    by_identity = {id(slot): values[name] for name, slot in slots.items()}
    listed = []
    for label, text in zip(template.labels, responses, strict=False):
        slot = _Listed("responses")
        slot.label = label.strip()
        listed.append(slot)
        by_identity[id(slot)] = text
    given = {
        **slots,
        "responses": listed,
        "principle": principle,
        "conversation_fence": fence_for(values["conversation"]),
        "replies_fence": replies_fence,
    }
    segments: list[Segment] = []
    trusted: list[str] = []
    length = 0
    for chunk in _compiled(template.body).generate({name: given[name] for name in template.variables}):
        if isinstance(chunk, _Slot):
            if trusted:
                segments.append(Segment("".join(trusted), True))
                trusted = []
            segments.append(Segment(by_identity[id(chunk)], False))
            continue
        trusted.append(chunk)
        length += len(chunk)
        if length > MAX_TRUSTED_CHARACTERS:
            raise TemplateError(
                f"the rendered prompt is longer than {MAX_TRUSTED_CHARACTERS:,} characters",
                where=template.name,
                fix="shorten the principle or take the loop out of the template",
            )
    if trusted:
        segments.append(Segment("".join(trusted), True))
    user = SegmentedMessage("user", tuple(segments))
    if not template.system:
        return (user,)
    return SegmentedMessage("system", (Segment(template.system, True),)), user


def fence_for(*texts: str) -> str:
    """A mark of 16 hex digits that the texts cannot contain, since no text can contain its own hash.

    It is the same in every question about these texts, so prefix caches and request keys still work.
    """
    return digest_text("".join(f"{len(text)}:{text}" for text in texts))[:16]


def render_conversation(messages: Sequence[Message]) -> str:
    """A conversation as the judge reads it: a line per message, `role: content`."""
    return "\n".join(f"{message.role}: {message.content}" for message in messages)


def rendered_digest(messages: Sequence[SegmentedMessage]) -> str:
    """sha256 of a rendered prompt: roles, trust and texts as JSON, which differs between any two prompts."""
    parts = [[message.role, [[segment.text, segment.trusted] for segment in message.segments]] for message in messages]
    return digest_text(json.dumps(parts, separators=(",", ":")))
