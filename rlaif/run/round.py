"""One round of one run, as a value: what a stage needs to know of where it stands. Does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rlaif.config.run import RunConfig
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.selection import prepare_constitution
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.store import Ledger
from rlaif.records import Constitution, digest_text
from rlaif.run.folder import RunFolder
from rlaif.run.stages import JUDGEMENTS, Stage
from rlaif.training.metrics import MetricsLog
from rlaif.training.team import ALONE, Team


@dataclass(frozen=True)
class Round:
    """One round of one run. Another round, or another constitution, is another value: `replace(round, ...)`."""

    config: RunConfig
    run: RunFolder
    ledger: Ledger
    constitution: Constitution
    """What this round was judged by; before that, what the configuration names, as the judge is asked under it."""
    number: int = 0
    team: Team = ALONE
    """The processes that train together; this one is the first of them."""

    @property
    def seed(self) -> int:
        """Seed of everything that this round draws. The evaluation draws with the run's own seed in every round."""
        return seed_of_round(self.config.seed, self.number)

    @property
    def draw_seed(self) -> int | None:
        """Seed that draws a principle for each pair; None where every pair is asked under all principles."""
        return find_draw_seed(self.config)

    @property
    def metrics(self) -> MetricsLog:
        """The run's metrics.jsonl, for lines of this round."""
        return MetricsLog(self.run.path / "metrics.jsonl", round=self.number)

    @property
    def is_recorded(self) -> bool:
        """Whether responses and verdicts were brought along: no judge of the configuration gave them."""
        return self.run.is_recorded

    def folder(self, stage: Stage) -> Path:
        """The stage's folder in this round, made when it is not there yet."""
        folder = self.find_folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find_folder(self, stage: Stage) -> Path:
        """Where the stage's folder is, or would be."""
        return self.run.stage_dir(self.number, stage)

    def at(self, number: int) -> Round:
        """Another round of the same run."""
        constitution = find_round_constitution(self.config, run=self.run, ledger=self.ledger, number=number)
        return replace(self, number=number, constitution=constitution)


def find_round_constitution(config: RunConfig, *, run: RunFolder, ledger: Ledger, number: int) -> Constitution:
    """What a round was judged by; before that, what the configuration names, as the judge is asked under it."""
    judged_by = find_constitution(ledger, run=run.name, round=number, stage=JUDGEMENTS.folder)
    if judged_by is not None:
        return judged_by
    return prepare_constitution(load_constitution(config.constitution), mode=config.judge.principles)


def seed_of_round(seed: int, number: int) -> int:
    """The run's own seed for the first round. In later rounds the same prompt gets other responses."""
    return seed if number == 0 else int(digest_text(f"round\n{seed}\n{number}")[:7], 16)


def find_draw_seed(config: RunConfig) -> int | None:
    """Seed that draws a principle for each pair; None where every pair is asked under all principles."""
    return config.seed if config.judge.principles == "sampled" else None
