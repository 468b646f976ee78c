"""The grammar of verdicts: real, odd and hostile replies, and what holds for any text."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.models.endpoint.reply import read_choice
from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.typography import as_read
from rlaif.models.replies.verdict_text import find_answer_start, find_verdict

TIE = ScoreRequest("Verdict:", (" A", " B", " C"), 160)
ALONE = TIE._replace(max_reason_tokens=0)
SCORE = ScoreRequest("Score:", tuple(f" {n}" for n in range(1, 11)), 160)


def read(text: str, request: ScoreRequest = TIE, *, is_cut_off: bool = False) -> str | None:
    start = find_answer_start(text)
    found = find_verdict(text[start:], request=request, is_cut_off=is_cut_off)
    if found is None:
        return None
    choice = request.choices[found.choice].strip()
    assert as_read(text[start + found.at]).casefold() == choice[0].casefold()
    return choice


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: A", "**Verdict**: A", "**Verdict:** A", "**Verdict: A**", "*Verdict:* **A**.", "__Verdict__: A",
        "**V**erdict: A", "### Verdict: A", "## Verdict:\n\n**A**\n", "Verdict:\nA", "> Verdict: A", "- Verdict: A",
        "1. Verdict: A", '"Verdict: A"', "'Verdict: A'", '"Verdict: A."', "“Verdict: A”", 'Verdict: "A"',
        "Verdict: 'A'",
        "`Verdict: A`", "```\nVerdict: A\n```", "(Verdict: A)", "Verdict: (A)", "Verdict: [A]", "Verdict: A)",
        "verdict: a", "VERDICT: A", "Verdict：A", "Verdict :A", "Verdict\u00a0: A", "Verdict:\u00a0A",
        "Ｖｅｒｄｉｃｔ：Ａ",
        "Verdict: 𝐀", "Verdict: Ⓐ", "Verdict: 🄰", "Verdict:\x00A", "\x08Verdict: A\x7f",
        "Verdict∶ A", "Verdict:\u200bA\u200b", "\ufeffVerdict: A", "Ver\u00addict: A",
        "Verdict:\tA\t",
        "x\r\nVerdict: A\r\n", "x\u2028Verdict: A", "Verdict: A。", "Verdict: $\\boxed{A}$",
        "Verdict: \\boxed{\\text{A}}",
        "Verdict: A</s>", "Verdict: A<|im_end|>\n", "Verdict: A\n\nReply B is longer.", "Verdict: A\n\nVerdict: A",
        "<think>Verdict: B</think>Verdict: A", "[THINK]Verdict: B[/THINK]\nVerdict: A",
        "<THINK>Verdict: B\n</THINK>\nVerdict: A",
        "<|channel|>analysis<|message|>Verdict: B<|end|><|channel|>final<|message|>Verdict: A",
        'I must write "Verdict: A" or "Verdict: B".\nVerdict: A',
        '"Verdict: A" or "Verdict: B"\nB is rude.\nVerdict: A',
        "- Verdict: B\n- Verdict: A\nSo I compare them.\nVerdict: A",
        "Verdict: B\nNo, A answers the question.\nVerdict: A",
    ],
)  # fmt: skip
def test_what_a_person_reads_as_one_verdict_is_read(text: str) -> None:
    assert read(text) == "A"


@pytest.mark.parametrize(
    "tail",
    [
        "/B", " / B", " or B", " and B are equally good.", ", B", " B", "B", " (or B)", " is better than B",
        " is worse",
        " — because it is kind", " because", ", but only slightly", "?", "!?", "…", "...", ":", ";", ",", "*",
        "**", "'", '"',
        "]", "+", "-", "1", "\u0301", "²", " = B", " > B", " tie", " (tie)", "|B", "\\B", "’s", " [[B]]",
        "\nor B.\nVerdict:",
        "\nB", "\nVerdict: B", "\nor\nVerdict: B", "\nVerdict: neither", "\nVerdict: A or B",
        "\nSo my final Verdict: B",
        "\nif the first is kinder, and\nVerdict: B\nif the second is.\n\nThe first is kind.", "\u200bB", "<B",
        "~~", "\u20dd",
    ],
)  # fmt: skip
def test_whatever_makes_it_another_answer_fails(tail: str) -> None:
    assert read(f"Both are kind.\nVerdict: A{tail}") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "A", "Verdict:", "Verdict: ", "Verdict: D", "Verdict: not A", "Verdict: Reply A", "Verdict: -A",
        "Verdict: ~~A~~",
        "Verdict: А", "Verdict: Á", "x Verdict: A", 'I say "Verdict: A"', '"Verdict: A" or "Verdict: B"',
        '"Verdict: A"\n"Verdict: B"', "- Verdict: A\n- Verdict: B\n", "Verdict A", "Verdict - A", '{"verdict": "A"}',
        "| Verdict: A |", "<think>Verdict: A", "Let me see.\n<think>\nVerdict: A", "Verdict: A\n<think>Hm",
        "Verdict:\nA polite one",
        "Verdict: \n- A", '"Verdict: A', "Verdict: 'A", "<b>Verdict: A</b>", "Verdict: A<br>",
        "If the first is better:\nVerdict: A\nIf the second is better:\nVerdict: B",
    ],
)  # fmt: skip
def test_what_gives_no_verdict_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("8", "8"), ("10", "10"), ("8.", "8"), ("**8**", "8"), ("８", "8"), ("８.５", None), ("8.5", None), ("8,5",
        None), ("8.0", None),
        ("08", None), ("8/10", None), ("10/10", None), ("8 / 10", None), ("8 out of 10", None), ("7-8", None),
        ("7–8", None),
        ("-3", None), ("−3", None), ("~8", None), ("≥8", None), ("8+", None), ("8%", None), ("8½", None), ("8²",
        None), ("11", None),
        ("100", None), ("1 0", None), ("1\u200b0", None), ("0", None), ("eight", None), ("8 stars", None), ("8\n9",
        None), ("8\n8", "8"),
    ],
)  # fmt: skip
def test_a_score_is_one_of_those_that_are_listed_and_never_cut_down_to_one(text: str, score: str | None) -> None:
    assert read(f"Kind.\nScore: {text}", SCORE) == score


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("So.\nVerdict: A", "A"), ("Verdict: A\n", "A"), ("**Verdict: A**", "A"), ("Verdict: A.", "A"),
        ("Verdict: A\n\n", "A"),
        ("Verdict: A\nB is", None), ("Verdict: a", None), ('"Verdict: A"', None), ("- Verdict: A", None),
        ("Verdict: (A", None),
        ("Verdict: (A)", "A"), ("Verdict: A\nNo, wait, I was wrong.\nVerdict: B", None), ("Verdict: A or", None),
        ("Verdict:", None),
        ('I must write "Verdict: A" or "Verdict: B". The', None), ("<think>\nVerdict: A", None), ("Verdict: A/", None),
    ],
)  # fmt: skip
def test_a_reply_that_was_cut_off_counts_where_its_verdict_is_the_very_last_thing(
    text: str, verdict: str | None
) -> None:
    assert read(text, is_cut_off=True) == verdict


def test_a_number_that_might_have_become_longer_does_not_count() -> None:
    texts = ("Score: 1", "Score: 10", "Score: 8", "Score: 8.", "Score: 8\n", "**Score: 8**")
    assert [read(text, SCORE, is_cut_off=True) for text in texts] == [None, None, None, None, "8", "8"]
    words = ScoreRequest("Verdict:", (" A", " AB"), 9)
    assert [read(f"Verdict: {word}", words, is_cut_off=True) for word in ("A", "AB")] == [None, "AB"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [(" A", "A"), ("**A**.", "A"), ("(A)", "A"), ("a", "A"), ("A or B", None), ("A\nB", None), ("A, I think",
    None), ("", None)],
)  # fmt: skip
def test_without_a_reason_a_choice_alone_counts_and_nothing_beside_it(text: str, verdict: str | None) -> None:
    assert read(text, ALONE) == verdict
    assert read(text, TIE) is None
    assert read(text, ALONE, is_cut_off=True) is None


@pytest.mark.parametrize(
    ("marker", "choices", "text", "verdict"),
    [
        ("The answer is: (", ("A", "B"), "**The answer is:** (A).", "A"),
        ("The answer is: (", ("A", "B"), "The answer is: (A) or (B)", None),
        ("[[", ("A", "B", "C"), "Kind.\n[[C]]", "C"),
        ("[[", ("A", "B", "C"), "[[A]] if A is better, [[B]] if B is", None),
        ("[[", ("A", "B", "C"), "Kind.\n[[A/B]]", None),
        ("Output (", ("a", "b"), "Output (b)", "b"),
        ("Preferred response=", ("1", "2"), "Preferred response = **2**", "2"),
        ("Preferred response=", ("1", "2"), "Preferred response=1 or 2", None),
        ("#### ", ("1", "2", "10"), "Kind.\n#### 10", "10"),
        ("Line one\nGrade:", (" a", " A"), "Grade: A", "A"),
        ("Verdict:", (" first", " second", " tie"), "Verdict: **Tie**", "tie"),
        ("Verdict:", (" first", " second", " tie"), "Verdict: tied", None),
        ("Verdict:", (" not good", " good"), "Verdict: not  good", "not good"),
        ("Score:", (" -1", " 0", " 1"), "Score: −1", "-1"),
        ("Score:", (" 0.5", " 1", " 1.5"), "Score: 1.5", "1.5"),
        ("Score:", (" 0.5", " 1", " 1.5"), "Score: 1.25", None),
        ("Verdict:", (" A", "A"), "Verdict: A", None),
    ],
)  # fmt: skip
def test_markers_and_choices_may_be_of_any_sort(
    marker: str, choices: tuple[str, ...], text: str, verdict: str | None
) -> None:
    assert read(text, ScoreRequest(marker, choices, 99)) == verdict


FRAGMENTS = st.sampled_from(
    [
        "Verdict:", "Verdict: A", "Verdict: B", "A", "B", " ", "\n", "\n", "**", '"', "- ", "> ", "(", ")", ".",
        "/", " or ",
        "It is kind. ", "<think>", "</think>", "：", "\u00a0", "\u200b", "1", "[[", "$", "#", "Ａ", "</s>",
    ]
)  # fmt: skip


@settings(max_examples=examples(1500), deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_a_cut_off_reply_never_says_more_than_the_same_text_that_was_ended(text: str) -> None:
    cut, ended = read(text, is_cut_off=True), read(text)
    assert cut in (None, ended)
    if ended is not None:
        answer = as_read(text).rpartition("</think>")[2]
        lines = [line for line in answer.split("\n") if "verdict:" in line.casefold()]
        assert f"{ended}/" not in lines[-1]
        assert " or " not in lines[-1]


@settings(max_examples=examples(500), deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_without_a_crash_and_keeps_its_length(text: str) -> None:
    assert len(as_read(text)) == len(text)
    for request in (TIE, ALONE, SCORE):
        read(text, request)
    assert read(f"{text}\nVerdict: A or B") is None
    assert read(f"Verdict: A{text.strip()}", TIE) in ("A", None)


@pytest.mark.parametrize(
    "text",
    ["*" * 10**5, "Verdict: A" + " " * 10**5 + "x",
    "Verdict:\n" * 10**4, "[" * 10**5, "<|x|>" * 10**4, "Verdict: " + "(" * 10**5],
)  # fmt: skip
def test_a_long_hostile_reply_takes_no_time(text: str) -> None:
    started = time.process_time()
    assert read(text) is None
    assert time.process_time() - started < 2


def test_log_probabilities_are_those_of_the_very_verdict_that_was_read() -> None:
    def entry(token: str, **others: float) -> dict[str, object]:
        listed = [{"token": f" {name}", "logprob": math.log(p)} for name, p in others.items()]
        return {"token": token, "logprob": -0.1, "top_logprobs": listed or [{"token": token, "logprob": -0.1}]}

    def logprobs(content: str, *entries: dict[str, object]) -> tuple[float | None, ...]:
        choice = {"message": {"content": content}, "finish_reason": "stop", "logprobs": {"content": list(entries)}}
        return read_choice({"choices": [choice]}, request=TIE).logprobs

    first = [entry("Verdict"), entry(":"), entry(" B", B=0.9, A=0.1), entry("\nNo, A is kinder.\n")]
    last = [entry("Verdict"), entry(":"), entry(" A", A=0.6, B=0.4)]
    content = "Verdict: B\nNo, A is kinder.\nVerdict: A"
    assert logprobs(content, *first, *last)[:2] == pytest.approx((math.log(0.6), math.log(0.4)))
    same = [entry("Verdict"), entry(":"), entry(" A", A=0.9, B=0.1), entry("\nYes.\n")]
    twice = "Verdict: A\nYes.\nVerdict: A"
    assert logprobs(twice, *same, *last)[0] == pytest.approx(math.log(0.6))
    assert logprobs(twice, *same) == ()  # the list ends before the verdict that counts
    assert logprobs("Verdict: A", entry("<think>Verdict: B</think>"), *last)[0] == pytest.approx(math.log(0.6))
    parts = [entry("Fa"), entry("\ufffd"), entry("\ufffd"), entry("\n")]
    assert logprobs("Faé\nVerdict: A", *parts, *last)[0] == pytest.approx(math.log(0.6))
