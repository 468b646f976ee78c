"""A run that asks people: it draws, waits, takes their answers in, and continues. Recorded verdicts; no model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from made_once import make_once
from recorded_run import write_recorded
from spot_checks import answer, in_ledger, say
from typer.testing import CliRunner

from rlaif.calibration.sheet import read_sheet
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.errors import ConfigError, RlaifError, WaitsForPeople
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import CalibrationCard, HumanLabel, Preference

SHEET = Path("runs/001/round_00/sheet.json")
CONFIG = "human:\n  num_items: 12\n  annotators: [ann, bob]\n"


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that waits for ann and bob."""

    def make(folder: Path) -> None:
        options = write_recorded(folder)
        (folder / "options.json").write_text(json.dumps(options))
        (folder / "rlaif.yaml").write_text(CONFIG)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert isinstance(generate("--run", "001").exception, WaitsForPeople)

    return make_once(tmp_path_factory, "waiting-run", make)


@pytest.fixture
def waiting(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(recorded, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def generate(*arguments: str) -> Result:
    options = [] if "--resume" in arguments else json.loads(Path("options.json").read_text())
    return CliRunner().invoke(app, ["generate-prefs", *options, *arguments])


def resume(*arguments: str) -> Result:
    return generate("--run", "001", "--resume", *arguments)


def refusal(result: Result) -> str:
    assert isinstance(result.exception, RlaifError), (result.exception, result.output)
    return result.exception.sentence


def answer_all(name: str, choices: str = "12" * 6) -> None:
    answer(read_sheet(SHEET), name, choices=choices, folder=str(SHEET.with_name("sheet.answers")))


def test_a_judged_run_draws_a_sheet_and_names_the_commands_to_come(waiting: Path) -> None:
    check, labels = in_ledger()
    assert [len(check.items), check.design, labels] == [12, "even", []]
    assert read_sheet(SHEET).id == check.sheet_id
    assert not Path("runs/001/round_00/4_preferences").exists()
    waits = resume()
    assert isinstance(waits.exception, WaitsForPeople)
    assert waits.exception.exit_code == 4
    said = waits.exception.sentence
    for command in ("ann", "bob"):
        assert f"`rlaif spot-check label {SHEET} --as {command}`" in said
    assert said.endswith("then `rlaif generate-prefs --run 001 --resume`")


def test_while_answers_are_missing_it_says_how_many_and_nothing_of_what_they_come_to(waiting: Path) -> None:
    answer_all("ann")
    answer_all("bob", "1211")
    waits = resume()
    said = refusal(waits)
    assert "this run waits for people: bob has answered 4 of 12 pairs (runs" in said
    assert "--as ann" not in said
    assert not any(word in said + waits.output for word in ("agree", "%", "probability", "calibration"))
    assert in_ledger()[1] == [], "nothing is taken in before all is answered"


def test_complete_answers_calibrate_the_judge_and_are_peoples_rows(waiting: Path) -> None:
    answer_all("ann", "12u012121212")
    answer_all("bob")
    answer_all("eve")  # nobody asked her
    done = resume()
    assert done.exit_code == 0, done.exception
    check, labels = in_ledger()
    assert {label.annotator for label in labels} == {"ann", "bob"}
    assert {label.inclusion_probability for label in labels} == {12 / 40}
    assert {label.guideline_digest for label in labels} == {check.guideline_digest}
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        used = ledger.used("001", 0, "4_preferences", HumanLabel)
        (card,) = ledger.used("001", 0, "4_preferences", CalibrationCard)
        rows = ledger.used("001", 0, "4_preferences", Preference)
    assert [label.id for label in used] == [label.id for label in labels]
    assert (card.num_labels, card.num_annotators, card.before.n, card.transport) == (23, 2, 12, None)
    assert {row.sample_ids for row in rows if row.source == "human"} == {
        tuple(sorted(item.sample_ids)) for item in check.items
    }
    assert resume().exit_code == 0, "a finished run asks nobody again"


def test_answers_that_the_owner_took_in_before_count_once_and_of_those_who_were_asked(waiting: Path) -> None:
    for name in ("ann", "bob", "eve"):
        answer_all(name)
    assert "labels: 36, 36 of them new" in say("status", str(SHEET), "--run", "001")
    assert resume().exit_code == 0
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        used = ledger.used("001", 0, "4_preferences", HumanLabel)
    assert sorted(label.annotator for label in used) == ["ann"] * 12 + ["bob"] * 12


def test_a_sheet_whose_draw_a_kill_kept_from_the_ledger_is_drawn_again_to_the_same_and_kept(waiting: Path) -> None:
    sheet = SHEET.read_bytes()
    shutil.rmtree("runs")
    assert generate("--run", "001", "--set", "human.num_items=0", "--set", "human.annotators=[]").exit_code == 0
    SHEET.write_bytes(sheet)
    asked = [f"--set={option}" for option in ("human.num_items=12", "human.annotators=[ann]")]
    late = CliRunner().invoke(app, ["train", "--run", "001", *asked])
    assert "then `rlaif train --run 001 --resume`" in refusal(late)
    assert SHEET.read_bytes() == sheet
    assert in_ledger()[0].sheet_id == read_sheet(SHEET).id


def test_options_that_the_sheet_was_not_drawn_with_are_refused(waiting: Path) -> None:
    said = refusal(resume("--set", "human.num_items=13"))
    assert "drawn with human.num_items 12, not 13" in said
    assert "human.focus false, not true" in refusal(resume("--set", "human.focus=true"))
    assert "another human.principle (overall)" in refusal(resume("--set", "human.principle=[kind]"))
    Path("guide.txt").write_text("Kindness only.")
    assert "another human.guideline" in refusal(resume("--set", "human.guideline=guide.txt"))


def test_somebody_who_cannot_go_on_is_left_out_by_name(waiting: Path) -> None:
    answer_all("ann")
    answer_all("bob", "1")
    assert resume("--set", "human.annotators=[ann]").exit_code == 0
    assert {label.annotator for label in in_ledger()[1]} == {"ann"}


def test_a_run_continues_without_people_where_they_are_no_longer_asked(waiting: Path) -> None:
    done = resume("--set", "human.num_items=0")
    assert done.exit_code == 0, done.exception
    assert not Path("runs/001/round_00/4_preferences/calibration.json").exists()


def test_answers_of_ties_alone_are_refused(waiting: Path) -> None:
    answer_all("ann", "0u" * 6)
    answer_all("bob", "00" * 6)
    assert "none of the 12 items has an answer that takes a side" in refusal(resume())


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["human.num_items=5"], "5 pairs are to be labelled and nobody is named"),
        (["human.annotators=[ann]"], "annotators does nothing while num_items is 0"),
        (["human.num_items=5", "human.annotators=[ann, ann]"], '"ann" stands there twice'),
        (["human.num_items=5", "human.annotators=[ann]", "human.path=l.jsonl"], "give either num_items"),
        (["human.num_items=5", "human.annotators=[ann]", "human.max_ratio=4"], "max_ratio does nothing without focus"),
        (["human.num_items=5", "human.annotators=['../ann']"], '"human.annotators.0" is "../ann"'),
        (["human_labels.wieght=1"], 'did you mean "human.weight"'),
    ],
)
def test_options_that_do_not_go_together_are_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence.replace("[", r"\[")):
        load_config(overrides=overrides)


@pytest.mark.parametrize("wrong", ["human.principle=[kinds]", "human.guideline=none.txt", "human.combine=dawid_skene"])
def test_what_people_could_not_be_asked_is_refused_before_anything_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [f"--set={option}" for option in ("human.num_items=5", "human.annotators=[ann]", wrong)]
    assert refusal(CliRunner().invoke(app, ["generate-prefs", *given]))
    assert not Path("runs").exists()
