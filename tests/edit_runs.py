"""A run judged by a scripted judge, principle files that edit its own, and the command that tests an edit."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.calibration.edit_test import asked_items
from rlaif.calibration.sheet import Sheet, read_sheet
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.errors import RlaifError
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.loop.open_run import open_work
from rlaif.records import EditItem, EditOutcome, EditTest

TEXTS = {"old": "Be brief.", "new": "Be kind.", "mute": "Be mute.", "terse": "Be terse."}


def make_judged_run(folder: Path) -> None:
    """Run 001 in runs/, judged by old.yaml, and 002 with the same responses and another judge; and the edited files."""
    for name, text in TEXTS.items():
        (folder / f"{name}.yaml").write_text(f"name: desk\nprinciples:\n  - {{id: manner, text: {text}}}\n")
    with contextlib.chdir(folder):
        for name, judge in (("001", "by_text"), ("002", "by_end")):
            config = load_config(overrides=[
                "constitution=old.yaml", "prompts.num_prompts=50", "sampling.num_samples=2", "sampling.num_pairs=1",
                "judge.model.engine=scripted", f"judge.model.path=edit_judges:{judge}",
            ])  # fmt: skip
            with open_work(config, run_name=name, runs_dir=Path("runs"), resume=False) as work:
                pipeline.generate_preferences(work)


def command(*arguments: str, name: str = "test") -> Result:
    return CliRunner().invoke(
        app,
        [*(["judge-check"] if name == "judge-check" else ["constitution", name]), *arguments],
        env={"COLUMNS": "100"},
    )


def say(*arguments: str, name: str = "test") -> str:
    result = command(*arguments, name=name)
    assert result.exit_code == 0, result.exception
    return " ".join(result.stdout.split())


def refusal(*arguments: str, name: str = "test") -> str:
    result = command(*arguments, name=name)
    assert isinstance(result.exception, RlaifError), (result.exception, result.stdout)
    return result.exception.sentence


def begin(*arguments: str, old: str = "old.yaml", new: str = "new.yaml") -> tuple[EditTest, Sheet]:
    """The test that the command begins, and its sheet."""
    say(old, new, "--run", "001", "--sheet", "sheet.json", *arguments)
    return in_ledger()[0], read_sheet(Path("sheet.json"))


def in_ledger() -> tuple[EditTest, list[EditOutcome]]:
    """The newest test and its outcomes."""
    with Ledger.open("runs/ledger.sqlite", read_only=True) as ledger:
        assert verify(ledger).ok
        test = list_records(ledger, EditTest)[-1]
        return test, [outcome for outcome in list_records(ledger, EditOutcome) if outcome.test_id == test.id]


def write_answers(test: EditTest, sheet: Sheet, *, says: str, name: str = "ann", only: int | None = None) -> None:
    """A file of answers, as `spot-check label` writes it. says: new, old, tie or unclear, of a flip; of the rest a."""
    lines = [{"event": "begin", "at": "t", "sheet": sheet.id, "annotator": name, "guideline": sheet.guideline_digest}]
    for item in asked_items(test)[:only]:
        more = {"item": item.item_id, "order": "ab", "at": "t"}
        lines.append({"event": "shown", **more})
        lines.append({"event": "answer", "choice": choose(item, says), "guideline": sheet.guideline_digest, **more})
    folder = Path("sheet.answers")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def choose(item: EditItem, says: str) -> str:
    if says in ("tie", "unclear"):
        return says
    return item.old if says == "old" else item.new
