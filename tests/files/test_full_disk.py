"""A disk that fills is one sentence, whichever library was writing. A limit of file size stands for the full disk."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rlaif.errors import DataError, LedgerError
from rlaif.files.atomic import write_atomically
from rlaif.files.full_disk import describe_full_disk
from rlaif.frontdesk import POLICY_DIR
from rlaif.ledger.export import write_records
from rlaif.ledger.store import Ledger
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.models.weights.saving import save_model
from rlaif.records import Message, Prompt
from rlaif.reward_model.checkpoint import write_checkpoint
from rlaif.training.metrics import MetricsLog

PROMPTS = [Prompt(messages=(Message(role="user", content=f"When is breakfast, guest {i}? " * 20),)) for i in range(500)]


@contextmanager
def no_file_beyond(num_bytes: int) -> Iterator[None]:
    """What Python ignores by default: the signal that would else end a process that writes more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def policy() -> LoadedModel:
    return load_causal_lm(str(POLICY_DIR))


def save_weights(policy: LoadedModel, folder: Path) -> None:
    save_model(policy.model, policy.tokenizer, folder / "model")


def save_tokenizer(policy: LoadedModel, folder: Path) -> None:
    """The tokenizers library's own way, which raises an Exception and nothing more special."""
    policy.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def save_checkpoint(policy: LoadedModel, folder: Path) -> None:
    optimizer = torch.optim.AdamW(policy.model.parameters())
    write_checkpoint(folder / "checkpoints", step=1, digest="", model=policy.model, optimizer=optimizer)


def save_table(policy: LoadedModel, folder: Path) -> None:
    write_records(PROMPTS, folder / "prompts.parquet")


def save_json(policy: LoadedModel, folder: Path) -> None:
    write_atomically(folder / "config.json", "x" * 100_000)


def save_metrics(policy: LoadedModel, folder: Path) -> None:
    for step in range(100):
        MetricsLog(folder / "metrics.jsonl").write("policy", step=step, numbers={"loss" * 50: 1.0})


def make_ledger(policy: LoadedModel, folder: Path) -> None:
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ledger.append(PROMPTS)


@pytest.mark.parametrize(
    ("write", "limit"),
    [
        (save_weights, 100_000),
        (save_weights, 300),
        (save_tokenizer, 300),
        (save_checkpoint, 100_000),
        (save_table, 1_000),
        (save_json, 4_096),
        (save_metrics, 5_000),
        (make_ledger, 200_000),
        (make_ledger, 10_000),
    ],
)
def test_whatever_is_being_written_the_disk_is_said_to_be_full(
    policy: LoadedModel, tmp_path: Path, write: Callable[[LoadedModel, Path], None], limit: int
) -> None:
    with pytest.raises(Exception) as raised, no_file_beyond(limit):
        write(policy, tmp_path)
    sentence = describe_full_disk(raised.value)
    assert sentence is not None
    assert sentence.startswith("the disk is full")
    assert sentence.endswith("free some space, then run the same command again with --resume")


def test_a_ledger_that_was_full_takes_rows_again_once_there_is_room(tmp_path: Path) -> None:
    opened = Ledger.open(tmp_path / "ledger.sqlite")
    with opened as ledger, pytest.raises(LedgerError, match="the disk is full"), no_file_beyond(300_000):
        ledger.append(PROMPTS)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.append(PROMPTS).new == len(PROMPTS)


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        FileNotFoundError(2, "No such file or directory"),
        ValueError("a number is too large"),
        DataError('the reply says "No space left on device"'),
        LedgerError("the disk does not read or write the ledger (disk I/O error)"),
    ],
)
def test_another_error_is_no_full_disk(error: Exception) -> None:
    assert describe_full_disk(error) is None


def test_a_command_that_meets_a_full_disk_says_so_and_ends_with_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlaif", "generate-prefs", "--set", "prompts.num_prompts=2"]
    with no_file_beyond(20_000):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the disk is full (")
    assert "Traceback" not in done.stderr
