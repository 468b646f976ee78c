"""The digests of a folder's files, stored in the folder itself, so that a later reader can check the files.

For checkpoints, which come and go during a stage; a finished stage's digests are in its stage.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from rlaif.errors import RunFolderError
from rlaif.files.atomic import digest_file
from rlaif.files.own_files import json_of, read_own

SEAL = "digests.json"
_DIGESTS = json_of(dict[str, str])


def seal_folder(folder: Path) -> None:
    """Store the digest of every file in the folder."""
    digests = {path.name: digest_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / SEAL).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def check_seal(folder: Path, *, fix: str) -> None:
    """Refuse a folder whose files do not have the stored digests; one without digests, of an older rlaif, passes."""
    path = folder / SEAL
    if not os.path.lexists(path):
        return
    digests = read_own(path, _DIGESTS, fix=fix)
    for name, digest in digests.items():
        if not (folder / name).is_file() or digest_file(folder / name) != digest:
            raise RunFolderError(f'the file "{name}" is not what was written', where=str(folder), fix=fix)
