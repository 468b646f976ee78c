"""What a run noted of itself is asked for when it is opened: a lost or older ledger is refused, not built upon."""

import shutil
from pathlib import Path

import pytest

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.config.run import RunConfig
from rlaif.errors import LedgerError, RunFolderError
from rlaif.judge_health.check import check_judge_of_run
from rlaif.ledger.store import Ledger
from rlaif.loop.open_run import open_work
from rlaif.records import Judgement, Prompt
from rlaif.reward_model.stage import read_rows_so_far
from rlaif.run.book import Book
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, open_run
from rlaif.run.round import Round, find_round_constitution
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, PROMPTS, REWARD_MODEL, SAMPLES
from rlaif.run.state import check_used, last_head

FEW = ["prompts.num_prompts=4", "sampling.num_samples=2", "sampling.num_pairs=1", "reward_model.num_epochs=1"]
STAGES = (PROMPTS, SAMPLES, JUDGEMENTS, PREFERENCES)


def generate(config: RunConfig, runs_dir: Path, name: str, *, resume: bool = False) -> None:
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=resume) as work:
        pipeline.generate_preferences(work)


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config(overrides=FEW)


@pytest.fixture(scope="module")
def made(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run "a" and a copy of the ledger as it was before run "b"."""
    runs_dir = tmp_path_factory.mktemp("runs")
    generate(config, runs_dir, "a")
    shutil.copy(runs_dir / "ledger.sqlite", runs_dir / "older.sqlite")
    generate(config.model_copy(update={"seed": 1}), runs_dir, "b")
    return runs_dir


@pytest.fixture
def runs_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def lose(runs_dir: Path) -> None:
    for path in runs_dir.glob("ledger.sqlite*"):
        path.unlink()


def roll_back(runs_dir: Path) -> None:
    lose(runs_dir)
    (runs_dir / "older.sqlite").rename(runs_dir / "ledger.sqlite")


def train(config: RunConfig, runs_dir: Path, name: str) -> None:
    with open_work(config, run_name=name, runs_dir=runs_dir, resume=False, stages=(REWARD_MODEL,)) as work:
        pipeline.train(work, stage="reward-model")


def use(command: str, config: RunConfig, runs_dir: Path) -> None:
    if command == "resume":
        generate(config, runs_dir, "b", resume=True)
    elif command == "train":
        train(config, runs_dir, "b")
    else:
        check_judge_of_run("b", runs_dir=runs_dir)


@pytest.mark.parametrize("what", ["resume", "train", "judge-check"])
@pytest.mark.parametrize("damage", [lose, roll_back])
def test_no_command_builds_on_a_ledger_that_is_not_the_one_the_run_left(
    runs_dir: Path, config: RunConfig, what: str, damage: object
) -> None:
    assert callable(damage)
    noted = last_head(open_run(runs_dir, "b"))
    assert noted is not None
    damage(runs_dir)
    before = sorted(runs_dir.glob("ledger.sqlite*"))
    ours = config.model_copy(update={"seed": 1})
    with pytest.raises(LedgerError, match=rf"row {noted.seq}.*ledger\.sqlite.*restore it from a copy, or start a new"):
        use(what, ours, runs_dir)
    assert sorted(runs_dir.glob("ledger.sqlite")) == [path for path in before if path.name == "ledger.sqlite"]
    assert not (runs_dir / "b" / "round_00" / "5_reward_model").exists()


def test_a_run_that_the_older_ledger_holds_whole_opens_with_it(runs_dir: Path, config: RunConfig) -> None:
    roll_back(runs_dir)
    generate(config, runs_dir, "a", resume=True)


def test_a_ledger_that_grew_after_the_manifest_was_written_opens(runs_dir: Path, config: RunConfig) -> None:
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        ledger.put_texts(["written by a run that was killed before its manifest"])
    generate(config, runs_dir, "a", resume=True)


def test_a_row_that_has_another_head_is_no_longer_the_ledger_of_the_run(runs_dir: Path, config: RunConfig) -> None:
    roll_back(runs_dir)
    generate(config.model_copy(update={"seed": 2}), runs_dir, "c")
    with pytest.raises(LedgerError, match=r"run b left: row \d+, which its manifest notes, is another one"):
        generate(config.model_copy(update={"seed": 1}), runs_dir, "b", resume=True)


def test_a_new_run_makes_no_empty_ledger_beside_one_that_noted_heads_of_it(runs_dir: Path, config: RunConfig) -> None:
    lose(runs_dir)
    with pytest.raises(LedgerError, match=r"gone, and run a beside this one uses it.*ledger\.path"):
        generate(config, runs_dir, "new")
    assert not (runs_dir / "ledger.sqlite").exists()
    assert not (runs_dir / "new").exists(), "nothing began"


def test_a_run_killed_before_its_manifest_resumes_and_misses_a_ledger_that_is_gone(
    runs_dir: Path, config: RunConfig
) -> None:
    for name in ("a", "b"):
        (runs_dir / name / "manifest.json").unlink()
    generate(config, runs_dir, "a", resume=True)
    (runs_dir / "a" / "manifest.json").unlink()
    lose(runs_dir)
    with pytest.raises(LedgerError, match="the ledger is gone, and run a was begun with it"):
        generate(config, runs_dir, "a", resume=True)


@pytest.mark.parametrize("counted", [True, False])
def test_records_that_a_stage_used_and_the_ledger_lost_are_missed(
    runs_dir: Path, config: RunConfig, counted: bool
) -> None:
    """A kill left no manifest, and the ledger is an older copy: no head tells."""
    roll_back(runs_dir)
    (runs_dir / "b" / "manifest.json").unlink()
    for path in runs_dir.glob("b/round_00/*/stage.json"):
        if not counted:
            path.write_text(path.read_text().replace('"used"', '"unused"'))
    with pytest.raises(LedgerError, match=r"the ledger has lost records: 1_prompts of run b, round 0, used"):
        generate(config.model_copy(update={"seed": 1}), runs_dir, "b", resume=True)


def test_every_stage_counts_what_it_used(runs_dir: Path) -> None:
    run = open_run(runs_dir, "a")
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        for stage in STAGES:
            finished = read_stage(run.stage_dir(0, stage))
            assert finished is not None
            assert finished.used == ledger.count_used("a", 0, stage.folder)
        num = len(ledger.used("a", 0, "1_prompts", Prompt))
    check_used(run, round=0, stage=PROMPTS, table="prompts", num_found=num, where=Path("x"))
    with pytest.raises(LedgerError, match=f"used {num} prompts, and it holds {num - 1}"):
        check_used(run, round=0, stage=PROMPTS, table="prompts", num_found=num - 1, where=Path("x"))
    check_used(run, round=0, stage=PROMPTS, table=Judgement.table, num_found=0, where=Path("x"))


def test_a_manifest_that_cannot_be_read_is_named(runs_dir: Path) -> None:
    (runs_dir / "a" / "manifest.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"manifest cannot be read.*a/manifest\.json"):
        last_head(RunFolder(runs_dir / "a"))


def test_the_data_set_of_an_earlier_round_is_compared_with_what_its_stage_wrote(
    runs_dir: Path, config: RunConfig
) -> None:
    run = open_run(runs_dir, "a")
    shutil.copytree(run.path / "round_00", run.path / "round_01")
    (table,) = (run.path / "round_00" / "4_preferences" / "dataset").rglob("train*.parquet")
    table.write_bytes(table.read_bytes() + b"x")
    with Ledger.open(runs_dir / "ledger.sqlite") as ledger:
        constitution = find_round_constitution(config, run=run, ledger=ledger, number=1)
        round = Round(config, run=run, ledger=ledger, constitution=constitution, number=1)
        with pytest.raises(RunFolderError, match="is not what this stage wrote"):
            read_rows_so_far(round, Book(run, ledger))


def test_the_head_after_a_row_is_found_whichever_table_holds_it(runs_dir: Path) -> None:
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.head_at(ledger.head().seq) == ledger.head().hex
        assert ledger.head_at(ledger.head().seq + 1) is None
        assert None not in [ledger.head_at(seq) for seq in range(1, 60)]
