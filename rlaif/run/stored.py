"""A run that is there -> its newest judged round, to look at: its config, its ledger, what its stages used.

Takes no lock, makes no log and touches no stage: whoever looks may write to the ledger and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rlaif.config.load import parse_config
from rlaif.constitution.render import JudgeTemplate, template_from_source
from rlaif.errors import RunFolderError, StageError
from rlaif.preferences.people import find_asked_pairs
from rlaif.records import Comparison, Prompt, Sample
from rlaif.run.folder import newest_round, open_run
from rlaif.run.state import ledger_path_of, open_ledger
from rlaif.run.work import Work

JUDGED = "3_judgements"


class JudgedRound(NamedTuple):
    """What a round's judge was asked about."""

    prompts: dict[str, Prompt]
    samples: dict[str, Sample]
    pairs: list[tuple[Sample, Sample]]
    comparisons: list[Comparison]


@contextmanager
def look_at_run(runs_dir: Path, name: str | None, *, read_only: bool = False) -> Iterator[Work]:
    """The named run or the newest one, at its newest round whose judgements are there."""
    run = open_run(runs_dir, name)
    stored = json.dumps(run.config["config"])
    config = parse_config(stored, where=str(run.path / "config.json"), is_complete=True)
    round = newest_round(run, stage="4_preferences")
    if not (run.stage_dir(round, JUDGED) / "stage.json").is_file():
        raise RunFolderError(
            "nothing is judged in this run yet", where=str(run.path), fix="run `rlaif generate-prefs` first"
        )
    path = ledger_path_of(run.config, runs_dir=runs_dir)
    with open_ledger(run, path, read_only=read_only) as ledger:
        yield Work(config, run=run, ledger=ledger, round=round)


def read_judged(work: Work) -> JudgedRound:
    """The round's prompts, responses, judged pairs and comparisons, as the ledger has them."""
    samples = work.used("2_samples", Sample)
    return JudgedRound(
        prompts={prompt.id: prompt for prompt in work.used("1_prompts", Prompt)},
        samples={sample.id: sample for sample in samples},
        pairs=find_asked_pairs(work, samples),
        comparisons=work.used(JUDGED, Comparison),
    )


def stored_template(work: Work, digest: str | None) -> JudgeTemplate:
    """The judge template of a question as the ledger keeps it, whatever its file says by now."""
    source = None if digest is None else work.ledger.text(digest)
    if source is None:
        raise StageError(
            "the judge template of this run is not in its ledger",
            where=str(work.run.path),
            fix="name a run that asked a judge by --run",
        )
    return template_from_source(source, name=work.config.judge.template)


def is_recorded(work: Work) -> bool:
    """Whether the verdicts were brought along: no judge can then be asked again."""
    return "recorded" in work.run.config["inputs"]


def limit_prompts(pairs: Sequence[tuple[Sample, Sample]], *, num_prompts: int | None) -> list[tuple[Sample, Sample]]:
    """The pairs of so many prompts, drawn by their ids: which ones does not depend on anything else."""
    ids = sorted({first.prompt_id for first, _ in pairs})[:num_prompts]
    kept = set(ids)
    return [pair for pair in pairs if pair[0].prompt_id in kept]
