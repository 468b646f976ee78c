"""An edited principle file on a small real run: what is asked, what it says, and that the run stays as it is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.cli.constitution import constitution_app
from rlaif.config.judge import JudgeConfig
from rlaif.config.load import load_config
from rlaif.errors import ConstitutionError, InputError, RunFolderError
from rlaif.judging.panel import RunJudge
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work
from rlaif.preferences.diff_judge import draws_answers
from rlaif.preferences.edit_diff import FileDiff
from rlaif.preferences.stage import diff_constitutions
from rlaif.records import Question
from rlaif.run.stages import JUDGEMENTS

SOURCE = """name: mine
principles:
  - {id: courteous, text: Prefer the reply that is polite.}
  - {id: brief, text: The better reply is brief., weight: 2}
"""


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "mine.yaml").write_text(SOURCE)
    config = load_config(overrides=[
        "prompts.num_prompts=10", "sampling.num_samples=3", "sampling.num_pairs=2",
        f"constitution={json.dumps(str(folder / 'mine.yaml'))}",
    ])  # fmt: skip
    with open_work(config, run_name="small", runs_dir=folder, resume=False) as work:
        pipeline.generate_preferences(work)
    return folder


def write(path: Path, *changes: tuple[str, str]) -> str:
    text = SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return str(path)


def diff(runs_dir: Path, new: str, *, num_prompts: int | None = None) -> FileDiff:
    found = diff_constitutions(None, new, run="small", runs_dir=runs_dir, num_prompts=num_prompts).result
    assert found is not None
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def count_judgements(runs_dir: Path) -> int:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        return int(ledger.rows("SELECT count(*) FROM judgements")[0][0])


def test_a_turned_principle_is_asked_alone_and_once_and_flips_its_own_verdicts(runs_dir: Path, tmp_path: Path) -> None:
    turned = write(tmp_path / "turned.yaml", ("is polite", "is curt"))
    before, files = count_judgements(runs_dir), digests(runs_dir / "small")
    part = diff(runs_dir, turned, num_prompts=4)
    assert part.num_asked == part.preferences.num_pairs * 2 == 4 * 2 * 2, "one principle, both orders, four prompts"
    whole = diff(runs_dir, turned)
    assert whole.num_asked == (10 - 4) * 2 * 2, "what four prompts answered is not asked again"
    assert diff(runs_dir, turned).num_asked == 0
    assert count_judgements(runs_dir) - before == 10 * 2 * 2
    assert digests(runs_dir / "small") == files
    [effect] = whole.preferences.edits
    assert effect.own_flips is not None
    assert effect.own_flips.mean > 0.5, "curt is the opposite of polite"
    assert {flip.flipped_by for flip in whole.preferences.flips} == {("courteous",)}


def test_a_changed_weight_and_an_equal_file_load_no_judge(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = count_judgements(runs_dir)
    heavier = diff(runs_dir, write(tmp_path / "w.yaml", ("weight: 2", "weight: 0.1")))
    assert [effect.edit.kind for effect in heavier.preferences.edits] == ["weight"]
    assert heavier.preferences.label_move is not None
    assert heavier.preferences.label_move.mean > 0
    same = diff_constitutions(None, None, run="small", runs_dir=runs_dir).result
    assert same is not None
    assert same.preferences.edits == ()
    assert count_judgements(runs_dir) == before
    assert "loading the judge" not in capsys.readouterr().err


def test_the_command_prints_edits_and_flips_and_says_the_same_as_json(runs_dir: Path, tmp_path: Path) -> None:
    turned = write(tmp_path / "turned.yaml", ("is polite", "is curt"))
    arguments = ["diff", turned, "--run", "small", "--runs-dir", str(runs_dir)]
    shown = CliRunner().invoke(constitution_app, arguments, catch_exceptions=False, env={"COLUMNS": "120"})
    data = json.loads(
        CliRunner().invoke(constitution_app, [*arguments, "--json"], catch_exceptions=False).stdout
    )  # fmt: skip
    flips = data["diff"]["preferences"]["flips"]
    assert flips
    assert f"decisions that flip: {len(flips)} of 20" in shown.stdout
    assert "courteous  text" in shown.stdout
    assert shown.stdout.count("flipped by courteous") == min(3, len(flips))


def test_counting_asks_nothing(runs_dir: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "o.yaml", ("is brief", "is calm"))
    before = count_judgements(runs_dir)
    arguments = ["diff", other, "--run", "small", "--runs-dir", str(runs_dir), "--count"]
    shown = CliRunner().invoke(constitution_app, arguments, catch_exceptions=False)
    assert shown.stdout == "40 questions to ask about brief; 0 more are answered in the ledger\n"
    assert count_judgements(runs_dir) == before


def test_what_cannot_be_asked_is_refused_before_anything_is_asked(runs_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match="sarcastic"):
        diff(runs_dir, write(tmp_path / "s.yaml", ("is brief", "is sarcastic")))
    with pytest.raises(RunFolderError, match='no run "none"'):
        diff_constitutions(None, None, run="none", runs_dir=runs_dir)
    files = [str(tmp_path / "s.yaml")] * 3
    with pytest.raises(InputError, match="3 files"):
        CliRunner().invoke(constitution_app, ["diff", *files], catch_exceptions=False)


def test_the_runs_own_template_is_asked_with_whatever_its_file_says_by_now(runs_dir: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "o.yaml", ("is brief", "is calm"))
    config = runs_dir / "small" / "config.json"
    stored = config.read_text()
    moved = json.loads(stored)
    moved["config"]["judge"]["template"] = str(tmp_path / "gone.j2")
    try:
        config.write_text(json.dumps(moved))
        found = diff(runs_dir, other, num_prompts=2)
    finally:
        config.write_text(stored)
    assert found.num_asked == 2 * 2 * 2
    assert found.asking.dropped == {}


@pytest.mark.parametrize("mode", ["together", "sampled"])
def test_an_edit_is_asked_as_the_run_asked_its_principles(tmp_path: Path, mode: str) -> None:
    (tmp_path / "mine.yaml").write_text(SOURCE)
    config = load_config(overrides=[
        "prompts.num_prompts=6", "sampling.num_samples=3", "sampling.num_pairs=3", f"judge.principles={mode}",
        "judge.model.engine=scripted", "judge.model.path=rlaif.models.scripted_engine:prefer_longer",
        f"constitution={json.dumps(str(tmp_path / 'mine.yaml'))}",
    ])  # fmt: skip
    with open_work(config, run_name="small", runs_dir=tmp_path, resume=False) as work:
        pipeline.generate_preferences(work)
        per_principle = Counter(
            question.principles[0].id for question in work.book.used(JUDGEMENTS, Question, round=work.round.number)
        )
    num_questions = count_judgements(tmp_path)
    assert num_questions == per_principle.total()
    assert per_principle.keys() == ({"together"} if mode == "together" else {"courteous", "brief"})
    assert diff(tmp_path, write(tmp_path / "same.yaml")).num_asked == 0
    edited = diff(tmp_path, write(tmp_path / "edited.yaml", ("is polite", "is curt")))
    # All questions hold the edited text, or only those whose pair drew the edited principle.
    assert edited.num_asked == (num_questions if mode == "together" else per_principle["courteous"])
    assert edited.asking.kept == edited.num_asked
    assert [effect.edit.principle_id for effect in edited.preferences.edits] == (
        ["together"] if mode == "together" else ["courteous"]
    )
    assert edited.preferences.num_failed == 0
    assert edited.preferences.flips == (), "this judge reads no principle"


@pytest.mark.parametrize(
    ("engine", "temperature", "draws"),
    [("openai", 0.7, True), ("openai", None, True), ("openai", 0.0, False), ("transformers", 0.7, False)],
)
def test_a_server_that_is_not_asked_at_temperature_0_draws_its_answers(
    engine: str, temperature: float | None, draws: bool
) -> None:
    config = JudgeConfig.model_validate(
        {"model": {"engine": engine, "path": "m"}, "endpoint": {"temperature": temperature}}
    )
    assert draws_answers(RunJudge(1, config)) is draws
