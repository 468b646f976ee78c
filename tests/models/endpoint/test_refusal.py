"""A server's refusal in any shape -> its words, what was refused, and whether waiting helps."""

import json

import pytest

from rlaif.models.endpoint.prompt import arrange
from rlaif.models.endpoint.refusal import (
    find_error,
    find_inner_status,
    find_words,
    is_filtered,
    is_too_long,
    is_unpaid,
    show_words,
    without_echo,
)
from rlaif.models.endpoint.settings import Settings, with_less

FIRST = Settings(0.0, 20)
LONGER_NAME = {"length_field": "max_completion_tokens"}
LOGPROBS = "logprobs are not supported by this model"
SHAPES = [
    LOGPROBS,
    [LOGPROBS],
    {"error": LOGPROBS},
    {"error": {"message": LOGPROBS, "code": None}},
    {"error": {"message": {"text": LOGPROBS}}},
    {"errors": [{"code": 7, "reason": [LOGPROBS]}]},
    {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted", "input": True}]},
    {"message": {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]}},
    {"logprobs": ["This field is not allowed."]},
    {"logprobs": False},
    {"error": {"message": json.dumps({"error": {"message": LOGPROBS}})}},
    [[[{"a": {"b": [{"c": LOGPROBS}]}}]]],
    f"<html><head><title>400</title><style>p{{}}</style></head><body><p><b>log</b>probs? {LOGPROBS}</p></body></html>",
    "litellm.BadRequestError: {\\u0027logprobs\\u0027: not supported}",
]


@pytest.mark.parametrize("body", SHAPES)
def test_a_setting_that_is_refused_is_found_in_any_shape(body):
    less = with_less(FIRST, find_words(body), needs_logprobs=False)
    assert less == FIRST._replace(top_logprobs=0)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"error": {"type": "t", "message": "no"}}, "no t"),
        ({"detail": [{"loc": ["x"], "msg": "too few"}, {"loc": ["x"], "msg": "none"}]}, "too few none x"),
        ({"code": 1008, "error": {"a": ["no money"]}}, "no money"),
        ([500, -3], "500 -3"),
        (42, "42"),
        ("<p>Bad&nbsp;<b>gateway</b></p>", "Bad gateway"),
        ({}, ""),
        (None, ""),
    ],
)  # fmt: skip
def test_a_person_is_shown_each_text_once_and_sentences_first(body, shown):
    assert show_words(body) == shown


def test_a_request_that_the_server_repeats_names_no_setting():
    request = {"model": "m", "messages": [{"role": "user", "content": "?"}], "logprobs": True, "temperature": 0}
    words = find_words({"detail": "no such adapter", "input": request, "got": request})
    assert with_less(FIRST, words, needs_logprobs=False) is None
    question = "Is this right? logprobs are not supported\nhere"
    assert "logprobs" not in without_echo(f"cannot serve: {question}", [question])


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("top_logprobs must be at most 5", 5),
        ("detail: le: 5\nInput should be less than or equal to 5\nloc: top_logprobs", 5),
        ("Requested sample logprobs of 20, which is greater than max allowed: 8", 8),
        ("top_logprobs must be in the range [0, 10] for model gpt-4o-2024-08-06", 10),
        ("'top_logprobs': supported values are 0-3", 3),
        ("top_logprobs is too large", 5),
        ("logprobs is not supported by o3-mini-2025-01-31", 0),
        ("Extra inputs are not permitted: top_logprobs", 0),
        ("This endpoint has no log probabilities", 0),
    ],
)
def test_fewer_alternatives_are_asked_for_where_the_words_allow_some(words, most):
    assert with_less(FIRST, words, needs_logprobs=False) == FIRST._replace(top_logprobs=most)
    assert with_less(FIRST, words, needs_logprobs=True) == (FIRST._replace(top_logprobs=most) if most else None)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", LONGER_NAME),
        ("loc: max_tokens\nmsg: Extra inputs are not permitted", LONGER_NAME),
        ("max_tokens must be at most 100", None),
        ("temperature: only 1 is allowed", {"temperature": None}),
        ("System role not supported", {"chat_form": "folded"}),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", {"chat_form": "folded"}),
        ("'messages[0].role' does not support 'system' with this model.", {"chat_form": "folded"}),
        ("loc: messages\nloc: 0\nloc: role\nmsg: Input should be 'user' or 'assistant'", {"chat_form": "folded"}),
        ("Conversation roles must alternate user/assistant/user/assistant/...", {"chat_form": "folded"}),
        ("Only user and assistant roles are supported!", {"chat_form": "folded"}),
        ("messages.0: text content must be non-empty", {"chat_form": "merged"}),
        ("the model is being loaded", None),
        ("internal system error", None),
    ],
)  # fmt: skip
def test_what_else_is_refused_is_changed_and_nothing_else(words, changed):
    less = with_less(FIRST, words, needs_logprobs=True, roles=["system", "user"])
    assert less == (None if changed is None else FIRST._replace(**changed))


def test_turns_are_joined_where_folding_was_not_enough():
    folded = FIRST._replace(chat_form="folded")
    words = "roles must alternate"
    assert with_less(folded, words, needs_logprobs=True, roles=["user"]) == folded._replace(chat_form="merged")
    assert with_less(folded._replace(chat_form="merged"), words, needs_logprobs=True, roles=["user"]) is None


def test_messages_are_arranged_as_for_a_local_judge():
    def chat(*turns):
        return [{"role": role, "content": content} for role, content in turns]

    given = chat(("system", "Be fair."), ("user", "Which?"), ("user", ""), ("assistant", "Well."), ("assistant", "A."))
    assert arrange(given, "plain") == given
    assert arrange(given, "folded") == chat(
        ("user", "Be fair.\n\nWhich?"), ("user", ""), ("assistant", "Well."), ("assistant", "A.")
    )
    assert arrange(given, "merged") == chat(("user", "Be fair.\n\nWhich?"), ("assistant", "Well.\n\nA."))
    assert arrange(chat(("system", ""), ("user", "?")), "folded") == chat(("user", "?"))
    assert arrange(chat(("system", "Be fair.")), "folded") == chat(("user", "Be fair."))


def test_after_a_status_that_may_pass_a_name_alone_refuses_nothing():
    assert with_less(FIRST, "busy; logprobs queue", needs_logprobs=False, may_pass=True) is None
    assert with_less(FIRST, LOGPROBS, needs_logprobs=False, may_pass=True) == FIRST._replace(top_logprobs=0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("You exceeded your current quota, please check your plan and billing details.", True),
        ("Insufficient Balance", True),
        ("Your credit balance is too low to access the API", True),
        ("insufficient_quota", True),
        ("This request requires more credits: add more credits", True),
        ("Budget has been exceeded! Current cost: 1.1", True),
        ("billing_hard_limit_reached", True),
        ("Rate limit reached for requests per min (RPM). Add a payment method at /account/billing.", False),
        ("You exceeded your current quota. Please retry in 12s. GenerateRequestsPerMinute", False),
        ("Too Many Requests", False),
        ("slow down", False),
        ("the model is overloaded", False),
    ],
)
def test_an_empty_account_is_told_from_a_limit_that_passes(words, expected):
    assert is_unpaid(words) is expected
    assert is_unpaid(words, status=402)


def test_too_long_and_filtered_are_read_from_words_and_not_from_a_service_that_is_down():
    assert is_too_long("the request exceeds the available context size", may_pass=True)
    assert is_too_long("string too long", may_pass=False)
    assert not is_too_long("the request took too long", may_pass=True)
    assert is_filtered("content_filter", may_pass=True)
    assert is_filtered("refused for safety", may_pass=False)
    assert not is_filtered("the moderation service is down", may_pass=True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, 429),
        ({"error": {"code": "502", "message": "gone"}, "choices": []}, 502),
        ({"choices": [{"error": {"code": 503, "message": "x"}, "message": {"content": "Verdict: A"}}]}, 503),
        ({"error": "upstream failed"}, None),
        ({"detail": "no worker"}, None),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, None),
        (["upstream failed"], None),
    ],
)
def test_an_error_inside_a_reply_is_found(body, status):
    error = find_error(body)
    assert error is not None
    assert find_inner_status(error) == status


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "error: insufficient_quota"}}]},
        {"choices": [{"message": {}}], "error": None},
        {"choices": [{"message": {}}], "error": {}, "message": "ok"},
        {"message": {"role": "assistant", "content": "A"}},
        [1, 2.5],
    ],
)
def test_a_reply_is_no_error(body):
    assert find_error(body) is None
