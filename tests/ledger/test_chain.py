"""The chain's link covers every part of a row, each with its length."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from rlaif.ledger.chain import GENESIS, link

ROW: dict[str, Any] = {
    "seq": 1,
    "table": "judgements",
    "record_id": "ab",
    "content": '{"x":1}',
    "observed": '{"t":2}',
}


def test_the_link_is_sha256_of_the_head_before_the_lengths_and_the_parts() -> None:
    said = b'1 judgements 2 7 7\nab{"x":1}{"t":2}'
    assert link(GENESIS, **ROW) == sha256(bytes(32) + said).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2}, {"table": "samples"}, {"record_id": "ac"}, {"content": '{"x":2}'},
        {"observed": '{"t":3}'}, {"observed": None}, {"observed": ""},
        {"record_id": "ab{", "content": '"x":1}'},
        {"content": '{"x":1}{', "observed": '"t":2}'}, {"content": '{"x":1}{"t":2}', "observed": None},
    ],
)  # fmt: skip
def test_any_other_row_has_another_link(change: dict[str, Any]) -> None:
    assert link(GENESIS, **{**ROW, **change}) != link(GENESIS, **ROW)


def test_nothing_observed_is_not_the_same_as_an_empty_observation() -> None:
    assert link(GENESIS, **{**ROW, "observed": None}) != link(GENESIS, **{**ROW, "observed": ""})


def test_another_head_before_gives_another_link() -> None:
    assert link(bytes([1, *bytes(31)]), **ROW) != link(GENESIS, **ROW)
