"""Heads of the chain as texts that people sign with their OpenSSH keys, and such signatures checked.

A text names the ledger, a row, the chain's head after it and the time; with an annotator's name also every label and
dispute of that name, by digest. Keys stay with whoever signs: `ssh-keygen` signs and checks, and nothing here opens a
key.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rlaif.errors import DataError, InputError, LedgerError
from rlaif.files.texts import read_text_file
from rlaif.ledger.chain import PrintedHead
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import Break
from rlaif.records import digest_text

FORMAT = "rlaif chain head v1"
NAMESPACE = "rlaif-chain-head"
"""What a signature is for: one that was made for anything else is refused."""
MAX_BYTES = 64 * 2**20
_HEAD = re.compile(
    rf"{FORMAT}\nledger ([0-9a-f]{{64}})\nseq ([1-9][0-9]{{0,17}})\nhead ([0-9a-f]{{64}})\ntime (\S+)\n"
    r"(?:annotator ([^\n]{1,200})\n((?:(?:human_labels|disputes) [0-9a-f]{32} [0-9a-f]{64}\n)*))?"
)
_NAME = re.compile(r"[^\n]{1,200}")
_NO_FORMAT = "write it by `rlaif audit head`, and sign that file as it is"
_SAID = (
    "SELECT seq, 'human_labels', id, content FROM human_labels WHERE annotator = ?1 AND seq <= ?2 UNION ALL"
    " SELECT seq, 'disputes', id, content FROM disputes WHERE json_extract(content, '$.author') = ?1 AND seq <= ?2"
    " ORDER BY seq"
)
"""Statement for the rows that bear somebody's name."""


class Said(NamedTuple):
    """A label or a dispute, as its author signs it."""

    table: str
    id: str
    digest: str
    """sha256 of what the id is half of."""


class HeadText(NamedTuple):
    """What somebody signs."""

    ledger: str
    """The head of the chain's first row, by which a ledger is known."""
    seq: int
    hex: str
    at: str
    """UTC, as the program that wrote the text read its clock."""
    annotator: str | None = None
    said: tuple[Said, ...] = ()
    """Every label and dispute of the annotator up to that row, in the order of the chain."""


class SignedHead(NamedTuple):
    """A head whose signature is good, and is of somebody who may sign."""

    head: HeadText
    signer: str
    path: Path
    """The file of the signature."""

    @property
    def where(self) -> str:
        """The place that a finding about this head names."""
        return f"{self.path.name}, signed by {self.signer}"

    def as_printed(self) -> tuple[PrintedHead, PrintedHead]:
        """What the chain is compared with: the ledger's first row, and the row that was signed."""
        return PrintedHead(1, self.head.ledger, self.where), PrintedHead(self.head.seq, self.head.hex, self.where)


def make_head_text(ledger: Ledger, *, at: str, annotator: str | None = None) -> HeadText:
    """The newest head of a ledger, with the labels and disputes of an annotator where one signs for them."""
    if annotator is not None and not _NAME.fullmatch(annotator):
        raise InputError(
            "an annotator's name is one line of at most 200 characters", where="--annotator", fix="shorten it"
        )
    with ledger.snapshot():
        head, first = ledger.head(), ledger.head_at(1)
        if first is None:
            raise LedgerError("the ledger is empty", where=str(ledger.path), fix="sign the head after a run judged")
        said = () if annotator is None else tuple(said for _, said in _said_by(ledger, annotator, seq=head.seq))
    if annotator is not None and not said:
        raise InputError(
            f'nobody called "{annotator[:80]}" has labels or disputes in this ledger',
            where="--annotator",
            fix="take answers in by `rlaif spot-check status`, or leave the option out to sign the head alone",
        )
    return HeadText(first, head.seq, head.hex, at=at, annotator=annotator, said=said)


def _said_by(ledger: Ledger, annotator: str, *, seq: int) -> Iterator[tuple[int, Said]]:
    """Each row up to `seq` with a label or a dispute of this name."""
    for row, table, key, content in ledger.rows(_SAID, (annotator, seq)):
        yield row, Said(table, key, digest_text(f"{table}\n{content}"))


def render_head(head: HeadText) -> str:
    lines = [FORMAT, f"ledger {head.ledger}", f"seq {head.seq}", f"head {head.hex}", f"time {head.at}"]
    if head.annotator is not None:
        lines += [f"annotator {head.annotator}", *map(" ".join, head.said)]
    return "\n".join(lines) + "\n"


def parse_head_text(text: str, *, where: str) -> HeadText:
    found = _HEAD.fullmatch(text)
    if found is None:
        raise DataError("this is no text of a chain's head", where=where, fix=_NO_FORMAT)
    ledger, seq, digits, at, annotator, said = found.groups()
    try:
        datetime.fromisoformat(at)
    except ValueError:
        raise DataError(f'its time "{at[:40]}" is none', where=where, fix=_NO_FORMAT) from None
    listed = tuple(Said(*line.split()) for line in (said or "").splitlines())
    return HeadText(ledger, int(seq), digits, at=at, annotator=annotator, said=listed)


def sign_command(path: Path) -> str:
    """The line that signs the text, in a file beside it that leaves room for the signatures of others."""
    text = shlex.quote(str(path))
    return f"ssh-keygen -Y sign -f YOUR_KEY -n {NAMESPACE} < {text} > {shlex.quote(f'{path}.YOUR_NAME.sig')}"


def nothing_signed() -> InputError:
    return InputError(
        "there is no signature to check",
        where="--allowed-signers",
        fix="add --signed-head FILE.sig, or store one by `rlaif audit sign-off`",
    )


def read_signed(signatures: Sequence[Path], *, allowed: Path | None) -> list[SignedHead]:
    """The heads of files of signatures; refused where one is bad, or its signer may not sign."""
    if not signatures:
        if allowed is not None:
            raise nothing_signed()
        return []
    if allowed is None:
        raise InputError(
            "a signature says nothing while nobody says who may sign",
            where="--signed-head",
            fix=f'give --allowed-signers FILE, with lines like: ann namespaces="{NAMESPACE}" ssh-ed25519 AAAA...',
        )
    return [read_signature(path, allowed=allowed) for path in signatures]


def find_text(signature: Path) -> Path:
    """The text that a signature is of: the file beside it with the longest name that the signature's begins with."""
    name = signature.name.removesuffix(".sig")
    while name != signature.name and name:
        if (text := signature.with_name(name)).is_file():
            return text
        name = name.rpartition(".")[0]
    raise InputError(
        "the text that was signed is not beside this signature",
        where=str(signature),
        fix="put head.txt beside head.txt.ann.sig",
    )


def _find_ssh_keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise InputError(
            "signatures are checked by ssh-keygen, and it is not installed",
            where="PATH",
            fix="install OpenSSH, on Debian by `apt install openssh-client`",
        )
    return found


def read_signature(signature: Path, *, allowed: Path, said_of: Path | None = None) -> SignedHead:
    """The head in the text beside a signature; refused where the signature is bad, or its signer may not sign.

    said_of: how a refusal names the signature; None: by its file.
    """
    for given in (allowed, signature):
        if not given.is_file():
            raise InputError(
                "there is no such file", where=str(given), fix="name the file of a signature or of signers"
            )
    ssh_keygen, path = _find_ssh_keygen(), find_text(signature)
    text = read_text_file(path, error=DataError, max_bytes=MAX_BYTES)
    head = parse_head_text(text, where=str(path))
    at = datetime.fromisoformat(head.at).astimezone(UTC).strftime("%Y%m%d%H%M%S")
    files = ["-s", str(signature.absolute()), "-f", str(allowed.absolute()), f"-Overify-time={at}"]
    found = _run([ssh_keygen, "-Y", "find-principals", *files], text="")
    who = [name for name in found.stdout.splitlines() if name.strip()]
    for signer in who:
        done = _run([ssh_keygen, "-Y", "verify", *files, "-n", NAMESPACE, "-I", signer], text=text)
        if done.returncode == 0:
            return SignedHead(head, signer, signature)
    reason = (done if who else found).stderr.strip().splitlines()
    raise LedgerError(
        f"the signature is not good: {reason[-1].strip()[:200] if reason else 'nobody who may sign made it'}",
        where=str(said_of or signature),
        fix=f"ask for a signature of {path.name} as it is, by a key of {allowed.name} that was valid at {head.at}, "
        f"made with -n {NAMESPACE}",
    )


def _run(command: list[str], *, text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"ssh-keygen cannot be run: {error}", where=command[0], fix="reinstall OpenSSH") from error


def compare_said(ledger: Ledger, signed: SignedHead) -> Iterator[Break]:
    """Labels and disputes that the ledger has otherwise than they were signed, or without a signature."""
    head = signed.head
    if head.annotator is None:
        return
    there = {one.id: (row, one) for row, one in _said_by(ledger, head.annotator, seq=head.seq)}
    for one in head.said:
        row, found = there.pop(one.id, (None, None))
        if found != one:
            what = "is missing" if found is None else "is another one"
            yield Break(one.table, row, f"{one.id}, in {signed.where}, {what}")
    for row, one in there.values():
        yield Break(one.table, row, f"{one.id} bears the name {head.annotator} and is not in {signed.where}")
