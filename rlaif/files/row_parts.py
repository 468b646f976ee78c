"""A folder of row files -> its parts: the splits and subsets that file names, subfolders or its README define.

`train-00000-of-00001` is a piece of the split `train`; `train_prefs` is another split. Parts are never joined
unless their names are given with a `+`. Reads no rows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.errors import DataError, InputError
from rlaif.files.rows import SUFFIXES, is_row_file
from rlaif.files.strict_yaml import load_strict

Role = Literal["train", "test", "other", ""]

_ROLES: Mapping[str, Role] = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "other"),
}  # fmt: skip
_KEYWORD = re.compile(rf"(?:^|(?<=[-_. ]))({'|'.join(_ROLES)})(?=$|[-_. ])", re.IGNORECASE)
_PIECE = re.compile(r"(?:^|[-_.])(?:(?:part|shard|chunk)[-_.]?)?\d+(?:[-_.]of[-_.]\d+)?(?:[-_.][0-9a-f]{8,})?$")
"""The end of a file's name that numbers it among the files of one split."""
_WRITTEN_IN_PIECES = re.compile(r"part-\d{5}-.*")
_NO_NAMES = ("", "data", "part", "shard", "chunk")
_NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")
"""Files that describe a data set and hold no rows."""
MAX_LISTED = 12
MAX_ENTRIES = 30_000
"""Files and folders below a data set's folder; a folder with more is a disk or a home."""


class Part(NamedTuple):
    """One split of a data set, or of one subset of it."""

    subset: str
    """Empty where the data set has only one subset."""
    split: str
    """Empty where the files' names give no split."""
    files: tuple[Path, ...] = ()
    is_default: bool = False
    """True for the subset that the data set declares as its default."""

    @property
    def name(self) -> str:
        return "/".join(part for part in (self.subset, self.split) if part) or "data"

    @property
    def role(self) -> Role:
        """Use of the split, by the word for it in its name; empty where there is no such word."""
        found = _KEYWORD.search(self.split)
        return _ROLES[found.group(1).lower()] if found else ""

    @property
    def pattern(self) -> str:
        """The split's name with `*` for the word of its use: `train_prefs` and `test_prefs` have the same pattern."""
        return _KEYWORD.sub("*", self.split, count=1)


def list_parts(folder: Path, *, most_entries: int = MAX_ENTRIES) -> list[Part]:
    """The parts of a folder, by name; none where it holds no file of rows.

    most_entries: a folder with more files and folders than that is refused.
    """
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return _saved_parts(folder)
    files = sorted(
        path
        for path in _visible_files(folder, most_entries)
        if is_row_file(path) and path.is_file() and path.name not in _NO_ROWS
    )
    front = _read_front_matter(folder / "README.md")
    # the card of a folder that this program wrote stands beside it; older ones hold theirs
    card = front or _read_front_matter(folder.parent / "README.md")
    is_own = "rlaif" in (card.get("tags") or ()) and (folder / "choices").is_dir()
    declared = [] if is_own else _declared_parts(front, folder, files)
    if declared:
        return declared
    found: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        subset, split = _place(path.relative_to(folder))
        # The folders that this program writes keep pairs and choices apart, as their columns differ; both are read.
        subset = "" if is_own and subset == "choices" else subset
        found.setdefault((subset, split), []).append(path)
    return sorted(Part(*key, tuple(paths)) for key, paths in found.items())


def refuse_whole_disk(folder: Path) -> None:
    """Refuse a folder with too many entries for a data set, before its files are read."""
    for _ in _visible_files(folder, MAX_ENTRIES):
        pass


def _visible_files(folder: Path, most_entries: int) -> Iterator[Path]:
    """The files below a folder, without hidden ones. A folder with too many entries for a data set is refused."""
    num_entries = 0
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        num_entries += len(folders) + len(names)
        if num_entries > most_entries:
            raise DataError(
                f"the folder has more than {most_entries} files and folders, too many for a data set",
                where=str(folder),
                fix="give the folder or the file that holds the rows",
            )
        yield from (Path(here) / name for name in names if not name.startswith("."))


def _saved_parts(folder: Path) -> list[Part]:
    """The splits of a folder that `save_to_disk` wrote: one without a name, or those of a dictionary."""
    if (folder / "state.json").is_file():
        return [Part("", "", _saved_files(folder))]
    splits = sorted(path for path in folder.iterdir() if (path / "state.json").is_file())
    return [Part("", path.name, _saved_files(path)) for path in splits]


def _saved_files(folder: Path) -> tuple[Path, ...]:
    """The files that a saved data set names as its rows, in their order; `datasets` keeps others beside them."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        names = [str(one["filename"]) for one in state["_data_files"]]
        has_order = bool(state.get("_indices_data_files"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            "this is not the state of a saved data set", where=str(folder / "state.json"), fix="save it again"
        ) from error
    if has_order or any(Path(name).name != name for name in names):
        raise DataError(
            "this data set was saved with an order or files of its own", where=str(folder), fix="save it again"
        )
    return tuple(folder / name for name in names)


def find_parts(parts: Sequence[Part], wanted: str | None, *, option: str, where: str) -> list[Part]:
    """The parts to read: those that `wanted` names, joined by `+`, else the one that is for training.

    Raises DataError where several could be meant and none is named; `option` is the option that would name one. Empty
    where no part is for training.
    """
    if wanted is not None:
        return [_named(parts, name, option=option, where=where) for name in dict.fromkeys(wanted.split("+"))]
    pool = [part for part in parts if part.is_default] or parts
    training = [part for part in pool if part.role == "train"]
    whole = [part for part in training if part.pattern == "*"]
    found = whole or training or [part for part in pool if not part.role]
    if len(found) > 1:
        raise DataError(
            f"this has {len(found)} parts that could be meant: {_listed(found)}",
            where=where,
            fix=f"name one by {option}={found[0].name}, or several joined by +",
        )
    return list(found)


def find_counterpart(parts: Sequence[Part], part: Part) -> Part | None:
    """The test split that belongs to a training split: `test` to `train`, `test_prefs` to `train_prefs`."""
    tests = [other for other in parts if other.role == "test" and other.subset == part.subset]
    if part.role != "train":
        return None
    found = [other for other in tests if other.pattern == part.pattern]
    trained = [other for other in parts if other.role == "train" and other.subset == part.subset]
    if not found and trained == [part]:  # no other training split could claim it
        found = [other for other in tests if other.pattern == "*"]
    return found[0] if found else None


def no_training_part(parts: Sequence[Part], *, option: str, where: str) -> DataError:
    """The error for a data set that has no part for training and of which the user named no part."""
    return DataError(
        f"there is no split for training; the parts are: {_listed(parts)}",
        where=where,
        fix=f"name the one to read by {option}",
    )


def refuse_part_of_file(path: Path, wanted: str | None, *, option: str) -> None:
    """Refuse to read a part of a file: a file is one part, whatever its name."""
    if wanted is not None:
        raise DataError(
            f'a file has no parts, and "{wanted}" is to be read of it',
            where=str(path),
            fix=f"leave {option} out, or name the folder that the file is in",
        )


def _named(parts: Sequence[Part], name: str, *, option: str, where: str) -> Part:
    found = [part for part in parts if part.name == name] or [part for part in parts if part.split == name]
    if not found:
        subset = [part for part in parts if name and part.subset == name and part.role in ("train", "")]
        found = [part for part in subset if part.pattern == "*"] or subset
    if len(found) == 1:
        return found[0]
    there = _listed(found or parts) or "none"
    what = f'"{name}" names {len(found)} parts' if found else f'there is no part "{name}"; the parts are'
    raise DataError(f"{what}: {there}", where=where, fix=f"name one of them by {option}")


def _listed(parts: Sequence[Part]) -> str:
    more = f" and {len(parts) - MAX_LISTED} more" if len(parts) > MAX_LISTED else ""
    return ", ".join(part.name for part in parts[:MAX_LISTED]) + more


def _place(path: Path) -> tuple[str, str]:
    """(subset, split) of a file, by its path in the folder."""
    folders = [name for name in path.parts[:-1] if name not in _NO_NAMES]
    name = _bare_name(path)
    if _KEYWORD.search(name):
        return "/".join(folders), name
    rest = [] if name in _NO_NAMES else [name]
    for at in reversed(range(len(folders))):
        if _KEYWORD.search(folders[at]):
            return "/".join([*folders[:at], *folders[at + 1 :], *rest]), folders[at]
    return "/".join([*folders, *rest]), ""


def _bare_name(path: Path) -> str:
    """The file's name without its ending and without its number among the pieces of a split."""
    lower = path.name.lower()
    name = path.name[: -len(max((suffix for suffix in SUFFIXES if lower.endswith(suffix)), key=len))]
    if _WRITTEN_IN_PIECES.fullmatch(name):
        return ""
    while (shorter := _PIECE.sub("", name)) != name:
        name = shorter
    return name


def _read_front_matter(path: Path) -> Mapping[str, Any]:
    """The head of a data set's card; empty where it has none that can be read."""
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        head = re.match(r"---\n(.*?)\n---(?:\n|$)", text, re.DOTALL)
        value = load_strict(head.group(1), where=str(path)).value if head else None
    except (OSError, UnicodeError, InputError):
        value = None
    return value if isinstance(value, dict) else {}


def _declared_parts(front: Mapping[str, Any], folder: Path, files: Sequence[Path]) -> list[Part]:
    """The parts that the card names, as `datasets` reads them; none where it names no files of this folder."""
    given = front.get("configs")
    configs = [config for config in given if isinstance(config, dict)] if isinstance(given, list) else []
    parts = []
    for config in configs:
        subset = str(config.get("config_name") or "default") if len(configs) > 1 else ""
        is_default = bool(config.get("default")) or subset == "default"
        base = str(config.get("data_dir") or ".")
        for split, patterns in _data_files(config.get("data_files", "**")):
            matched = tuple(path for path in files if any(_matches(path, folder / base, one) for one in patterns))
            if matched:
                parts.append(Part(subset, split, matched, is_default))
    return parts


def _data_files(given: Any) -> Iterator[tuple[str, list[str]]]:
    """(split, patterns) of a card's `data_files`: text, a list of texts, splits with paths, or a table of splits."""
    if isinstance(given, dict):
        for split, paths in given.items():
            yield str(split), _texts(paths)
    elif isinstance(given, list) and all(isinstance(one, dict) for one in given):
        for one in given:
            yield str(one.get("split") or "train"), _texts(one.get("path"))
    else:
        yield "train", _texts(given)


def _texts(given: Any) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else [str(given)]


def _matches(path: Path, base: Path, pattern: str) -> bool:
    """Whether a file is one that the pattern names: `*` within a name, `**` over folders."""
    try:
        inside = path.relative_to(base).as_posix()
    except ValueError:
        return False
    expression = re.escape(pattern.removeprefix("./"))
    for written, meant in ((r"\*\*/", "(?:.*/)?"), (r"\*\*", ".*"), (r"\*", "[^/]*"), (r"\?", "[^/]")):
        expression = expression.replace(written, meant)
    expression = expression.replace(r"\[0\-9\]", "[0-9]")
    return re.fullmatch(expression, inside) is not None
