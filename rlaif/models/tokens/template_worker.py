"""A process that renders chat templates: requests on standard input, answers on standard output, one JSON line each.

A template is a program that came with a model. Here it can use up only what this process may: computing time and
memory are limited by the operating system, which ends the process, and text by its length. `template_process.py` is the
other side. Run as a script, and imports nothing of rlaif, so that it starts fast.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, BinaryIO

from jinja2 import TemplateError, nodes
from jinja2.environment import Template
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

COMPILING_SECONDS = 4.0
SECONDS, SECONDS_GAINED, SECONDS_PER_CHARACTER = 2.0, 0.25, 4e-6
"""Computing time for renderings: there are 2 seconds at first, and each rendering adds a quarter of a second, up to 2
seconds again. The third number is for each character of the conversation."""
TEXT, TEXT_PER_CHARACTER = 256 << 10, 16
"""Most characters of a rendering, and how many more there may be for each character of the conversation."""
MEMORY, MEMORY_PER_CHARACTER = 512 << 20, 256
"""Address space of this process in bytes, and how much more for each character of the conversation."""
_SHOWN_CHARACTERS = 300
"""Most characters of a template's own error message."""


class TooLong(Exception):
    """A rendering is longer than it may be."""


class Generation(Extension):
    """`{% generation %}`, which marks an answer; its body is rendered as it is, as transformers does."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(line)

    def _show(self, caller: Callable[[], str]) -> str:
        return caller()


def make_environment() -> ImmutableSandboxedEnvironment:
    """The environment in which transformers renders chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = datetime.now().strftime  # replaced by each request
    return environment


def to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without HTML's escapes, unlike Jinja2's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: object) -> None:
    """How a template refuses a conversation."""
    raise TemplateError(str(message))


class Renderer:
    """Compiles templates and renders them, each within its limits."""

    def __init__(self) -> None:
        self._environment = make_environment()
        self._templates: dict[int, Template] = {}
        self._seconds: dict[int, float] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request to compile or to render; what the template did wrong is in the answer."""
        try:
            if "source" in request:
                return {"words": self._compile(request["number"], request["source"])}
            return {"text": self._render(request)}
        except TooLong:
            return {"error": "text"}
        except MemoryError:
            return {"error": "memory"}
        except (TemplateError, SyntaxError, RecursionError) as cause:
            what = "compile" if "source" in request else "refused"
            return {"error": what, "message": _describe(cause)}
        except Exception as cause:  # noqa: BLE001 - whatever the template's code raised is the template's fault
            return {"error": "refused", "message": _describe(cause)}

    def _compile(self, number: int, source: str) -> list[str]:
        """The strings in the template's code."""
        _limit_seconds(COMPILING_SECONDS)
        self._templates[number] = self._environment.from_string(source)
        self._seconds[number] = SECONDS
        quoted = {value for _, kind, value in self._environment.lex(source) if kind == "string"}
        return sorted(map(_unquote, quoted))

    def _render(self, request: dict[str, Any]) -> str:
        number, values = request["number"], request["values"]
        size = sum(len(message["role"]) + len(message["content"]) for message in values["messages"])
        seconds, extra = self._seconds[number], SECONDS_PER_CHARACTER * size
        _limit_memory(MEMORY + MEMORY_PER_CHARACTER * size)
        _limit_seconds(seconds + extra)
        date = datetime.fromisoformat(request["date"])
        pieces, left = [], TEXT + TEXT_PER_CHARACTER * size
        for piece in self._templates[number].generate(**values, strftime_now=date.strftime):
            left -= len(piece)
            if left < 0:
                raise TooLong
            pieces.append(piece)
        used = max(0.0, seconds - signal.getitimer(signal.ITIMER_PROF)[0])
        self._seconds[number] = min(SECONDS, seconds - used + SECONDS_GAINED)
        return "".join(pieces)


def _limit_seconds(seconds: float) -> None:
    """End this process after so much computing time: SIGPROF kills where nothing handles it, as does SIGXCPU."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))
    except (OSError, ValueError):
        """Not every system has this limit; time and text are limited everywhere."""


def _unquote(literal: str) -> str:
    return literal[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")


def _describe(cause: BaseException) -> str:
    text = str(cause).strip() or type(cause).__name__
    if isinstance(cause, RecursionError):
        text = "it calls itself too often, or is nested too deeply"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until their end, which is that of the process that sends them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(MEMORY)  # reading a template already computes the constants in it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    renderer = Renderer()
    for line in requests:
        request = json.loads(line.decode("utf-8", "surrogatepass"))
        answer = renderer.answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
