"""The intervals of other programs from the same draws, for benchmarks/people.py coverage.

GLIDE (glide-py 0.11.0) and ppi-python, in one environment of their own that is made once, in the checkout's folder
.peers. GLIDE needs Python 3.12 or newer: such a Python is looked for on the PATH and among pyenv's, or named by
--peer-python. Each peer gets the judge's own probabilities and people's labels, as its documentation shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from people_worlds import Sample

Array = NDArray[np.float64]

FOLDER = Path(__file__).parents[1] / ".peers" / "people"
SCRIPT = Path(__file__).parent / "peers" / "run_people.py"
PACKAGES = ("glide-py==0.11.0", "ppi-python==0.2.3")
NAMES = ("glide", "ppi_python")
NEWEST = ("3.14", "3.13", "3.12")


def find_python(named: str | None) -> str | None:
    """A Python that GLIDE can run under; None where this machine has none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    own = sorted(str(path) for version in NEWEST for path in pyenv.glob(f"{version}.*/bin/python"))
    on_path = [found for version in NEWEST if (found := shutil.which(f"python{version}"))]
    for candidate in [named] if named else [sys.executable, *own, *on_path]:
        code = "import sys; sys.exit(sys.version_info < (3, 12))"
        if subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def install(python: str) -> Path:
    """The peers' own Python; raises CalledProcessError with pip's words."""
    own = FOLDER / "bin" / "python"
    if not (FOLDER / "ready").is_file():
        subprocess.run([python, "-m", "venv", "--clear", str(FOLDER)], check=True, capture_output=True)
        command = [str(own), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(command, check=True, capture_output=True, text=True)
        (FOLDER / "ready").write_text("")
    return own


def ask_peers(python: Path, samples: list[Sample]) -> dict[str, Array]:
    """Each peer's bounds, of shape (runs, 2); nan where it refused. The samples are of one world."""
    items = samples[0].items
    drawn = {
        "said": np.stack([sample.items.labels for sample in samples]),
        "judged": np.stack([sample.judged for sample in samples]), "prompts": items.prompts,
    }  # fmt: skip
    if bool(np.any(items.weights != items.weights[0])):
        drawn["probabilities"] = np.stack([1 / sample.items.weights for sample in samples])
    with tempfile.TemporaryDirectory() as folder:
        draws, bounds = Path(folder) / "draws.npz", Path(folder) / "bounds.npz"
        np.savez(draws, **drawn)
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        environ.pop("PYTHONPATH", None)
        subprocess.run([str(python), str(SCRIPT), str(draws), str(bounds)], check=True, env=environ)
        found = np.load(bounds)
        return {name: found[name] for name in NAMES}


def measure_peer(bounds: Array, truth: float) -> dict[str, Any] | None:
    """Coverage and mean width where it answered; None where it never did."""
    answered = bounds[~np.isnan(bounds[:, 0])]
    if not len(answered):
        return None
    held = (answered[:, 0] <= truth) & (truth <= answered[:, 1])
    refused = len(bounds) - len(answered)
    return {
        "coverage": round(float(held.mean()), 4), "width": round(float((answered[:, 1] - answered[:, 0]).mean()), 4),
        **({"refused": refused} if refused else {}),
    }  # fmt: skip
