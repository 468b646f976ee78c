"""Which measures a run has where none is configured."""

from __future__ import annotations

import pytest

from rlaif.config.evaluation import PLAIN_MEASURES
from rlaif.config.load import load_config
from rlaif.run.world import FRONTDESK_MEASURE, find_measures


@pytest.mark.parametrize(
    ("overrides", "measures"),
    [
        ([], (FRONTDESK_MEASURE,)),
        (["prompts.path=p.jsonl"], ()),
        (["prompts.path=p.jsonl", "policy.path=org/chat"], PLAIN_MEASURES),
        (["policy.path=org/chat"], (FRONTDESK_MEASURE,)),
        (["prompts.path=p.jsonl", "policy.path=org/chat", "evaluation.measures=[sentiment]"], ("sentiment",)),
    ],
)
def test_a_policy_that_is_not_the_front_desks_is_measured_by_the_built_in_measures(
    overrides: list[str], measures: tuple[str, ...]
) -> None:
    assert find_measures(load_config(overrides=overrides)) == measures
