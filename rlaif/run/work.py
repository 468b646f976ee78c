"""What the pipeline works with: one round of a run, its configuration, data and models.

Resolves names (the front desk, shipped files), and closes a stage: records into the ledger, tables into the folder,
the tally said and stored. Runs no stage; the models stand in run_models.py, how a run is opened in opening.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from rlaif.calibration.labels import Labels
from rlaif.config.generate import FRONTDESK
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.constitution.selection import prepare_constitution
from rlaif.errors import RunFolderError, StageError
from rlaif.files.atomic import digest_file
from rlaif.files.rows import read_rows
from rlaif.frontdesk.world import make_prompts
from rlaif.judging.judge import Judging
from rlaif.judging.panel import check_mode
from rlaif.judging.setup import check_judge, pairs_per_prompt
from rlaif.ledger.export import write_records
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.store import Ledger
from rlaif.ledger.writer import GroupWriter
from rlaif.models.interface import TextGenerator
from rlaif.preferences.export import digest_preferences
from rlaif.preferences.people import load_labels
from rlaif.preferences.read import SplitRows, read_preferences, split_rows
from rlaif.records import Constitution, Prompt, Record, Sample, Tally, Use, digest_text, split_of
from rlaif.run.folder import RunFolder, finish_stage, stage_done
from rlaif.run.shelf import RunModels
from rlaif.run.state import check_used
from rlaif.sampling.prompts import PromptRead, drop_over_length, read_prompts
from rlaif.sampling.sampler import Pairs, draw_pairs
from rlaif.training.metrics import MetricsLog

R = TypeVar("R", bound=Record)
STAGE_NAMES = {
    "0_sft": "sft",
    "1_prompts": "prompts", "2_samples": "samples", "3_judgements": "judgements", "4_preferences": "preferences",
    "5_reward_model": "reward model", "6_policy": "policy", "7_evaluation": "evaluation",
}  # fmt: skip
KEPT_OVER_ROUNDS = (
    "start_policy", "judge", "judges", "judge_budget", "evaluation_judge", "evaluation_template", "labels",
)  # fmt: skip
MADE_BY = {
    "1_prompts": ("prompts", "rlaif generate-prefs"),
    "4_preferences": ("preferences", "rlaif generate-prefs"),
    "5_reward_model": ("reward model", "rlaif train"),
    "6_policy": ("trained policy", "rlaif train"),
}
"""What a later stage cannot do without, and the command that makes it."""
EXPORTED = frozenset({"prompts", "samples", "judgements", "failed_judgements", "comparisons", "human_labels"})
"""Tables that a stage leaves as Parquet for other tools; preferences are exported in their own schema."""
FRONTDESK_MEASURE = "rlaif.frontdesk.truth:measure"


class Work(RunModels):
    """One round of one run."""

    def __init__(self, config: RunConfig, *, run: RunFolder, ledger: Ledger, round: int = 0) -> None:
        super().__init__(config, run=run, ledger=ledger, round=round)
        self.metrics = MetricsLog(run.path / "metrics.jsonl", round=round)

    def at_round(self, round: int) -> Work:
        """Another round of the same run; what does not change from round to round is not loaded again."""
        other = Work(self.config, run=self.run, ledger=self.ledger, round=round)
        for name in KEPT_OVER_ROUNDS:
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    @property
    def seed(self) -> int:
        """Of everything that this round draws; the evaluation draws with the run's own seed in every round."""
        return seed_of_round(self.config.seed, self.round)

    # -- stages ------------------------------------------------------------------------------

    def folder(self, stage: str) -> Path:
        """The stage's folder, made when first asked for."""
        folder = self.run.stage_dir(self.round, stage)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def is_done(self, stage: str) -> bool:
        return stage_done(self.run.stage_dir(self.round, stage))

    @property
    def has_reward_model(self) -> bool:
        """Of its own: a run whose policy is rewarded otherwise trains none."""
        return self.is_done("5_reward_model")

    def require(self, stage: str, *, round: int | None = None) -> None:
        """Refuses to go on without what an earlier stage makes, or where it is not what that stage wrote."""
        if not stage_done(self.run.stage_dir(self.round if round is None else round, stage)):
            made, command = MADE_BY[stage]
            raise RunFolderError(f"this run has no {made} yet", where=str(self.run.path), fix=f"run `{command}` first")

    def use(self, stage: str, records: Sequence[Record]) -> None:
        """Store the records, and that this stage of this run used them."""
        constitution_id = self.constitution.id if stage >= "3" else None
        making = self.ledger.makings(self.run.name, self.round, stage).number
        uses = [
            Use(
                run=self.run.name, round=self.round, stage=stage, record_table=record.table, record_id=record.id,
                constitution_id=constitution_id, making=making,
            )
            for record in records
        ]  # fmt: skip
        with GroupWriter(self.ledger) as writer:  # short commits: other writers wait for moments only
            for record in (*records, *uses):
                writer.submit(record)

    def used(self, stage: str, kind: type[R], *, round: int | None = None) -> list[R]:
        """The records of one kind that a finished stage used, in the order it used them; by default in this round."""
        number = self.round if round is None else round
        found = self.ledger.used(self.run.name, number, stage, kind)
        check_used(self.run, round=number, stage=stage, table=kind.table, num_found=len(found), where=self.ledger.path)
        return found

    def keep(self, records: Sequence[Record]) -> None:
        """Store records that no stage uses by itself: models, the constitution."""
        self.ledger.append(records)

    def finish(self, stage: str, *, tally: Tally, unit: str, records: Sequence[Record] = ()) -> None:
        """Close a stage: its records and their use, a table per kind of record, its tally, stage.json last."""
        self.use(stage, records)
        by_table: dict[str, list[Record]] = {}
        for record in records:
            by_table.setdefault(record.table, []).append(record)
        for table in EXPORTED.intersection(by_table):
            write_records(by_table[table], self.folder(stage) / f"{table}.parquet")
        counted = self.ledger.count_used(self.run.name, self.round, stage)
        finish_stage(self.folder(stage), tally=tally, unit=unit, used=counted)
        say(f"{STAGE_NAMES[stage]}: {tally} {unit}")

    def finish_judging(self, stage: str, judging: Judging, *, records: Sequence[Record] = ()) -> None:
        self.finish(
            stage,
            tally=judging.tally,
            unit="questions",
            records=[
                *judging.questions,
                *judging.judgements,
                *judging.failed,
                *judging.comparisons,
                *records,
            ],
        )

    def make_again(self, stage: str) -> None:
        """A finished stage is to be done again; what it used before stays in the ledger and counts no longer."""
        self.ledger.make_again(self.run.name, self.round, stage)
        (self.folder(stage) / "stage.json").unlink(missing_ok=True)

    # -- what the configuration names -----------------------------------------------------------

    @cached_property
    def constitution(self) -> Constitution:
        """What this round was judged by; before that, what the configuration names, as the judge is asked under it."""
        judged_by = find_constitution(self.ledger, run=self.run.name, round=self.round, stage="3_judgements")
        if judged_by is not None:
            return judged_by
        return prepare_constitution(load_constitution(self.config.constitution), mode=self.config.judge.principles)

    @property
    def draw_seed(self) -> int | None:
        """Where each pair is asked under one principle, the seed that it is drawn with."""
        return self.config.seed if self.config.judge.principles == "sampled" else None

    @property
    def template(self) -> JudgeTemplate:
        """The first judge's."""
        return self.judges[0].template

    def draw_pairs(self, samples: Iterable[Sample]) -> Pairs:
        """The pairs of this round's responses that are compared."""
        num_pairs = pairs_per_prompt(self.config.sampling, template=self.template)
        return draw_pairs(samples, num_pairs=num_pairs, seed=self.seed)

    @property
    def given_constitution(self) -> Constitution | None:
        """The constitution, if the user named one."""
        return self.constitution if self.config.constitution != RunConfig().constitution else None

    @cached_property
    def labels(self) -> Labels | None:
        """People's labels, checked as far as they can be without samples."""
        return load_labels(self.config.human_labels)

    @cached_property
    def judge_name(self) -> str:
        return " + ".join(judge.name for judge in self.judges)

    @property
    def dataset_dir(self) -> Path:
        return self.run.stage_dir(self.round, "4_preferences") / "dataset"

    @property
    def dataset_digest(self) -> str:
        """Of the preferences that the reward model reads, by their files; of a data set of the hub by its name."""
        given = self.config.reward_model.preferences
        if given is not None:
            path = Path(given)
            return (
                digest_preferences(path)
                if path.is_dir()
                else digest_file(path)
                if path.is_file()
                else digest_text(given)
            )
        digests = [digest_preferences(folder) for folder in self.pool]
        return digests[0] if len(digests) == 1 else digest_text("\n".join(digests))

    @property
    def pool(self) -> list[Path]:
        """The preference folders of all rounds so far: what the reward model is fitted to."""
        rounds = range(self.round + 1)
        return [self.run.stage_dir(round, "4_preferences") / "dataset" for round in rounds]

    def preference_rows(self) -> SplitRows:
        """What the reward model trains on and what is held out."""
        given = self.config.reward_model.preferences
        if given is None:
            for round in range(self.round + 1):
                self.require("4_preferences", round=round)
        folders = self.pool if given is None else [given]
        part = None if given is None else self.config.reward_model.split
        train = [row for folder in folders for row in read_preferences(folder, part=part)]
        test = [row for folder in folders for row in read_preferences(folder, split="test", part=part)]
        return SplitRows(train, test) if test else split_rows(train, test_fraction=self.config.prompts.test_fraction)

    def training_prompts(self) -> list[Prompt]:
        """The round's prompts that are not held out, with the known answers that this run read.

        subtle: a prompt's id is its messages', so the ledger may hold it with another run's answer, or with none.
        """
        self.require("1_prompts")
        fraction = self.config.prompts.test_fraction
        rows = read_rows(self.folder("1_prompts") / "prompts.parquet", wanted={"id", "reference"})
        answers = {row.cells["id"]: row.cells["reference"] for row in rows}
        return [
            prompt if prompt.reference == answers[prompt.id] else prompt.changed(reference=answers[prompt.id])
            for prompt in self.used("1_prompts", Prompt)
            if split_of(prompt.id, test_fraction=fraction) == "train"
        ]

    def evaluation_prompts(self) -> list[Prompt]:
        """Prompts that nothing was trained on: the front desk's held-out pool, else the round's test split."""
        limit = self.config.evaluation.num_prompts
        if self.config.prompts.path == FRONTDESK:
            chats = make_prompts(seed=self.config.seed, n=limit, held_out=True)
            return [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]
        fraction = self.config.prompts.test_fraction
        held_out = [p for p in self.used("1_prompts", Prompt) if split_of(p.id, test_fraction=fraction) == "test"]
        if len(held_out) < 2:
            raise StageError(
                f"{len(held_out)} of the prompts are held out and a comparison needs two",
                where="prompts.test_fraction",
                fix="give more prompts, or start a run with a larger prompts.test_fraction",
            )
        return held_out[:limit]

    def check_judge(self) -> None:
        checked = []
        evaluates = (self.evaluation_judge_config, self.evaluation_template)
        for config, template in (*((judge.config, judge.template) for judge in self.judges), evaluates):
            if config not in checked:
                check_judge(config, constitution=self.constitution, template=template)
                check_mode(self.config, template=template)
                checked.append(config)

    @property
    def measures(self) -> tuple[str, ...]:
        """The configured measures; on the front desk's prompts its simulated truth where none is named."""
        if self.config.evaluation.measures or self.config.prompts.path != FRONTDESK:
            return self.config.evaluation.measures
        return (FRONTDESK_MEASURE,)


def seed_of_round(seed: int, round: int) -> int:
    """The first round's is the run's own; in later ones the same prompt is answered anew."""
    return seed if round == 0 else int(digest_text(f"round\n{seed}\n{round}")[:7], 16)


def read_given_prompts(config: RunConfig, *, round: int = 0) -> PromptRead:
    """The prompts that the configuration names, each once. Needs no model.

    The front desk's are others in each round; those of a file or data set are the same.
    """
    if config.prompts.path != FRONTDESK:
        return read_prompts(config.prompts)
    num = config.prompts.num_prompts
    chats = make_prompts(seed=config.seed, n=num * (round + 1))[num * round :]
    prompts = [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]
    return PromptRead(prompts, Tally(num_in=len(prompts)))


def drop_long_prompts(read: PromptRead, policy: TextGenerator, *, config: RunConfig) -> PromptRead:
    """The prompts that leave the policy room for a response, and the tally of the others."""
    fitting = drop_over_length(
        read.prompts,
        count_tokens=lambda prompt: policy.count_tokens(prompt.as_segments()),
        max_tokens=policy.context_tokens - config.sampling.max_new_tokens,
    )
    return PromptRead(
        fitting.prompts,
        Tally(num_in=read.tally.num_in, dropped={**read.tally.dropped, **fitting.tally.dropped}),
    )
