"""Answers that were there before anybody was asked -> one line that says whose they are."""

import re

import pytest

from rlaif.judging.reuse import Reuse
from rlaif.ledger.answers import Answered


def answered(model, host, *keys):
    return {key: Answered(model, True, host) for key in keys}


@pytest.mark.parametrize(
    ("before", "judge", "line"),
    [
        ([answered("m-2024", "far:80", "a", "b")], "", "2 of 3 questions were answered before, by m-2024 at far:80:"),
        ([answered("", "far", "a")], "", "1 of 3 questions were answered before, by the server at far:"),
        ([answered("m", "x", "a", "b"), answered("m", "y", "c")], "", "3 of 3 .*, by m at x and by m at y:"),
        ([answered("", "", "a")], "models/judge", "1 of 3 questions were answered before, by models/judge:"),
        ([answered("", "", "a")], "", "1 of 3 questions were answered before:"),
    ],
)
def test_answers_that_were_there_before_are_said_with_model_and_host(before, judge, line, capsys):
    reuse = Reuse(())
    for found in before:
        reuse.take(found)
    reuse.say(total=3, judge=judge)
    [said] = capsys.readouterr().err.strip().splitlines()
    assert re.search(line, said)


def test_the_answers_of_this_stage_itself_are_not_said(capsys):
    reuse = Reuse({"a"})
    reuse.take(answered("m", "x", "a"))
    reuse.say(total=1)
    assert capsys.readouterr().err == ""
