"""Name -> file: the user's own constitutions and judge templates, then the ones that come with rlaif.

Finds the shipped folders from a checkout (beside the package) and from an installed wheel (inside it). The front desk's
constitutions stand in a folder below the others: their names are found with that folder before them and without it.
Does not read the files.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Literal

from rlaif.errors import ConstitutionError, InputError, TemplateError

Kind = Literal["constitutions", "prompts"]

SETS: dict[Kind, tuple[str, ...]] = {"constitutions": ("frontdesk",), "prompts": ()}
"""Folders below a folder of files: each holds those that are made for one judge."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOUN: dict[Kind, str] = {"constitutions": "constitution", "prompts": "judge template"}
_ERROR: dict[Kind, type[InputError]] = {"constitutions": ConstitutionError, "prompts": TemplateError}


def shipped_folder(kind: Kind) -> Path:
    """The folder that comes with rlaif."""
    package = Path(__file__).resolve().parent.parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def find_file(kind: Kind, path_or_name: str | Path, *, suffix: str) -> Path:
    """A path as it is given, if it is one; otherwise the file that a name stands for."""
    given = str(path_or_name)
    if isinstance(path_or_name, Path) or given.endswith(suffix) or "/" in given or "\\" in given:
        path = Path(path_or_name)
        if path.is_file():
            return path
        if isinstance(path_or_name, str) and given.partition("/")[0] in SETS[kind]:
            return find_shipped(kind, given, suffix)
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise _ERROR[kind](
            f"the {_NOUN[kind]} {given} {what}",
            fix=f"give a file ending in {suffix}, or one of the names {_list(kind, suffix)}",
        )
    return find_shipped(kind, given, suffix)


def find_shipped(kind: Kind, name: str, suffix: str) -> Path:
    """The file of a name: from `./<kind>/` and its sets where there is one, else among the files of rlaif."""
    within, _, bare = name.rpartition("/")
    if _NAME.fullmatch(bare) and within in ("", *SETS[kind]):
        for folder in _folders(kind):
            if folder.name == within or not within:
                path = folder / f"{bare}{suffix}"
                if path.is_file():
                    return path
    spellings = known_names(kind, suffix)
    spellings += [spelling.rpartition("/")[2] for spelling in spellings if "/" in spelling]
    close = difflib.get_close_matches(name, spellings, n=1)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    raise _ERROR[kind](f'there is no {_NOUN[kind]} named "{name}"', fix=f"{meant}these exist: {_list(kind, suffix)}")


def known_names(kind: Kind, suffix: str) -> list[str]:
    """All names that `find_shipped` finds, sorted; first those of no set, then the others with their set."""
    names = {
        (folder.name if folder.name in SETS[kind] else "", path.name.removesuffix(suffix))
        for folder in _folders(kind)
        for path in folder.glob(f"*{suffix}")
    }
    return ["/".join(filter(None, parts)) for parts in sorted(names)]


def _folders(kind: Kind) -> list[Path]:
    """Folders that may hold files of a kind, the first one first: the user's own, then those of rlaif."""
    return [base / within for base in (Path(kind), shipped_folder(kind)) for within in ("", *SETS[kind])]


def _list(kind: Kind, suffix: str) -> str:
    return ", ".join(known_names(kind, suffix)) or "none"
