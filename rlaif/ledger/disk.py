"""The ledger's disk: network file systems are refused, and SQLite's errors become sentences.

A write-ahead log needs shared memory, which network file systems do not have. Holds no connection.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from rlaif.errors import LedgerError
from rlaif.files.full_disk import FULL

NETWORK_TYPES = frozenset({
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "pvfs2", "smb2", "smb3",
    "smbfs", "webdav",
})  # fmt: skip


def refuse_network_disk(path: Path) -> None:
    """Raise if the file would lie on a network file system."""
    kind = filesystem_type(path.parent.resolve(), mounts=_mounts())
    if kind in NETWORK_TYPES:
        raise LedgerError(
            f"the ledger would lie on a network file system ({kind}), where a write-ahead log does not work",
            where=str(path),
            fix="set ledger.path to a file on a local disk",
        )


def filesystem_type(path: Path, *, mounts: str) -> str:
    """The file system of the deepest mount that holds the path; `mounts` is as in /proc/self/mounts."""
    found = (0, "")
    for line in mounts.splitlines():
        _, point, kind, *_ = [*line.split(), "", "", ""]
        folder = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point))
        # `>=`: of two mounts on one folder the later covers the earlier
        if kind and path.is_relative_to(folder) and len(folder.parts) >= found[0]:
            found = (len(folder.parts), kind)
    return found[1]


def _mounts() -> str:
    listing = Path("/proc/self/mounts")
    if listing.is_file():
        return listing.read_text(errors="surrogateescape")
    if sys.platform != "darwin":
        return ""
    said = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=False).stdout
    lines = re.findall(r"^(.+) on (.+) \((\w+)", said, flags=re.MULTILINE)
    return "\n".join(f"x {point.replace(' ', chr(92) + '040')} {kind}" for _, point, kind in lines)


@contextmanager
def in_sentences(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Turn SQLite's errors inside the block into LedgerError: what happened, to which file, and what to do.

    `connection` knows the system's number of an error, which tells a quota or a limit from a broken disk.
    """
    where = str(path)
    try:
        yield
    except apsw.FullError as error:
        raise _full(where) from error
    except apsw.IOError as error:
        # SQLite takes a used-up quota or a limit of file size for a broken disk
        if connection is not None and (number := connection.system_errno) in FULL:
            error.__cause__ = OSError(number, os.strerror(number))
            raise _full(where) from error
        raise LedgerError(
            f"the disk does not read or write the ledger ({error}); what was not acknowledged is not stored",
            where=where,
            fix="check the disk and its free space, then resume",
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise LedgerError(
            "another process holds the ledger for writing",
            where=where,
            fix="wait for it or end it, then resume",
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise LedgerError(
            f"the file is no ledger, or damaged ({error})",
            where=where,
            fix="restore it from a copy, or set ledger.path to a new file",
        ) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise LedgerError(
            f"the ledger cannot be opened ({error})", where=where, fix="check the path and its permissions"
        ) from error
    except apsw.Error as error:
        raise LedgerError(
            f"SQLite refused: {error}",
            where=where,
            fix="run `rlaif audit verify` to see whether the file is whole",
        ) from error


def _full(where: str) -> LedgerError:
    return LedgerError(
        "the disk is full; what was not acknowledged is not stored", where=where, fix="free some space, then resume"
    )
