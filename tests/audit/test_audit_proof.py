"""benchmarks/audit_proof.py: a record rewritten as a whole is found up to a signed head, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from signers import needs_ssh_keygen

CHECKOUT = Path(__file__).parents[2]


@needs_ssh_keygen
@pytest.mark.heavy
def test_a_rewritten_record_is_found_up_to_the_signed_head_and_not_after_it_and_not_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import audit_proof  # type: ignore[import-not-found]

    measured = audit_proof.measure(tmp_path, num=12, pairs=3)
    before, after = measured["up_to_the_signed_head"], measured["after_it"]
    assert (before["found_with_signatures"], before["found_without"]) == (12, 0)
    assert (after["found_with_signatures"], after["found_without"]) == (0, 0)
    assert len(before["kinds"]) > 2
