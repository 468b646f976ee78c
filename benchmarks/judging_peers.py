"""Other programs that judge through a chat server, each in an environment of its own, against the same stub server.

    python benchmarks/judging.py --part peers [--sizes 64 200 800]

The environments are made once, in the checkout's folder .peers. Each peer judges the same pairs by its own way of
comparing or grading, one call each, after a first call that warms it up; from the last two sizes comes a slope, which
leaves start and end of a pipeline out. A peer that cannot be installed is named with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / ".peers"
SCRIPTS = Path(__file__).parent / "peers"
PEERS = {
    "distilabel": ["distilabel==1.5.3", "requests", "openai"],
    "alpaca_eval": ["alpaca_eval==0.6.6"],
    "inspect_ai": ["inspect_ai", "openai"],
}
"""What is installed for each; distilabel does not name all that it imports."""
MARK = "MEASURED "


def install(name: str) -> Path:
    """The peer's own Python; raises CalledProcessError with pip's words."""
    python = FOLDER / name / "bin" / "python"
    ready = FOLDER / name / "ready"
    if not ready.is_file():
        venv.create(FOLDER / name, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS[name]]
        subprocess.run(command, check=True, capture_output=True, text=True)
        ready.write_text("")
    return python


def version(python: Path, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def measure_peer(name: str, url: str, *, sizes: list[int], timeout_s: float) -> dict[str, Any]:
    try:
        python = install(name)
        command = [str(python), str(SCRIPTS / f"run_{name}.py"), url, *map(str, sizes)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s, env=environ)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or ["no word"]
        return {"not_measured": f"it ended with {error.returncode}: {last[0][:300]}"}
    except subprocess.TimeoutExpired:
        return {"not_measured": f"not done within {timeout_s:.0f} s"}
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    runs = json.loads(line.removeprefix(MARK))
    *_, short, long = runs
    judgements = long["judgements"] - short["judgements"]
    seconds = max(1e-9, long["seconds"] - short["seconds"])
    cpu = long["cpu_seconds"] - short["cpu_seconds"]
    return {
        "version": version(python, name),
        "judgements_per_s": round(judgements / seconds, 1),
        "client_cpu_ms_each": round(cpu / judgements * 1000, 2),
        "judgements_per_s_with_its_start": round(long["judgements"] / long["seconds"], 1),
        "runs": runs,
    }


def measure_peers(url: str, *, sizes: list[int], timeout_s: float = 900) -> dict[str, Any]:
    measured = {}
    for name in PEERS:
        measured[name] = measure_peer(name, url, sizes=sizes, timeout_s=timeout_s)
        print(name, {k: v for k, v in measured[name].items() if k != "runs"}, file=sys.stdout, flush=True)
    return measured
