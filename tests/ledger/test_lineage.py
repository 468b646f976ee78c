"""What a stage used is counted once and counted again when it used more."""

from __future__ import annotations

from pathlib import Path

from rlaif.ledger.lineage import StageOfRun, count_used_by
from rlaif.ledger.store import Ledger
from rlaif.records import Message, Prompt, Use

PLACE = StageOfRun("001", 0, "1_prompts")


def use_prompts(ledger: Ledger, *texts: str, place: StageOfRun = PLACE, source: str = "file", making: int = 0) -> None:
    for text in texts:
        prompt = Prompt(messages=(Message(role="user", content=text),), source=source)
        run, number, stage = place
        used = Use(
            run=run, round=number, stage=stage, record_table="prompts", record_id=prompt.id, making=making
        )  # fmt: skip
        ledger.append([prompt, used])


def count(ledger: Ledger, place: StageOfRun = PLACE) -> dict[str, int]:
    return count_used_by(ledger, place, "prompts by source")


def test_counts_are_those_of_the_ledger_as_it_is_at_each_time(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert count(ledger) == {}
        use_prompts(ledger, "a", "b")
        assert count(ledger) == count(ledger) == {"file": 2}
        use_prompts(ledger, "c", source="hub")
        assert count(ledger) == {"file": 2, "hub": 1}
        use_prompts(ledger, "a", place=PLACE._replace(run="002"))
        assert count(ledger) == {"file": 2, "hub": 1}
        assert count(ledger, PLACE._replace(run="002")) == {"file": 1}


def test_two_ledgers_with_one_name_are_counted_apart(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}").mkdir()
        with Ledger.open(tmp_path / f"{number}" / "ledger.sqlite") as ledger:
            use_prompts(ledger, *map(str, range(number)))
            assert count(ledger) == ({"file": number} if number else {})
