"""A column map is read, or refused in a sentence that names the line and the key."""

from __future__ import annotations

import pytest

from rlaif.errors import ConfigError
from rlaif.files.row import scalar_text
from rlaif.judging.recorded_columns import parse_column_map

GOOD_MAP = """\
key: id
prompt: prompt
responses: [r1, r2]
judge: judge-1
verdict: verdict
verdict_values:
  first: [1]
  second: [2]
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "verdict: verdict",
            "verdct: verdict",
            r'"verdct" is not a key.*columns.yaml:5\): did you mean "verdict"',
        ),
        ("judge: judge-1\n", "", r'"judge" is missing .*Name of the judge'),
        ("[r1, r2]", "[r1]", r'"responses.1" is missing \(columns.yaml:3\)'),
        ("[r1, r2]", "r1", r'"responses" holds "r1" \(columns.yaml:3\): expected is: The two columns'),
        ("prompt: prompt", "prompt: []", r'"prompt" holds an empty list'),
        ("[r1, r2]", "[r1, r2, r3]", r'"responses" holds a list \(columns.yaml:3'),
        ("  second: [2]", "  second: [1]", r'the verdict value "1" stands under first and under second'),
        ("  second: [2]", "  secnd: [2]", r'"verdict_values.secnd" is not a key.*did you mean "second"'),
        ("  second: [2]", "  second: 2", r'"verdict_values.second" holds the number 2 \(columns.yaml:8\)'),
        ("key: id", "policies: {joined: m}", r"joined and separator belong together"),
        (
            "key: id",
            "policies: {joined: m, separator: _, names: [a, b]}",
            r"exactly one of names, columns and joined",
        ),
        ("key: id", "key: id\nkey: id", r'"key" stands here a second time'),
        (GOOD_MAP, "", r'"prompt" is missing'),
        (GOOD_MAP, "- 1", r"the file holds no column map \(columns.yaml:1\)"),
    ],
)
def test_a_column_map_that_is_wrong_names_the_line_and_the_key(old: str, new: str, sentence: str) -> None:
    assert old in GOOD_MAP
    with pytest.raises(ConfigError, match=sentence):
        parse_column_map(GOOD_MAP.replace(old, new), where="columns.yaml")


def test_a_column_map_names_the_columns_of_each_file() -> None:
    text = (
        GOOD_MAP
        + """\
judgement_key: pair
system: sys
policies: {columns: [m1, m2]}
reason: why
order: {column: shown, listed: [ab], swapped: [ba], verdict_names: place}
logprobs: {first: l1, second: l2}
"""
    )
    columns = parse_column_map(text, where="columns.yaml")
    assert columns.sample_columns == {"id", "prompt", "sys", "r1", "r2", "m1", "m2"}
    assert columns.judgement_columns == {"pair", "verdict", "why", "shown", "l1", "l2"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" 1\n", "1"),
        (True, "true"),
        (0.5, "0.5"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_value_has_one_spelling_whatever_its_type(value: object, text: str) -> None:
    assert scalar_text(value) == text
