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


SERVED = "model: {engine: openai, path: m, revision: v1}\nmax_calls: 9\nendpoint: {concurrency: 8, prompt_price: 1}\n"


def test_each_judge_of_a_panel_is_as_the_first_one_in_what_it_does_not_say():
    first, other, local = parse(
        SERVED + "panel:\n- {model: {path: n}, template: pair, weight: 2, endpoint: {temperature: null}}\n"
        "- {model: {engine: transformers, path: org/local}}"
    ).judges()
    assert (first.model.path, first.weight, first.panel, first.max_calls) == ("m", 1, (), 9)
    assert (other.model.engine, other.model.path, other.model.revision) == ("openai", "n", None)
    assert (other.template, other.weight, other.endpoint.temperature, other.endpoint.concurrency) == (
        "pair",
        2,
        None,
        8,
    )
    assert other.max_calls is None, "caps are of all judges together"
    assert (local.model.engine, local.template, local.weight) == ("transformers", first.template, 1)


@pytest.mark.parametrize(
    ("panel", "sentence"),
    [
        ("[{model: {pth: n}}]", 'did you mean "path"'),
        ("[{model: {path: n}, wieght: 2}]", 'did you mean "weight"'),
        ("[{model: {path: n}, weight: 0}]", '"judge.panel.0.weight" is 0 .*: write a number above 0'),
        ("[{model: {path: n}, endpoint: {concurency: 2}}]", "panel: endpoint.concurency: is not an option"),
        ("[{model: {path: n}, endpoint: {num_votes: 2}}]", "several votes at temperature 0 are one vote"),
        ("[{model: {engine: transformers, path: frontdesk}}, {model: {path: m}, template: pair}]", None),
        ("[{template: pair}]", "judge 2 of the panel is a model that judges already"),
        ("[{model: {path: n}}, {model: {path: n, device: cpu}}]", "judge 3 of the panel is a model that judges"),
        ("{model: {path: n}}", "a list, each with model.engine, model.path"),
    ],
)  # fmt: skip
def test_a_panel_that_cannot_be_is_refused_in_a_sentence(panel, sentence):
    if sentence is None:
        assert [judge.model.revision for judge in parse(f"{SERVED}panel: {panel}").judges()] == ["v1", None, None]
        return
    with pytest.raises(ConfigError, match=sentence):
        parse(f"{SERVED}panel: {panel}")


def test_a_cap_in_money_needs_the_prices_of_every_judge_behind_a_server():
    priced = "model: {engine: openai, path: m}\nmax_cost: 5\nendpoint: {prompt_price: 1, reply_price: 1}\n"
    assert len(parse(priced + "panel: [{model: {path: n}}, {model: {engine: scripted, path: a:b}}]").judges()) == 3
    with pytest.raises(ConfigError, match="for every judge that a server answers for"):
        parse(priced + "panel: [{model: {path: n}, endpoint: {reply_price: null}}]")


def test_fewer_judges_than_there_are_can_be_enough_and_more_cannot():
    with pytest.raises(ConfigError, match="min_judges is 2, and there is one judge"):
        parse_config("preferences: {min_judges: 2}", where="x")
    text = "preferences: {min_judges: 2}\njudge: {panel: [{model: {engine: scripted, path: a:b}}]}"
    assert parse_config(text, where="x").preferences.min_judges == 2
