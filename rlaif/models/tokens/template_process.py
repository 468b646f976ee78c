"""Chat templates rendered in another process, which may use only so much computing time and memory.

One process serves all templates of this one. It is started when it is first needed, again after a template has used up
its limits, and again in a copy of this process made by fork. It ends with this one. Knows no conversations.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.errors import RlaifError

_WORKER = Path(__file__).with_name("template_worker.py")
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
"""What the process gets of this one's environment: no keys."""
_LONGEST_WAIT = 120.0
"""Seconds without an answer. Computing time is what is limited; this is for a machine that has none to give."""
_CHUNK = 1 << 20


class Stopped(Exception):
    """The process was ended before it answered: the template used up its time or memory."""


class TemplateProcess:
    """The other process, which is asked for one rendering at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_registered = False
        self._known: dict[int, str] = {}
        self._compiled: set[int] = set()

    def compile(self, source: str) -> tuple[int, dict[str, Any]]:
        """The number by which to name the template, and the process's answer."""
        with self._lock:
            number = next(self._numbers)
            answer = self._ask({"number": number, "source": source})
            self._known[number] = source
            self._compiled.add(number)
            return number, answer

    def render(self, number: int, *, values: Mapping[str, object], date: str) -> dict[str, Any]:
        """The process's answer for a template that it could compile."""
        with self._lock:
            if number not in self._compiled or not self._is_running():
                self._ask({"number": number, "source": self._known[number]})
                self._compiled.add(number)
            return self._ask({"number": number, "values": values, "date": date})

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _forget(self) -> None:
        """Leave the process to the one that this one is a copy of."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # it is no child of this one, which must not wait for it
            _close_pipes(process)

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        process = self._process if self._is_running() else None
        process = process or self._start()
        line = json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        try:
            _write(process, line)
            answer = _read_line(process)
        except BaseException:  # whatever interrupted this, the next answer would be the one to this request
            self.close()
            raise
        found: dict[str, Any] = json.loads(answer.decode("utf-8", "surrogatepass"))
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        self.close()
        self._compiled.clear()
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self.close)
            os.register_at_fork(after_in_child=self._forget)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-P", str(_WORKER)], env=environment, bufsize=0, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as cause:
            raise RlaifError(
                f"chat templates are rendered in a second process, which cannot be started: {cause}",
                fix="allow more processes and memory (ulimit -u, ulimit -v)",
            ) from cause
        return self._process


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[process.stdin.write(rest) :]
    except BrokenPipeError as cause:
        raise Stopped from cause


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    pieces, until, place = [b""], time.monotonic() + _LONGEST_WAIT, process.stdout.fileno()
    ready = select.poll()
    ready.register(place, select.POLLIN)
    while not pieces[-1].endswith(b"\n"):
        piece = os.read(place, _CHUNK) if ready.poll(max(0.0, until - time.monotonic()) * 1000) else b""
        if not piece:
            raise Stopped
        pieces.append(piece)
    return b"".join(pieces)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


TEMPLATES = TemplateProcess()
"""The process that all templates of this one share."""
