"""A chat server's reply -> a verdict with what is known of its log-probabilities, or a named failure."""

import math

import pytest

from rlaif.models.endpoint.guards import BrokenReply
from rlaif.models.endpoint.reply import read_choice, read_usage
from rlaif.models.interface import ScoreRequest

WITH_REASON = ScoreRequest("Verdict:", (" A", " B"), 160)
ALONE = ScoreRequest("\nVerdict:", (" A", " B"), 0)


def body(content, *, logprobs=None, finish="stop", **message):
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish, "logprobs": logprobs}]}


def tokens(*rows):
    """Rows of (token, its probability, {alternative: probability})."""
    return {
        "content": [
            {
                "token": token,
                "logprob": math.log(p),
                "top_logprobs": [{"token": t, "logprob": math.log(q)} for t, q in {token: p, **others}.items()],
            }
            for token, p, others in rows
        ]
    }


@pytest.mark.parametrize(
    ("content", "verdict", "reason"),
    [
        ("A is polite.\nVerdict: A", 0, "A is polite."),
        ("A is polite.\n\n**Verdict:** B", 1, "A is polite."),
        ("Verdict: **B**.", 1, ""),
        ("At first Verdict: A. No, on reflection\nVerdict: B", 1, "At first Verdict: A. No, on reflection"),
        ("<think>Verdict: A</think>It is brief.\nVerdict: B", 1, "It is brief."),
        ('Fine.\nVerdict: "A"\n', 0, "Fine."),
    ],
)
def test_the_last_verdict_outside_of_thinking_counts(content, verdict, reason):
    read = read_choice(body(content), request=WITH_REASON)
    assert (read.verdict, read.reason, read.failure, read.logprobs) == (verdict, reason, None, ())
    assert read.raw_reply == content


@pytest.mark.parametrize("content", ["Verdict: A", " B", "**B**", "B."])
def test_without_a_reason_a_choice_alone_is_a_verdict(content):
    read = read_choice(body(content), request=ALONE)
    assert (read.verdict, read.reason) == ("AB".index(content.strip(" *.")[-1]), None)


@pytest.mark.parametrize(
    ("content", "finish", "extra", "cause"),
    [
        ("Both are fine.", "stop", {}, "unparsable"),
        ("Verdict: Alas, neither.", "stop", {}, "unparsable"),
        ("Verdict: A, I thought. My last word:\nVerdict: neither", "stop", {}, "unparsable"),
        ("A", "stop", {}, "unparsable"),
        ("Both replies are", "length", {}, "truncated"),
        ("<think>Verdict: A or", "length", {}, "truncated"),
        ("<think>Verdict: A</think>", "stop", {}, "empty"),
        ("", "stop", {}, "empty"),
        (None, "stop", {}, "empty"),
        (None, "stop", {"refusal": "I can't judge that."}, "refused"),
        ("I'm sorry, but I can't help with that.", "stop", {}, "refused"),
        ("Verdict: A", "content_filter", {}, "filtered"),
    ],
)
def test_a_reply_without_a_verdict_has_a_named_cause(content, finish, extra, cause):
    read = read_choice(body(content, finish=finish, **extra), request=WITH_REASON)
    assert (read.failure, read.verdict, read.logprobs) == (cause, None, ())


@pytest.mark.parametrize("given", [None, [], {}, {"choices": []}, {"choices": [{}]}, {"error": {"message": "busy"}}])
def test_a_body_that_is_no_reply_is_broken_and_not_a_verdict(given):
    with pytest.raises(BrokenReply):
        read_choice(given, request=WITH_REASON)


def logprobs(*rows, content=None, request=WITH_REASON):
    content = "".join(row[0] for row in rows) if content is None else content
    read = read_choice(body(content, logprobs=tokens(*rows)), request=request)
    return tuple(None if x is None else round(math.exp(x), 6) for x in read.logprobs)


HEAD = (("So", 0.9, {}), (" A", 0.5, {" B": 0.5}), ("\nVerdict", 1.0, {}), (":", 1.0, {}))


def test_log_probabilities_are_read_at_the_verdict_and_not_at_the_same_letter_before_it():
    assert logprobs(*HEAD, (" A", 0.7, {" B": 0.2})) == (0.7, 0.2)


def test_two_spellings_of_one_verdict_are_added():
    assert logprobs(*HEAD, (" A", 0.5, {"A": 0.1, " B": 0.2, "B": 0.05, "**": 0.05})) == (0.6, 0.25)


def test_a_verdict_that_the_server_did_not_list_is_not_known():
    assert logprobs(*HEAD, (" A", 0.99, {" The": 0.01})) == (0.99, None)


def test_a_verdict_that_was_not_listed_is_no_likelier_than_the_last_one_listed_nor_than_what_is_left():
    def at_most(*row):
        content = "So A\nVerdict: A"
        found = read_choice(body(content, logprobs=tokens(*HEAD, row)), request=WITH_REASON).at_most
        return None if found is None else math.exp(found)

    assert at_most(" A", 0.7, {" The": 0.2, " So": 0.05}) == pytest.approx(0.05), "the last one listed"
    assert at_most(" A", 0.8, {" The": 0.19}) == pytest.approx(0.01, rel=1e-4), "what is left"
    assert at_most(" A", 0.3, {" The": 0.4, " So": 0.31}) == pytest.approx(0.0, abs=1e-6), "nothing is left"
    assert at_most(" A", 0.01, {" The": 0.4, " So": 0.3}) == pytest.approx(0.29, rel=1e-4), (
        "what was written, though rare"
    )
    assert at_most(" A", 0.7, {" B": 0.2}) is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((" A", math.exp(5), {" B": math.exp(3)}), "the judge gave 5 as a log-probability, and none is above 0"),
        ((" A", 0.6, {" B": 0.3, " The": 0.5}), "the probabilities that the judge gave sum to 1.4, more than 1"),
    ],
)
def test_numbers_that_are_no_log_probabilities_are_a_failure_that_says_which(row, said):
    read = read_choice(body("So A\nVerdict: A", logprobs=tokens(*HEAD, row)), request=WITH_REASON)
    assert (read.failure, read.said, read.logprobs) == ("impossible_logprobs", said, ())


def test_spaces_and_marks_before_the_verdict_may_be_tokens_of_their_own_or_part_of_it():
    assert logprobs(*HEAD, (" **", 1.0, {}), ("B", 0.6, {"A": 0.3}), ("**", 1.0, {})) == (0.3, 0.6)
    head = HEAD[:-1]
    assert logprobs(*head, (": B", 0.6, {": A": 0.3, " A": 0.1})) == (0.3, 0.6)


def test_the_token_that_ends_a_reply_may_be_listed():
    assert logprobs(*HEAD, (" A", 0.7, {" B": 0.2}), ("<|im_end|>", 1.0, {}), content="So A\nVerdict: A") == (0.7, 0.2)
    assert logprobs(("B", 0.6, {"A": 0.4}), ("</s>", 1.0, {}), content="B", request=ALONE) == (0.4, 0.6)


def test_thinking_is_passed_over_in_the_tokens_too():
    think = (("<think>", 1.0, {}), ("Verdict:", 1.0, {}), (" A", 0.9, {" B": 0.1}), ("</think>", 1.0, {}))
    assert logprobs(*think, *HEAD, (" B", 0.8, {" A": 0.15})) == (0.15, 0.8)


def test_a_verdict_in_several_tokens_is_told_by_its_first():
    request = ScoreRequest("Verdict:", (" first", " second"), 160)
    head = (("Verdict", 1.0, {}), (":", 1.0, {}))
    assert logprobs(*head, (" fir", 0.7, {" sec": 0.2}), ("st", 1.0, {}), request=request) == (0.7, 0.2)


def test_a_token_that_may_become_either_verdict_gives_no_probabilities():
    request = ScoreRequest("Verdict:", (" 1", " 10"), 160)
    assert logprobs(("Verdict:", 1.0, {}), (" 1", 0.9, {" 2": 0.1}), ("0", 0.6, {}), request=request) == ()


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [{"token": None}]},
        {"content": [{"token": "Verdict: A", "logprob": -0.1, "top_logprobs": []}]},
        {"content": [{"token": "Verdict: A", "logprob": None, "top_logprobs": [{"token": "x", "logprob": None}]}]},
        {"content": [{"token": "Verdict: B", "logprob": -0.1, "top_logprobs": [{"token": " B", "logprob": -0.1}]}]},
    ],
)
def test_log_probabilities_that_are_not_there_or_of_another_text_are_none(given):
    read = read_choice(body("Verdict: A", logprobs=given), request=WITH_REASON)
    assert (read.verdict, read.logprobs) == (0, ())


def test_nan_stays_nan():
    given = {"content": [{"token": "Verdict: A", "logprob": math.nan, "top_logprobs": [{"token": "B", "logprob": -1}]}]}
    read = read_choice(body("Verdict: A", logprobs=given), request=WITH_REASON)
    assert math.isnan(read.logprobs[0])


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "7", "completion_tokens": 1}, {"prompt_tokens": True}])
def test_usage_that_is_no_count_is_not_known(usage):
    assert read_usage({"usage": usage}) is None
