"""The owner's commands of `rlaif spot-check` as the tests type them, and an annotator who answers by keys."""

from __future__ import annotations

import json
import random
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from rlaif.calibration.answer_file import AnswerFile, open_answers
from rlaif.calibration.sheet import Sheet, read_sheet
from rlaif.cli import app
from rlaif.errors import RlaifError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.records import HumanLabel, SpotCheck


def spot_check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["spot-check", *arguments], env={"COLUMNS": "100"})


def say(*arguments: str) -> str:
    result = spot_check(*arguments)
    assert result.exit_code == 0, result.exception
    return " ".join(result.stdout.split())


def refusal(*arguments: str) -> str:
    result = spot_check(*arguments)
    assert isinstance(result.exception, RlaifError), (result.exception, result.stdout)
    return result.exception.sentence


def draw(*arguments: str, name: str = "sheet.json", run: str = "001") -> Sheet:
    say("draw", name, "--run", run, *arguments)
    return read_sheet(Path(name))


def answer(sheet: Sheet, name: str = "ann", *, choices: str = "first", folder: str = "sheet.answers") -> None:
    """Answer items in their order: 1, 2, 0 and u are choices."""
    words = {"1": "first", "2": "second", "0": "tie", "u": "unclear"}
    with open_answers(sheet, Path(folder), annotator=name, rng=random.Random(0)) as answers:
        for key in choices:
            answer_next(answers, words[key])


def answer_next(answers: AnswerFile, choice: str) -> None:
    item = answers.next_item()
    assert item is not None
    answers.show(item)
    answers.answer(item, choice, seconds=2.0)  # type: ignore[arg-type]


def in_ledger() -> tuple[SpotCheck, list[HumanLabel]]:
    """The only draw, and the labels that count of it."""
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        (check,) = list_records(ledger, SpotCheck)
        return check, ledger.used(check.runs[0], 0, check.stage, HumanLabel)


def rows_of(labels: list[HumanLabel], **more: object) -> str:
    return "".join(
        json.dumps(
            {"first_id": lb.sample_ids[0], "second_id": lb.sample_ids[1], "choice": lb.choice, "annotator": "eve"}
            | more
        )
        + "\n"
        for lb in labels
    )
