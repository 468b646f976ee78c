"""Names of runs: what a name may be, and which ones the project or a system needs for something else.

A run's name is the name of its folder, and of its records in the ledger. Looks at no file.
"""

from __future__ import annotations

import re

from rlaif.errors import RunFolderError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LEDGER = "ledger.sqlite"
"""The file beside the runs in which they keep their decisions by default."""
_OURS = re.compile(
    rf"{re.escape(LEDGER)}([.-].*)?"  # and what SQLite keeps beside it
    r"|rlaif\.yaml|constitutions|prompts|presets"  # what `rlaif init` writes, where runs lie among it
    r"|config\.json|inputs\.json|manifest\.json|rounds\.json|sentinels\.json|metrics\.jsonl|order|lock|logs"
    r"|round_\d+|.*\.kept-\d+"
)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names under which Windows keeps no folder, with any ending."""


def check_name(name: str) -> None:
    """Refuse what is no name of a run."""
    if not NAME.fullmatch(name) or name.endswith(".") or ".." in name:
        raise RunFolderError(
            f'"{name[:80]}" is not a run name', fix="use up to 64 of a-z 0-9 . _ -, a letter or digit first"
        )


def refuse_reserved(name: str) -> None:
    """Refuse a name that a new run may not have; one that an older rlaif gave stays usable."""
    if _OURS.fullmatch(name):
        raise RunFolderError(f'"{name}" is the name of a file or folder of rlaif', fix="give another --run NAME")
    if _DEVICES.fullmatch(name):
        raise RunFolderError(f'"{name}" is the name of a device on Windows', fix="give another --run NAME")
