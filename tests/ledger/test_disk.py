"""Where a ledger may lie, and what is said when the disk does not go along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.ledger.disk import NETWORK_TYPES, filesystem_type
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
user@host:/data /mnt/far\\040away fuse.sshfs rw 0 0
/dev/vdb /home/local xfs rw 0 0
//server/share /mnt/share ext4 rw 0 0
//server/share /mnt/share cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/work/runs", "ext4"),
        ("/tmp/runs", "tmpfs"),
        ("/home/ann/runs", "nfs4"),
        ("/home/local/runs", "xfs"),
        ("/homeless/runs", "ext4"),
        ("/mnt/far away/runs", "fuse.sshfs"),
        ("/mnt/share/runs", "cifs"),
    ],
)
def test_the_deepest_and_latest_mount_says_the_file_system(path: str, kind: str) -> None:
    assert filesystem_type(Path(path), mounts=MOUNTS) == kind


def test_network_file_systems_are_known_by_name() -> None:
    assert {"nfs", "nfs4", "cifs", "smb2", "smb3", "9p", "fuse.sshfs"} <= NETWORK_TYPES
    assert not {"ext4", "xfs", "btrfs", "apfs", "tmpfs", "overlay"} & NETWORK_TYPES


FILL = """
import resource, sys
from ledger_world import make_judgement
from rlaif.errors import LedgerError
from rlaif.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
acknowledged = 0
try:
    while True:
        ledger.append(make_judgement(f"q{acknowledged + n}") for n in range(64))
        acknowledged += 64
except LedgerError as error:
    print(acknowledged, error.exit_code, error.sentence)
try:
    ledger.append([make_judgement("later")])
except LedgerError as error:
    print("still", error.exit_code)
"""


def test_a_full_disk_is_a_sentence_and_every_acknowledged_row_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)],
        env={"PYTHONPATH": f"{tests}:{tests.parent}"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    said, still = done.stdout.splitlines()
    acknowledged, exit_code, sentence = said.split(" ", 2)
    assert int(acknowledged) >= 64
    assert exit_code == "1"
    assert "disk" in sentence
    assert "free some space" in sentence or "free space" in sentence
    assert still == "still 1"
    with Ledger.open(path) as ledger:
        assert verify(ledger).ok
        assert len(ledger.judgements_for(f"q{n}" for n in range(int(acknowledged)))) == int(acknowledged)
        assert ledger.head().seq == int(acknowledged)
