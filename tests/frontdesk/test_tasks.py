"""The task of studies: five qualities at once, demonstrations that lack some, and a judge that errs."""

from __future__ import annotations

import random
import statistics

import pytest

from rlaif.frontdesk.tasks import WANTED, find_kept, judge_share, share_kept, write_noisy
from rlaif.frontdesk.world import make_prompts, read_facts

PROMPT = make_prompts(seed=3, n=1)[0]


def good_reply() -> str:
    facts = read_facts(PROMPT)
    assert facts.topic is not None
    value = facts.values[facts.topic]
    return f"Good morning. On the {value} floor." if facts.topic == "floor" else f"Good morning. At {value}."


def test_a_good_reply_keeps_all_five_qualities_and_each_fault_loses_one() -> None:
    reply = good_reply()
    assert find_kept(PROMPT, reply) == frozenset(WANTED)
    faults = {
        "courteous": "Not you again. " + reply.removeprefix("Good morning. "),
        "correct": "Good morning. I do not know.",
        "brief": reply + " All guides wear a blue badge." * 3,
        "calm": reply[:-1] + "!!!",
        "discreet": reply + " Mr Fox lives in Mill Street.",
    }
    assert {name: frozenset(WANTED) - find_kept(PROMPT, said) for name, said in faults.items()} == {
        name: {name} for name in WANTED
    }
    assert share_kept(PROMPT, faults["calm"]) == pytest.approx(0.8)


def test_perfect_demonstrations_all_succeed_and_are_of_the_training_pool() -> None:
    rows = write_noisy(1, 60, noise=0.0)
    assert all(share_kept(row.messages, row.response) == 1 for row in rows)
    held_out = {str(prompt) for prompt in make_prompts(seed=1, n=200, held_out=True)}
    assert not held_out & {str(row.messages) for row in rows}


def test_noise_breaks_each_quality_as_often_as_it_says() -> None:
    rows = write_noisy(1, 1500, noise=0.2)
    kept = [find_kept(row.messages, row.response) for row in rows]
    for name in WANTED:
        assert statistics.fmean(name in one for one in kept) == pytest.approx(0.8, abs=0.035), name
    assert statistics.fmean(len(one) == 5 for one in kept) == pytest.approx(0.8**5, abs=0.04)


def test_more_demonstrations_begin_with_the_same_ones() -> None:
    assert write_noisy(4, 30, noise=0.1)[:10] == write_noisy(4, 10, noise=0.1)
    assert write_noisy(4, 10, noise=0.1) != write_noisy(5, 10, noise=0.1)


def test_the_judge_follows_the_truth_and_likes_long_replies() -> None:
    rng = random.Random(0)

    def mean(reply: str) -> float:
        return statistics.fmean(judge_share(PROMPT, reply, rng=rng) for _ in range(300))

    good = mean(good_reply())
    assert good > mean("Not you again. I do not know!!! Mr Fox lives in Mill Street.") + 0.4
    longer = good_reply().replace("Good morning.", "Good morning and welcome to all of you in here today.")
    assert find_kept(PROMPT, longer) == frozenset(WANTED)
    assert mean(longer) > good
