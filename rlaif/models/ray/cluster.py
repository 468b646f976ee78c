"""The Ray cluster of this process: joined when it is first needed, left at the end, without output in between.

This process is the cluster's driver: it alone chooses questions, reads answers and writes the ledger. Knows no model.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlaif.console import say
from rlaif.errors import InputError, StageError
from rlaif.models.install import extra_line

if TYPE_CHECKING:
    from rlaif.config.scale import ScaleConfig

LOCAL_STORE_BYTES = 512 * 2**20
"""Shared memory of a cluster on this machine; batches under way take a few MiB of it."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Environment variables that Ray reads when it is loaded or started; those that the user has set stay. The last one
hides the raylets' words about dead workers, which would go to stdout among the results; stream.py reports those."""


def join_cluster(scale: ScaleConfig) -> None:
    """Connect to the cluster that the configuration names, or start one on this machine."""
    ray = load_ray()
    if ray.is_initialized():
        return
    local = scale.address == "local"
    options: dict[str, Any] = {"address": scale.address}
    if local:
        options |= {
            "num_cpus": math.ceil(scale.num_workers * scale.cpus_per_worker),
            "include_dashboard": False,
            "object_store_memory": LOCAL_STORE_BYTES,
        }
    say(f"ray: {'starting' if local else 'joining'} a cluster of {scale.num_workers} workers")
    with _keep_signals(), _mute_native_code():
        try:
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, ignore_reinit_error=True, **options)
        except Exception as error:  # a bare Exception where a node starts too slowly
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StageError(
                f"no Ray cluster is {'started' if local else 'reached'}: {said:.300}",
                where=f"scale.address {scale.address}",
                fix="try again with --resume when the machine is less busy, or with --set scale.engine=local"
                if local
                else "start one with `ray start --head`, run rlaif on a node of it, or set scale.address to local",
            ) from error
    _refuse_too_large(scale, ray.cluster_resources())


def leave_cluster() -> None:
    """End this process's work on the cluster, and the cluster if this process started it. Does nothing without Ray."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        with _keep_signals():
            ray.shutdown()


def load_ray() -> Any:
    """The package `ray`, made quiet before it reads its environment."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f"Ray cannot be imported: {error}",
            where="scale.engine: ray",
            fix=f"{extra_line('ray')}, or --set scale.engine=local",
        ) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are raised; Ray's log files have the rest
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"rlaif\.models\.ray\.stream")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
    return ray


def _refuse_too_large(scale: ScaleConfig, has: dict[str, float]) -> None:
    """Refuse workers that no node has room for: the run would wait for them forever."""
    wanted = {"CPU": scale.cpus_per_worker, "GPU": scale.gpus_per_worker}
    room = min(int(has.get(kind, 0.0) / each + 1e-9) for kind, each in wanted.items() if each)
    held = ", ".join(f"{has.get(kind, 0.0):g} {kind}" for kind in wanted)
    if room < 1:
        raise StageError(
            f"the Ray cluster has {held}, and one worker is to have {scale.cpus_per_worker:g} CPU and "
            f"{scale.gpus_per_worker:g} GPU",
            where=f"scale.address {scale.address}",
            fix="lower scale.cpus_per_worker or scale.gpus_per_worker, or add a node",
        )
    if room < scale.num_workers:
        say(f"ray: the cluster has {held}, room for {room} of {scale.num_workers} workers; the others wait for nodes")


@contextmanager
def _keep_signals() -> Iterator[None]:
    """Keep our handler of SIGTERM: Ray installs another one, which ends the process without a message."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _mute_native_code() -> Iterator[None]:
    """Hide what Ray's C++ part writes straight to file descriptor 2; real failures are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
