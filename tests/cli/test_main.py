"""The program's way out: exit codes and one sentence on stderr, however a command ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from rlaif.cli import app

RLAIF = (sys.executable, "-m", "rlaif")


def rlaif(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RLAIF, *args], capture_output=True, text=True, check=False, cwd=cwd)


def test_the_version_is_printed(tmp_path):
    done = rlaif("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "rlaif 0.1.0\n")


@pytest.mark.parametrize("args", [("--nonsense",), ("run", "--nonsense"), ("nonsense",), ("init",)])
def test_a_command_line_that_makes_no_sense_is_bad_input(tmp_path, args):
    done = rlaif(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_of_the_user_is_one_sentence_on_stderr_and_exit_code_2(tmp_path):
    done = rlaif("run", "--config", "nowhere.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: there is no such config file (nowhere.yaml): "
        "check the path, or make a config file with `rlaif init DIR`"
    ]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_go_on_and_exits_130(tmp_path, sent):
    """A config that is a pipe nobody writes to: the command waits in reading it until it is interrupted."""
    pipe = tmp_path / "rlaif.yaml"
    os.mkfifo(pipe)
    command = [*RLAIF, "run", "--config", str(pipe), "--dry-run"]

    def take_signals() -> None:
        """A shell starts what runs in its background with SIGINT ignored, and the command would inherit that."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=take_signals) as process:
        writer = None
        while writer is None and process.poll() is None:
            try:
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # no reader yet
                time.sleep(0.05)
        assert writer is not None, process.stderr.read()
        process.send_signal(sent)
        _, said = process.communicate(timeout=30)
        os.close(writer)
    assert process.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said


def commands_below(group, *, path=()):
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_below(command, path=(*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands_below(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_says_what_it_does_and_what_each_of_its_options_means(words):
    command = COMMANDS[words]
    assert (command.help or "").partition("\n")[0].endswith((".", "?"))
    silent = [param.name for param in command.params if not getattr(param, "help", None)]
    assert silent == []


@pytest.mark.parametrize("words", ["--\u202ex", "--limit\x1b[2J", "--\u009b31m", "no\u200bsuch\x07"])
def test_what_a_user_typed_wrongly_is_shown_and_not_obeyed_by_the_terminal(words, tmp_path):
    done = rlaif("audit", "list", words, cwd=tmp_path)
    assert done.returncode == 2
    assert not {"\u202e", "\x1b", "\u009b", "\u200b", "\x07"} & set(done.stdout + done.stderr)
