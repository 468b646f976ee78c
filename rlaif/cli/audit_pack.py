"""`rlaif audit pack`: a run's record for somebody who has nothing else.

Parses options, calls one function, prints its result. Writes one new folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.cli.audit_verify import SignedHeadOption, refuse
from rlaif.cli.options import RunOption, RunsDirOption
from rlaif.console import console, show_text


def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    run: RunOption = None,
    signed_head: SignedHeadOption = None,
    runs_dir: RunsDirOption = Path("runs"),
) -> None:
    """Write a run's record into a folder that a third party checks without the run, its models or a network.

    It holds the questions and answers, the texts of this run, its configuration, people's labels, all rows of the
    ledger, and the heads that were printed or that --signed-head names. A redacted text stays redacted. Rows of other
    runs in the same ledger are in it without their texts.
    """
    from rlaif.audit.ledger_file import VerifiedLedger
    from rlaif.audit.pack import pack_run

    made = pack_run(folder, runs_dir=runs_dir, run=run, signed=signed_head or ())
    if isinstance(made, VerifiedLedger):
        refuse(made)
    size = f"{made.num_bytes / 2**20:.1f} MiB"
    console.print(show_text(f"{made.path}: run {made.packed.run}, {len(made.packed.rows)} rows, {size}"))
    console.print(show_text(f"to check it: rlaif audit verify --pack {made.path}"), soft_wrap=True)
