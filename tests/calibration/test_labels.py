"""Files of people's labels: every way to write them, and a sentence for every way to get them wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.calibration.label_columns import load_label_columns
from rlaif.calibration.labels import (
    LabelRow,
    Labels,
    Texts,
    check_principles,
    is_preference_file,
    labels_from_preferences,
    read_labels,
)
from rlaif.errors import ConfigError, DataError
from rlaif.records import Constitution, Message, PreferenceRow, Principle, Prompt

OWN = {"first_id": "a", "second_id": "b", "choice": "first"}
BY_TEXT = {"prompt": "When?", "first": "At nine.", "second": "Go away.", "choice": "first"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(tmp_path: Path, rows: list[dict[str, Any]], *, columns: str | None = None) -> Labels:
    columns_path = None
    if columns is not None:
        columns_path = tmp_path / "columns.yaml"
        columns_path.write_text(columns)
    return read_labels(write(tmp_path / "labels.jsonl", rows), columns_path=columns_path, digest="d")


def refusal(tmp_path: Path, rows: list[dict[str, Any]], *, columns: str | None = None) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        read(tmp_path, rows, columns=columns)
    return caught.value.sentence.replace(str(tmp_path) + "/", "")


def test_our_own_columns_need_no_map(tmp_path: Path) -> None:
    row = {
        **OWN, "prompt_id": "p", "annotator": "ann", "principle": "brief", "simulated": True,
        "inclusion_probability": 0.25, "seconds": 3, "note": "close",
    }  # fmt: skip
    assert read(tmp_path, [row]).rows == [
        LabelRow(
            where=f"{tmp_path / 'labels.jsonl'}:1", annotator="ann", principle_id="brief", choice="first",
            pair=("a", "b"), prompt_id="p", inclusion_probability=0.25, simulated=True, seconds=3.0, note="close",
        )
    ]  # fmt: skip


def test_a_label_may_name_its_pair_by_its_texts(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [BY_TEXT]).rows
    assert row.pair == Texts(Prompt(messages=(Message(role="user", content="When?"),)), ("At nine.", "Go away."))
    assert (row.annotator, row.principle_id, row.simulated) == ("unnamed", "overall", False)


def test_csv_and_parquet_say_the_same_as_jsonl(tmp_path: Path) -> None:
    row = {**OWN, "annotator": "ann", "simulated": True, "inclusion_probability": 0.5}
    lines = read(tmp_path, [row]).rows
    table = tmp_path / "labels.parquet"
    pq.write_table(pa.Table.from_pylist([row]), table)
    sheet = tmp_path / "labels.csv"
    sheet.write_text("first_id,second_id,choice,annotator,simulated,inclusion_probability\na,b,first,ann,true,0.5\n")
    for path in (table, sheet):
        assert [
            r._replace(where=lines[0].where) for r in read_labels(path, columns_path=None, digest="d").rows
        ] == lines


PANDALM = """
prompt: [instruction, input]
responses: [response1, response2]
annotators: [annotator1, annotator2]
choice_values: {first: [1], second: [2], tie: [0]}
"""


def test_a_map_reads_a_column_of_choices_for_each_person_and_joins_the_prompt(tmp_path: Path) -> None:
    row = {"instruction": "Say", "input": "it", "response1": True, "response2": "no", "annotator1": 1, "annotator2": 0}
    first, second = read(tmp_path, [row], columns=PANDALM).rows
    assert (first.annotator, first.choice, second.annotator, second.choice) == (
        "annotator1",
        "first",
        "annotator2",
        "tie",
    )
    assert isinstance(first.pair, Texts)
    assert first.pair.prompt.messages[0].content == "Say\n\nit"
    assert first.pair.responses == ("true", "no"), "a reply that became a number or a truth value is its text"


def test_a_person_who_was_not_asked_left_no_label(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Say", "input": "", "response1": "a", "response2": "b", "annotator1": 1, "annotator2": None},
        {"instruction": "Say", "input": "", "response1": "c", "response2": "b", "annotator1": 2, "annotator2": 2},
    ]
    assert len(read(tmp_path, rows, columns=PANDALM).rows) == 3


def test_the_map_of_the_example_says_what_the_own_names_say(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "human-labels" / "columns.yaml"
    row = {"prompt": "When?", "response_a": "At nine.", "response_b": "Go.", "who": "ann", "preferred": "A"}
    path = write(tmp_path / "labels.jsonl", [row])
    (label,) = read_labels(path, columns_path=example, digest="d").rows
    assert (label.annotator, label.choice) == ("ann", "first")


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        ([], None, "the file has no labels (labels.jsonl): write one label per line, or leave it out"),
        (
            [OWN, {**OWN, "first_id": "c", "choice": "left"}, {**OWN, "first_id": "d", "choice": "left"}],
            None,
            '2 of 3 choices are none of first, second, tie: "left" (2) (first at labels.jsonl:2): '
            "correct them, or name them under `choice_values` in a column map",
        ),
        (
            [{**OWN, "choice": None}],
            None,
            'the choice is missing: "choice" is empty (labels.jsonl:1): give it, or remove the row',
        ),
        (
            [{"first_id": "a", "second_id": "b", "choise": "first"}],
            None,
            'there is no column "choice"; the columns are: choise, first_id, second_id (labels.jsonl): '
            'did you mean "choise"? rename a column, or map them by a YAML file as in examples/human-labels '
            "(--label-columns)",
        ),
        (
            [{**OWN, "annotator": "ann"}, {**OWN, "annotator": "ann"}],
            None,
            '"ann" labelled this pair twice under "overall" (labels.jsonl:1 and labels.jsonl:2): '
            "keep one of the two rows",
        ),
        (
            [{**OWN, "annotator": "ann"}, {"first_id": "b", "second_id": "a", "choice": "first", "annotator": "ann"}],
            None,
            '"ann" labelled this pair twice under "overall" (labels.jsonl:1 and labels.jsonl:2): '
            "keep one of the two rows",
        ),
        (
            [{**OWN, "choice": "tie"}, {**OWN, "first_id": "c", "choice": "tie"}],
            None,
            "each of the 2 labels is a tie, so they say nothing of which response is better (labels.jsonl): "
            "check `choice_values`, or label pairs that differ",
        ),
        (
            [OWN, {**OWN, "first_id": "c", "simulated": True}],
            None,
            "1 of 2 labels are simulated and the others are not (labels.jsonl, first other at labels.jsonl:1): "
            "give it for all labels or for none",
        ),
        (
            [{**OWN, "inclusion_probability": 0.5}, {**OWN, "first_id": "c"}],
            None,
            "1 of 2 labels have an inclusion probability and the others have none "
            "(labels.jsonl, first other at labels.jsonl:2): give it for all labels or for none",
        ),
        (
            [{**OWN, "inclusion_probability": 0.5}, {**OWN, "annotator": "bob", "inclusion_probability": 0.25}],
            None,
            "one pair has two inclusion probabilities, 0.5 and 0.25 (labels.jsonl:1 and labels.jsonl:2): "
            "give the probability with which the pair was drawn, the same in all of its rows",
        ),
        (
            [{**OWN, "inclusion_probability": 0}],
            None,
            '"inclusion_probability" is 0, no probability of being drawn (labels.jsonl:1): '
            "give a number above 0, at most 1",
        ),
        (
            [{**OWN, "seconds": "soon"}],
            None,
            '"seconds" holds "soon", no number (labels.jsonl:1): give a number or leave it empty',
        ),
        ([{**OWN, "simulated": "maybe"}], None, '"simulated" holds "maybe" (labels.jsonl:1): write true or false'),
        (
            [{**OWN, "second_id": "a"}],
            None,
            "both responses are the same sample (labels.jsonl:1): correct the ids",
        ),
        ([{**OWN, "second_id": ""}], None, '"second_id" is empty (labels.jsonl:1): give the sample\'s id'),
        (
            [{**BY_TEXT, "second": " At nine."}],
            None,
            "both responses are the same text (labels.jsonl:1): correct or remove the row",
        ),
        ([{**BY_TEXT, "prompt": ""}], None, "the prompt is empty (labels.jsonl:1): give it, or remove the row"),
        (
            [OWN],
            "sample_ids: [first_id, second_id]\nchioce: choice\n",
            '"chioce" is not a key of a column map (columns.yaml:2): did you mean "choice"?',
        ),
        (
            [OWN],
            "sample_ids: [first_id, second_id]\nchoice: verdict\n",
            'there is no column "verdict"; the columns are: choice, first_id, second_id '
            "(labels.jsonl, by columns.yaml): name one of them",
        ),
        (
            [OWN],
            "sample_ids: [first_id, second_id]\n",
            "give either choice, with annotator where a column names the person, or annotators (columns.yaml:1): "
            "write `key: value` lines as in examples/human-labels",
        ),
        (
            [OWN],
            "choice: choice\n",
            "give either sample_ids, or prompt and responses (columns.yaml:1): "
            "write `key: value` lines as in examples/human-labels",
        ),
    ],
)
def test_what_is_no_label_is_refused_in_one_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], columns: str | None, sentence: str
) -> None:
    assert refusal(tmp_path, rows, columns=columns) == sentence


def test_two_people_may_label_one_pair_and_one_person_it_under_two_principles(tmp_path: Path) -> None:
    rows = [
        {**OWN, "annotator": "ann", "principle": "brief"},
        {**OWN, "annotator": "ann", "principle": "courteous"},
        {**OWN, "annotator": "bob", "principle": "brief"},
    ]
    assert len(read(tmp_path, rows).rows) == 3


def test_a_principle_that_the_constitution_does_not_have_is_told_with_those_it_has(tmp_path: Path) -> None:
    constitution = Constitution(
        name="desk", principles=(Principle(id="brief", text="x"), Principle(id="kind", text="y")), source="s"
    )
    labels = read(tmp_path, [{**OWN, "principle": "breif"}, {**OWN, "principle": "overall"}])
    with pytest.raises(DataError) as caught:
        check_principles(labels, constitution)
    assert caught.value.sentence == (
        f'1 of 2 labels are of "breif", which is no principle of "desk" (first at {tmp_path / "labels.jsonl"}:1): '
        "write overall or one of brief, kind"
    )
    check_principles(read(tmp_path, [{**OWN, "principle": "kind"}]), constitution)


def test_a_missing_map_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the column map cannot be read: No such file"):
        load_label_columns(tmp_path / "none.yaml")


def preference(chosen: str, rejected: str, *, label: float = 1.0) -> PreferenceRow:
    prompt = Prompt(messages=(Message(role="user", content="When?"),))
    return PreferenceRow(prompt=prompt, chosen=chosen, rejected=rejected, label=label)


def test_a_preference_set_is_labels_that_bring_their_own_pairs(tmp_path: Path) -> None:
    rows = [preference("yes", "no"), preference("a", "b", label=0.5), preference("same", " same")]
    labels = labels_from_preferences(rows, path="set", digest="d")
    assert [row.choice for row in labels.rows] == ["first", "tie"]
    assert (labels.brings_pairs, labels.num_identical) == (True, 1)
    assert is_preference_file(write(tmp_path / "set.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}]))
    assert not is_preference_file(write(tmp_path / "labels.jsonl", [OWN]))


def test_a_judges_soft_labels_are_not_taken_for_peoples() -> None:
    with pytest.raises(DataError, match=r"the label 0.83 is no person's choice \(set row 2\)"):
        labels_from_preferences([preference("a", "b"), preference("c", "d", label=0.83)], path="set", digest="d")
