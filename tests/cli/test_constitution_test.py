"""`rlaif constitution test`: begun, labelled, decided; what it leaves where, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edit_runs import begin, in_ledger, refusal, say, write_answers
from spot_checks import answer, spot_check
from spot_checks import say as say_spot_check

from rlaif.calibration.edit_outcomes import describe_training, find_tested
from rlaif.calibration.edit_test import asked_items
from rlaif.calibration.sheet import read_sheet
from rlaif.constitution.principles import load_constitution
from rlaif.errors import RlaifError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.records import EditTest, HumanLabel, Sample

EDIT = ("old.yaml", "new.yaml", "--run", "001")
FILES = (*EDIT, "--sheet", "sheet.json")


def test_a_test_is_fixed_in_one_row_before_the_first_label_and_the_sheet_says_nothing_of_it(edited: Path) -> None:
    said = say(*FILES, "--seed", "3", "--alpha", "0.1")
    test, outcomes = in_ledger()
    sheet = read_sheet(Path("sheet.json"))
    assert outcomes == []
    assert f"the edit flips {len(test.flips)} of {len(test.flips) + len(test.rest)} decisions" in said
    assert f"sheet.json: {test.budget} items" in said
    assert len(test.flips) > 10
    assert (test.seed, test.alpha, test.directions) == (3, 0.1, ("better", "worse"))
    files = [load_constitution(name) for name in FILES[:2]]
    assert [test.old_digest, test.new_digest] == [file.file_digest for file in files]
    assert len(test.judge_ids) == len(test.template_digests) == 1
    assert test.budget == len(test.flips) + len(test.flips) // 3
    assert [item.id for item in sheet.items] == [item.item_id for item in asked_items(test)]
    text = Path("sheet.json").read_text()
    for item in (*test.flips, *test.rest):
        assert not any(secret in text for secret in (*item.sample_ids, item.prompt_id))
    assert not any(word in text for word in ("Be kind", "Be brief", "flip", "manner", "edit_judges"))
    keys = {"id", "question", "messages", "a", "b"}
    assert all(item.keys() == keys for item in json.loads(text)["items"])
    new_first = sum(item.new == "first" for item in test.flips)
    assert 0 < new_first < len(test.flips), "the new side is a or b by chance"


def test_labels_decide_it_and_the_outcome_stands_in_the_ledger_and_in_the_diff(edited: Path) -> None:
    test, sheet = begin()
    assert "the edit is under test by people, without labels so far" in say(
        "old.yaml", "new.yaml", "--run", "001", name="diff"
    )
    write_answers(test, sheet, says="new", only=3)
    assert "undecided so far" in say(*FILES)
    write_answers(test, sheet, says="new", only=12)
    said = say(*FILES, "--status")
    assert "better: people's labels certify that the edit is better" in said
    assert "20 certifies, whenever you look or stop" in said
    assert f"ann: 12 of {test.budget} answered" in said
    assert "flipped by manner: people take the new side in 100%" in said
    assert "the new winner is the longer reply in" in said
    assert test.id[:12] in said
    _, outcomes = in_ledger()
    assert [outcome.decision for outcome in outcomes] == ["undecided", "better"]
    assert outcomes[-1].num_labelled == 9
    assert "the edit is certified as better by people (9 of" in say(*EDIT, name="diff")
    assert "labels in the ledger: 12, 0 of them new" in say(*FILES)
    assert len(in_ledger()[1]) == 2, "the same labels are one outcome"


def test_people_who_take_the_old_side_make_it_worse_and_unclear_answers_leave_it_undecided(edited: Path) -> None:
    test, sheet = begin()
    write_answers(test, sheet, says="unclear")
    said = say(*FILES, "--dry-run")
    assert "undecided: neither side is certified" in said
    assert f"{test.budget} of {test.budget} answers are unclear: the guideline does not decide" in said
    assert "dry run: nothing was stored" in said
    assert in_ledger()[1] == []
    write_answers(test, sheet, says="old")
    said = say(*FILES)
    assert "worse: people's labels certify that the edit is worse; every flip is labelled, so this is exact" in said
    assert "certified as worse by people" in say(*EDIT, name="diff")


def test_answers_that_were_taken_in_cannot_be_left_out_later(edited: Path) -> None:
    test, sheet = begin()
    write_answers(test, sheet, says="old", only=3)
    say(*FILES)
    Path("sheet.answers/ann.jsonl").rename("ann.jsonl")
    write_answers(test, sheet, says="new", name="bob")
    assert "answers of ann were taken in before, and are not there now" in refusal(*FILES)
    assert len(in_ledger()[1]) == 1
    Path("ann.jsonl").rename("sheet.answers/ann.jsonl")
    assert "undecided so far" in say(*FILES)
    write_answers(test, sheet, says="new", only=2)
    assert "labelled item" in refusal(*FILES)


def test_labels_of_a_test_are_human_labels_without_a_probability(edited: Path) -> None:
    test, sheet = begin("--labels", "8")
    assert len(sheet.items) == 8
    write_answers(test, sheet, says="new")
    say(*FILES)
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        labels = ledger.used("001", 0, test.stage, HumanLabel)
        samples = ledger.find(Sample, [key for label in labels for key in label.sample_ids])
    by_pair = {item.sample_ids: item for item in asked_items(test)}
    assert len(labels) == 8
    assert {label.inclusion_probability for label in labels} == {None}
    assert {label.guideline_digest for label in labels} == {sheet.guideline_digest}
    for label, shown in zip(labels, sheet.items, strict=True):
        assert [samples[key].text for key in label.sample_ids] == [shown.a, shown.b]
        assert label.choice == by_pair[label.sample_ids[0], label.sample_ids[1]].new
    assert "8 labels in l.jsonl" in say_spot_check("export", "l.jsonl", "--run", "001", "--labels", "edit-tests")
    assert isinstance(spot_check("export", "all.jsonl", "--run", "001").exception, RlaifError), (
        "they are in no other file"
    )


def test_a_test_costs_only_questions_about_the_edit_and_a_dry_run_counts_them(edited: Path) -> None:
    said = say(*FILES, "--dry-run")
    assert "100 questions to ask the judge, 0 answered already" in said
    assert not Path("sheet.json").exists()
    begin()
    assert "asked 0 questions" in say(*EDIT, name="diff")


def test_pairs_that_were_labelled_before_are_outside(edited: Path) -> None:
    say_spot_check("draw", "drawn.json", "--run", "001", "--items", "10")
    answer(read_sheet(Path("drawn.json")), choices="1" * 10, folder="drawn.answers")
    say_spot_check("status", "drawn.json", "--run", "001")
    said = say(*FILES)
    test, _ = in_ledger()
    assert "outside the test: labelled_before 10" in said
    assert len(test.flips) + len(test.rest) == 40


def test_a_new_file_that_makes_more_failures_says_so_and_is_not_certified(edited: Path) -> None:
    test, sheet = begin(new="mute.yaml")
    assert sum(test.failed_new.values()) > 3
    write_answers(test, sheet, says="new")
    said = say("old.yaml", "mute.yaml", "--run", "001", "--sheet", "sheet.json")
    assert "without a label under the new file: failed_judgement" in said
    assert "undecided: people take the new side, but the edit leaves" in said


def test_what_the_ledger_knows_of_an_edit_reaches_the_policy_that_is_trained_under_it(edited: Path) -> None:
    old, new, terse = (load_constitution(f"{name}.yaml") for name in ("old", "new", "terse"))
    test, sheet = begin()
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert describe_training(ledger, old) == "", "no edit leads to it"
        assert "under test by people" in describe_training(ledger, new)
        assert find_tested(ledger, new=new.file_digest, run="002") is None
    write_answers(test, sheet, says="new")
    say(*FILES)
    with Ledger.open("runs/ledger.sqlite") as ledger:
        assert describe_training(ledger, new).startswith("trained under an edit that was certified as better by people")
        ledger.append([terse])
        assert describe_training(ledger, terse) == "trained under an edit that was not tested by people"
        assert describe_training(ledger, old) == ""
        other = terse.changed(source="another", principles=(terse.principles[0].model_copy(update={"id": "other"}),))
        ledger.append([other])
        assert describe_training(ledger, other) == "", "a file of the same name without a principle of theirs"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["old.yaml", "old.yaml"], "are the same text"),
        (["old.yaml", "terse.yaml"], "the edit flips none of 50 decisions"),
        (["new.yaml", "old.yaml"], 'the run has no judgements under principle "manner" of the old file'),
        (["old.yaml", "new.yaml", "--status"], "no test of this edit was begun in this run"),
        (["old.yaml", "new.yaml", "--guideline", "circular.txt"], 'has the words of principle "manner"'),
        (["old.yaml", "new.yaml", "--guideline", "empty.txt"], "the guideline is empty"),
        (["old.yaml", "new.yaml", "--sheet", "old.yaml"], "there is a file of this name already"),
        (["old.yaml", "new.yaml", "--run", "007"], "the runs are 001, 002"),
        (["old.yaml", "none.yaml"], "none.yaml"),
    ],
)
def test_a_test_that_cannot_be_is_refused_and_nothing_is_written(
    edited: Path, arguments: list[str], sentence: str
) -> None:
    Path("circular.txt").write_text("Take the reply that is kind: be  KIND, always.\n")
    Path("empty.txt").write_text(" \n")
    named = () if "--run" in arguments else ("--run", "001")
    assert sentence in refusal(*arguments, *named)
    assert not list(Path().glob("*.json"))
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert list_records(ledger, EditTest) == []


def test_what_was_fixed_before_the_first_label_cannot_be_changed_after(edited: Path) -> None:
    test, _ = begin()
    Path("other.txt").write_text("Take the reply that a friend would like better.\n")
    assert "the test was begun under another guideline" in refusal(*FILES, "--guideline", "other.txt")
    assert "--alpha is 0.05 in this test" in refusal(*FILES, "--alpha", "0.1")
    assert "--seed is 0 in this test" in refusal(*FILES, "--seed", "5")
    assert f"--labels is {test.budget} in this test" in refusal(*FILES, "--labels", "5")
    assert "undecided so far" in say(*FILES, "--alpha", "0.05", "--seed", "0", "--labels", str(test.budget))


def test_a_budget_over_all_pairs_asks_about_all_of_them_and_may_be_given_again(edited: Path) -> None:
    test, sheet = begin("--labels", "1000")
    assert len(sheet.items) == test.budget == 50
    assert "undecided so far" in say(*FILES, "--labels", "1000")


def test_a_sheet_of_another_test_and_answers_to_another_sheet_are_refused(edited: Path) -> None:
    _, sheet = begin()
    said = say("old.yaml", "mute.yaml", "--run", "001", "--sheet", "mute.json")
    assert "1 other edits are tested in this run" in said
    assert "give each --alpha 0.0250" in said
    assert "this is the sheet of another test" in refusal(
        "old.yaml", "new.yaml", "--run", "001", "--sheet", "mute.json"
    )
    other, _ = in_ledger()
    write_answers(other, read_sheet(Path("mute.json")), says="new")
    assert "these are answers to another sheet" in refusal(*FILES)
    assert isinstance(spot_check("status", "sheet.json", "--run", "001").exception, RlaifError)
    assert sheet.id != other.sheet_id
