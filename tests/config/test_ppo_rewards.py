"""The sources of PPO's rewards as a user writes them, and the sentence that each mistake earns."""

from __future__ import annotations

import pytest

from rlaif.config.load import parse_config
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_rewards import RewardConfig, find_sources, uses_run_model
from rlaif.errors import ConfigError


def parse(rewards: str) -> PpoConfig:
    lines = "".join(f"    {line}\n" for line in rewards.splitlines())
    return parse_config(f"ppo:\n  rewards:\n{lines}", where="rlaif.yaml").ppo


def test_every_kind_of_source_in_a_line() -> None:
    sources = parse(
        """- model: run
- {model: org/some-reward-model, dtype: bfloat16, weight: 0.5}
- {judge: true, weight: 0.5}
- {function: "answers:exact", standardise: false}
- {url: "http://localhost:8000/score", timeout_s: 5, weight: -0.1}"""
    ).rewards
    assert [source.kind for source in sources] == ["model", "model", "judge", "function", "url"]
    assert [source.label for source in sources] == [
        "reward_model", "some-reward-model", "judge", "exact", "localhost",
    ]  # fmt: skip
    assert sources[4].weight == -0.1


def test_without_sources_it_is_the_reward_model_of_the_run() -> None:
    assert find_sources(PpoConfig().rewards) == (RewardConfig(model="run"),)
    assert uses_run_model(PpoConfig().rewards)
    assert not uses_run_model(parse("- judge: true").rewards)


def test_several_sources_are_standardised_unless_one_says_otherwise() -> None:
    assert PpoConfig().standardises == (False,)
    assert PpoConfig(standardise_scores=True).standardises == (True,)
    assert parse('- model: run\n- {function: "a:b", standardise: false}\n- judge: true').standardises == (
        True, False, True,
    )  # fmt: skip
    assert parse("- {judge: true, standardise: true}").standardises == (True,)


@pytest.mark.parametrize(
    ("rewards", "sentence"),
    [
        ("- weight: 2", '"ppo.rewards.0": a source of rewards names one of model, judge, function and url'),
        ("- {model: run, judge: true}", "and this model and judge"),
        ("- {judge: true, timeout_s: 5}", "timeout_s is an option of a source with `url`, and this is"),
        ("- {model: run, batched: true}", "batched is an option of a source with `function`"),
        ("- {modle: run}", 'did you mean "model"'),
        ('- {function: "a:b", wieght: 2}', 'did you mean "weight"'),
        ("- {function: exact}", "ppo.rewards.0.function"),
        ("- {url: localhost:8000}", "url is no address of a server"),
        ("- {url: 'http://me:secret@host/score'}", "url holds more than an address: a user or a password"),
        ("- {judge: true, weight: 0}", "a source with weight 0 would be asked for nothing"),
        ("- judge: true\n- {judge: true, template: score}", 'two sources of rewards are called "judge"'),
        ("- {judge: true, name: 'a/b'}", "ppo.rewards.0.name"),
        ("- judge", '"ppo.rewards.0" is "judge"'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(rewards: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(rewards)
    assert sentence in refused.value.sentence
    assert "secret" not in refused.value.sentence.replace("holds a user", "")
