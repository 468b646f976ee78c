"""A judge that is a function: what it may return, and that an edit makes it another judge."""

import math
import sys

import pytest

from rlaif.constitution.render import load_template, render
from rlaif.errors import ConfigError, DataError
from rlaif.judging.questions import score_request
from rlaif.models.scripted_engine import ScriptedEngine

TEMPLATE = load_template("pair")
SOURCE = """
from rlaif.models.scripted_engine import ScriptedAnswer

def prefer_short(question):
    conversation, first, second = question.texts
    assert conversation == "user: When?" and "Be brief." in question.prompt and question.choices == (" A", " B")
    if "STOP" in first:
        return "refused"
    return ScriptedAnswer((0.9, 0.05) if len(first) < len(second) else (0.05, 0.9), reason="Shorter.")

def broken(question):
    return (0.9, 0.9)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_judge.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "my_judge.py"
    sys.modules.pop("my_judge", None)


def ask(spec: str, first: str, second: str):
    chat = render(TEMPLATE, conversation="user: When?", first=first, second=second, principle="Be brief.")
    [reply] = ScriptedEngine(spec).score([chat], request=score_request(TEMPLATE))
    return reply


def test_a_function_answers_with_probabilities_a_reason_or_a_failure(module):
    reply = ask("my_judge:prefer_short", "Nine.", "At nine o'clock.")
    assert reply.logprobs == pytest.approx((math.log(0.9), math.log(0.05)))
    assert (reply.reason, reply.raw_reply) == ("Shorter.", "Shorter.Verdict: A")
    assert ask("my_judge:prefer_short", "STOP", "b").failure == "refused"


def test_an_answer_that_is_no_probability_is_refused(module):
    with pytest.raises(DataError, match=r'"my_judge:broken" answered \(0.9, 0.9\)'):
        ask("my_judge:broken", "a", "b")


def test_whoever_edits_the_module_has_another_judge(module):
    before = ScriptedEngine("my_judge:prefer_short").fingerprint.id
    assert ScriptedEngine("my_judge:broken").fingerprint.id != before
    sys.modules.pop("my_judge")
    module.write_text(SOURCE + "\n")
    assert ScriptedEngine("my_judge:prefer_short").fingerprint.id != before


def test_a_function_that_is_not_there_is_named(module):
    with pytest.raises(ConfigError, match='no function "prefer_none"'):
        ScriptedEngine("my_judge:prefer_none")


def test_the_shipped_script_prefers_the_longer_reply_and_is_fair_to_the_order():
    spec = "rlaif.models.scripted_engine:prefer_longer"
    assert ask(spec, "x" * 40, "x" * 20).logprobs == pytest.approx((-math.log1p(math.exp(-1)), -math.log1p(math.e)))
    assert ask(spec, "x" * 20, "x" * 40).logprobs == ask(spec, "x" * 40, "x" * 20).logprobs[::-1]


def test_the_shipped_script_is_the_judge_that_it_was_in_the_first_release():
    engine = ScriptedEngine("rlaif.models.scripted_engine:prefer_longer")
    assert engine.fingerprint.weights == "3ca87e6b852a0ed003a4c4fac9e4fad4bf478752c5992893426a0f7b15dd86d5"
