"""Rules on rows: what each finds, what becomes of it, and how much of what was planted in front-desk data is found."""

from __future__ import annotations

import random

import pytest
from planted_faults import measure, plant_preferences, plant_prompts

from rlaif.cleaning.clean import Cleaned, clean_rows
from rlaif.cleaning.kinds import DEMONSTRATIONS, PREFERENCES, PROMPTS
from rlaif.cleaning.report import describe_cleaning, describe_share, read_cleaning, write_cleaning
from rlaif.config.cleaning import RECOMMENDED, CleaningConfig
from rlaif.records import ChoiceRow, Demonstration, Message, PreferenceRow, Prompt, RatedRow, Tally, TrainingRow

OFF = CleaningConfig(duplicates="off", leakage="off")


def ask(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def clean(texts: list[str], **rules: object) -> Cleaned[Prompt]:
    config = CleaningConfig.model_validate({**OFF.model_dump(), **rules})
    return clean_rows([ask(text) for text in texts], kind=PROMPTS, config=config)


def texts(cleaned: Cleaned[Prompt]) -> list[str]:
    return [prompt.messages[0].content for prompt in cleaned.rows]


@pytest.mark.parametrize("plant", [plant_prompts, plant_preferences])
def test_of_what_is_planted_each_rule_finds_95_percent_at_a_precision_of_95_percent(plant) -> None:
    for rule, found in measure(plant(2000, seed=7)).items():
        assert found.recall >= 0.95, (rule, found)
        assert found.precision >= 0.95, (rule, found)


def test_label_flips_are_not_found_but_where_the_data_contradict_themselves() -> None:
    planted = plant_preferences(400, seed=3)
    config = RECOMMENDED.model_copy(update={"contradictions": "drop"})
    cleaned = clean_rows(planted.rows, kind=PREFERENCES, config=config)
    flipped = planted.truth["label_flips"]
    assert len(flipped) == 20
    assert flipped <= set(cleaned.places)


def test_clean_front_desk_data_lose_no_row() -> None:
    rows = plant_prompts(600, seed=11)
    planted = set().union(*rows.truth.values())
    clean_ones = [row for place, row in enumerate(rows.rows) if place not in planted]
    drop = CleaningConfig.model_validate(
        {**RECOMMENDED.model_dump(), "mojibake": "drop", "markup": "drop", "control": "drop", "personal": "drop"}
    )
    assert clean_rows(clean_ones, kind=PROMPTS, config=drop, evaluated=rows.evaluated).report.num_dropped == 0


@pytest.mark.parametrize(
    ("rule", "dirty", "whole"),
    [
        ("mojibake", "cafÃ© now", "café now"),
        ("control", "a\x00b", "ab"),
        ("markup", "<b>bold</b>", "bold"),
        ("unicode", "e\u0301", "é"),
        ("personal", "a@b.org", "[e-mail]"),
    ],
)
def test_a_text_with_a_fault_is_reported_dropped_or_corrected(rule: str, dirty: str, whole: str) -> None:
    rows = ["fine", dirty]
    assert texts(clean(rows, **{rule: "off"})) == texts(clean(rows, **{rule: "report"})) == rows
    assert texts(clean(rows, **{rule: "drop"})) == ["fine"]
    fixed = clean(rows, **{rule: "fix"})
    assert texts(fixed) == ["fine", whole]
    (found,) = fixed.report.rules
    assert (found.rule, found.found, found.fixed, found.dropped) == (rule, 1, 1, 0)
    assert found.examples[0].row == 2


def test_text_that_is_lost_is_reported_and_cannot_be_corrected() -> None:
    cleaned = clean(["lost \ufffd here", "cafÃ©"], mojibake="fix")
    assert texts(cleaned) == ["lost \ufffd here", "café"]
    assert (cleaned.report.rules[0].found, cleaned.report.rules[0].fixed) == (2, 1)


def test_a_corrected_prompt_is_compared_as_it_is_then() -> None:
    assert texts(clean(["café", "cafÃ©"], mojibake="fix", duplicates="drop")) == ["café"]


def test_the_default_changes_no_row_and_reports_equal_rows_and_leaks() -> None:
    rows = [ask("One"), ask("one "), ask("leak"), ask("<b>x</b>")]
    cleaned = clean_rows(rows, kind=PROMPTS, config=CleaningConfig(), evaluated=[ask("LEAK")])
    assert cleaned.rows == rows
    assert [(rule.rule, rule.found) for rule in cleaned.report.rules] == [("duplicates", 1), ("leakage", 1)]


def test_held_out_rows_never_leak_and_are_no_duplicates_of_those_trained_on() -> None:
    rows = [ask("Where is it?"), ask("where is it"), ask("where is it?"), ask("else")]
    held_out = {rows[2].id}
    config = CleaningConfig(duplicates="drop", near_duplicates="drop", leakage="drop", near_leakage="drop")
    cleaned = clean_rows(rows, kind=PROMPTS, config=config, find_held_out=lambda ids: held_out & set(ids))
    assert cleaned.rows == [rows[2], rows[3]]
    assert cleaned.report.dropped == {"cleaning_near_duplicates": 1, "cleaning_leakage": 1}


def test_lengths_count_the_last_turn_and_every_response() -> None:
    prompt = ask("ok?")
    rows = [(prompt, Demonstration(prompt_id=prompt.id, response=text)) for text in ("fine", "no", "x" * 30)]
    config = OFF.model_copy(update={"length": "drop", "min_characters": 3, "max_characters": 20})
    assert [row[1].response for row in clean_rows(rows, kind=DEMONSTRATIONS, config=config).rows] == ["fine"]


def test_preferences_between_equal_responses_and_contradictions_are_found() -> None:
    def prefer(chosen: str, rejected: str, label: float = 1.0) -> PreferenceRow:
        return PreferenceRow(prompt=ask("q"), chosen=chosen, rejected=rejected, label=label)

    rows: list[TrainingRow] = [
        prefer("Yes.", " yes."), prefer("At nine o'clock.", "At nine o'clock!!"), prefer("a", "b"), prefer("B", "A"),
        prefer("a", "b", 0.2), prefer("c", "d"), prefer("c", "d", 0.5),
        ChoiceRow(prompt=ask("q"), responses=("x", "y", "X"), shares=(1, 0, 0)),
        RatedRow(prompt=ask("q"), response="x", kind="thumb", value=1),
    ]  # fmt: skip
    off = OFF.model_dump()
    found = {
        rule: [
            place for place in range(len(rows))
            if place not in clean_rows(
                rows, kind=PREFERENCES, config=CleaningConfig.model_validate({**off, rule: "drop"})
            ).places
        ]
        for rule in ("identical_pairs", "near_identical_pairs", "contradictions", "duplicates")
    }  # fmt: skip
    assert found == {
        "identical_pairs": [0, 7], "near_identical_pairs": [1], "contradictions": [2, 3, 4], "duplicates": [6],
    }  # fmt: skip


def test_texts_of_a_model_are_never_corrected() -> None:
    row: TrainingRow = PreferenceRow(prompt=ask("q"), chosen="cafÃ©", rejected="b")
    cleaned = clean_rows([row], kind=PREFERENCES, config=CleaningConfig(mojibake="fix"), can_fix=False)
    assert cleaned.rows == [row]
    assert "1 of 1 preferences, 1 left as it is" in next(describe_cleaning(cleaned.report))


def test_examples_show_no_personal_data_whatever_rule_found_them(tmp_path) -> None:
    cleaned = clean(["mail ann@example.org today", "Mail ann@example.org TODAY"], duplicates="drop", personal="fix")
    assert "ann@" not in cleaned.report.model_dump_json()
    write_cleaning(cleaned.report, tmp_path)
    assert read_cleaning(tmp_path) == cleaned.report
    assert read_cleaning(tmp_path / "elsewhere") is None


def test_what_is_dropped_is_in_the_tally_by_rule_and_beside_the_share_that_is_allowed() -> None:
    report = clean(["a b c", "A B C", "<p>x</p>", "d"], duplicates="drop", markup="drop").report
    tally = report.count_in(Tally(num_in=5, dropped={"empty": 1}))
    assert str(tally) == "in 5, kept 2, dropped 3 (cleaning_duplicates 1, cleaning_markup 1, empty 1)"
    assert describe_share(report, at_most=0.5)[1] is False
    sentence, is_closed = describe_share(report, at_most=0.4)
    assert is_closed
    assert sentence.startswith("cleaning dropped 2 of 4 prompts, most of them by cleaning.markup (1)")


def test_cleaning_twice_finds_nothing_more() -> None:
    planted = plant_prompts(300, seed=5)
    config = CleaningConfig.model_validate({**RECOMMENDED.model_dump(), "personal": "fix"})
    once = clean_rows(planted.rows, kind=PROMPTS, config=config, evaluated=planted.evaluated)
    again = clean_rows(once.rows, kind=PROMPTS, config=config, evaluated=planted.evaluated)
    assert again.rows == once.rows
    rows = list(planted.rows)
    random.Random(1).shuffle(rows)
    assert len(clean_rows(rows, kind=PROMPTS, config=config, evaluated=planted.evaluated).rows) == len(once.rows)
