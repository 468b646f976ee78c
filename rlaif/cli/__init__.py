"""The command line: parse, call one function, print its result.

Every failure a user can meet is printed here as one sentence with its exit code (0 done, 1 the run
failed, 2 bad input, 3 the run folder is in use, 130 interrupted). Imports nothing heavy.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.text import Text

import rlaif
from rlaif.cli.agreement import agreement
from rlaif.cli.audit import audit_app
from rlaif.cli.constitution import constitution_app
from rlaif.cli.judge_check import judge_check
from rlaif.cli.loop import evaluate, generate_prefs, run, train
from rlaif.cli.setup import doctor, init
from rlaif.console import console, notes
from rlaif.errors import OtherProcessFailed, RlaifError
from rlaif.files.full_disk import describe_full_disk
from rlaif.training.team import has_lost_another, launched_rank, num_launched

app = typer.Typer(
    name="rlaif",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Steer a language model by written principles: judge, preferences, reward model, PPO, audit.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"rlaif {getattr(rlaif, '__version__', 'unknown')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("init")(init)
app.command("generate-prefs")(generate_prefs)
app.command("train")(train)
app.command("run")(run)
app.command("evaluate")(evaluate)
app.command("judge-check")(judge_check)
app.command("agreement")(agreement)
app.add_typer(audit_app, name="audit")
app.add_typer(constitution_app, name="constitution")
app.command("doctor")(doctor)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run a command; turn what went wrong into a sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    # Read when torch is loaded: threads that wait by spinning made small models 20 times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if num_launched() > 1:  # DDP would tell of every run that it need not have looked for weights without gradients
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if launched_rank() > 0:
        console.quiet = notes.quiet = True  # of several processes the first one speaks
    try:
        app()
    except SystemExit as end:  # Typer's way out, also of Ctrl-C, which it leaves without a word
        if end.code == 130:
            _tell("interrupted: what was acknowledged is kept, go on with the same command and --resume", 130)
        raise
    except OtherProcessFailed as error:
        code = error.exit_code  # told where it happened
    except Exception as error:  # noqa: BLE001 - what is no failure that a user can meet is raised again
        code = _tell_of(error)
    sys.exit(code)


def _tell_of(error: Exception) -> int:
    """The sentence of a failure that a user can meet, and its exit code; any other is raised again."""
    if (sentence := describe_full_disk(error)) is not None:
        return _tell(sentence, 1)
    if isinstance(error, RlaifError):
        return _tell(error.sentence, error.exit_code)
    if isinstance(error, RuntimeError) and num_launched() > 1 and has_lost_another(error):
        return _tell("another process ended and took this one with it: go on with --resume", 1)
    raise error


def _tell(sentence: str, code: int) -> int:
    notes.print(Text("error: ", style="bold red") + Text(sentence))
    return code
