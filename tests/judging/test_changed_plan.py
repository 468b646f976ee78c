"""A stored plan of questions that are not asked for now: what has changed is said, instead of a KeyError."""

from pathlib import Path

import pytest
from judging_world import all_pairs, judge, make_prompts, make_replies

from rlaif.errors import RunFolderError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"script": "by_worth_or_tie"}, "the judge's fingerprint changed from "),
        ({"template": "pair_tie"}, "the judge's template changed since the stage began"),
    ],
)
def test_what_changed_since_the_plan_was_made_is_named(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    prompts = make_prompts()
    pairs = all_pairs(make_replies(*prompts.values(), "a brief=1 kind=1", "b brief=2 kind=2"))
    judge(tmp_path, pairs, prompts=prompts)
    with pytest.raises(RunFolderError, match=r"questions_plan\.json") as raised:
        judge(tmp_path, pairs, prompts=prompts, **changes)
    assert words in raised.value.sentence


def test_other_responses_are_named(tmp_path: Path) -> None:
    prompts = make_prompts()
    (prompt,) = prompts.values()
    judge(tmp_path, all_pairs(make_replies(prompt, "a brief=1 kind=1", "b brief=2 kind=2")), prompts=prompts)
    with pytest.raises(RunFolderError, match="the prompts or the responses changed since the stage began"):
        judge(tmp_path, all_pairs(make_replies(prompt, "c brief=1 kind=1", "d brief=2 kind=2")), prompts=prompts)
