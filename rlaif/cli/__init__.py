"""The command line: each command parses its options, calls a function of a room, prints the result.

Every failure that a user can meet is printed here as one sentence with its exit code (0 done, 1 the run
failed, 2 bad input, 3 the run folder is in use, 4 the run waits for people, 130 interrupted). Imports nothing heavy.

loop                generate-prefs, train, run, evaluate
judge_check         judge-check
judge_trial         judge-check --pairs
judge_against       judge-check --against
agreement           agreement
clean               clean
calibrate           calibrate
reward_bench        reward-bench
audit               audit list, show
audit_verify        audit verify, head, sign-off
audit_pack          audit pack
audit_export        audit report, export
audit_search        audit search
audit_serve         audit serve
audit_disputes      audit disputes, dispute
audit_lineage       audit lineage
audit_redact        audit redact
audit_replay        audit replay
audit_print         views of the ledger as lines of a terminal
constitution        constitution check, show, words
constitution_diff   constitution diff
constitution_test   constitution test
spot_check          spot-check draw, label, status
spot_check_files    spot-check import, export
spot_check_serve    spot-check serve
labelling           labelling at a terminal: keys, pages, or a line a choice
label_page          an item of a sheet as lines of a terminal
setup               doctor, init
doctor              what the machine offers, examined for `rlaif doctor`
scaffold            the folder that `rlaif init` writes
starter             the short configurations that `rlaif init --for` writes
options             options that several commands take
stored_options      the options of a run that a command continues
"""

from __future__ import annotations

import errno
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
from rlaif.cli.audit_disputes import dispute, disputes
from rlaif.cli.audit_export import export_decisions, report
from rlaif.cli.audit_lineage import lineage
from rlaif.cli.audit_redact import redact
from rlaif.cli.audit_replay import replay
from rlaif.cli.audit_search import search
from rlaif.cli.audit_serve import serve
from rlaif.cli.calibrate import calibrate
from rlaif.cli.clean import clean
from rlaif.cli.constitution import constitution_app
from rlaif.cli.judge_check import judge_check
from rlaif.cli.loop import evaluate, generate_prefs, run, train
from rlaif.cli.reward_bench import reward_bench
from rlaif.cli.setup import doctor, init
from rlaif.cli.spot_check import spot_check_app
from rlaif.cli.spot_check_files import export, import_
from rlaif.cli.spot_check_serve import serve_sheet
from rlaif.console import console, notes, show_text
from rlaif.errors import InputError, OtherProcessFailed, RlaifError, WaitsForPeople
from rlaif.files.file_errors import describe_file_error
from rlaif.files.full_disk import describe_full_disk
from rlaif.files.little_memory import describe_little_memory
from rlaif.training.team import has_lost_another, launched_rank, num_launched

app = typer.Typer(
    name="rlaif",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
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
app.command("clean")(clean)
app.command("agreement")(agreement)
app.command("calibrate")(calibrate)
app.command("reward-bench")(reward_bench)
spot_check_app.command("serve")(serve_sheet)
spot_check_app.command("import")(import_)
spot_check_app.command("export")(export)
app.add_typer(spot_check_app, name="spot-check")
audit_app.command("search")(search)
audit_app.command("serve")(serve)
audit_app.command("disputes")(disputes)
audit_app.command("dispute")(dispute)
audit_app.command("lineage")(lineage)
audit_app.command("report")(report)
audit_app.command("export")(export_decisions)
audit_app.command("redact")(redact)
audit_app.command("replay")(replay)
app.add_typer(audit_app, name="audit")
app.add_typer(constitution_app, name="constitution")
app.command("doctor")(doctor)


_USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run a command; turn what went wrong into a sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    # Torch reads this when it is loaded. Threads that wait by spinning made small models 20 times slower on a busy
    # machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if num_launched() > 1:  # DDP would warn in every run that it searched for weights without gradients in vain
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if launched_rank() > 0:
        console.quiet = notes.quiet = True  # of several processes only the first one prints
    try:
        code = app(standalone_mode=False) or 0
        if code == 130:  # Ctrl-C, of which Typer prints nothing
            _print_error("interrupted: completed work is saved; run the same command again with --resume")
    except _USAGE_ERROR as error:
        code = _show_usage_error(error)
    except WaitsForPeople as waits:  # no failure, so it is not printed as one
        notes.print(show_text(waits.sentence))
        code = waits.exit_code
    except OtherProcessFailed as error:
        code = error.exit_code  # the process in which it happened prints the sentence
    except BrokenPipeError as error:
        code = _leave_pipe(error)
    except Exception as error:  # noqa: BLE001 - what is no failure that a user can meet is raised again
        sentence, code = _describe_failure(error)
        _print_error(sentence)
    sys.exit(code)


def _show_usage_error(error: Exception) -> int:
    """Print a wrong option or argument as Typer does, with what the user typed made visible; the exit code."""
    from typer.rich_utils import rich_format_error

    for name in ("message", "option_name", "param_hint"):
        if isinstance(words := getattr(error, name, None), str):
            setattr(error, name, show_text(words).plain)
    rich_format_error(error)  # type: ignore[arg-type] # Typer's own class has no public name
    return int(getattr(error, "exit_code", 2))


def _leave_pipe(error: BrokenPipeError) -> int:
    """Exit code where whoever reads what is printed wants no more of it, as `head` does; other pipes are failures."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more when it ends
        return 1
    sentence, code = _describe_failure(error)
    _print_error(sentence)
    return code


def _describe_failure(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code of a failure that a user can meet; any other error is raised again."""
    if (sentence := describe_full_disk(error)) is not None:
        return sentence, 1
    if (sentence := describe_little_memory(error)) is not None:
        return sentence, 1
    if isinstance(error, RlaifError):
        return error.sentence, error.exit_code
    if isinstance(error, RuntimeError) and str(error).startswith(
        "Symlink loop from"
    ):  # pathlib's words, not an OSError
        error = OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(error).partition("from ")[2].strip("'"))
    if isinstance(error, OSError):
        return describe_file_error(error).sentence, InputError.exit_code
    if isinstance(error, RuntimeError) and num_launched() > 1 and has_lost_another(error):
        return "another process ended and took this one with it: run the same command again with --resume", 1
    raise error


def _print_error(sentence: str) -> None:
    notes.print(Text("error: ", style="bold red") + show_text(sentence))
