"""Small seeded runs leave the records, preferences and weights that they left when their digests were stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_once import make_once
from seeded_runs import RUNS, STORED, take_elsewhere

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def stored() -> Mapping[str, Any]:
    digests: dict[str, Any] = json.loads(STORED.read_text())
    return digests


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    def take(folder: Path) -> None:
        (folder / "digests.json").write_text(json.dumps(take_elsewhere(list(RUNS), folder / "runs")))

    made = make_once(tmp_path_factory, "seeded", take)
    digests: dict[str, Any] = json.loads((made / "digests.json").read_text())
    return digests


def test_every_seeded_run_has_its_digests(stored: Mapping[str, Any]) -> None:
    assert list(stored["runs"]) == list(RUNS)


@pytest.mark.parametrize("name", list(RUNS))
def test_a_seeded_run_leaves_the_same_bytes(name: str, stored: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    if name != "recorded" and taken["arithmetic"] != stored["arithmetic"]:
        pytest.skip("the shipped models' outputs have other bits on this machine than where the digests were stored")
    assert taken["runs"][name] == stored["runs"][name]
