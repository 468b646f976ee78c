"""What this machine offers and lacks: the environment in, a list of findings out.

Works where torch or any other dependency of the models is missing. Changes nothing; a test file in the
runs folder is removed again.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import rlaif
from rlaif.errors import LedgerError
from rlaif.models.install import DISTRIBUTION, extra_line, find_foreign, is_clone

State = Literal["ok", "note", "problem"]
_VERSION = getattr(rlaif, "__version__", "unknown")  # a stranger's package may have replaced rlaif/__init__.py
GIB = 2**30
LEAST_DISK = 2 * GIB
LEAST_MEMORY = 4 * GIB
FIRST_SAFE_SQLITE = (3, 51, 3)  # 3.7.0 to 3.51.2 can lose rows when a WAL is reset beside another writer

# The machine on which the tests ran; everything else is reported as untried.
TESTED_SYSTEM, TESTED_MACHINE, TESTED_PYTHON = "Linux", "x86_64", "3.11"

GPU_CHECK = Path(__file__).parents[2] / "benchmarks" / "results" / "gpu_check.json"


class Finding(NamedTuple):
    """One thing that was checked."""

    topic: str
    state: State
    found: str
    fix: str = ""


class Machine(NamedTuple):
    """Properties of a machine that decide which parts were tried on its kind."""

    system: str
    machine: str
    python: str
    accelerators: tuple[str, ...]
    has_ray: bool = False


def examine(*, runs_dir: Path, environ: Mapping[str, str]) -> dict[str, list[Finding]]:
    """All findings, by section."""
    accelerators, accelerator_findings = find_accelerators()
    machine = Machine(
        platform.system(), platform.machine(), f"{sys.version_info[0]}.{sys.version_info[1]}", accelerators,
        importlib.util.find_spec("ray") is not None,
    )  # fmt: skip
    return {
        "packages": [
            *check_packages(*required_and_installed()),
            *check_name(find_foreign()),
            check_vllm(find_gpu_check()),
        ],
        "machine": [check_python(machine), *check_machine(runs_dir), *accelerator_findings],
        "ledger": list(check_ledger(runs_dir)),
        "network and models": [*check_hub(environ), *check_network(environ)],
        "never tried on this kind of machine": list(find_untried(machine, tried=find_gpu_check())),
    }


def required_and_installed() -> tuple[list[str], dict[str, str]]:
    """The requirements that rlaif's own metadata names, and the versions that are installed."""
    try:
        required = [line for line in importlib.metadata.requires(DISTRIBUTION) or () if "extra ==" not in line]
    except importlib.metadata.PackageNotFoundError:
        required = []
    return required, {_normal(dist.metadata["Name"]): dist.version for dist in importlib.metadata.distributions()}


def check_packages(required: Iterable[str], installed: Mapping[str, str]) -> Iterator[Finding]:
    """Each requirement ("torch>=2.9,<3") against the installed version."""
    required = list(required)
    if not required:
        yield Finding("rlaif", "problem", f"{_VERSION}, not installed as a package", "pip install -e .")
        return
    yield Finding("rlaif", "ok", _VERSION)
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("packaging", "problem", "not installed, so no version can be checked", "pip install packaging")
        return
    for requirement in sorted(map(Requirement, required), key=lambda requirement: requirement.name):
        version = installed.get(_normal(requirement.name))
        wanted = ",".join(sorted(map(str, requirement.specifier), reverse=True))  # the lower bound first
        fix = f'pip install "{requirement.name}{wanted}"'
        if version is None:
            yield Finding(requirement.name, "problem", f"not installed, needs {wanted}", fix)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Finding(requirement.name, "problem", f"{version}, needs {wanted}", fix)
        else:
            yield Finding(requirement.name, "ok", f"{version}, in {wanted}")


def check_name(foreign: Iterable[str]) -> Iterator[Finding]:
    """Report other packages called rlaif: on the package index, this name belongs to another project."""
    again = "pip install -e ." if is_clone(Path(__file__).parents[2]) else f"pip install {DISTRIBUTION}"
    for sentence in foreign:
        fix = f"remove it (pip uninstall rlaif), then install this program again: {again}"
        yield Finding("the name rlaif", "problem", sentence, fix)


class GpuCheck(NamedTuple):
    """What `benchmarks/gpu_check.py` found on a machine with a GPU."""

    gpu: str
    ran: tuple[str, ...]
    """Engines that ran and agreed."""
    trained: tuple[str, ...] = ()
    """Engines with which PPO trained a policy."""


def find_gpu_check(results: Path = GPU_CHECK) -> GpuCheck | None:
    """The results in this checkout, if there are any."""
    if not results.is_file():
        return None
    found = json.loads(results.read_text(encoding="utf-8"))
    ran, trained = (
        tuple(name for name, part in found.get(kind, {}).items() if part["held"]) for kind in ("engines", "ppo")
    )
    return GpuCheck(found["machine"]["gpu"], ran, trained)


def check_vllm(tried: GpuCheck | None) -> Finding:
    """Whether vLLM is installed, which only `engine: vllm` needs."""
    ran = tried is not None and "vllm" in tried.ran
    tested = f"tested on a CPU and {f'on {tried.gpu}' if tried is not None and ran else 'never on a GPU'}"
    try:
        from rlaif.models.vllm.process import installed_version

        version = installed_version()
    except ImportError:
        version = None
    if version is None:
        return Finding("vLLM", "note", f"not installed, only `engine: vllm` needs it; {tested}", extra_line("vllm"))
    return Finding("vLLM", "ok", f"{version}; {tested}")


def check_python(machine: Machine) -> Finding:
    found = f"{platform.python_version()} on {platform.platform()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "problem", found, "use Python 3.11, 3.12 or 3.13")


def check_machine(runs_dir: Path) -> Iterator[Finding]:
    """Cores, memory and the disk under the runs folder."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("CPU", "ok", f"{usable} usable of {os.cpu_count()} cores")
    memory = find_memory()
    if memory is not None:
        enough = memory >= LEAST_MEMORY
        yield Finding(
            "memory",
            "ok" if enough else "problem",
            f"{memory / GIB:.1f} GiB",
            "" if enough else f"the front desk needs {LEAST_MEMORY / GIB:.0f} GiB",
        )
    free = shutil.disk_usage(nearest_folder(runs_dir)).free
    enough = free >= LEAST_DISK
    yield Finding(
        "disk",
        "ok" if enough else "problem",
        f"{free / GIB:.1f} GiB free at {runs_dir}",
        "" if enough else f"free at least {LEAST_DISK / GIB:.0f} GiB, or use --runs-dir on another disk",
    )


def find_memory() -> int | None:
    """Bytes that this process may use: the machine's memory, or a control group's lower limit."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def find_accelerators() -> tuple[tuple[str, ...], list[Finding]]:
    """The accelerators that torch sees."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of a broken installation
        return (), [Finding("accelerator", "problem", f"torch cannot be imported: {error}", "install torch")]
    threads = Finding("threads", "ok", f"torch computes on {torch.get_num_threads()}")
    names = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    if not names:
        return (), [threads, Finding("accelerator", "ok", "none: models run on the CPU")]
    return tuple(names), [threads, *(Finding("accelerator", "ok", name) for name in names)]


def check_ledger(runs_dir: Path) -> Iterator[Finding]:
    """The SQLite in apsw, and whether a write-ahead log works in the ledger's folder."""
    try:
        import apsw
    except ImportError:
        yield Finding("SQLite", "problem", "apsw is not installed", "pip install apsw")
        return
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    safe = version >= FIRST_SAFE_SQLITE
    yield Finding(
        "SQLite",
        "ok" if safe else "problem",
        f"{apsw.sqlite_lib_version()} in apsw {apsw.apsw_version()}",
        "" if safe else 'pip install "apsw>=3.51.3"',
    )
    folder = nearest_folder(runs_dir)
    way_out = "give a folder on a local disk with --runs-dir, or set ledger.path"
    from rlaif.ledger.disk import refuse_network_disk

    try:
        refuse_network_disk(folder / "ledger.sqlite")
        with tempfile.TemporaryDirectory(prefix=".rlaif-doctor-", dir=folder) as probe:
            connection = apsw.Connection(str(Path(probe) / "probe.sqlite"))
            mode = connection.execute("PRAGMA journal_mode=WAL").get
            connection.execute("CREATE TABLE probe (x); INSERT INTO probe VALUES (1)")
            connection.close()
    except LedgerError as error:
        yield Finding("write-ahead log", "problem", error.what, way_out)
        return
    except (OSError, apsw.Error) as error:
        yield Finding("write-ahead log", "problem", f"does not work in {folder}: {error}", way_out)
        return
    works = mode == "wal"
    yield Finding(
        "write-ahead log",
        "ok" if works else "problem",
        f"{'works' if works else 'is refused'} in {folder}",
        "" if works else way_out,
    )


def check_hub(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Where models from a hub are stored, and whether a hub is used at all."""
    home = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    state = "exists" if cache.is_dir() else "is made at the first download"
    yield Finding("model cache", "ok", f"{cache} ({state})")
    if environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        yield Finding("hub", "note", "HF_HUB_OFFLINE is set: only models in the cache or in folders load")


def check_network(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Proxies and certificate bundles that downloads will go through; never a password."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        value = environ.get(name) or environ.get(name.lower())
        if value:
            yield Finding(name, "note", value if name == "NO_PROXY" else without_password(value))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        value = environ.get(name)
        if value and Path(value).exists():
            yield Finding(name, "note", value)
        elif value:
            yield Finding(name, "problem", f"{value} does not exist", f"correct or unset {name}")


def without_password(url: str) -> str:
    """The address of a proxy without its user name and password."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    address = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{address}" if parts.scheme else address


def find_untried(machine: Machine, *, tried: GpuCheck | None = None) -> Iterator[Finding]:
    """What was never run on a machine like this one; the README says the same."""
    if machine.system == "Windows":
        yield Finding("Windows", "note", "nothing was ever run on Windows; the run lock needs POSIX, use WSL")
    elif (machine.system, machine.machine) != (TESTED_SYSTEM, TESTED_MACHINE):
        yield Finding("system", "note", f"nothing was ever run on {machine.system} {machine.machine}")
    if machine.python != TESTED_PYTHON:
        yield Finding("Python", "note", f"the tests ran on Python {TESTED_PYTHON}, not on {machine.python}")
    never = "no part was ever run on a GPU: only policy.device and judge.model.device at cpu were tried"
    if tried is not None and tried.ran:
        never = f"training was never run on a GPU; sampling and judging were, on {tried.gpu} by {', '.join(tried.ran)}"
    if tried is not None and tried.trained:
        never = f"of training only PPO was run on a GPU, on {tried.gpu} with rollouts by {', '.join(tried.trained)}" + (
            f"; so were sampling and judging, by {', '.join(tried.ran)}" if tried.ran else ""
        )
    for name in machine.accelerators:
        yield Finding(name, "note", never)
    if len(machine.accelerators) > 1:
        yield Finding(
            "several accelerators",
            "note",
            "`torchrun -m rlaif train` uses them all and was tried with two processes on a CPU alone; "
            "vLLM's tensor_parallel_size was never tried",
        )
    if machine.has_ray:
        yield Finding(
            "Ray",
            "note",
            "`--engine ray` was tried with two workers on one machine, never on several machines or with GPUs",
        )


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
