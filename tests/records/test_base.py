"""Records: what an id is made of, and that it never changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlaif.records import (
    Judgement,
    Message,
    Observed,
    Prompt,
    Sample,
    SamplingParams,
    VerdictLogprob,
    digest_text,
    sample_request_key,
)

JUDGEMENT = Judgement(
    question_id="q", verdict="first", logprobs=(VerdictLogprob(verdict="first", logprob=-0.5),), label_mass=0.75,
    raw_reply="A", observed=Observed(at="now", latency_s=1.0),
)  # fmt: skip


def test_content_is_canonical_json_with_texts_as_digests_and_without_what_was_observed() -> None:
    digest = digest_text("A")
    assert JUDGEMENT.content_json == (
        '{"question_id":"q","origin":"asked","verdict":"first","score":null,"ranking":null,'
        '"logprobs":[{"verdict":"first","logprob":-0.5}],"label_mass":0.75,"reason":null,'
        f'"raw_reply":"{digest}"}}'
    )


def test_an_id_is_half_of_sha256_over_the_table_and_the_content() -> None:
    assert JUDGEMENT.id == digest_text(f"judgements\n{JUDGEMENT.content_json}")[:32]
    assert JUDGEMENT.id == "f5dee5e6eafcc82439e306234e1644bd"


def test_what_was_observed_is_not_part_of_an_id() -> None:
    assert JUDGEMENT.changed(observed=Observed(at="later")).id == JUDGEMENT.id
    assert JUDGEMENT.changed(raw_reply="B").id != JUDGEMENT.id


def test_a_prompt_is_its_messages_wherever_they_came_from() -> None:
    prompt = Prompt(messages=(Message(role="user", content="hi"),), source="a")
    assert prompt.changed(source="b", metadata={"x": 1}).id == prompt.id
    assert prompt.changed(messages=(Message(role="user", content="ho"),)).id != prompt.id


def test_a_sample_carries_its_request_key_in_its_content() -> None:
    sample = Sample(prompt_id="p", policy_id="m", params=SamplingParams(), seed=3, finish_reason="stop", text="hi")
    key = sample_request_key(prompt_id="p", policy_id="m", params=SamplingParams(), seed=3, index=0)
    assert sample.request_key == key
    assert json.loads(sample.content_json)["request_key"] == key
    assert sample.changed(text="other").request_key == key
    assert sample.changed(seed=4).request_key != key


def test_a_recorded_sample_is_told_apart_by_its_text() -> None:
    sample = Sample(prompt_id="p", policy_id="m", finish_reason="recorded", text="hi")
    assert sample.request_key != sample.changed(text="other").request_key


def test_unknown_fields_and_numbers_that_are_not_finite_are_refused() -> None:
    for wrong in ({"more": 1}, {"label_mass": float("nan")}, {"verdict": "third"}, {"score": 1.0}):
        with pytest.raises(ValidationError):
            JUDGEMENT.changed(**wrong)


@given(reason=st.none() | st.text(), raw_reply=st.text(), latency=st.floats(0, 1e6))
def test_any_text_comes_back_from_its_stored_form(reason: str | None, raw_reply: str, latency: float) -> None:
    judgement = JUDGEMENT.changed(reason=reason, raw_reply=raw_reply, observed=Observed(latency_s=latency))
    texts = {digest_text(text): text for text in (reason, raw_reply) if text is not None}
    again = Judgement.restore(judgement.content_json, texts=texts, observed_json=judgement.observed.model_dump_json())
    assert again == judgement
    assert again.id == judgement.id


def test_an_empty_field_that_most_records_lack_is_not_in_the_content() -> None:
    scored = JUDGEMENT.changed(verdict=None, logprobs=(), score=1.5, choice_logprobs=(-0.5, None))
    assert '"choice_logprobs":[-0.5,null]' in scored.content_json
    assert "choice_logprobs" not in scored.changed(choice_logprobs=()).content_json
    back = type(scored).restore(scored.content_json, texts={digest_text("A"): "A"}, record_id=scored.id)
    assert (back.choice_logprobs, back.id) == ((-0.5, None), scored.id)
