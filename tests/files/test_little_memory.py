"""A process that may use little memory ends with a sentence."""

import resource
import subprocess
import sys

import pytest

from rlaif.files.little_memory import NEEDED, describe_little_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.2 GiB"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_an_error_of_little_memory_is_one_sentence(error: Exception) -> None:
    sentence = describe_little_memory(error)
    assert sentence is not None
    assert sentence.startswith("there is not enough memory")
    assert "\n" not in sentence


@pytest.mark.parametrize("error", [ImportError("no module named x"), RuntimeError("size mismatch"), KeyError("memory")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert describe_little_memory(error) is None


@pytest.mark.parametrize("size", [300_000_000, NEEDED - 1])
def test_a_command_that_needs_torch_says_that_the_limit_is_too_low(size: int, tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", "generate-prefs", "--runs-dir", str(tmp_path)],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "of address space" in done.stderr
    assert "Traceback" not in done.stderr
