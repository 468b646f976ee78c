"""The life of vLLM's process: real processes and pipes, and in them a stand-in for vLLM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import ModelError, StageError
from rlaif.models.slot import Slot
from rlaif.models.vllm.process import VllmProcess, find_vllm

FAKE = Path(__file__).parents[2] / "fake_vllm"
DIE, SLEEP, FORK, SAY_OOM = 9001, 9002, 9003, 9004
MakeProcess = Callable[..., VllmProcess]


@pytest.fixture
def make() -> Iterator[MakeProcess]:
    """A process with the stand-in for vLLM; what still runs afterwards is ended."""
    made: list[VllmProcess] = []

    def make_process(device: str = "", slot: Slot | None = None, **options: Any) -> VllmProcess:
        environ = {"PYTHONPATH": str(FAKE)}
        made.append(VllmProcess(options, environ=environ, device=device, where="org/model", slot=slot))
        return made[-1]

    yield make_process
    for process in made:
        process.close()


def request(*prompts: list[int], **changes: Any) -> dict[str, Any]:
    return {
        "prompts": prompts, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0, "seeds": [None] * len(prompts),
        "choice_ids": [], "stop": [], "stop_token_ids": [2], **changes,
    }  # fmt: skip


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append(int(stat.parent.name))
    return found


def test_it_starts_when_it_is_first_asked_and_answers_line_by_line(make: MakeProcess) -> None:
    process = make()
    assert process.pid is None
    answer = process.ask(request([5, 6, 7], [8], choice_ids=[3]))
    assert answer == [
        {"ids": [5, 6, 7], "logprobs": [[-0.003], [-1.003], [-2.003]]},
        {"ids": [8], "logprobs": [[-0.003]]},
    ]
    pid = process.pid
    assert process.ask(request([4] * 9)) == [{"ids": [4] * 8, "logprobs": [[]] * 8}]
    assert process.pid == pid


def test_closed_it_is_gone_and_asked_again_it_starts_again(make: MakeProcess) -> None:
    process = make()
    process.ask(request([5]))
    first = process.pid
    assert first is not None
    process.close()
    assert process.pid is None
    assert not is_alive(first)
    assert process.ask(request([6]))[0]["ids"] == [6]
    assert process.pid != first


def test_one_runs_at_a_time_in_a_slot(make: MakeProcess) -> None:
    slot = Slot()
    first, second = make(slot=slot), make(slot=slot)
    first.ask(request([5]))
    pid = first.pid
    assert pid is not None
    second.ask(request([6]))
    assert first.pid is None
    assert not is_alive(pid)
    slot.close()
    assert second.pid is None


def test_a_killed_process_is_a_sentence_that_says_how_to_go_on(make: MakeProcess) -> None:
    process = make()
    with pytest.raises(StageError, match="vLLM was killed.*out of memory.*--resume"):
        process.ask(request([DIE]))
    assert process.ask(request([7]))[0]["ids"] == [7]


def test_a_process_whose_children_hold_its_pipes_open_is_still_found_dead_and_they_are_ended(make: MakeProcess) -> None:
    process = make()
    process.ask(request([FORK]))
    pid = process.pid
    assert pid is not None
    assert len(members(pid)) == 2
    os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(StageError, match="vLLM was killed"):
        process.ask(request([7]))
    assert time.monotonic() - started < 10
    wait_until(lambda: not members(pid))


def test_what_went_wrong_in_it_is_told_by_its_last_error(make: MakeProcess) -> None:
    with pytest.raises(StageError, match="RuntimeError: CUDA out of memory.*gpu_memory_utilization") as caught:
        make().ask(request([SAY_OOM]))
    assert "continue with --resume" in caught.value.sentence


def test_a_start_that_fails_is_bad_input_and_nothing_is_left_running(make: MakeProcess) -> None:
    slot = Slot()
    process = make(slot=slot, fail="max seq len is larger than the cache, decrease max_model_len")
    with pytest.raises(
        ModelError, match=r"did not start and says: ValueError: max seq len.*smaller vllm.max_model_len"
    ):
        process.ask(request([5]))
    assert process.pid is None
    assert slot.holder is None


def test_a_device_that_this_vllm_does_not_have_is_refused(make: MakeProcess) -> None:
    slot = Slot()
    with pytest.raises(ModelError, match="computes on cpu, not on cuda"):
        make("cuda", slot=slot).ask(request([5]))
    assert slot.holder is None


def test_its_log_stays_only_where_an_error_names_it(
    make: MakeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = make()
    process.ask(request([5]))
    assert "vLLM prints what it likes" in next(tmp_path.iterdir()).read_text()
    process.close()
    with pytest.raises(StageError):
        process.ask(request([DIE]))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError) as caught:
        make(fail="something odd").ask(request([5]))
    assert caught.value.fix == f"see its log, {next(tmp_path.iterdir())}"


def test_an_interrupt_ends_it_at_once(make: MakeProcess) -> None:
    process = make()
    process.ask(request([5]))
    pid = process.pid
    assert pid is not None
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        process.ask(request([SLEEP]))
    assert not is_alive(pid)


@pytest.mark.parametrize("prompt", [[5], [SLEEP]], ids=["idle", "at work"])
def test_when_who_started_it_is_killed_it_ends_too(prompt: list[int]) -> None:
    script = (
        "import sys, threading\n"
        "from rlaif.models.vllm.process import VllmProcess\n"
        "from test_process import FAKE, request\n"
        "process = VllmProcess({}, environ={'PYTHONPATH': str(FAKE)}, device='', where='')\n"
        "process.ask(request([5]))\n"
        "print(process.pid, flush=True)\n"
        f"process.ask(request({prompt}))\n"
        "threading.Event().wait()\n"
    )
    here = [str(Path(__file__).parent), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environ)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_alive(pid))


def test_where_vllm_is_not_installed_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'not installed: pip install -e ".*\[vllm\]"'):
        find_vllm()


def test_a_folder_that_happens_to_be_called_vllm_is_no_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if "site-packages" not in p)])
    with pytest.raises(ModelError, match="not installed"):
        find_vllm()


def test_an_old_vllm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.31.2")
    with pytest.raises(ModelError, match=r"vLLM 0.31.2 is too old, it must be 0.32 at least"):
        find_vllm()
