"""An option that does nothing under another option's value is refused by name, and stored configurations are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from rlaif.config.base import TYPED
from rlaif.config.load import parse_config
from rlaif.config.ppo import PpoConfig
from rlaif.errors import ConfigError

SEPARATE = {"value_model": "separate", "value_learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"algorithm": "rloo", "lam": 0.9}, "lam does nothing with algorithm: rloo"),
        ({"algorithm": "grpo", "lam": 0.9}, "lam does nothing with algorithm: grpo"),
        ({"algorithm": "rloo", "gamma": 0.9}, "gamma does nothing with algorithm: rloo"),
        ({"algorithm": "rloo", "value_warmup_steps": 5}, "value_warmup_steps does nothing with algorithm: rloo"),
        ({"kl_target": 3.0}, "kl_target does nothing without adaptive_kl: true"),
        ({"truncated": "mask", "missing_eos_penalty": 2.0}, "missing_eos_penalty does nothing with truncated: mask"),
        ({"learning_rate": 0.0, "model": SEPARATE}, "value_learning_rate falls as learning_rate does, which is 0"),
        ({"model": {"num_layers": 3}}, "num_layers does nothing with train: all"),
        ({"model": {"train": "last_layers", "lora": {"rank": 4}}}, "lora does nothing with train: last_layers"),
        ({"guards": {"alarm_factor": 0.7}}, "alarm_factor does nothing with on_alarm: stop"),
        ({"guards": {"on_alarm": "lower_rate", "max_roll_backs": 3}}, "max_roll_backs does nothing"),
        ({"guards": {"patience": 3}}, "patience does nothing without held_out_model or judge_every"),
        ({"guards": {"max_win_rate_drop": 0.2}}, "max_win_rate_drop does nothing without judge_every"),
        ({"guards": {"evaluate_every": None, "num_prompts": 9}}, "num_prompts does nothing with evaluate_every: null"),
        ({"rollout": {"dtype": "bfloat16"}}, "dtype does nothing with engine: transformers"),
    ],
)
def test_an_option_that_does_nothing_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        PpoConfig.model_validate(given, context=TYPED)
    with pytest.raises(ConfigError, match=named):
        parse_config(json.dumps({"ppo": given}), where="config.yaml")


@pytest.mark.parametrize(
    "given",
    [
        {"algorithm": "rloo", "vf_coef": 0, "value_warmup_steps": 0}, {"adaptive_kl": False, "kl_target": 3.0},
        {"truncated": "mask", "missing_eos_penalty": 0}, {"guards": {"max_win_rate_drop": None}},
        {"adaptive_kl": True, "kl_target": 3.0}, {"model": SEPARATE},
        {"guards": {"on_alarm": "roll_back", "alarm_factor": 0.7}},
    ],
)  # fmt: skip
def test_an_option_that_says_off_or_does_something_is_taken(given: dict[str, Any]) -> None:
    PpoConfig(**given)


def test_a_stored_configuration_with_an_option_that_does_nothing_is_still_read() -> None:
    given = {"ppo": {"algorithm": "rloo", "lam": 0.9, "kl_target": 3.0, "guards": {"patience": 3}}}
    stored = PpoConfig.model_validate(given["ppo"], context={"stored": True})
    config = parse_config(json.dumps({"ppo": stored.model_dump(mode="json")}), where="config.json", is_complete=True)
    assert config.ppo == stored
