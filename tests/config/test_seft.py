"""Options of SEFT: what goes together, and what a run with it needs."""

from __future__ import annotations

import pytest

from rlaif.config.load import load_config
from rlaif.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["seft.good_from=0.5"], "good_from does nothing with reviser: trained"),
        (["seft.instruction=Be nicer."], "instruction does nothing with reviser: trained"),
        (["seft.reviser=prompted", "seft.major_from=0.8"], "major_from does nothing with reviser: prompted"),
        (["seft.reviser=prompted", "seft.preferences=p.jsonl"], "preferences does nothing with reviser: prompted"),
        (
            ["seft.reviser=prompted", "seft.good_from=0.1", "seft.major_below=0.2"],
            "major_below is 0.2, above good_from",
        ),
        (["seft.prompts=frontdesk"], "set prompts_per_round"),
        (["seft.split=train_prefs"], "a split is given and no preferences"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(overrides=["methods=[seft]", *options])


@pytest.mark.parametrize(
    ("options", "needs"),
    [([], True), (["seft.reviser=prompted"], False), (["seft.preferences=p.jsonl"], False)],
)
def test_preferences_are_made_for_a_reviser_that_learns_from_the_runs_own_alone(
    options: list[str], needs: bool
) -> None:
    config = load_config(overrides=["methods=[seft]", *options])
    assert config.needs_preferences is needs
    assert not config.trains_reward_model
    assert config.chain.after == ("seft",)
