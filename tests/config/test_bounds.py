"""No number in the options is without bound, and a refusal says what the number means."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.config.load import load_config, parse_config
from rlaif.config.options import Option, describe_config, describe_items
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError

NUMBERS = [option for option in describe_config(RunConfig) if "number" in option.expected]
ITEMS = [option for option in describe_items(RunConfig) if "number" in option.expected]
MANY_PAIRS = ("num_samples=100", "num_pairs=999")
HUGE = st.one_of(
    st.integers(min_value=10**16, max_value=10**99),
    st.floats(min_value=1e16, allow_nan=False, allow_infinity=False),
    st.sampled_from([float("inf"), float("nan")]),
)


def refusal(override: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    return caught.value.sentence


@pytest.mark.parametrize("option", [*NUMBERS, *ITEMS], ids=lambda option: option.dotted)
def test_every_number_has_a_bound_above(option: Option):
    assert "at most" in option.expected or "below" in option.expected


@settings(max_examples=examples(60), deadline=None)
@given(option=st.sampled_from(NUMBERS), value=HUGE, sign=st.sampled_from([1, -1]))
def test_a_number_beyond_all_use_is_one_sentence(option: Option, value: float, sign: int):
    shown = json.dumps(sign * value).replace("NaN", ".nan").replace("Infinity", ".inf")
    assert option.dotted in refusal(f"{option.dotted}={shown}")


def test_the_refusal_says_what_the_number_means_and_what_is_usual():
    assert refusal("sampling.num_samples=1000000000") == (
        '"sampling.num_samples" is 1000000000 (--set sampling.num_samples=1000000000): write a whole number at least '
        "2, at most 1024 (Responses per prompt; 2 to 16 are usual; by default 4)"
    )
    assert "Usual: 5e-7 to 3e-6" in refusal("ppo.learning_rate=1e10")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["prompts.num_prompts=5000000"], "the front desk draws at most 1,000,000"),
        (["prompts.num_prompts=900000", "rounds=2"], "the front desk draws at most 1,000,000"),
        (
            ["prompts.path=p.jsonl", "prompts.num_prompts=1000000", "sampling.num_samples=1000"],
            "prompts.num_prompts times sampling.num_samples is 1,000,000,000",
        ),
        (
            ["prompts.path=p.jsonl", "prompts.num_prompts=1000000", *(f"sampling.{n}" for n in MANY_PAIRS)],
            "prompts.num_prompts times sampling.num_pairs is 999,000,000",
        ),
        (["evaluation.num_prompts=1000000", "evaluation.num_samples=1000"], "evaluation.num_prompts times"),
        (["sampling.batch_size=100000", "sampling.max_new_tokens=100000"], "tokens drawn together"),
    ],
)  # fmt: skip
def test_sizes_that_are_too_large_together_are_refused_at_once(overrides, words):
    started = time.monotonic()
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        load_config(overrides=overrides)
    assert time.monotonic() - started < 5


def test_a_long_text_is_refused_and_a_negative_zero_is_zero():
    assert "at most 4096 characters long" in refusal(f"policy.path={'a' * 5000}")
    config = parse_config("ppo: {kl_coef: -0.0}", where="x")
    assert str(config.ppo.kl_coef) == "0.0"


def test_a_number_that_is_not_finite_is_refused_where_anything_may_stand():
    sentence = refusal("judge.endpoint.extra_body={a: [1, 1e999]}")
    assert sentence.startswith('"judge.endpoint.extra_body.a.1" is inf (--set judge.endpoint.extra_body=')


def test_sizes_of_a_very_large_run_are_taken():
    big = [
        "prompts.path=p.jsonl", "prompts.num_prompts=5000000", "sampling.num_samples=16", "rounds=20",
        "sampling.max_new_tokens=32768", "sampling.batch_size=4096", "judge.max_tokens=100000000000",
        "scale.num_workers=1024", "ppo.num_steps=20000", "ppo.num_prompts_per_step=4096",
    ]  # fmt: skip
    assert load_config(overrides=big).sampling.num_samples == 16
