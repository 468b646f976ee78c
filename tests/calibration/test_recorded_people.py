"""Real people and real judges: 999 pairs of PandaLM, three people each, and the recorded verdicts of GPT-3.5.

They are another's data, so they stand beside the repository; without them these tests are skipped.
benchmarks/people_recorded.py and benchmarks/people_edits_recorded.py measure the same with more runs.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from rlaif.calibration.edit_test import gain
from rlaif.calibration.ppi import Rated, estimate_rate
from rlaif.records import EditItem, Verdict
from rlaif.stats.betting import even_stream, log_capitals

PANDALM = Path(__file__).parents[3] / "shared" / "data" / "pandalm"
SIDES = {"1": 1.0, "2": 0.0}
"""Anything else, a tie or an unreadable reply, is one half."""

pytestmark = pytest.mark.skipif(not PANDALM.is_dir(), reason="PandaLM is not in ../shared/data/pandalm")


class Pairs(NamedTuple):
    people: NDArray[np.float64]
    judged: NDArray[np.float64]
    longer: NDArray[np.float64]
    """1 where the first reply is the longer one, -1 where the second is, else 0."""


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    rows = json.loads((PANDALM / "testset-v1.json").read_text())
    verdicts = json.loads((PANDALM / "gpt-3.5-turbo-testset-v1.json").read_text())
    votes = [[SIDES.get(str(row[f"annotator{n}"]), 0.5) for n in (1, 2, 3)] for row in rows]
    lengths = [len(str(row["response1"])) - len(str(row["response2"])) for row in rows]
    return Pairs(
        np.array([statistics.mode(one) for one in votes]),
        np.array([SIDES.get(str(row["gpt_result"]), 0.5) for row in verdicts]),
        np.sign(np.array(lengths, dtype=np.float64)),
    )


def test_the_interval_from_a_hundred_labels_holds_what_all_people_say_and_is_narrower_than_without_the_judge(
    pairs: Pairs,
) -> None:
    rng, truth = np.random.default_rng(0), float(pairs.people.mean())
    features = np.stack([4 * pairs.judged - 2, pairs.longer, np.ones(999)], axis=1)
    held, widths, alone = 0, 0.0, 0.0
    for _ in range(100):
        said = np.full(999, np.nan)
        at = rng.choice(999, size=100, replace=False)
        said[at] = pairs.people[at]
        rate = estimate_rate(Rated(features, said, np.arange(999), np.ones(999)))
        assert rate is not None
        held += rate.estimate.low <= truth <= rate.estimate.high
        widths += rate.estimate.high - rate.estimate.low
        alone += rate.people.high - rate.people.low
    assert held >= 90  # of 1,000 draws the benchmark counts 96.5 %
    assert widths < 0.9 * alone


def test_the_judges_own_mean_is_not_what_people_say_of_longer_replies(pairs: Pairs) -> None:
    longer = pairs.longer != 0
    people, judged = (np.where(pairs.longer > 0, side, 1 - side)[longer] for side in (pairs.people, pairs.judged))
    half = 1.96 * float(judged.std(ddof=1)) / len(judged) ** 0.5
    assert abs(judged.mean() - people.mean()) > half


def test_an_edit_that_turns_as_many_verdicts_for_the_better_as_for_the_worse_is_seldom_certified(pairs: Pairs) -> None:
    words: dict[float, Verdict] = {1.0: "first", 0.0: "second"}
    gains = np.array([
        gain(_turned(words[judged], words[1 - judged]), side)
        for judged, side in zip(pairs.judged.tolist(), pairs.people.tolist(), strict=True)
        if judged != 0.5
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    flips = np.array([
        rng.permutation(np.concatenate([rng.choice(gains[gains == u], size=n, replace=False) for u, n in SHARES]))
        for _ in range(400)
    ])  # fmt: skip
    capitals = log_capitals(even_stream(flips, list_size=100), null=0.5, side="above")
    assert (capitals.max(axis=1) >= np.log(20)).mean() < 0.09  # 5 % and the noise of 400 runs


SHARES = ((1.0, 45), (0.5, 10), (0.0, 45))
"""Flips for the better, on which people tie, and for the worse."""


def _turned(old: Verdict, new: Verdict) -> EditItem:
    return EditItem(item_id="", prompt_id="", sample_ids=("a", "b"), old=old, new=new, lengths=(0, 0))
