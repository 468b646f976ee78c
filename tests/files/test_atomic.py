"""Files and folders appear whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlaif.files.atomic import replace_directory, write_atomically


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    code = (
        "import resource, sys; from pathlib import Path; from rlaif.files.atomic import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "27"  # EFBIG
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for text in ("old", "new"):
        with replace_directory(path) as part:
            (part / "inner").mkdir()
            (part / "inner" / "weights").write_text(text)
            (part / f"{text}.safetensors").touch()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "model", "model/inner", "model/inner/weights", "model/new.safetensors",
    ]  # fmt: skip
    assert (path / "inner" / "weights").read_text() == "new"


def test_a_users_file_in_a_folder_that_is_written_again_is_kept_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model"
    for _ in range(3):
        with replace_directory(path) as part:
            (part / "model.safetensors").touch()
        (path / "notes").mkdir()
        (path / "notes" / "mine.txt").write_text("years of work")
    assert (tmp_path / "model.kept-1" / "notes" / "mine.txt").read_text() == "years of work"
    assert (tmp_path / "model.kept-2" / "notes" / "mine.txt").read_text() == "years of work"
    assert f"kept in {tmp_path / 'model.kept-2'}" in "".join(capsys.readouterr()).replace("\n", "")


def test_a_users_link_in_the_place_of_a_folder_is_kept_and_what_it_leads_to_is_untouched(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("years of work")
    (tmp_path / "model").symlink_to(other)
    with replace_directory(tmp_path / "model") as part:
        (part / "model.safetensors").touch()
    assert (tmp_path / "model.kept-1").readlink() == other
    assert (other / "mine.txt").read_text() == "years of work"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.safetensors"]


def test_a_failure_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with replace_directory(path) as part:
        (part / "weights").write_text("old")

    def fill_the_disk() -> None:
        with replace_directory(path) as part:
            (part / "weights").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (path / "weights").read_text() == "old"


def test_a_reader_never_finds_the_folder_missing_or_mixed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with replace_directory(path) as part:
        (part / "one").write_text("0")
    code = (
        "import sys; from pathlib import Path; from rlaif.files.atomic import replace_directory\n"
        "for n in range(1, 80):\n"
        "    with replace_directory(Path(sys.argv[1])) as part: (part / 'one').write_text(str(n))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    seen = set()
    deadline = time.monotonic() + 30
    while writer.poll() is None and time.monotonic() < deadline:
        assert path.is_dir()
        seen.add((path / "one").read_text())
    assert writer.wait() == 0
    assert len(seen) > 5


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".model.part-1").mkdir()
    (tmp_path / ".model.part-1" / "half").touch()
    with replace_directory(tmp_path / "model") as part:
        (part / "weights").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
