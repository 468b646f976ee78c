"""Which judge evaluates: the run's own in all that the configuration does not say otherwise."""

from rlaif.config.generate import JudgeConfig, JudgeModelConfig
from rlaif.config.load import parse_config

JUDGE = "judge: {model: {path: org/judge, revision: v1, dtype: bfloat16}, template: pair, batch_tokens: 7}\n"


def evaluation_judge(text: str) -> JudgeConfig:
    config = parse_config(JUDGE + text, where="x")
    return config.evaluation.judge.instead_of(config.judge)


def test_without_a_word_it_is_the_same_judge():
    assert evaluation_judge("") == parse_config(JUDGE, where="x").judge


def test_another_model_does_not_inherit_the_revision_and_is_asked_as_the_judge_is():
    found = evaluation_judge("evaluation: {judge: {model: {path: org/other}}}\n")
    assert found.model == JudgeModelConfig(path="org/other", revision=None, dtype="bfloat16")
    assert (found.template, found.batch_tokens) == ("pair", 7)


def test_the_same_model_may_read_another_template_or_compute_in_another_format():
    found = evaluation_judge("evaluation: {judge: {template: mine, model: {dtype: float32}}}\n")
    assert found.model == JudgeModelConfig(path="org/judge", revision="v1", dtype="float32")
    assert found.template == "mine"
