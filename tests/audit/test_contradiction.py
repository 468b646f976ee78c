"""Reasons that argue for the reply that the judge did not choose, and honest ones that must raise no alarm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.audit.contradiction import Argued, find_contradictions, read_claims
from rlaif.records import Verdict

REPLIES = ("I am sorry to hear that, let me help.", "No idea, go away. The office closes at six.")
HONEST = (
    "Reply A is better.",
    "A is better because it is kind.",
    "Reply A follows this principle better.",
    "A is clearly better than B.",
    "The first reply is better.",
    "The better reply is A.",
    "I prefer A.",
    "B is worse.",
    "Reply A wins.",
    "Reply A keeps the principle better than reply B.",
    '"let me help" is better, as it offers help.',
    "A is kinder than B.",
    "A is shorter than B, so it wins.",
    "Reply B is better written, yet reply A is kinder.",
    "B is better at detail. The principle asks for kindness.",
    "Although B is better, the principle is about kindness.",
    "B is better, but A follows the principle.",
    "If length counted, B is better.",
    "B would be better with an apology.",
    "B is not better.",
    "B is no better than A.",
    "B isn't better.",
    "Neither A nor B is better.",
    "B is better? The apology in A settles it.",
    "Some might say B is better.",
    "B says that B is better.",
    'Reply B claims "B is better", which counts for nothing.',
    'Reply A says "I am sorry", and B says "go away".',
    'B tells the user to "go away".',
    '"go away" is rude.',
    "A is better. B is better too.",
    "A is better in tone. B is better overall.  A is better overall.",
    "B is better-known, which does not matter.",
    "B is the longer one.",
    "B is longer than A.",
    "B is more detailed than A.",
    "B has more facts.",
    "Both replies keep the principle.",
    "They are equally good.",
    "A plan B is better than none.",
    "The user asked for B.",
    "I prefer A to B.",
    "The second reply is ruder than the first.",
    "The first reply is warmer than the second.",
    "Response 1 is better.",
    "Assistant A is better.",
    "A is better as it stands.",
    "B can be better in other cases.",
    "While reply B is better structured, reply A apologises.",
    "The reply that apologises is better.",
    "B is better than nothing.",
    "",
    "A.",
)
"""Reasons beside the verdict A, which was shown first."""
PLANTED = (
    "Reply B is better.",
    "B follows this principle better because it is short.",
    "The second response is clearly better than the first.",
    "I prefer B.",
    "A is worse.",
    "Reply A is inferior to none. Response 2 is better.",
    "The better reply is B.",
    '"go away" is preferable, being short.',
    "Reply B wins.",
    "It is polite. Therefore the second is better.",
    "Assistant B is the better one overall.",
    "A is longer than B. B keeps this principle more closely.",
)


def find(reason: str, verdict: Verdict | None = "first", *, shown: tuple[str, str] = ("A", "B")) -> list[str]:
    return find_contradictions([Argued(reason, verdict, REPLIES, shown)])


@pytest.mark.parametrize("reason", PLANTED)
def test_a_reason_for_the_reply_that_was_not_chosen_is_found(reason: str) -> None:
    (said,) = find(reason)
    assert said.startswith("The reason of question 1 argues for B, and its verdict is A.")
    assert find(reason, "second") == [], "the same reason with its own verdict"


@pytest.mark.parametrize("reason", HONEST)
def test_an_honest_reason_raises_no_alarm(reason: str) -> None:
    assert len(HONEST) >= 50
    assert find(reason) == []


@pytest.mark.parametrize("verdict", ["tie", None])
def test_a_tie_or_no_verdict_contradicts_nothing(verdict: Verdict | None) -> None:
    assert find("Reply B is better.", verdict) == []


def test_replies_are_called_as_the_reader_knows_them_and_not_as_the_prompt_did() -> None:
    (said,) = find("Reply B is better.", shown=("B", "A"))
    assert "argues for A, and its verdict is B" in said
    assert "In the names of its own prompt it says: Reply B is better." in said


def test_two_orders_that_say_the_opposite_of_one_trait_contradict_each_other() -> None:
    same = "A is shorter than B."
    turned = find_contradictions(
        [Argued(same, "first", REPLIES, ("A", "B")), Argued(same, "second", REPLIES[::-1], ("B", "A"))]
    )
    assert turned == [
        "The reasons contradict each other: that of question 1 calls A shorter, that of question 2 calls B shorter."
    ]
    less = find_contradictions(
        [
            Argued("A is more polite than B.", "first", REPLIES, ("A", "B")),
            Argued("A is less polite than B.", "second", REPLIES[::-1], ("B", "A")),
        ]
    )
    assert less == []


def test_two_orders_that_agree_on_a_trait_or_speak_of_others_do_not() -> None:
    for other in ("B is shorter than A.", "A is longer than B.", "A is not shorter than B.", "Shorter is better."):
        orders = [
            Argued("A is shorter than B.", "first", REPLIES, ("A", "B")),
            Argued(other, "second", REPLIES[::-1], ("B", "A")),
        ]
        assert find_contradictions(orders) == [], other


def test_a_quote_names_a_reply_only_where_it_alone_has_the_words() -> None:
    both = ("go away now", "please go away")
    assert find_contradictions([Argued('"go away" is better.', "first", both, ("A", "B"))]) == []
    assert find('"go away." is better.') != []


@pytest.mark.parametrize("reason", ["B " * 5000 + "is better.", '"' * 3000, "the " * 2000, "A is " + "really " * 900])
def test_a_long_reason_is_read_in_a_moment(reason: str) -> None:
    import time

    began = time.perf_counter()
    find(reason)
    assert time.perf_counter() - began < 2


PANDALM = Path(__file__).parents[3] / "shared" / "data" / "pandalm"


@pytest.mark.skipif(not PANDALM.is_dir(), reason="PandaLM is not in ../shared/data/pandalm")
@pytest.mark.parametrize(
    ("file", "judge", "at_least", "alarms"),
    [("gpt-3.5-turbo-testset-v1.json", "gpt", 150, [306, 726]), ("pandalm-7b-testset-v1.json", "pandalm", 400, [])],
)
def test_of_999_recorded_reasons_of_a_real_judge_only_those_raise_an_alarm_that_name_the_other_reply(
    file: str, judge: str, at_least: int, alarms: list[int]
) -> None:
    texts = {row["idx"]: (row["response1"], row["response2"]) for row in read_pandalm("testset-v1.json")}
    verdicts: dict[str, Verdict] = {"1": "first", "2": "second"}
    argued = {
        row["idx"]: Argued(
            row[f"{judge}_reason"] or "",
            verdicts.get(str(row[f"{judge}_result"]), "tie"),
            texts[row["idx"]],
            ("1", "2"),
        )
        for row in read_pandalm(file)
    }
    assert len(argued) == 999
    assert sum(any(not claim.trait for claim in read_claims(one)) for one in argued.values()) >= at_least
    assert [idx for idx, one in argued.items() if find_contradictions([one])] == alarms


def read_pandalm(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((PANDALM / name).read_text())
    return found
