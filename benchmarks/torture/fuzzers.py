"""The property tests, each with many times the examples that it tries every day."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from case import Draw, Part

TESTS = Path(__file__).resolve().parents[2] / "tests"


def try_fuzzers(draw: Draw, workers: int) -> Part:
    """Run every test file that uses hypothesis, with `draw.size` times its examples."""
    begun = time.monotonic()
    files = [
        path for path in sorted(TESTS.rglob("test_*.py")) if "hypothesis" in path.read_text() and draw.only in path.name
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        str(workers),
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        *map(str, files),
    ]
    command += [f"--hypothesis-seed={draw.seed}", "-k", _names_of_properties(files)]
    environ = {**os.environ, "RLAIF_EXAMPLES_TIMES": str(draw.size)}
    environ.pop("CI", None)  # there the examples are the same every time
    done = subprocess.run(command, cwd=TESTS.parent, env=environ, capture_output=True, text=True, check=False)
    passed = re.search(r"(\d+) passed", done.stdout)
    faults = re.findall(r"^(?:FAILED|ERROR) (.*)$", done.stdout, re.MULTILINE)
    if done.returncode and not faults:
        faults = [f"pytest ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}"]
    tried = int(passed[1]) + len(faults) if passed else len(faults)
    return Part(
        f"property tests, with {draw.size} times their examples", tried, round(time.monotonic() - begun, 1), faults
    )


def _names_of_properties(files: list[Path]) -> str:
    """A pytest expression for the tests that draw examples, so that their neighbours are not run."""
    names: list[str] = []
    for path in files:
        names += re.findall(r"@given\((?:.|\n)*?\ndef (test_\w+)", path.read_text())
    return " or ".join(names)
