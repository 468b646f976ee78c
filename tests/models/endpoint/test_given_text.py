"""Where a response begins and ends among the tokens of a prompt, by tokens that a person can count."""

from __future__ import annotations

import pytest

from rlaif.models.endpoint.given_text import Ending, Given, find_ending, find_response

CHATML = Ending((2, 198), 1)


def given(*tokens: tuple[int, str]) -> Given:
    """Tokens; the log-probability of each is minus its place."""
    return Given([id for id, _ in tokens], [-float(at) for at in range(len(tokens))], [text for _, text in tokens])


USER = ((-1, ""), (30, "user"), (31, "Hi"), (2, "<|im_end|>"), (32, "assistant"), (198, "\n"))
END = ((2, "<|im_end|>"), (198, "\n"))
CONVERSATION = [id for id, _ in USER]


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        (END, Ending((2, 198), 1)),
        (((29871, " "), (2, "</s>")), Ending((29871, 2), 2)),
        (((2, "</s>"),), Ending((2,), 1)),
        (((198, "\n"),), Ending((198,), 0)),
        ((), Ending((), 0)),
    ],
    ids=["ChatML", "a space before it", "the end alone", "no end", "nothing"],
)
def test_a_response_ends_with_the_first_token_after_it_that_is_no_white_space(after, ending):
    answer = (*USER, (40, "Yes"))
    assert find_ending(given(*answer), given(*answer, *after)) == ending


def test_an_open_answer_that_is_no_beginning_of_the_closed_one_has_no_ending():
    assert find_ending(given(*USER, (40, "Yes")), given(*USER, (41, "Yes."), *END)) is None


@pytest.mark.parametrize(("is_whole", "logprobs"), [(True, [-6.0, -7.0, -8.0]), (False, [-6.0, -7.0])])
def test_a_response_is_what_follows_the_conversation(is_whole, logprobs):
    prompt = given(*USER, (40, "Yes"), (41, ", sir"), *END)
    found = find_response(
        prompt, conversation=CONVERSATION, ending=CHATML, response="Yes, sir", is_whole=is_whole
    )  # fmt: skip
    assert (found.logprobs, found.failure) == (logprobs, None)


def test_a_token_that_holds_the_headers_last_and_the_responses_first_characters_belongs_to_the_response():
    prompt = given(*USER[:-1], (199, "\n\n"), (40, "Yes"), *END)
    found = find_response(prompt, conversation=CONVERSATION, ending=CHATML, response="\nYes", is_whole=True)
    assert found.logprobs == [-5.0, -6.0, -7.0]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ((*USER, (50, "<think>"), (40, "Yes"), *END), "another text"),
        ((*USER, (40, "Yes"), (2, "<|im_end|>")), "elsewhere"),
        ((*USER[:3], (40, "Yes"), *END), "elsewhere"),
        ((*USER[:2], *END), "elsewhere"),
    ],
    ids=["text before it", "another end", "another beginning", "nothing of it"],
)
def test_a_response_that_is_not_found_is_a_failure_that_says_why(tokens, said):
    found = find_response(given(*tokens), conversation=CONVERSATION, ending=CHATML, response="Yes", is_whole=True)
    assert (found.logprobs, found.failure) == ([], "unparsable")
    assert said in found.said


def test_parts_of_characters_that_no_token_shows_do_not_count():
    prompt = given(*USER, (60, ""), (61, "日"), (62, "�"), (40, " Yes"), *END)
    found = find_response(prompt, conversation=CONVERSATION, ending=CHATML, response="日本 Yes", is_whole=False)
    assert found.logprobs == [-6.0, -7.0, -8.0, -9.0]
