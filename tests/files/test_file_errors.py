from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rlaif.errors import ConfigError, DataError
from rlaif.files.file_errors import describe_file_error
from rlaif.files.rows import read_rows
from rlaif.files.texts import read_text_file

NUMBERS = (
    "EACCES",
    "EROFS",
    "ENOENT",
    "ENOTDIR",
    "EISDIR",
    "ELOOP",
    "ENAMETOOLONG",
    "EMFILE",
    "ESTALE",
    "EIO",
    "EINVAL",
)


@pytest.mark.parametrize("name", NUMBERS)
def test_an_error_of_the_system_is_its_words_the_file_and_what_to_do(name: str) -> None:
    number = getattr(errno, name)
    failure = describe_file_error(OSError(number, os.strerror(number), "runs/r/lock"))
    assert os.strerror(number) in failure.sentence
    assert "(runs/r/lock)" in failure.sentence
    assert failure.fix


def test_an_error_that_names_two_files_shows_both() -> None:
    failure = describe_file_error(OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"))
    assert failure.where == "a -> b"


@pytest.mark.parametrize(
    "error", [OSError("no number\nsecond line"), TimeoutError(), OSError(errno.EMFILE, "Too many")]
)
def test_an_error_without_a_file_is_a_sentence_too(error: OSError) -> None:
    failure = describe_file_error(error)
    assert failure.sentence.startswith("the system refuses: ")
    assert "\n" not in failure.sentence


def test_without_a_folder_for_temporary_files_the_variable_is_named() -> None:
    said = "No usable temporary directory found in ['/tmp']"
    assert "TMPDIR" in describe_file_error(FileNotFoundError(errno.ENOENT, said)).sentence


def _make(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "nowhere":
            path.symlink_to("nowhere")
        case "bytes":
            path.write_bytes(b"\xc3\x28\xff\x80")


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nowhere", "bytes", "missing"])
def test_what_is_no_text_file_is_named_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "text.yaml"
    _make(path, kind)
    with pytest.raises(ConfigError, match=r"text\.yaml"):
        read_text_file(path, error=ConfigError)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nowhere", "bytes", "missing"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "rows.jsonl.gz"])
def test_what_is_no_file_of_rows_is_named_and_never_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    _make(path, kind)
    with pytest.raises(DataError, match=name):
        list(read_rows(path))
