"""A run's folder -> the heads that it printed of the ledger, and which of the files that print them are damaged.

Heads stand in manifest.json, in the cards of models and in report.json. Does not open the ledger, and writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import InputError, RunFolderError
from rlaif.files.atomic import digest_file
from rlaif.ledger.chain import PrintedHead
from rlaif.ledger.verify import Break
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder

CARD, REPORT, MANIFEST = "README.md", "report.json", "manifest.json"
PROVING = (CARD, REPORT, "report.html")
"""Names of the files that print heads, or the facts beside them."""
_IN_CARD = re.compile(
    r"^(?:The ledger's head was|\| head of the ledger's chain \|) `([0-9a-fA-F]+)`(?:, row ([0-9]{1,18})\b)?",
    re.MULTILINE,
)
_HEAD = re.compile(r"[0-9a-f]{64}")


class Printed(NamedTuple):
    """The heads of the ledger that a run's folder prints, and the files among them that are damaged."""

    heads: list[PrintedHead]
    damaged: list[Break]
    """Files that are missing, changed since their stage wrote them, or cannot be read."""


def parse_head(text: str) -> str:
    """A head as a person gives it; anything but all of its 64 digits is refused, for a part can be made to fit."""
    head = text.strip().strip("`").lower()
    if not _HEAD.fullmatch(head):
        raise InputError(
            f'"{text[:80]}" is not a head of a ledger',
            where="--head",
            fix="give all 64 digits (0-9, a-f), as the card or report prints them",
        )
    return head


def read_printed(run: RunFolder) -> Printed:
    """The heads of a run's manifest, cards and reports, each with the file that prints it."""
    heads: list[PrintedHead] = []
    damaged: list[Break] = []
    manifest = _read_manifest(run, damaged)
    for found in (_of_manifest(run, manifest, damaged), *(_of_file(path, damaged) for path in _proving(run))):
        heads.extend(found)
    return Printed(heads, [*damaged, *_find_changed(run, manifest)])


def _proving(run: RunFolder) -> Iterator[Path]:
    """The files of a run's stages that print a head."""
    for folder in run.stage_dirs:
        yield from sorted(path for name in (CARD, REPORT) for path in folder.rglob(name) if path.is_file())


def _of_file(path: Path, damaged: list[Break]) -> Iterator[PrintedHead]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        damaged.append(Break("", None, f"{path} cannot be read: {error}"))
        return
    if path.name == CARD:
        yield from _in_card(text, path)
        return
    try:
        printed = json.loads(text)["provenance"]
        head, seq = printed.get("ledger_head"), printed.get("ledger_seq")
        if head is not None:
            yield PrintedHead(None if seq is None else int(seq), str(head).lower(), str(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        damaged.append(Break("", None, f"{path} is damaged: the ledger's head cannot be read from it"))


def read_card_heads(path: Path) -> list[PrintedHead]:
    """The heads that a model's README prints; none where it is not there or cannot be read."""
    try:
        return list(_in_card(path.read_text(encoding="utf-8"), path))
    except (OSError, UnicodeDecodeError):
        return []


def _in_card(text: str, path: Path) -> Iterator[PrintedHead]:
    for head, row in _IN_CARD.findall(text):
        yield PrintedHead(int(row) if row else None, head.lower(), str(path))


def _read_manifest(run: RunFolder, damaged: list[Break]) -> dict[str, Any]:
    path = run.path / MANIFEST
    if not path.is_file():  # as after a kill
        return {}
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and isinstance(found["ledger_heads"], list):
            return found
    except (OSError, ValueError, KeyError, RecursionError):
        pass
    damaged.append(Break("", None, f"{path} is damaged: the ledger's heads cannot be read from it"))
    return {}


def _of_manifest(run: RunFolder, manifest: dict[str, Any], damaged: list[Break]) -> list[PrintedHead]:
    path = run.path / MANIFEST
    try:
        return [
            PrintedHead(int(printed["seq"]), str(printed["head"]).lower(), str(path))
            for printed in (*manifest.get("ledger_heads", ()), *manifest.get("signed_heads", ()))
        ]
    except (ValueError, KeyError, TypeError):
        damaged.append(Break("", None, f"{path} is damaged: the ledger's heads cannot be read from it"))
        return []


def _find_changed(run: RunFolder, manifest: dict[str, Any]) -> Iterator[Break]:
    """Cards and reports that are not what their stage wrote."""
    for folder in run.stage_dirs:
        if folder.is_dir():
            yield from _changed_in(folder, manifest)


def _changed_in(folder: Path, manifest: dict[str, Any]) -> Iterator[Break]:
    try:
        stage = read_stage(folder)
        outputs = stage.outputs if stage is not None else _listed(manifest, folder)
        for name, digest in outputs.items():
            path = folder / name
            if path.name not in PROVING:
                continue
            if not path.is_file():
                yield Break("", None, f"{path} is missing")
            elif stage is not None and digest_file(path) != digest:
                yield Break("", None, f"{path} was changed after the run wrote it")
    except (RunFolderError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield Break("", None, f"{folder / 'stage.json'} is damaged: its cards and reports cannot be compared with it")


def _listed(manifest: dict[str, Any], folder: Path) -> dict[str, str]:
    """The digests of a stage's outputs by the manifest, for a stage whose own list is gone."""
    listed = manifest.get("stages", {}).get(f"{folder.parent.name}/{folder.name}", {})
    outputs: dict[str, str] = listed.get("outputs", {})
    return outputs
