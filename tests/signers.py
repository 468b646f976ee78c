"""People with OpenSSH keys, for the tests of signed heads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rlaif.audit.signed_heads import NAMESPACE

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


class Signer:
    """Somebody with a key in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._key = name, folder / f"key_of_{name}"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self._key)]
        subprocess.run(command, check=True, timeout=60)

    def line(self, *options: str) -> str:
        """The signer's line of an allowed_signers file; without options only for heads of chains."""
        kind, key, *_ = self._key.with_suffix(".pub").read_text().split()
        given = ",".join(options) or f'namespaces="{NAMESPACE}"'
        return f"{self.name} {given} {kind} {key}\n"

    def sign(self, text: Path, *, namespace: str = NAMESPACE) -> Path:
        """Sign a text as `rlaif audit head` says; the signature's file."""
        signature = text.with_name(f"{text.name}.{self.name}.sig")
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self._key), "-n", namespace]
        with text.open("rb") as given, signature.open("wb") as made:
            subprocess.run(command, stdin=given, stdout=made, stderr=subprocess.DEVNULL, check=True, timeout=60)
        return signature
