"""What a run's book requires of earlier stages, and what it notes of a finished one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif.config.load import load_config
from rlaif.errors import RunFolderError
from rlaif.loop.open_run import OpenRun, open_work
from rlaif.records import Message, Prompt, Tally
from rlaif.run.stages import JUDGEMENTS, PROMPTS, STAGES, Stage

ASKED = Prompt(messages=(Message(role="user", content="When do you open?"),))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenRun]:
    with open_work(load_config(), run_name="w", runs_dir=tmp_path / "runs", resume=False) as opened:
        yield opened


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_not_done_is_refused_with_the_command_that_does_it(opened: OpenRun, stage: Stage) -> None:
    with pytest.raises(RunFolderError, match=f"this run has no {stage.product} yet .*: run `{stage.command}` first"):
        opened.book.require(stage, round=0)


def test_a_finished_stage_holds_its_records_until_it_is_made_again(opened: OpenRun) -> None:
    book = opened.book
    book.finish(PROMPTS, round=0, tally=Tally(num_in=1), records=[ASKED])
    assert book.is_done(PROMPTS, round=0)
    assert not book.is_done(PROMPTS, round=1)
    assert book.used(PROMPTS, Prompt, round=0) == book.used_before(PROMPTS, Prompt, round=1) == [ASKED]
    book.make_again(PROMPTS, round=0)
    assert not book.is_done(PROMPTS, round=0)
    assert book.used(PROMPTS, Prompt, round=0) == []
    assert opened.round.ledger.find(Prompt, [ASKED.id]) == {ASKED.id: ASKED}, "nothing is taken from the ledger"


def test_a_judged_stage_is_stored_with_its_constitution_or_not_at_all(opened: OpenRun) -> None:
    with pytest.raises(ValueError, match="3_judgements is judged"):
        opened.book.use(JUDGEMENTS, [ASKED], round=0)
