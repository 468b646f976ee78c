"""`rlaif audit serve`: the audit app in a browser on this machine.

Parses options, opens the port, prints the address, and answers until it is interrupted.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.options import LedgerOption, RunsDirOption
from rlaif.console import console, show_text
from rlaif.errors import InputError

DEFAULT_PORT = 8808


def serve(
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="The run whose ledger is opened.")] = None,
    runs_dir: RunsDirOption = Path("runs"),
    ledger: LedgerOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = DEFAULT_PORT,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to answer on. Any but this machine's own needs a token by --token-env."),
    ] = "127.0.0.1",
    token_env: Annotated[
        str | None,
        typer.Option(
            "--token-env",
            metavar="NAME",
            help="Environment variable with the token, 32 characters or more; by default each start makes a new one.",
        ),
    ] = None,
    author: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name under which disputes are stored; by default yours.")
    ] = None,
    sheet: Annotated[
        list[Path] | None,
        typer.Option(
            "--sheet",
            metavar="SHEET",
            help="File of a sheet for the page of spot checks; may be repeated. Those of the runs and beside the runs' "
            "folder are found.",
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Store nothing: no disputes.")] = False,
) -> None:
    """Open the audit app: runs, judgements, every decision on one screen, and what people say of it."""
    from rlaif.audit.ledger_file import open_to_read
    from rlaif.audit.web.server import bind, require_installed
    from rlaif.audit.web.server import serve as serve_pages

    require_installed()
    from rlaif.audit.web.app import App, Audited
    from rlaif.audit.web.guard import Door, is_loopback, make_token

    if not is_loopback(host) and token_env is None:
        raise InputError(
            f"{host} can be reached from other machines, and whoever reaches it reads the whole record",
            where="--host",
            fix="name an environment variable with a token of your own by --token-env",
        )
    token = make_token() if token_env is None else _read_token(token_env)
    open_to_read(runs_dir, run=run, ledger=ledger).close()  # refused now, and not on the first page
    opened = bind(host, port)
    door = Door(host, opened.getsockname()[1], {token: author or own_name()})
    app = App(Audited(runs_dir, run, ledger, "" if read_only else author or own_name(), tuple(sheet or ())))
    console.print(show_text(f"open {door.address(token)}"))
    console.print(show_text("Ctrl-C ends it; the address is for you alone"))
    serve_pages(app.routes, handlers=app.handlers, opened=opened, door=door)


def _read_token(name: str) -> str:
    token = os.environ.get(name, "")
    if len(token) < 32 or not token.isascii() or not token.isalnum():
        raise InputError(
            f"the variable {name} holds no token", where="--token-env", fix="set it to 32 letters and digits or more"
        )
    return token


def own_name() -> str:
    """Under which name somebody disputes who gives none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "owner"
