"""A head of the chain that a person signed with a key of their own, taken into the ledger with text and signature.

Holds no key. The signature is checked again by whoever reads it, with signers of their own choice.
"""

from __future__ import annotations

from typing import ClassVar

from rlaif.records.base import Observed, Record


class SignOff(Record):
    """That somebody vouches for the chain up to a row."""

    table: ClassVar[str] = "sign_offs"
    seq: int
    """The row that was signed."""
    head: str
    """The chain's head after that row."""
    signer: str
    """Whose signature it was by the signers that were allowed when it was taken in."""
    at: str
    """UTC, as the text states it."""
    text: str
    """What was signed, `rlaif chain head v1`."""
    signature: str
    """OpenSSH's signature of the text."""
    observed: Observed = Observed()
