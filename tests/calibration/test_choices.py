"""Files of choices and verdicts -> items, and every way in which a file or its column map is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.calibration.agreement_columns import AgreementColumns, load_columns
from rlaif.calibration.choices import Item, read_people, read_verdicts
from rlaif.config.column_map import parse_column_map
from rlaif.errors import ConfigError, DataError

LONG = """\
key: id
prompt: q
annotator: who
choice: pick
choice_values: {first: [A], second: [B], tie: [same, 0]}
policies: {columns: [left, right]}
verdict: winner
verdict_values: {first: [1], second: [2]}
"""
WIDE = """\
key: [q, id]
annotators: [ann, bo]
choice_values: {first: [1], second: [2], tie: [0]}
policies: {joined: models, separator: "/"}
verdict_key: [question, pair]
verdict: winner
verdict_values: {first: [1], second: [2]}
"""


def parsed(text: str) -> AgreementColumns:
    return parse_column_map(text, AgreementColumns, where="map.yaml", example="examples/agreement")


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def vote(**changes: Any) -> dict[str, Any]:
    return {"id": 7, "q": "opening", "who": "ann", "pick": "A", "left": "m1", "right": "m2", **changes}


def test_a_row_per_person_gives_items_with_all_their_choices(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        vote(), vote(id=8, pick=0), vote(who="bo", pick="B"), vote(who="chi", pick=None), vote(id=9, pick=""),
    )  # fmt: skip
    read = read_people(path, parsed(LONG))
    assert read.items == [
        Item(("7",), ("opening",), ("m1", "m2"), {"ann": "first", "bo": "second"}),
        Item(("8",), ("opening",), ("m1", "m2"), {"ann": "tie"}),
    ]
    assert str(read.tally) == "in 5, kept 3, dropped 2 (no_choice 2)"


def test_a_column_per_person_gives_the_same_kind_of_items(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,id,ann,bo,models\nopening,7,1,2,m1/m2\nopening,8,0,,m1/m3\n")
    read = read_people(path, parsed(WIDE))
    assert read.items == [
        Item(("opening", "7"), ("opening", "7"), ("m1", "m2"), {"ann": "first", "bo": "second"}),
        Item(("opening", "8"), ("opening", "8"), ("m1", "m3"), {"ann": "tie"}),
    ]
    assert str(read.tally) == "in 4, kept 3, dropped 1 (no_choice 1)"


def test_verdicts_are_joined_by_the_key_and_what_is_no_verdict_has_failed(tmp_path: Path) -> None:
    columns = parsed(WIDE)
    people = tmp_path / "a.csv"
    people.write_text("q,id,ann,bo,models\n" + "".join(f"x,{n},1,2,m1/m2\n" for n in range(4)))
    verdicts = write(
        tmp_path / "v.jsonl",
        {"question": "x", "pair": 0, "winner": 1},
        {"question": "x", "pair": 1.0, "winner": "garbage"},
        {"question": "x", "pair": "2", "winner": None},
        {"question": "y", "pair": 0, "winner": 2},
    )
    read = read_verdicts(verdicts, columns, items=read_people(people, columns).items)
    assert read.verdicts == {("x", "0"): "first"}
    assert read.failed == {("x", "1"): "garbage", ("x", "2"): ""}
    assert str(read.tally) == "in 4, kept 1, dropped 3 (failed 2, no_person_chose 1)"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([vote(pick="C")], r'"pick" holds "C", which the column map does not name \(.*a.jsonl:1\): name it under'),
        ([vote(pick="a")], '"pick" holds "a", which the column map does not name'),
        ([vote(), vote()], r'the item "7" has two choices of "ann" \(.*a.jsonl:2\): remove .* tells it from .*:1'),
        ([vote(), vote(who="bo", left="m2", right="m1")], r'the item "7" has other policies here than at .*:1'),
        ([vote(), vote(who="bo", q="closing")], r'the item "7" has another prompt here than at .*:1'),
        ([vote(id="")], '"id" is empty, the row names no item'),
        ([vote(who=None)], '"who" is empty'),
        ([vote(left="")], '"left" and "right" does not hold two names'),
        ([vote(pick=None)], "there is no choice in it"),
        ([], "there is no choice in it"),
        ([{"idd": 1}], r'no column "id"; the columns are: idd .*did you mean "idd"\?'),
    ],
)
def test_choices_that_cannot_be_read_are_refused_in_a_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read_people(write(tmp_path / "a.jsonl", *rows), parsed(LONG))


def test_a_doubled_row_with_a_column_per_person_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,id,ann,bo,models\nx,7,1,2,m1/m2\nx,7,,,m1/m2\n")
    with pytest.raises(DataError, match=r'the item "x", "7" stands twice \(.*a.csv:3\): keep one .*a.csv:2'):
        read_people(path, parsed(WIDE))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"id": 7, "winner": 1}, {"id": 7, "winner": 2}], r'the item "7" has a second verdict \(.*v.jsonl:2\)'),
        ([{"id": 70, "winner": 1}], "no verdict is about an item that a person chose on .*check `key`"),
        ([], "there is no verdict in it"),
        (
            [{"id": 7, "winner": "A"}, {"id": 8, "winner": "A"}],
            r'no value of "winner" is named in verdict_values; it holds "A" \(2\)',
        ),
        ([{"id": 7, "verdict": 1}], 'no column "winner"; the columns are: id, verdict'),
    ],
)
def test_verdicts_that_cannot_be_read_are_refused_in_a_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], sentence: str
) -> None:
    columns = parsed(LONG)
    items = read_people(write(tmp_path / "a.jsonl", vote(), vote(id=8)), columns).items
    with pytest.raises(DataError, match=sentence):
        read_verdicts(write(tmp_path / "v.jsonl", *rows), columns, items=items)


def test_a_map_without_verdicts_refuses_a_file_of_them(tmp_path: Path) -> None:
    columns = parsed("".join(line for line in LONG.splitlines(True) if not line.startswith("verdict")))
    with pytest.raises(DataError, match="the column map names no verdict .*add `verdict`"):
        read_verdicts(tmp_path / "v.jsonl", columns, items=[])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("annotator: who\n", "anotator: who\n", r'"anotator" is not a key .*map.yaml:3\): did you mean "annotator"'),
        ("annotator: who\n", "", "give either annotator, with choice, or annotators"),
        ("choice: pick\n", "", "annotator and choice belong together"),
        ("annotator: who\nchoice: pick\n", "annotators: [a, a]\n", "a column stands twice in annotators"),
        ("annotator: who\nchoice: pick\n", "annotators: []\n", r'"annotators" holds an empty list \(map.yaml:3\)'),
        ("key: id\n", "", r'"key" is missing .*expected is: Column, or several, that name an item'),
        ("key: id\n", "key: 3\n", r'"key" holds the number 3 \(map.yaml:1\)'),
        ("second: [B]", "second: [A]", 'the verdict value "A" stands under first and under second'),
        ("second: [B]", "secnd: [B]", r'"choice_values.secnd" is not a key .*did you mean "second"'),
        ("{columns: [left, right]}", "{names: [a, b]}", "scores compare items"),
        ("verdict: winner\n", "", "verdict and verdict_values belong together"),
        ("verdict: winner\n", "verdict: winner\nverdict_key: [a, b]\n", "verdict_key must name as many columns"),
        (LONG, "", r'"key" is missing'),
    ],
)
def test_a_column_map_that_is_wrong_names_the_line_and_the_key(old: str, new: str, sentence: str) -> None:
    assert old in LONG
    with pytest.raises(ConfigError, match=sentence):
        parsed(LONG.replace(old, new))


def test_a_column_map_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file .*none.yaml\): .*examples/agreement"):
        load_columns(tmp_path / "none.yaml")
