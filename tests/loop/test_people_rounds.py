"""Two rounds on the front desk that ask people in each: what a label of the new policy's responses decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forked import run_rlaif
from made_once import make_once

from rlaif.calibration.answer_file import open_answers
from rlaif.calibration.sheet import read_sheet
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import CalibrationCard, HumanLabel, SpotCheck

pytestmark = pytest.mark.heavy

CONFIG = """
human: {num_items: 6, annotators: [ann]}
rounds: 2
prompts: {num_prompts: 8, test_fraction: 0.25}
sampling: {num_samples: 2, num_pairs: 1, max_new_tokens: 20}
reward_model: {num_epochs: 1, batch_size: 4}
ppo:
  {num_steps: 1, num_prompts_per_step: 4, num_samples_per_prompt: 2, num_reference_samples: 4, value_warmup_steps: 0,
  response_length: 16, guards: {evaluate_every: null}}
evaluation: {num_prompts: 2, best_of: 0}
gates: {alarm: false, min_win_rate: null, min_accuracy: null, max_failed: null, max_flipped: null, max_eos_drop: null}
"""


def rlaif(folder: Path, *arguments: str, code: int = 0) -> str:
    done = run_rlaif(arguments, cwd=folder, timeout=1200)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def label(folder: Path, number: int, *, with_judge: bool) -> None:
    """Ann takes the judge's side of every pair, or the other one."""
    path = folder / f"runs/001/round_{number:02d}/sheet.json"
    sheet = read_sheet(path)
    with Ledger.open(folder / "runs/ledger.sqlite", read_only=True) as ledger:
        check = next(one for one in list_records(ledger, SpotCheck) if one.sheet_id == sheet.id)
    p_judge = {item.item_id: item.p_judge for item in check.items}
    with open_answers(sheet, path.with_name("sheet.answers"), annotator="ann") as answers:
        while (item := answers.next_item()) is not None:
            order, *_ = answers.show(item)
            takes_a = (p_judge[item.id] > 0.5) == with_judge
            answers.answer(item, "first" if takes_a == (order == "ab") else "second")


@pytest.fixture(scope="session")
def second_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that waits for ann in its second round; in the first one she agreed with the judge."""

    def make(folder: Path) -> None:
        (folder / "rlaif.yaml").write_text(CONFIG)
        assert "this run waits for people: ann has answered 0 of 6 pairs" in rlaif(folder, "run", code=4)
        label(folder, 0, with_judge=True)
        said = rlaif(folder, "run", "--resume", code=4)
        assert "people's rows: 6 pairs, weight 5" in said
        assert "round_01/sheet.json" in said

    return make_once(tmp_path_factory, "second-round", make)


@pytest.fixture
def folder(second_round: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(second_round, tmp_path / "here"))


def test_where_people_still_agree_the_labels_of_both_rounds_calibrate_together(folder: Path) -> None:
    label(folder, 1, with_judge=True)
    assert "on 6 pairs that people labelled in this round" in rlaif(folder, "run", "--resume")
    with Ledger.open(folder / "runs/ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        (card,) = ledger.used("001", 1, "4_preferences", CalibrationCard)
        assert len(ledger.used("001", 1, "4_preferences", HumanLabel)) == card.num_labels == 12
    assert card.transport is not None
    assert card.transport.outcome == "undecided"
    rounds = json.loads((folder / "runs/001/rounds.json").read_text())["rounds"]
    assert "transport" not in rounds[0]["figures"]
    assert rounds[1]["figures"]["transport"] == card.transport.model_dump()


def test_where_people_no_longer_agree_the_run_stops_before_it_trains_until_the_gate_is_opened(folder: Path) -> None:
    label(folder, 1, with_judge=False)
    said = rlaif(folder, "run", "--resume")
    assert "it does not hold for this policy's responses (gates.transport)" in said
    assert "stopped after 1 of 2 rounds; the last round that passed its gates is 0" in said
    assert not (folder / "runs/001/round_01/4_preferences").exists()
    stored = json.loads((folder / "runs/001/rounds.json").read_text())
    assert [gate["name"] for gate in stored["stopped_by"]] == ["gates.transport"]
    rlaif(folder, "run", "--resume", "--set", "gates.transport=false")
    with Ledger.open(folder / "runs/ledger.sqlite", read_only=True) as ledger:
        (card,) = ledger.used("001", 1, "4_preferences", CalibrationCard)
    assert card.num_labels == 6, "this round's alone"
    assert card.transport is not None
    assert card.transport.outcome == "does not hold"
