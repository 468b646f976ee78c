"""Recorded samples and verdicts become the records that judging would have made."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.constitution.principles import parse_constitution
from rlaif.errors import ConfigError, ConstitutionError, DataError
from rlaif.files.row import Row
from rlaif.judging.recorded import Recorded, implicit_constitution, import_recorded, records_from_rows
from rlaif.judging.recorded_columns import ColumnMap
from rlaif.records import Constitution, Principle

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "recorded-verdicts"


def column_map(**changes: Any) -> ColumnMap:
    return ColumnMap.model_validate(
        {
            "key": "id",
            "prompt": "prompt",
            "responses": ["r1", "r2"],
            "judge": "judge-1",
            "verdict": "verdict",
            "verdict_values": {"first": [1], "second": [2], "tie": ["tie"]},
        }
        | changes
    )


def rows(*cells: dict[str, Any], name: str = "file.jsonl") -> list[Row]:
    return [Row(row, f"{name}:{number}", tuple(row)) for number, row in enumerate(cells, start=1)]


PAIR = {"id": 7, "prompt": "Why?", "r1": "So.", "r2": "Because."}


def imported(samples: list[dict[str, Any]], verdicts: list[dict[str, Any]], **changes: Any) -> Recorded:
    return records_from_rows(rows(*samples), rows(*verdicts), columns=column_map(**changes))


def p_of(recorded: Recorded, text: str) -> float:
    """Probability that the response with this text is the better one of its pair."""
    samples = {sample.id: sample for sample in recorded.samples}
    for comparison in recorded.comparisons:
        texts = [samples[i].text for i in comparison.sample_ids]
        if text in texts:
            return comparison.p_first if texts[0] == text else 1 - comparison.p_first
    raise AssertionError(text)


def test_a_recorded_verdict_becomes_a_judgement_that_says_what_is_not_known() -> None:
    recorded = imported([PAIR], [{"id": 7, "verdict": 1, "why": "short"}], reason="why")
    (question,), (judgement,) = recorded.questions, recorded.judgements
    assert (question.template_digest, question.rendered_digest) == (None, None)
    assert (judgement.origin, judgement.verdict, judgement.reason) == ("imported", "first", "short")
    assert (judgement.logprobs, judgement.label_mass, judgement.raw_reply) == ((), None, "1")
    assert judgement.question_id == question.id


def test_the_question_shows_the_responses_in_the_order_of_their_columns() -> None:
    recorded = imported([PAIR], [{"id": 7, "verdict": 1}])
    texts = {sample.id: sample.text for sample in recorded.samples}
    assert [texts[i] for i in recorded.questions[0].sample_ids] == ["So.", "Because."]


def test_one_order_is_not_debiased() -> None:
    (comparison,) = imported([PAIR], [{"id": 7, "verdict": 1}]).comparisons
    assert (comparison.debiased, comparison.logit, comparison.flipped) == (False, None, None)


@pytest.mark.parametrize(("verdict", "p"), [(1, 1.0), (2, 0.0), ("tie", 0.5)])
def test_a_hard_verdict_is_a_probability_of_one_zero_or_a_half(verdict: object, p: float) -> None:
    assert p_of(imported([PAIR], [{"id": 7, "verdict": verdict}]), "So.") == p


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("It is brief.\n**Verdict:** 2", "second"),
        ("<think>Verdict: 1</think>Both are fine.\nVerdict: tie.", "tie"),
        ("1", "first"),
        ('I must write "Verdict: 1" or "Verdict: 2".', None),
        ("Verdict: 1 and 2 are equally good.", None),
        ("Verdict: 1.5", None),
        ("**1**", None),
    ],
)
def test_a_whole_reply_in_the_verdicts_column_is_read_by_its_marker(reply: str, verdict: str | None) -> None:
    other = PAIR | {"id": 8, "r1": "No."}
    recorded = imported(
        [PAIR, other], [{"id": 7, "verdict": reply}, {"id": 8, "verdict": 2}], verdict_marker="Verdict:"
    )
    read = {judgement.raw_reply: judgement.verdict for judgement in recorded.judgements}
    assert read.get(reply) == verdict
    assert [failed.cause for failed in recorded.failed] == ([] if verdict else ["unparsable"])
    without = imported([PAIR, other], [{"id": 7, "verdict": reply}, {"id": 8, "verdict": 2}])
    assert len(without.judgements) == 1 + (reply == "1")


@pytest.mark.parametrize("verdict", [1, "1", " 1 ", 1.0])
def test_a_verdict_is_read_whatever_type_the_file_format_gave_it(verdict: object) -> None:
    assert imported([PAIR], [{"id": 7, "verdict": verdict}]).judgements[0].verdict == "first"


@pytest.mark.parametrize(
    "verdict", [3, "garbage", "", None, float("nan"), True, "1 or 2", "TIE", [1], {"verdict": 1}, 1.5]
)
def test_a_verdict_that_the_map_does_not_name_is_a_failed_judgement(verdict: object) -> None:
    other = PAIR | {"id": 8, "prompt": "How?"}
    recorded = imported([PAIR, other], [{"id": 7, "verdict": verdict}, {"id": 8, "verdict": 2}])
    (failed,) = recorded.failed
    assert (failed.cause, failed.origin) == ("unparsable", "imported")
    assert len(recorded.comparisons) == len(recorded.judgements) == 1
    assert recorded.judgement_tally.dropped == {"unparsable": 1}


def test_values_that_were_not_read_are_told_with_their_counts() -> None:
    samples = [PAIR | {"id": i, "prompt": f"Why {i}?"} for i in range(4)]
    verdicts = [{"id": i, "verdict": v} for i, v in enumerate(["?", 1, "?", "none"])]
    assert imported(samples, verdicts).unread_values == {"?": 2, "none": 1}


def test_rows_are_joined_by_key_and_not_by_their_order() -> None:
    other = PAIR | {"id": "8", "prompt": "How?", "r1": "Thus.", "r2": "Badly."}
    recorded = imported([PAIR, other], [{"id": 8, "verdict": 1}, {"id": "7", "verdict": 2}])
    assert (p_of(recorded, "Thus."), p_of(recorded, "So.")) == (1.0, 0.0)


def test_both_orders_named_by_a_column_are_debiased() -> None:
    order = {"column": "shown", "listed": ["ab"], "swapped": ["ba"], "verdict_names": "place"}
    verdicts = [{"id": 7, "shown": "ab", "verdict": 1}, {"id": 7, "shown": "ba", "verdict": 1}]
    recorded = imported([PAIR], verdicts, order=order)
    (comparison,) = recorded.comparisons
    assert (comparison.p_first, comparison.debiased, comparison.flipped) == (0.5, True, True)


def test_a_verdict_that_names_a_response_is_turned_to_the_place_where_it_was_shown() -> None:
    order = {"column": "shown", "listed": ["ab"], "swapped": ["ba"], "verdict_names": "response"}
    verdicts = [{"id": 7, "shown": "ab", "verdict": 1}, {"id": 7, "shown": "ba", "verdict": 1}]
    recorded = imported([PAIR], verdicts, order=order)
    assert [judgement.verdict for judgement in recorded.judgements] == ["first", "second"]
    assert p_of(recorded, "So.") == 1.0
    assert recorded.comparisons[0].flipped is False


def test_both_orders_written_as_two_rows_with_the_responses_exchanged_are_one_pair() -> None:
    exchanged = PAIR | {"id": 8, "r1": PAIR["r2"], "r2": PAIR["r1"]}
    recorded = imported([PAIR, exchanged], [{"id": 7, "verdict": 1}, {"id": 8, "verdict": 2}])
    (comparison,) = recorded.comparisons
    assert comparison.debiased
    assert p_of(recorded, "So.") == 1.0
    assert (len(recorded.samples), len(recorded.pairs)) == (2, 1)


def test_where_one_order_cannot_be_read_the_other_stands_alone() -> None:
    order = {"column": "shown", "listed": ["ab"], "swapped": ["ba"], "verdict_names": "place"}
    verdicts = [{"id": 7, "shown": "ab", "verdict": "?"}, {"id": 7, "shown": "ba", "verdict": 1}]
    recorded = imported([PAIR], verdicts, order=order)
    assert recorded.comparisons[0].debiased is False
    assert p_of(recorded, "Because.") == 1.0


def test_recorded_log_probabilities_make_a_soft_label() -> None:
    verdicts = [{"id": 7, "verdict": 1, "la": -0.6931471805599453, "lb": -2.0794415416798357}]
    recorded = imported([PAIR], verdicts, logprobs={"first": "la", "second": "lb"})
    assert p_of(recorded, "So.") == pytest.approx(0.8)  # 1/2 against 1/8
    assert recorded.judgements[0].label_mass == pytest.approx(0.625)


def test_a_pair_without_recorded_log_probabilities_has_a_hard_label_beside_soft_ones() -> None:
    recorded = imported(
        [PAIR], [{"id": 7, "verdict": 1, "la": None, "lb": -1.0}], logprobs={"first": "la", "second": "lb"}
    )
    assert recorded.judgements[0].logprobs == ()
    assert recorded.comparisons[0].logit is None


def test_a_verdict_whose_log_probability_is_missing_beside_that_of_the_verdict_given_is_bounded() -> None:
    recorded = imported(
        [PAIR], [{"id": 7, "verdict": 1, "la": -0.1, "lb": None}], logprobs={"first": "la", "second": "lb"}
    )
    [judgement] = recorded.judgements
    assert [(entry.verdict, entry.logprob) for entry in judgement.logprobs] == [("first", -0.1)]
    assert judgement.unlisted == ("second",)
    assert judgement.unlisted_at_most == pytest.approx(math.log(1 - math.exp(-0.1)), abs=1e-5)


def test_a_repeated_verdict_is_counted_and_the_first_one_stands() -> None:
    recorded = imported([PAIR], [{"id": 7, "verdict": 1}, {"id": 7, "verdict": 2}])
    assert p_of(recorded, "So.") == 1.0
    assert recorded.judgement_tally.dropped == {"repeated": 1}


def test_a_readable_verdict_replaces_a_failure_on_the_same_question() -> None:
    recorded = imported([PAIR], [{"id": 7, "verdict": "?"}, {"id": 7, "verdict": 2}])
    assert (len(recorded.failed), len(recorded.judgements), len(recorded.questions)) == (1, 1, 1)


def test_everything_dropped_is_counted_by_reason() -> None:
    samples = [
        PAIR,
        PAIR | {"id": 1, "prompt": "  "},
        PAIR | {"id": 2, "r2": None},
        PAIR | {"id": 3, "r2": PAIR["r1"]},
        PAIR | {"id": 4, "prompt": "Nobody asked."},
    ]
    verdicts = [{"id": i, "verdict": 1} for i in (7, 1, 2, 3, 99)]
    recorded = imported(samples, verdicts)
    assert recorded.judgement_tally.dropped == {
        "empty_prompt": 1,
        "no_response": 1,
        "identical": 1,
        "no_sample": 1,
    }
    assert recorded.sample_tally.dropped == {
        "empty_prompt": 1,
        "no_response": 1,
        "identical": 1,
        "no_verdict": 1,
    }
    assert (recorded.judgement_tally.kept, recorded.sample_tally.kept) == (1, 1)


def test_equal_responses_of_two_policies_are_two_samples() -> None:
    same = PAIR | {"r2": PAIR["r1"]}
    recorded = imported([same], [{"id": 7, "verdict": "tie"}], policies={"names": ["small", "large"]})
    assert len(recorded.samples) == 2


def test_an_empty_response_is_a_response() -> None:
    recorded = imported([PAIR | {"r1": ""}], [{"id": 7, "verdict": 2}])
    assert p_of(recorded, "") == 0.0


def test_a_response_that_a_spreadsheet_turned_into_a_number_is_its_text() -> None:
    recorded = imported([PAIR | {"r1": True, "r2": 42}], [{"id": 7, "verdict": 2}])
    assert {sample.text for sample in recorded.samples} == {"true", "42"}


def test_text_columns_of_a_prompt_are_joined_by_a_blank_line_and_empty_ones_left_out() -> None:
    columns = {"prompt": ["task", "input"], "system": "sys"}
    one = {"id": 1, "task": "Add.", "input": "1 + 1", "sys": "Be brief.", "r1": "2", "r2": "3"}
    two = {"id": 2, "task": "Greet.", "input": "", "sys": None, "r1": "Hello", "r2": "Hi"}
    recorded = imported([one, two], [{"id": 1, "verdict": 1}, {"id": 2, "verdict": 1}], **columns)
    assert [prompt.as_chat() for prompt in recorded.prompts] == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add.\n\n1 + 1"}],
        [{"role": "user", "content": "Greet."}],
    ]


def test_a_row_may_leave_out_a_column_that_other_rows_have() -> None:
    other = PAIR | {"id": 8, "prompt": "How?"}
    recorded = imported([PAIR, other], [{"id": 7, "verdict": 1, "why": "x"}, {"id": 8, "verdict": 1}], reason="why")
    assert [judgement.reason for judgement in recorded.judgements] == ["x", None]


@pytest.mark.parametrize(
    ("policies", "cells", "names"),
    [
        (None, {}, ["unknown"]),
        ({"names": ["small", "large"]}, {}, ["small", "large"]),
        ({"columns": ["m1", "m2"]}, {"m1": "a", "m2": "b"}, ["a", "b"]),
        ({"joined": "models", "separator": "_"}, {"models": "gpt-6.7B_opt-7b"}, ["gpt-6.7B", "opt-7b"]),
    ],
)
def test_policies_are_named_by_the_map(policies: object, cells: dict[str, str], names: list[str]) -> None:
    recorded = imported([PAIR | cells], [{"id": 7, "verdict": 1}], policies=policies)
    assert [model.weights for model in recorded.policies] == names
    assert {model.engine for model in recorded.policies} == {"recorded"}


def test_the_implicit_constitution_is_a_principle_file() -> None:
    constitution = implicit_constitution(column_map(principle_text='The "better" one: right & kind.'))
    parsed = parse_constitution(constitution.source, where="recorded.yaml")
    assert parsed.principles == constitution.principles
    assert (parsed.name, parsed.description) == (constitution.name, constitution.description)


def test_a_given_constitution_lends_its_text_to_the_question() -> None:
    principle = Principle(id="brief", text="Be brief.")
    constitution = Constitution(name="mine", principles=(principle,), source="")
    recorded = records_from_rows(
        rows(PAIR),
        rows({"id": 7, "verdict": 1}),
        columns=column_map(principle="brief"),
        constitution=constitution,
    )
    assert recorded.questions[0].principles[0].text_digest == principle.digest
    assert recorded.constitution is constitution


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_constitution_that_weighs_other_principles_than_the_recorded_one_is_refused(
    weights: tuple[float, float],
) -> None:
    principles = (
        Principle(id="overall", text="Be good.", weight=weights[0]),
        Principle(id="brief", text="Be brief.", weight=weights[1]),
    )
    constitution = Constitution(name="mine", principles=principles, source="")
    with pytest.raises(ConstitutionError, match='verdicts are of "overall" alone'):
        records_from_rows(rows(PAIR), rows({"id": 7, "verdict": 1}), columns=column_map(), constitution=constitution)


def test_a_principle_that_the_constitution_lacks_is_refused_with_those_it_has() -> None:
    constitution = Constitution(name="mine", principles=(Principle(id="brief", text="Be brief."),), source="")
    with pytest.raises(ConstitutionError, match=r'no principle "overall".*write one of brief'):
        records_from_rows(rows(PAIR), rows({"id": 7, "verdict": 1}), columns=column_map(), constitution=constitution)


ODD_ROWS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    # changes of the map, of the sample row, of the verdict row, and what the sentence must say
    ({"verdict": "verdct"}, {}, {}, r'no column "verdct"; .* id, verdict \(verdicts\): did you mean'),
    ({"responses": ["r1", "r3"]}, {}, {}, r'no column "r3"; .* id, prompt, r1, r2 \(samples\)'),
    ({}, {"id": None}, {}, r'"id" holds null, no key \(file.jsonl:1\)'),
    ({}, {"id": [1]}, {}, r'"id" holds a list'),
    ({}, {"id": 9}, {}, r'no verdict belongs to a usable pair .*"id" names the same pairs'),
    ({}, {}, {"verdict": "A"}, r'none of 1 verdicts can be read: "verdict" holds "A" \(verdicts\): name'),
    ({}, {"prompt": {"a": 1}}, {}, r'"prompt" holds an object \(file.jsonl:1\)'),
    ({}, {"prompt": [{"role": "assistant", "content": "x"}]}, {}, "ends with the assistant's turn"),
    ({}, {"r1": {"text": "x"}}, {}, r'"r1" holds an object where text belongs'),
    ({"policies": {"joined": "m", "separator": "_"}}, {"m": "a_b_c"}, {}, r'"m" does not hold two names'),
    ({"logprobs": {"first": "l", "second": "l"}}, {}, {"l": 0.5}, r'"l" holds the number 0.5, no log-prob'),
    (
        {"logprobs": {"first": "l", "second": "m"}}, {}, {"l": -0.1, "m": -0.2},
        r"the log-probabilities of the verdicts are none: the probabilities .* sum to 1.724, more than 1 \(file.jsonl",
    ),
    (
        {"order": {"column": "o", "listed": [0], "swapped": [1], "verdict_names": "place"}}, {}, {"o": 2},
        r'"o" holds the number 2, which the column map does not name',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sample", "verdict", "sentence"), ODD_ROWS)
def test_a_row_that_cannot_be_understood_is_refused_in_a_sentence(
    changes: dict[str, Any], sample: dict[str, Any], verdict: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        imported([PAIR | sample], [{"id": 7, "verdict": 1} | verdict], **changes)


def test_a_key_that_stands_twice_among_the_samples_is_refused() -> None:
    with pytest.raises(DataError, match=r'the key "7" stands twice in "id" \(file.jsonl:2\)'):
        imported([PAIR, PAIR | {"prompt": "How?"}], [{"id": 7, "verdict": 1}])


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"no rows \(verdicts\)"):
        imported([PAIR], [])


KEYLESS_MAP = """\
prompt: prompt
responses: [r1, r2]
judge: judge-1
verdict: verdict
verdict_values: {first: [1], second: [2]}
"""


def test_two_files_without_a_key_are_refused(tmp_path: Path) -> None:
    columns = tmp_path / "columns.yaml"
    columns.write_text(KEYLESS_MAP)
    with pytest.raises(DataError, match="no key joins them"):
        import_recorded(tmp_path / "a.jsonl", tmp_path / "b.jsonl", columns)


def test_one_file_that_holds_samples_and_verdicts_needs_no_key(tmp_path: Path) -> None:
    (tmp_path / "columns.yaml").write_text(KEYLESS_MAP)
    both = tmp_path / "both.parquet"
    table = [{"prompt": f"Why {i}?", "r1": "a", "r2": "b", "verdict": i} for i in (1, 2, 3)]
    pq.write_table(pa.Table.from_pylist(table), both)
    recorded = import_recorded(both, both, tmp_path / "columns.yaml")
    assert [judgement.verdict for judgement in recorded.judgements] == ["first", "second"]
    assert len(recorded.failed) == 1


def test_a_column_map_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*columns.yaml"):
        import_recorded(tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "columns.yaml")


def test_the_example_has_both_orders_one_flip_and_one_verdict_that_cannot_be_read() -> None:
    recorded = import_recorded(EXAMPLE / "samples.jsonl", EXAMPLE / "verdicts.jsonl", EXAMPLE / "columns.yaml")
    assert str(recorded.judgement_tally) == "in 10, kept 9, dropped 1 (unparsable 1)"
    assert Counter(comparison.flipped for comparison in recorded.comparisons) == {False: 3, True: 1, None: 1}
    assert p_of(recorded, "It is 51.") == 0.5
    assert p_of(recorded, "The Ucayali.") == 0.25


def test_the_same_files_give_the_same_records() -> None:
    files = (EXAMPLE / "samples.jsonl", EXAMPLE / "verdicts.jsonl", EXAMPLE / "columns.yaml")
    assert import_recorded(*files) == import_recorded(*files)
