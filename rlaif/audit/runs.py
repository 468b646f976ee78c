"""The runs of a folder -> what each stage took in, kept and dropped, and where its report lies.

Reads what the stages left; opens no ledger. A damaged run is named with what is wrong, and hides no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import RunFolderError
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, list_runs, open_run
from rlaif.run.stages import EVALUATION, POLICY, REWARD_MODEL, STAGES, Stage

_ROUND = re.compile(r"round_(\d{2,})")


class StageRow(NamedTuple):
    """A stage of a round: what its tally says, or that it is not finished."""

    name: str
    unit: str
    is_finished: bool
    num_in: int = 0
    kept: int = 0
    dropped: tuple[tuple[str, int], ...] = ()
    """Reason and count."""


class RoundRow(NamedTuple):
    number: int
    stages: tuple[StageRow, ...]
    """Those that have begun."""
    headline: str
    """What the round's report says first; empty where there is no report."""

    @property
    def has_trained(self) -> bool:
        """Whether the training of a reward model or of the policy has begun."""
        return any(stage.name in (REWARD_MODEL.name, POLICY.name) for stage in self.stages)


class RunRow(NamedTuple):
    """A run as its folder tells it."""

    name: str
    damage: str = ""
    """Why nothing more can be said; empty where it can."""
    constitution: str = ""
    judge: str = ""
    policy: str = ""
    rounds: tuple[RoundRow, ...] = ()


def find_runs(runs_dir: Path) -> list[RunRow]:
    """The newest run first."""
    return [_run_row(found.run, found.damage) for found in reversed(list_runs(runs_dir))]


def find_run(runs_dir: Path, name: str) -> RunRow:
    """One run, refused where there is none of that name."""
    return _run_row(open_run(runs_dir, name), None)


def find_round(runs_dir: Path, name: str, number: int) -> RoundRow | None:
    """One round of a run; None where the folder has none of that number. Refused where there is no such run."""
    run = open_run(runs_dir, name)
    return _round_row(run, number) if number in _find_rounds(run) else None


def report_path(runs_dir: Path, *, name: str, number: int) -> Path:
    """The report of a round, refused where there is none."""
    path = open_run(runs_dir, name).stage_dir(number, EVALUATION) / "report.html"
    if not path.is_file():
        raise RunFolderError(f"round {number} of run {name} has no report yet", fix="run `rlaif evaluate`")
    return path


def _run_row(run: RunFolder, damage: RunFolderError | None) -> RunRow:
    if damage is None:
        try:
            config = run.config["config"]
            rounds = tuple(_round_row(run, number) for number in _find_rounds(run))
            judge, policy = (_describe_model(config.get(part, {})) for part in ("judge", "policy"))
            constitution = str(config.get("constitution", ""))
            return RunRow(run.name, constitution=constitution, judge=judge, policy=policy, rounds=rounds)
        except RunFolderError as error:
            damage = error
    return RunRow(run.name, damage=damage.sentence)


def _find_rounds(run: RunFolder) -> list[int]:
    found = (_ROUND.fullmatch(path.name) for path in run.path.glob("round_*"))
    return sorted(int(match[1]) for match in found if match)


def _describe_model(part: Any) -> str:
    """The model that a part of the configuration names."""
    model = part.get("model", "") if isinstance(part, dict) else ""
    return str(model.get("path") or model.get("name") or "") if isinstance(model, dict) else str(model or "")


def _round_row(run: RunFolder, number: int) -> RoundRow:
    stages = tuple(row for stage in STAGES for row in _stage_rows(run, number, stage))
    return RoundRow(number, stages, _read_headline(run.stage_dir(number, EVALUATION) / "report.json"))


def _stage_rows(run: RunFolder, number: int, stage: Stage) -> Iterator[StageRow]:
    folder = run.stage_dir(number, stage)
    if not folder.is_dir():
        return
    found = read_stage(folder)
    if found is None:
        yield StageRow(stage.name, stage.unit, is_finished=False)
        return
    tally = found.tally
    yield StageRow(
        stage.name,
        found.unit,
        is_finished=True,
        num_in=tally.num_in,
        kept=tally.kept,
        dropped=tuple(tally.dropped.items()),
    )


def _read_headline(path: Path) -> str:
    """Empty where there is no report, or one that cannot be read: the report itself then says why."""
    try:
        found = json.loads(path.read_bytes())
        return str(found["headline"]["title"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
