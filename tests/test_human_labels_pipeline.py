"""People's labels through the pipeline on the front desk: from the start, late, and wrong. All labels are simulated."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from page import Page
from spot_checks import answer
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.calibration.sheet import read_sheet
from rlaif.cli import app
from rlaif.config.load import load_config, parse_config
from rlaif.errors import ConfigError, DataError, RunFolderError, StageError
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.loop.open_run import open_work
from rlaif.loop.preflight import check_inputs
from rlaif.preferences.stage import mix_labels_late
from rlaif.records import CalibrationCard, Comparison, HumanLabel, Preference, Sample
from rlaif.reward_model.stage import read_rows_so_far
from rlaif.run.finished import read_stage
from rlaif.run.folder import open_run
from rlaif.run.stages import EVALUATION, GENERATING, PREFERENCES, REWARD_MODEL

EXAMPLE = Path(__file__).parents[1] / "examples" / "human-labels" / "simulated_annotator.py"
PANDALM = Path(__file__).parents[2] / "shared" / "data" / "pandalm"
SMALL = ["prompts.num_prompts=24", "sampling.num_samples=3", "reward_model.num_epochs=1"]


def load_annotator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulated_annotator", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_annotator"] = module
    spec.loader.exec_module(module)
    return module


annotator = load_annotator()


def generate(runs_dir: Path, name: str, *overrides: str) -> None:
    with open_work(load_config(overrides=[*SMALL, *overrides]), run_name=name, runs_dir=runs_dir, resume=False) as work:
        pipeline.generate_preferences(work)


def train(runs_dir: Path, name: str, *overrides: str, resume: bool = False) -> None:
    """The command `rlaif train --stage reward-model`."""
    stored = open_run(runs_dir, name).config["config"]
    config = parse_config(json.dumps(stored), where="config.json", overrides=overrides)
    stages = (REWARD_MODEL,)
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=resume, stages=stages) as work:
        pipeline.train(work, stage="reward-model")


def write_labels(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"human.path={json.dumps(str(path))}"


def dataset_rows(runs_dir: Path, run: str) -> list[dict[str, Any]]:
    folder = runs_dir / run / "round_00" / "4_preferences" / "dataset" / "data"
    return [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    generate(folder, "judged")
    return folder


@pytest.fixture(scope="module")
def rows(runs_dir: Path) -> list[dict[str, Any]]:
    """Forty labels of the first run's pairs."""
    judged = annotator.read_run(runs_dir, "judged")
    return list(annotator.draw_labels(judged, num_labels=40, num_annotators=1, seed=0))


@pytest.fixture(scope="module")
def labelled(runs_dir: Path, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that had the labels from the start."""
    given = write_labels(tmp_path_factory.mktemp("files") / "labels.jsonl", rows)
    generate(runs_dir, "labelled", given)
    return given


@pytest.fixture
def ledger(runs_dir: Path) -> Iterator[Ledger]:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as opened:
        yield opened


def test_labels_ask_the_judge_nothing_and_stand_in_the_ledger(labelled: str, ledger: Ledger) -> None:
    assert ledger.used("labelled", 0, "3_judgements", Comparison) == ledger.used(
        "judged", 0, "3_judgements", Comparison
    )
    labels = ledger.used("labelled", 0, "4_preferences", HumanLabel)
    (card,) = ledger.used("labelled", 0, "4_preferences", CalibrationCard)
    assert len(labels) == card.num_labels == 40
    assert card.simulated
    assert all(label.simulated for label in labels)
    assert (card.before.n, card.human_weight) == (40, 5.0)
    assert ledger.used("judged", 0, "4_preferences", CalibrationCard) == []


def test_a_pair_that_people_labelled_has_their_label_and_the_others_the_calibrated_one(
    labelled: str, runs_dir: Path, rows: list[dict[str, Any]], ledger: Ledger
) -> None:
    preferences = ledger.used("labelled", 0, "4_preferences", Preference)
    (card,) = ledger.used("labelled", 0, "4_preferences", CalibrationCard)
    by_pair = {preference.sample_ids: preference for preference in preferences}
    assert len(by_pair) == len(preferences) == len(ledger.used("judged", 0, "4_preferences", Preference))
    for row in rows:
        pair = tuple(sorted((row["first_id"], row["second_id"])))
        people = by_pair[pair]
        chosen = row["first_id"] if row["choice"] == "first" else row["second_id"]
        assert (people.source, people.weight, people.label) == ("human", 5.0, float(chosen == pair[0]))
        assert ledger.find(HumanLabel, people.evidence_ids).keys() == set(people.evidence_ids)
    judged = [preference for preference in preferences if preference.source == "judge"]
    expected = None if card.map.kind == "identity" else card.id
    assert {preference.calibration_id for preference in judged} == {expected}
    exported = {(row["chosen_id"], row["rejected_id"]): row for row in dataset_rows(runs_dir, "labelled")}
    assert len(exported) == len(preferences)
    assert sum(row["source"] == "human" for row in exported.values()) == 40
    assert {row["weight"] for row in exported.values() if row["source"] == "human"} == {5.0}


def test_the_stage_leaves_the_calibration_as_a_file_that_verifies(
    labelled: str, runs_dir: Path, ledger: Ledger
) -> None:
    folder = runs_dir / "labelled" / "round_00" / "4_preferences"
    stored = json.loads((folder / "calibration.json").read_text())
    (card,) = ledger.used("labelled", 0, "4_preferences", CalibrationCard)
    assert CalibrationCard.model_validate(stored["calibration"]) == card
    stage = read_stage(folder)
    assert stage is not None
    assert "calibration.json" in stage.outputs
    assert "human_labels.parquet" in stage.outputs
    assert verify(ledger).ok


def test_labels_that_come_late_make_the_same_data_set_and_a_reward_model_holds_them_fast(
    labelled: str, runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    generate(runs_dir, "late")
    train(runs_dir, "late", labelled)
    names = [
        sorted(p.name for p in (runs_dir / r / "round_00/4_preferences/dataset/data").iterdir())
        for r in ("late", "labelled")
    ]
    assert names[0] == names[1], "the files are named by their contents"
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        late, first = (ledger.used(run, 0, "4_preferences", Preference) for run in ("late", "labelled"))
        assert [preference.id for preference in late] == [preference.id for preference in first]
        assert len(ledger.used("late", 0, "4_preferences", CalibrationCard)) == 1
        assert verify(ledger).ok
    other = write_labels(tmp_path / "other.jsonl", rows[:30])
    with pytest.raises(RunFolderError, match=r"stages of this run were done with other values \(human.path: "):
        train(runs_dir, "late", other, resume=True)


def test_a_newer_file_of_labels_takes_the_place_of_the_older_one_before_training(
    labelled: str, runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    generate(runs_dir, "newer", labelled)
    with open_work(
        load_config(overrides=[*SMALL, write_labels(tmp_path / "newer.jsonl", rows[:30]), "human.weight=2"]),
        run_name="newer", runs_dir=runs_dir, resume=False, stages=(REWARD_MODEL,),
    ) as work:  # fmt: skip
        mix_labels_late(work.round, work.book, work.bench)
        mix_labels_late(work.round, work.book, work.bench)
        assert len(work.book.used(PREFERENCES, HumanLabel, round=work.round.number)) == 30
        people = [p for p in work.book.used(PREFERENCES, Preference, round=work.round.number) if p.source == "human"]
        assert {p.weight for p in people} == {2.0}
        assert len(people) == 30
        assert work.round.ledger.makings("newer", 0, "4_preferences").number == 1, (
            "made again once, for it was right then"
        )


@pytest.fixture(scope="module")
def reported(labelled: str, runs_dir: Path) -> Path:
    """The evaluation's folder of a run with labels."""
    tiny = [
        "ppo.num_steps=1", "ppo.num_prompts_per_step=2", "ppo.num_samples_per_prompt=2", "ppo.num_reference_samples=4",
        "ppo.value_warmup_steps=0", "ppo.response_length=16", "ppo.guards.num_prompts=2", "evaluation.num_prompts=4",
        "evaluation.best_of=2",
    ]  # fmt: skip
    generate(runs_dir, "reported", labelled, *tiny)
    config = parse_config(json.dumps(open_run(runs_dir, "reported").config["config"]), where="config.json")
    with open_work(config, run_name="reported", runs_dir=runs_dir, resume=False, stages=(REWARD_MODEL,)) as work:
        pipeline.train(work, stage="all")
        pipeline.evaluate(work)
    return runs_dir / "reported" / "round_00" / "7_evaluation"


def test_the_report_shows_people_and_the_judge_and_what_the_labels_did(reported: Path) -> None:
    report = json.loads((reported / "report.json").read_text())
    people, card = report["people"], report["calibration"]
    assert people["agreement"]["judge"]["majority"]["share"] == card["before"]["share"]
    assert len(people["agreement"]["judge"]["disagreements"]) == round(40 * (1 - card["before"]["share"]["mean"]))
    assert people["is_drawn"]
    assert people["accuracy"]["people"]["mean"] == pytest.approx(card["before"]["share"]["mean"])
    assert people["accuracy"]["num_labels"] == 40
    assert people["effect"]["num_pairs"] == people["accuracy"]["num_items"] > 40
    assert [one["name"] for one in people["predictors"]] == [
        "the judge as it was", "the judge, calibrated", "the reward model",
    ]  # fmt: skip
    leanings = {one["name"]: one for one in people["leanings"]}
    assert leanings.keys() == {*report["measures"], "words"}
    assert leanings["words"]["policy"]["change"]["n"] == 4
    assert leanings["words"]["labels"]["mean_after"] < leanings["words"]["labels"]["mean_before"], "it had liked length"
    page = Page((reported / "report.html").read_text())
    assert "The judge's liking for length was taken away" in page.section("people").text
    assert len(page.section("people").find("article")) == 6


def spot_check(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["spot-check", *arguments], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_people_label_an_evaluation_and_the_report_gives_the_win_rate_as_they_would(
    reported: Path, runs_dir: Path, tmp_path: Path
) -> None:
    report = json.loads((reported / "report.json").read_text())
    assert report["people"]["win_rate"] is None
    of_run = ["--run", "reported", "--runs-dir", str(runs_dir)]
    spot_check("draw", str(tmp_path / "sheet.json"), "--evaluation", "--items", "2", *of_run)
    sheet = read_sheet(tmp_path / "sheet.json")
    pairs = {frozenset((shown["before"], shown["after"])) for shown in report["samples"]}
    assert all(frozenset((item.a, item.b)) in pairs for item in sheet.items), "none of the best of n"
    answer(sheet, choices="12", folder=str(tmp_path / "sheet.answers"))
    assert "rlaif evaluate --resume" in spot_check("status", str(tmp_path / "sheet.json"), *of_run)
    config = parse_config(json.dumps(open_run(runs_dir, "reported").config["config"]), where="config.json")
    with open_work(config, run_name="reported", runs_dir=runs_dir, resume=True, stages=(EVALUATION,)) as work:
        pipeline.evaluate(work)
        pipeline.evaluate(work)
        assert work.round.ledger.makings("reported", 0, "7_evaluation").number == 1, "made again once"
    again = json.loads((reported / "report.json").read_text())
    assert again["people"]["win_rate"]["num_labels"] == 2
    assert not again["people"]["win_rate"]["uses_judge"], "two labels are too few"
    assert again["win_rate"] == report["win_rate"]
    assert again["evaluation_id"] == report["evaluation_id"]
    result = CliRunner().invoke(app, ["spot-check", "export", str(tmp_path / "out.jsonl"), *of_run])
    assert isinstance(result.exception, StageError), "nothing is trained on these labels"
    by_sheet = ["spot-check", "export", str(tmp_path / "out.jsonl"), "--sheet", str(tmp_path / "sheet.json"), *of_run]
    result = CliRunner().invoke(app, by_sheet)
    assert isinstance(result.exception, DataError)
    assert "nothing may be trained on its prompts" in result.exception.sentence
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok


def test_a_run_without_an_evaluation_has_none_to_draw_from(runs_dir: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["spot-check", "draw", str(tmp_path / "s"), "--evaluation", "--run", "judged", "--runs-dir", str(runs_dir)]
    )
    assert isinstance(result.exception, RunFolderError)
    assert "nothing is evaluated in this run yet" in result.exception.sentence
    assert "rlaif evaluate" in result.exception.sentence


def test_labels_that_were_mixed_in_cannot_be_left_out_afterwards(labelled: str, runs_dir: Path) -> None:
    with pytest.raises(
        RunFolderError, match="preferences of this run were made with the human labels of .*labels.jsonl"
    ):
        train(runs_dir, "labelled", "human.path=null")


@pytest.mark.parametrize("change", [{"first_id": "0" * 32}, {"choice": "left"}, {"principle": "brieff"}])
def test_wrong_labels_leave_a_judged_run_as_it_was(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path, change: dict[str, str]
) -> None:
    given = write_labels(tmp_path / "wrong.jsonl", [*rows[:-1], {**rows[-1], **change}])
    folder = runs_dir / "judged"
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    with pytest.raises(DataError) as caught:
        train(runs_dir, "judged", given)
    assert "1 of 40" in caught.value.sentence
    assert "wrong.jsonl:40" in caught.value.sentence
    after = {path: path.read_bytes() for path in folder.rglob("*.json") if path.name != "manifest.json"}
    assert after == {path: data for path, data in before.items() if path.name != "manifest.json"}
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.used("judged", 0, "4_preferences", HumanLabel) == []


def test_a_run_with_unreadable_labels_never_begins(runs_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="the file has no labels"):
        generate(runs_dir, "never", f"human.path={json.dumps(str(tmp_path / 'empty.jsonl'))}")
    assert not (runs_dir / "never").exists()


def test_a_missing_file_of_labels_is_not_looked_for_elsewhere(runs_dir: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such file \(nowhere.jsonl\)"):
        generate(runs_dir, "never", "human.path=nowhere.jsonl")
    assert not (runs_dir / "never").exists()


def test_labels_of_unknown_samples_are_refused_before_the_judge_is_asked(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    given = write_labels(tmp_path / "labels.jsonl", [{**rows[0], "second_id": "0" * 32}])
    with pytest.raises(DataError, match="1 of 1 labels name samples that nobody has: 0{32}"):
        generate(runs_dir, "unasked", given)
    assert not (runs_dir / "unasked" / "round_00" / "3_judgements").exists()


def test_labels_of_another_seeds_samples_are_not_this_runs(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="none of the 40 labels is of this run's samples"):
        generate(runs_dir, "other-seed", write_labels(tmp_path / "labels.jsonl", rows), "seed=1")


def test_a_preference_set_is_trained_on_beside_what_the_judge_compared(runs_dir: Path, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "When does the museum open?"}]
    given = write_labels(tmp_path / "set.jsonl", [{"prompt": chat, "chosen": "At nine.", "rejected": "Go away."}])
    generate(runs_dir, "with-set", given)
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        (people,) = [p for p in ledger.used("with-set", 0, "4_preferences", Preference) if p.source == "human"]
        texts = {sample.text for sample in ledger.find(Sample, people.sample_ids).values()}
        assert texts == {"At nine.", "Go away."}
        assert ledger.used("with-set", 0, "4_preferences", CalibrationCard) == [], "the judge compared none of it"
        assert verify(ledger).ok
    (row,) = [row for row in dataset_rows(runs_dir, "with-set") if row["source"] == "human"]
    assert (row["prompt"], row["chosen"][0]["content"], row["label"]) == (chat, "At nine.", 1.0)


def test_labels_of_single_principles_calibrate_and_make_no_rows(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    generate(
        runs_dir, "by-principle", write_labels(tmp_path / "p.jsonl", [{**row, "principle": "brief"} for row in rows])
    )
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        preferences = ledger.used("by-principle", 0, "4_preferences", Preference)
        (card,) = ledger.used("by-principle", 0, "4_preferences", CalibrationCard)
    assert {preference.source for preference in preferences} == {"judge"}
    assert card.before.n == 40


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("human.weight=0", '"human.weight" is 0 .*: write a number above 0'),
        ("human.columns=map.yaml", "a column map is given and no labels"),
        ("human.wieght=1", 'did you mean "human.weight"'),
    ],
)
def test_wrong_options_are_told_in_a_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(overrides=[override])


def test_labels_beside_preferences_of_others_are_refused() -> None:
    with pytest.raises(ConfigError, match="mixed into the run's own preferences"):
        load_config(overrides=["human.path=l.jsonl", "reward_model.preferences=p.jsonl"])


def test_the_command_refuses_labels_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("first_id,second_id,choice\na,b,left\n")
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", "generate-prefs", "--human-labels", "labels.csv"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "1 of 1 choices are none of first, second, tie" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path).glob("runs/*/config.json"))


def calibrate(runs_dir: Path, labels: Path, *, out: Path) -> str:
    result = CliRunner().invoke(
        app,
        ["calibrate", str(labels), "--run", "judged", "--runs-dir", str(runs_dir), "--out", str(out)],
        env={"COLUMNS": "300"},
    )
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_a_calibration_is_fitted_once_and_applied_by_another_run_to_the_same_labels(
    labelled: str, runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_labels(tmp_path / "labels.jsonl", rows)
    said = calibrate(runs_dir, tmp_path / "labels.jsonl", out=tmp_path / "cal.json")
    assert "human labels, SIMULATED: in 40, kept 40, dropped 0, by 1 annotator" in said
    assert "Judge against people" in said
    assert re.search(r"one reply up to half longer +[01]\.\d+", said), said
    assert re.search(r"judge and people disagree on \d+ of 40 items; the first 10", said)
    generate(runs_dir, "applied", f"human.calibration={tmp_path / 'cal.json'}")
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        fitted, applied = (ledger.used(run, 0, "4_preferences", CalibrationCard) for run in ("labelled", "applied"))
        by_labels = {p.sample_ids: p for p in ledger.used("labelled", 0, "4_preferences", Preference)}
        preferences = ledger.used("applied", 0, "4_preferences", Preference)
        assert ledger.used("applied", 0, "4_preferences", HumanLabel) == []
        assert verify(ledger).ok
    assert [card.map for card in applied] == [card.map for card in fitted]
    assert {preference.source for preference in preferences} == {"judge"}
    for preference in preferences:
        if by_labels[preference.sample_ids].source == "judge":
            assert preference.label == by_labels[preference.sample_ids].label
    stored = json.loads((runs_dir / "applied" / "round_00" / "4_preferences" / "calibration.json").read_text())
    assert (stored["fitted_on"], stored["human_rows"]) == ("judged", 0)
    with pytest.raises(RunFolderError, match=r"made with the calibration of .*cal\.json"):
        train(runs_dir, "applied", "human.calibration=null")


def test_a_calibration_for_another_judge_is_refused_before_the_judge_is_asked(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_labels(tmp_path / "labels.jsonl", rows)
    calibrate(runs_dir, tmp_path / "labels.jsonl", out=tmp_path / "cal.json")
    stored = json.loads((tmp_path / "cal.json").read_text())
    stored["judges"][0] |= {"judge_id": "0" * 32, "name": "yesterday's judge"}
    (tmp_path / "other.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=r"it was fitted to yesterday's judge \(0{12}\)"):
        generate(runs_dir, "other-judge", f"human.calibration={tmp_path / 'other.json'}")
    assert not list((runs_dir / "other-judge" / "round_00").glob("3_judgements/*plan*"))
    before = {path: path.read_bytes() for path in (runs_dir / "judged" / "round_00").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="yesterday's judge"):
        train(runs_dir, "judged", f"human.calibration={tmp_path / 'other.json'}")
    after = {path: path.read_bytes() for path in (runs_dir / "judged" / "round_00").rglob("*") if path.is_file()}
    assert after == before, "nothing of the run is undone"


def test_a_calibration_of_another_constitution_or_template_is_refused_before_a_model_is_loaded(
    runs_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_labels(tmp_path / "labels.jsonl", rows)
    calibrate(runs_dir, tmp_path / "labels.jsonl", out=tmp_path / "cal.json")
    given = f"human.calibration={tmp_path / 'cal.json'}"
    check_inputs(load_config(overrides=[given]), stages=GENERATING)
    for override, said in (
        ("constitution=helpful_and_discreet", r'the constitution is not "[^"]+" as it was then'),
        ("judge.template=frontdesk_score", "the template of .* is another"),
        ("preferences.verdicts=hard", "the options of `preferences` that make a label are others"),
    ):
        with pytest.raises(DataError, match=said):
            check_inputs(load_config(overrides=[given, override]), stages=GENERATING)


@pytest.mark.skipif(not PANDALM.is_dir(), reason="PandaLM's test set is not beside this checkout")
def test_pandalms_three_annotators_calibrate_gpt_35_by_the_documented_command(tmp_path: Path) -> None:
    examples = EXAMPLE.parents[1]
    files = [PANDALM / "testset-v1.json", PANDALM / "gpt-3.5-turbo-testset-v1.json"]
    columns = examples / "recorded-verdicts" / "pandalm-gpt-3.5-turbo.yaml"
    labels = [f"human.path={files[0]}", f"human.columns={examples / 'human-labels' / 'pandalm.yaml'}"]
    config = load_config(overrides=labels)
    with open_work(config, run_name="p", runs_dir=tmp_path, resume=False, recorded=[*files, columns]) as work:
        pipeline.import_recorded_verdicts(work, samples=files[0], judgements=files[1], columns=columns)
        (card,) = work.book.used(PREFERENCES, CalibrationCard, round=work.round.number)
        people = [p for p in work.book.used(PREFERENCES, Preference, round=work.round.number) if p.source == "human"]
    # 25 replies of the judge could not be read; .7156 is the published accuracy on the other 974
    assert (card.num_labels, card.num_annotators, card.before.n) == (2997, 3, 974)
    assert card.before.share.mean == pytest.approx(0.7156, abs=5e-5)
    assert card.between_people is not None
    assert card.between_people.kappa is not None
    assert card.between_people.kappa.mean == pytest.approx(0.86, abs=0.01)
    assert card.after.share.mean > card.before.share.mean
    assert card.log_loss[card.map.kind] < card.log_loss["identity"] - 0.1
    assert not card.simulated
    assert len(people) == 999
    assert {p.label for p in people} >= {0.0, 1.0, 2 / 3}, "three people make a soft label"


@pytest.mark.heavy(minutes=0.4)
def test_a_later_round_is_calibrated_by_the_labels_of_the_first_and_repeats_no_row(
    runs_dir: Path, labelled: str
) -> None:
    gates = [
        f"gates.{name}=null" for name in ("min_win_rate", "min_accuracy", "max_failed", "max_flipped", "max_eos_drop")
    ]
    tiny = [
        "rounds=2", "ppo.num_steps=1", "ppo.num_prompts_per_step=4", "ppo.num_reference_samples=16",
        "evaluation.num_prompts=4", *gates,
    ]  # fmt: skip
    with open_work(
        load_config(overrides=[*SMALL, labelled, *tiny]), run_name="rounds", runs_dir=runs_dir, resume=False
    ) as work:
        pipeline.run_rounds(work)
        first, second = work.round.at(0), work.round.at(1)
        (card,) = work.book.used(PREFERENCES, CalibrationCard, round=1)
        assert card.before.n == 40, "all labels are of the first round's pairs"
        assert {p.source for p in work.book.used(PREFERENCES, Preference, round=0)} == {"human", "judge"}
        assert {p.source for p in work.book.used(PREFERENCES, Preference, round=1)} == {"judge"}
        assert len(read_rows_so_far(second, work.book).train) > len(read_rows_so_far(first, work.book).train)
