"""A folder's files, noted by digest in the folder itself, so that whoever reads them later knows them to be the same.

For checkpoints, which come and go while a stage is under way; a finished stage's digests are in its stage.json.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rlaif.errors import RunFolderError

SEAL = "digests.json"


def seal_folder(folder: Path) -> None:
    """Note the digest of every file that is in the folder."""
    digests = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / SEAL).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def check_seal(folder: Path, *, fix: str) -> None:
    """Refuse a folder whose files are not those that were noted; one that an older rlaif wrote is taken as it is."""
    path = folder / SEAL
    if not path.is_file():
        return
    try:
        digests = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunFolderError("the list of digests cannot be read", where=str(path), fix=fix) from error
    for name, digest in digests.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise RunFolderError(f'the file "{name}" is not what was written', where=str(folder), fix=fix)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
