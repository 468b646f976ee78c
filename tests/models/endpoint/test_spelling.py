"""Tokens are read in the spellings of servers, where they make up the reply's text in them."""

import math

import pytest

from rlaif.models.endpoint.reply import read_choice
from rlaif.models.interface import ScoreRequest

REQUEST = ScoreRequest("\nVerdict:", (" A", " B"), 40)
TEXT = "Größe ist\nVerdict: A"
WRITTEN = ["Gr", "ö", "ße", " ist", "\n", "Verdict", ":", " A"]


def body(tokens, other, *, data=None):
    entries = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
    if data is not None:
        for entry, text in zip(entries, data, strict=True):
            entry["bytes"] = text
    last = entries[-1]
    other = {"token": other, "logprob": -2.5, **({"bytes": list(b" B")} if data is not None else {})}
    last["top_logprobs"] = [{k: v for k, v in last.items() if k != "top_logprobs"}, other]
    choice = {"message": {"content": TEXT}, "finish_reason": "stop", "logprobs": {"content": entries}}
    return {"choices": [choice]}


@pytest.mark.parametrize(
    ("tokens", "other", "data"),
    [
        (WRITTEN, " B", None),
        (["Gr", "Ã¶", "ÃŁe", "Ġist", "Ċ", "Verdict", ":", "ĠA"], "ĠB", None),
        (["Gr", "ö", "ße", "▁ist", "<0x0A>", "Verdict", ":", "▁A"], "▁B", None),
        (["Gr", "ö", "ße", " ist", "bytes:\\x0a", "Verdict", ":", " A"], " B", None),
        ([f"token_id:{n}" for n in range(8)], "token_id:9", [list(text.encode()) for text in WRITTEN]),
        (["Gr", "bytes:\\xc3", "ße", " ist", "\n", "Verdict", ":", " A"], " B",
         [list(x) for x in (b"Gr", b"\xc3\xb6", "ße".encode(), b" ist", b"\n", b"Verdict", b":", b" A")]),
    ],
)  # fmt: skip
def test_log_probabilities_are_read_whatever_the_spelling(tokens, other, data):
    read = read_choice(body(tokens, other, data=data), request=REQUEST)
    assert read.verdict == 0
    assert read.logprobs == (-0.1, -2.5)


@pytest.mark.parametrize("data", [None, "x", [256], [-1], [True], [0.5], [[1]]])
def test_tokens_that_do_not_fit_are_said_to_have_come(data):
    tokens = [f"token_id:{n}" for n in range(8)]
    read = read_choice(body(tokens, "token_id:9", data=None if data is None else [data] * 8), request=REQUEST)
    assert read.verdict == 0
    assert read.logprobs == ()
    assert "do not fit the reply's text, from 'token_id:0' on" in read.said


@pytest.mark.parametrize("number", [-(10**400), 10**400])
def test_a_number_that_no_float_holds_is_no_number(number):
    given = body(WRITTEN, " B")
    entry = given["choices"][0]["logprobs"]["content"][-1]
    entry["logprob"] = entry["top_logprobs"][0]["logprob"] = number
    assert any(map(math.isnan, read_choice(given, request=REQUEST).logprobs))
