"""Contrasts: how questions are rendered, what is recorded, and how scores become labels and rewards."""

from __future__ import annotations

import math

import pytest

from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.constitution.principles import parse_constitution
from rlaif.constitution.render import load_template, rendered_digest, template_from_source
from rlaif.errors import ConfigError, ConstitutionError, TemplateError
from rlaif.judging.modes import contrast
from rlaif.judging.questions import key_of, render_question
from rlaif.judging.setup import check_judge
from rlaif.judging.verdict import read_answer
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, Judgement, Message, Observed, Principle, Prompt, Sample

TEMPLATE = load_template("contrast")
WARM = Principle(id="warm", text="Reply warmly.", opposite="Reply coldly.")
PROMPT = Prompt(messages=(Message(role="user", content="How are you?"),))
SOURCE = "---\nkind: contrast\ntrusted: [principle]\nscale: 0.1\n---\n{{ principle }}\n"


def sample(text: str, finish_reason: str = "stop") -> Sample:
    return Sample(prompt_id=PROMPT.id, policy_id="p", finish_reason=finish_reason, text=text)


def judgement(score: float) -> Judgement:
    return Judgement(question_id="q", score=score, log_likelihoods=(-3.0, -4.0), num_response_tokens=10, raw_reply="")


def shown(principle: Principle, *, prompt: Prompt = PROMPT, one: Sample | None = None) -> list[tuple[str, str]]:
    rendered = render_question(prompt, [one or sample("Well!")], principle, template=TEMPLATE)
    return [(message.role, message.text) for message in rendered]


def test_the_response_is_read_after_the_principle_and_after_its_opposite():
    assert shown(WARM) == [
        ("system", "Reply warmly."), ("user", "How are you?"), ("response", "Well!"),
        ("system", "Reply coldly."), ("user", "How are you?"), ("response", "Well!"),
    ]  # fmt: skip


def test_without_an_opposite_the_second_reading_has_no_instruction():
    roles = [role for role, _ in shown(Principle(id="warm", text="Reply warmly."))]
    assert roles == ["system", "user", "response", "user", "response"]


def test_a_system_turn_of_the_prompt_follows_the_instruction_and_stays_untrusted():
    prompt = Prompt(messages=(Message(role="system", content="You sell tea."), *PROMPT.messages))
    rendered = render_question(prompt, [sample("Well!")], WARM, template=TEMPLATE)
    assert rendered[0].text == "Reply warmly.\n\nYou sell tea."
    assert [segment.trusted for segment in rendered[0].segments] == [True, True, False]
    assert [message.role for message in rendered] == ["system", "user", "response"] * 2


def test_a_response_that_was_cut_off_is_another_question_than_a_whole_one():
    cut = shown(WARM, one=sample("Well!", "length"))
    assert cut[2] == ("response, cut off", "Well!")
    assert shown(WARM, one=sample("Well!", "recorded"))[2][0] == "response"
    digests = {
        rendered_digest(render_question(PROMPT, [sample("Well!", reason)], WARM, template=TEMPLATE))
        for reason in ("stop", "length")
    }
    assert len(digests) == 2


def test_the_opposites_digest_is_in_the_key_of_a_contrast_alone():
    assert key_of(WARM, template=TEMPLATE).opposite_digest == WARM.opposite_digest
    assert key_of(WARM, template=load_template("pair")).opposite_digest == ""
    assert "opposite" not in key_of(WARM, template=load_template("pair")).model_dump_json()


def read(reply: ScoredReply, *, source: str = SOURCE) -> Judgement | FailedJudgement:
    return read_answer(
        reply, question_id="q", template=template_from_source(source, name="mine"), num_shown=1, min_label_mass=0.5,
        attempt=1, observed=Observed(),
    )  # fmt: skip


def reply(*likelihoods: float, tokens: int = 4) -> ScoredReply:
    return ScoredReply("", None, (), 10, 0, likelihoods=likelihoods, response_tokens=tokens)


def test_a_score_is_the_mean_by_token_or_the_sum():
    by_token, summed = (
        read(reply(-2.0, -6.0)),
        read(reply(-2.0, -6.0), source=SOURCE.replace("scale", "normalise: sum\nscale")),
    )
    assert isinstance(by_token, Judgement)
    assert isinstance(summed, Judgement)
    assert (by_token.score, summed.score) == (1.0, 4.0)
    assert (by_token.log_likelihoods, by_token.num_response_tokens) == ((-2.0, -6.0), 4)


@pytest.mark.parametrize("likelihoods", [(), (-1.0,), (-1.0, math.nan), (-math.inf, -1.0), (0.5, -1.0)])
def test_likelihoods_that_cannot_be_are_a_failure_and_no_number(likelihoods):
    answer = read(reply(*likelihoods))
    assert isinstance(answer, FailedJudgement)
    assert answer.cause in ("non_finite", "impossible_logprobs")


def test_a_label_is_the_difference_of_two_scores_over_the_scale_and_antisymmetric():
    first, second = [judgement(0.25)], [judgement(0.05)]
    said, swapped = contrast.compare(first, second, TEMPLATE), contrast.compare(second, first, TEMPLATE)
    assert said.logit == pytest.approx(2.0)
    assert said.p_first == pytest.approx(1 / (1 + math.exp(-2)))
    assert said.p_first + swapped.p_first == 1
    assert (said.flipped, said.position_effect) == (None, None)


def test_a_reward_is_the_weighted_mean_score_brought_to_minus_one_to_one():
    answers = [[judgement(0.1)], [judgement(-0.2)]]
    found = contrast.worth(answers, weights=[3.0, 1.0], template=TEMPLATE)
    assert found == pytest.approx(math.tanh((3 * 0.1 - 0.2) / 4 / 0.2))


def test_a_template_may_need_an_opposite_and_then_refuses_a_principle_without_one():
    constitution = parse_constitution("name: c\nprinciples: [{id: warm, text: Reply warmly.}]\n", where="c.yaml")
    contrast.check_principles(constitution, template=TEMPLATE)
    needing = template_from_source(SOURCE.replace("scale", "opposite: needed\nscale"), name="mine")
    with pytest.raises(ConstitutionError, match='principle "warm" has no opposite'):
        contrast.check_principles(constitution, template=needing)


def test_an_engine_without_likelihoods_is_refused_before_anything_is_loaded():
    constitution = parse_constitution("name: c\nprinciples: [{id: warm, text: Reply warmly.}]\n", where="c.yaml")
    scripted = JudgeConfig(model=JudgeModelConfig(engine="scripted", path="rlaif.models.scripted_engine:prefer_longer"))
    with pytest.raises(ConfigError, match="`engine: scripted` gives no log-likelihood of a given response"):
        check_judge(scripted, constitution=constitution, template=TEMPLATE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("verdict_marker: x", "has no `verdict_marker`"),
        ('scores: [" 1", " 2"]', "has no `scores`"),
        ("system: Be good.", "has no `system`"),
        ("untrusted: [response]", "has no `untrusted`"),
        ("normalise: words", "`normalise` must be tokens or sum"),
        ("opposite: never", "`opposite` must be optional or needed"),
    ],
)
def test_keys_that_do_not_belong_to_a_contrast_are_refused(line, words):
    with pytest.raises(TemplateError, match=words):
        template_from_source(SOURCE.replace("scale", f"{line}\nscale"), name="mine")


@pytest.mark.parametrize("scale", ["0", "-1", "true", ".inf", "much"])
def test_a_scale_is_a_number_above_zero(scale):
    with pytest.raises(TemplateError, match="`scale` must be a number above 0"):
        template_from_source(SOURCE.replace("0.1", scale), name="mine")


def test_a_template_that_is_answered_has_no_keys_of_a_contrast():
    pair = load_template("pair").source.replace("kind: pair", "kind: pair\nscale: 1")
    with pytest.raises(TemplateError, match="a pair template has no `scale`"):
        template_from_source(pair, name="mine")
