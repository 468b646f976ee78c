"""The judge's options: which engine, what it needs, and what may not be asked of it."""

import pytest

from rlaif.config.load import parse_config
from rlaif.errors import ConfigError


def parse(judge: str):
    return parse_config("judge:\n" + "".join(f"  {line}\n" for line in judge.splitlines()), where="rlaif.yaml").judge


def test_an_endpoint_in_a_few_lines():
    judge = parse(
        """model: {engine: openai, path: Qwen/Qwen3-32B}
template: pair
endpoint: {concurrency: 128, prompt_price: 0.1, reply_price: 0.4, extra_body: {reasoning_effort: low}}
max_cost: 5"""
    )
    assert (judge.model.engine, judge.model.path, judge.endpoint.concurrency, judge.max_cost) == (
        "openai", "Qwen/Qwen3-32B", 128, 5,
    )  # fmt: skip
    assert judge.endpoint.extra_body == {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    ("judge", "sentence"),
    [
        ("model: {engine: openai, path: m}\nmax_cost: 5", "max_cost needs"),
        ("model: {engine: openai, path: m}\nmax_cost: 5\nendpoint: {prompt_price: 1}", "both prices"),
        ("max_cost: 5\nendpoint: {prompt_price: 1, reply_price: 1}", "engine: openai"),
        ("model: {engine: openai}", "needs model.path: the name under which the server serves it"),
        ("model: {engine: scripted}", "needs model.path: module:function"),
        ("endpoint: {num_votes: 5}", "several votes at temperature 0 are one vote"),
        ("endpoint: {extra_body: {max_tokens: 5}}", "extra_body may not hold max_tokens"),
        ("endpoint: {api_key: sk-123}", 'did you mean "judge.endpoint.api_key_env"'),
        ("model: {engine: opena, path: m}", 'did you mean "openai"'),
        ("max_calls: 0", "at least 1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(judge, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse(judge)
