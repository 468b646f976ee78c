"""Starts a script in several processes that find one another as those of `torchrun` do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def find_free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **more}


def launch(
    script: Path, *arguments: str, size: int = 2, environ: Mapping[str, str] | None = None, timeout: float = 300
) -> list[subprocess.CompletedProcess[str]]:
    """Run a script in `size` processes and return how each of them ended; none is left running."""
    port = str(find_free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env=environment(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size),
                MASTER_ADDR="127.0.0.1", MASTER_PORT=port, **(environ or {}),
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        return [
            subprocess.CompletedProcess(process.args, process.returncode, *output)
            for process in processes
            for output in [process.communicate(timeout=timeout)]
        ]
    finally:
        for process in processes:
            process.kill()


def torchrun(arguments: Sequence[str], *, size: int = 2) -> list[str]:
    """The command that starts a module as `torchrun -m` does."""
    rendezvous = ["--master-addr", "127.0.0.1", "--master-port", str(find_free_port())]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(size), *rendezvous, *arguments]
