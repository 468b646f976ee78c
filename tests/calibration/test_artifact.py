"""A calibration as a file: written once, and refused wherever something that it is bound to is another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.calibration.artifact import (
    BoundJudge,
    CalibrationFile,
    read_calibration,
    refuse_changed,
    refuse_other_judge,
    write_calibration,
)
from rlaif.errors import DataError
from rlaif.records import Agreement, CalibrationCard, CalibrationMap, Estimate

AGREEMENT = Agreement(n=1, share=Estimate(mean=1.0, low=0.2, high=1.0, n=1), kappa=None, ac1=None, base_rates={})
CARD = CalibrationCard(
    judge_id="judge", constitution_id="c" * 32, labels_digest="d", num_labels=1, num_annotators=1, simulated=False,
    before=AGREEMENT, after=AGREEMENT, between_people=None, map=CalibrationMap(kind="temperature", slope=0.7),
    log_loss={"identity": 0.7}, human_weight=5.0,
)  # fmt: skip
FOUND = CalibrationFile(
    run="monday",
    judges=(
        BoundJudge(name="small", judge_id="a" * 32, template_digest="t" * 64),
        BoundJudge(name="large", judge_id="b" * 32, template_digest=None),
    ),
    constitution_name="polite",
    constitution_id="c" * 32,
    making={"verdicts": "hard"},
    card=CARD,
)
SAME: dict[str, Any] = {
    "judges": [("small", "a" * 32), ("large", "b" * 32)],
    "templates": ["t" * 64, None],
    "weights": [1.0, 1.0],
    "constitution_id": "c" * 32,
    "making": {"verdicts": "hard"},
}


def test_what_is_read_is_what_was_written_and_a_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cal.json"
    write_calibration(path, FOUND)
    assert read_calibration(path) == FOUND
    assert read_calibration(path).card.id == CARD.id
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"there is a file already, and nothing is overwritten .*: name another --out"):
        write_calibration(path, FOUND)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["cal.json"]


def test_a_run_that_is_the_same_in_all_may_use_it_and_what_is_not_known_yet_is_not_compared() -> None:
    refuse_changed(FOUND, where="cal.json", **SAME)
    refuse_changed(FOUND, where="cal.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"judges": [("small", "a" * 32), ("larger", "f" * 32)]},
            "the judge is larger (ffffffffffff), and it was fitted to large (bbbbbbbbbbbb)",
        ),
        ({"judges": [("small", "a" * 32)]}, "it maps the labels of 2 judges together, and 1 judge here"),
        (
            {"judges": None, "weights": None, "templates": ["t" * 64]},
            "it maps the labels of 2 judges together, and 1 judge here",
        ),
        (
            {"templates": ["u" * 64, None]},
            "the template of small is another (digest uuuuuuuuuuuu, and it was tttttttttttt)",
        ),
        ({"weights": [1.0, 2.0]}, "the judges' weights in the panel are others"),
        ({"constitution_id": "e" * 32}, 'the constitution is not "polite" as it was then'),
        ({"making": {}}, "the options of `preferences` that make a label are others"),
    ],
)
def test_what_changed_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        refuse_changed(FOUND, where="cal.json", **{**SAME, **change})
    assert caught.value.sentence == (
        f"the calibration does not fit this run: {said} (cal.json): fit one for this run by `rlaif calibrate`, or "
        "leave human.calibration out"
    )


def test_all_that_changed_is_said_at_once() -> None:
    with pytest.raises(DataError, match="the judge is x .*; the template of large .*; the constitution is not"):
        refuse_changed(
            FOUND,
            where="cal.json",
            judges=[("x", "x"), ("large", "b" * 32)],
            templates=["t" * 64, "v" * 64],
            constitution_id="e",
        )


def test_one_judge_is_compared_with_the_one_of_its_number() -> None:
    refuse_other_judge(FOUND, number=2, name="large", judge_id="b" * 32, where="cal.json")
    with pytest.raises(DataError, match="fitted to large"):
        refuse_other_judge(FOUND, number=2, name="small", judge_id="a" * 32, where="cal.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({"format": "rlaif calibration 9"})])
def test_a_file_that_is_no_calibration_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "cal.json").write_text(text)
    with pytest.raises(DataError, match="make it again by `rlaif calibrate`"):
        read_calibration(tmp_path / "cal.json")
    with pytest.raises(DataError, match="make it again by `rlaif calibrate`"):
        read_calibration(tmp_path / "none.json")
