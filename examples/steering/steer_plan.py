"""Constitutions and settings -> every training of the table, checked before anything is spent.

A run's name says by a digest what it is made from, so an edited file or a changed setting makes another run.
Trains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from steer_table import Steered, read_asked

from rlaif.config.generate import FRONTDESK
from rlaif.config.load import load_config
from rlaif.config.models import resolve_path
from rlaif.config.run import RunConfig
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import load_template
from rlaif.errors import ConfigError, ConstitutionError
from rlaif.files.atomic import digest_file
from rlaif.judging.setup import check_judge
from rlaif.records import digest_text


class Job(NamedTuple):
    """One training to come: a seed and a constitution, or that constitution's verdicts shuffled."""

    name: str
    """The constitution's, as the table shows it."""
    run_name: str
    config: RunConfig
    seed_dir: Path
    settings_digest: str
    shuffled_from: str = ""
    """The run whose verdicts are shuffled; empty for the constitution itself."""

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def label(self) -> str:
        return f"seed {self.seed}, {self.name}{', verdicts shuffled' if self.shuffled_from else ''}"

    @property
    def row_path(self) -> Path:
        return self.seed_dir / "rows" / f"{self.run_name}.json"

    @property
    def start_path(self) -> Path:
        """One for all constitutions of the seed."""
        return self.seed_dir / "rows" / f"start-{self.settings_digest[:8]}.json"


class Planned(NamedTuple):
    steered: list[Steered]
    seeds: list[list[Job]]
    """Each seed's jobs."""


def plan(names: Sequence[str], *, config_path: Path, num_seeds: int, placebo: bool, out: Path) -> Planned:
    """`names`: constitutions by path or name, in the order of the table; `placebo`: of the first of them."""
    base = load_config(config_path)
    if base.prompts.path != FRONTDESK:
        raise ConfigError("the table needs known truth", where="prompts.path", fix=f"leave it at {FRONTDESK}")
    stems = [Path(name).stem for name in names]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise ConstitutionError(f'two of the constitutions are called "{min(twice)}"', fix="rename one of the files")
    settings_digest = _digest_settings(base)
    template = load_template(base.judge.template)
    steered, run_names = [], []
    for name, stem in zip(names, stems, strict=True):
        constitution = load_constitution(name)
        check_judge(base.judge, constitution=constitution, template=template)
        steered.append(read_asked(constitution, name=stem))
        run_names.append(_run_name(stem, digest_text(settings_digest + constitution.file_digest)))
    seeds = []
    for seed in range(num_seeds):
        seed_dir = out / f"seed_{seed}"
        jobs = [
            Job(stem, run_name, base.model_copy(update={"seed": seed, "constitution": name}), seed_dir, settings_digest)
            for name, stem, run_name in zip(names, stems, run_names, strict=True)
        ]
        if placebo:
            jobs.append(_shuffled(jobs[0]))
        seeds.append(jobs)
    return Planned(steered, seeds)


def _shuffled(job: Job) -> Job:
    name = f"shuffled-{job.run_name}"
    given = job.config.reward_model.model_copy(update={"preferences": str(job.seed_dir / f"{name}-preferences")})
    config = job.config.model_copy(update={"reward_model": given})
    return job._replace(run_name=name, config=config, shuffled_from=job.run_name)


def _digest_settings(config: RunConfig) -> str:
    """Of everything that all rows share: options, template, weights."""
    folders = [resolve_path(config.policy.path, part="policy"), resolve_path(config.judge.model.path, part="judge")]
    weights = [digest_file(path) for folder in folders for path in sorted(Path(folder).glob("*.safetensors"))]
    options = config.model_dump(mode="json", exclude={"seed", "constitution", "ledger"})
    return digest_text(json.dumps([options, load_template(config.judge.template).digest, weights], sort_keys=True))


def _run_name(stem: str, digest: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in stem.lower()).strip("-_")
    return f"{plain[:40] or 'constitution'}-{digest[:8]}"
