"""The record of revisions: written whole, read again, counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.errors import RunFolderError
from rlaif.policy.methods.revision_record import Revision, count_revisions, find_learnt, read_revisions, write_revisions
from rlaif.records import Message, Prompt

PROMPT = Prompt(messages=(Message(role="user", content="When do you open?"),))
KEPT = Revision(
    round=1, prompt_id=PROMPT.id, original="Nine.\u2028", score=-0.5, judgement_ids=("j",), tag="MINOR",
    revised="At nine.", revised_score=0.25, revised_judgement_ids=("k",),
)  # fmt: skip
WORSE = KEPT.model_copy(update={"round": 2, "revised_score": -0.75, "dropped": "worse"})


def test_rounds_are_read_in_their_order_as_they_were_written(tmp_path: Path) -> None:
    write_revisions([WORSE], tmp_path, round=2)
    write_revisions([KEPT, KEPT], tmp_path, round=1)
    assert list(read_revisions(tmp_path)) == [KEPT, KEPT, WORSE]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_revisions([KEPT], tmp_path, round=1)
    path = tmp_path / "revisions" / "round_01.jsonl"
    path.write_text(path.read_text().replace('"MINOR"', '"SMALL"'))
    with pytest.raises(RunFolderError, match=r"round_01\.jsonl"):
        list(read_revisions(tmp_path))


def test_what_was_dropped_is_counted_and_the_rest_is_learnt() -> None:
    tally = count_revisions([KEPT, WORSE, WORSE])
    assert (tally.num_in, tally.dropped) == (3, {"worse": 2})
    assert find_learnt([KEPT, WORSE], [PROMPT]) == [(PROMPT, "At nine.")]
