"""The methods of a run: the chain that a configuration asks for, and what cannot be one."""

from __future__ import annotations

import pytest

from rlaif.config.load import load_config, load_options, parse_stored
from rlaif.config.methods import Chain, add_method
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError

DEMONSTRATIONS = "sft.demonstrations=d.jsonl"
VERIFIER = "verifier.answer=answers:find"


@pytest.mark.parametrize(
    ("overrides", "before", "after"),
    [
        ([], (), ("ppo",)),
        ([DEMONSTRATIONS], ("sft",), ("ppo",)),
        (["ppo.algorithm=rloo", DEMONSTRATIONS], ("sft",), ("rloo",)),
        (["methods=[sft, dpo]", DEMONSTRATIONS], ("sft",), ("dpo",)),
        (["methods=[sft]", DEMONSTRATIONS], (), ("sft",)),
        (["methods=[dpo, sft]", DEMONSTRATIONS], (), ("dpo", "sft")),
        (["methods=[kto, ppo]", DEMONSTRATIONS], (), ("kto", "ppo")),
        (["methods=[ppo]", "ppo.algorithm=grpo"], (), ("grpo",)),
        (["methods=[grpo]"], (), ("grpo",)),
        (["methods=[reft]", DEMONSTRATIONS, VERIFIER], (), ("reft",)),
        (["methods=[reft, ppo]", DEMONSTRATIONS, VERIFIER], ("reft",), ("ppo",)),
    ],
)
def test_methods_of_demonstrations_alone_train_before_sampling_where_another_one_follows(
    overrides: list[str], before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert load_config(overrides=overrides).chain == Chain(before, after)  # type: ignore[arg-type]


def test_a_list_that_names_rloo_or_grpo_sets_the_algorithm_and_its_options_are_checked_for_it() -> None:
    assert load_config(overrides=["methods=[rloo]"]).ppo.algorithm == "rloo"
    with pytest.raises(ConfigError, match="lam does nothing with algorithm: grpo"):
        load_config(overrides=["methods=[grpo]", "ppo.lam=0.9"])
    with pytest.raises(ConfigError, match="methods has rloo and ppo.algorithm is grpo: leave ppo.algorithm out"):
        load_config(overrides=["methods=[rloo]", "ppo.algorithm=grpo"])


def test_a_run_that_is_continued_may_change_from_rloo_to_grpo_by_the_list_alone() -> None:
    loaded = load_options(overrides=["methods=[rloo]"])
    stored = {"config": loaded.config.model_dump(mode="json"), "resolved": dict(loaded.resolved)}
    assert parse_stored(stored, where="x", overrides=["methods=[grpo]"]).config.ppo.algorithm == "grpo"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["methods=[dpo, dpo]"], '"methods": dpo is in it twice, and its options are there once: leave one out'),
        (["methods=[ppo, rloo]"], '"methods": ppo and rloo share the options of `ppo`: keep one of them'),
        (["methods=[sft, ppo]"], "methods has sft, which learns demonstrations: name some by sft.demonstrations"),
        (["methods=[reft]"], "methods has reft, which learns demonstrations: name some by sft.demonstrations"),
        (["methods=[reft]", DEMONSTRATIONS], "reft, which learns from verified answers: name a function by"),
        (
            ["verifier.correct=a:b"],
            "correct is given and answer is not: name a function that finds a response's answer",
        ),
        (["verifier.answer=answers"], "verifier.answer"),
        (["reft.wrong=1"], "right must be above wrong and no_answer"),
        (["methods=[dop]"], 'did you mean "dpo"?'),
        (["methods=dpo"], "write a list, each one of sft, ift, rft, irft, reft, seft, dpo, kto, ppo, rloo, grpo"),
        (["dpo.split=train"], "a split is given and no preferences"),
        (["kto.batch_size=8", "kto.micro_batch_size=3"], "micro_batch_size 3 does not divide batch_size 8"),
        (["kto.batch_size=1"], "at least 2"),
    ],
)
def test_what_cannot_be_a_chain_is_refused_in_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(overrides=overrides)
    assert sentence in refused.value.sentence


@pytest.mark.parametrize(
    ("overrides", "prefers", "trains_reward_model"),
    [
        ([], True, True),
        (["methods=[dpo]"], True, False),
        (["methods=[dpo]", "dpo.preferences=p.jsonl"], False, False),
        (["methods=[dpo, ppo]", "dpo.preferences=p.jsonl"], True, True),
        (["methods=[kto, ppo]", "ppo.rewards=[{judge: true}]"], True, False),
        (["methods=[ppo]", "ppo.rewards=[{judge: true}]"], False, False),
        (["methods=[sft]", DEMONSTRATIONS], False, False),
    ],
)
def test_preferences_and_a_reward_model_are_made_only_for_a_method_that_needs_them(
    overrides: list[str], prefers: bool, trains_reward_model: bool
) -> None:
    config = load_config(overrides=overrides)
    assert (config.needs_preferences, config.trains_reward_model) == (prefers, trains_reward_model)


def test_one_further_method_comes_after_what_trained_before_sampling() -> None:
    assert add_method(load_config(overrides=[DEMONSTRATIONS]).chain, "dpo") == ("sft", "dpo")
    assert add_method(RunConfig().chain, "kto") == ("kto",)
    assert add_method(RunConfig().chain, "sft") == ("sft",)
