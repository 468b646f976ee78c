"""The judges of a run: who they are, and all of them asked the same questions, one after another.

Each keeps plan and list of questions in a folder of its own, so that each goes on where it stood. Combines no labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rlaif.config.judge import JudgeConfig
from rlaif.config.models import is_frontdesk
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.run import MAX_RECORDS, RunConfig
from rlaif.console import say
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.errors import ConfigError, ModelError
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import JUDGE_FOLDER
from rlaif.records import Comparison, Panel, PanelMember, Prompt, Question, Sample, Tally
from rlaif.run.folder import RunFolder
from rlaif.run.input_checks import expect_judge

if TYPE_CHECKING:
    from rlaif.run.work import Work

STAGE = "3_judgements"


class RunJudge:
    """One of the judges that label a run's pairs."""

    def __init__(self, number: int, config: JudgeConfig) -> None:
        """`number`: from 1, in the order of the configuration."""
        self.number, self.config = number, config

    @cached_property
    def template(self) -> JudgeTemplate:
        """As its file is now."""
        return load_template(self.config.template)

    @property
    def name(self) -> str:
        return self.config.model.path

    @property
    def template_key(self) -> str:
        """Under which its template's digest stands among a run's inputs."""
        return "judge.template" if self.number == 1 else f"judge.template of judge {self.number}"

    def folder(self, stage_dir: Path) -> Path:
        """Where its plan of questions stands: the first judge's in the stage's own folder."""
        return stage_dir if self.number == 1 else stage_dir / f"{JUDGE_FOLDER}{self.number}"


def find_run_judges(config: JudgeConfig) -> tuple[RunJudge, ...]:
    """`judge.model` first, then those of `judge.panel`."""
    return tuple(RunJudge(number, one) for number, one in enumerate(config.judges(), start=1))


def template_digests(config: JudgeConfig) -> dict[str, str]:
    """What stands among a run's inputs: a template per judge, which may not change under it."""
    return {judge.template_key: judge.template.digest for judge in find_run_judges(config)}


def check_mode(config: RunConfig, *, template: JudgeTemplate) -> None:
    """Refuse, before anything is spent, options that a template cannot serve."""
    num_pairs = config.prompts.num_prompts * math.comb(config.sampling.num_samples, 2)
    mode = MODES[template.kind]
    if mode.shows != "two" and num_pairs > MAX_RECORDS:
        raise ConfigError(
            f"a judge that scores or ranks gives every pair of a prompt's {config.sampling.num_samples} responses, "
            f"which would be {num_pairs:,} pairs, and a run holds at most {MAX_RECORDS:,}",
            where="sampling.num_samples",
            fix="lower it, 2 to 16 are usual, or lower prompts.num_prompts",
        )
    if mode.check is not None:
        mode.check(config, template=template)


def load_score_template(reward: RewardConfig, judge: JudgeConfig) -> JudgeTemplate:
    """The template that the judge scores by; one of another kind is refused."""
    if reward.template is not None:
        template = load_template(reward.template)
        if MODES[template.kind].worth is None:
            raise ConfigError(
                f'the judge gives rewards by a template of `kind: score`, and "{reward.template}" is of `kind: '
                f"{template.kind}`",
                where="ppo.rewards",
                fix="name one that scores, such as score or frontdesk_score",
            )
        return template
    own = load_template(judge.template)
    desk = judge.model.is_local and is_frontdesk(judge.model.path, part="judge")
    return own if MODES[own.kind].worth is not None else load_template("frontdesk_score" if desk else "score")


def ask_all(
    work: Work, pairs: Sequence[tuple[Sample, Sample]], *, prompts: Mapping[str, Prompt], stage: str = STAGE
) -> Judging:
    """What every judge says of the pairs; a local model is gone before the next one is loaded."""
    asked: set[str] = set()
    return merge_judgings([_ask(work, one, pairs, prompts=prompts, stage=stage, asked=asked) for one in work.judges])


def _ask(
    work: Work,
    judge: RunJudge,
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    stage: str,
    asked: set[str],
) -> Judging:
    """asked: the ids of the judges before this one, which it joins."""
    alone = len(work.judges) == 1
    if not alone:
        say(f"judge {judge.number} of {len(work.judges)}: {judge.name}")
    with work.lend_judge(judge) as scorer:
        if scorer.fingerprint.id in asked:
            raise ModelError(
                f"judge {judge.number} of the panel is the same model as an earlier one: its answers would count twice",
                where=judge.name,
                fix="take it out of judge.panel, or name another model",
            )
        asked.add(scorer.fingerprint.id)
        expect_judge(work, stage, scorer.fingerprint, judge.config, judge.template)
        folder = judge.folder(work.folder(stage))
        folder.mkdir(exist_ok=True)
        return judge_pairs(
            pairs, prompts=prompts, scorer=scorer, plan_path=folder / "questions_plan.json",
            asking=Asking(
                constitution=work.constitution, template=judge.template, config=judge.config, ledger=work.ledger,
                budget=work.judge_budget, draw_seed=work.draw_seed,
            ),
            label="judgements" if alone else f"judgements {judge.number}/{len(work.judges)}",
        )  # fmt: skip


def merge_judgings(judgings: Iterable[Judging]) -> Judging:
    """One after another, their tallies added."""
    merged = Judging([], [], [], [], Tally(num_in=0))
    for one in judgings:
        merged = Judging(
            [*merged.questions, *one.questions], [*merged.judgements, *one.judgements],
            [*merged.failed, *one.failed], [*merged.comparisons, *one.comparisons], merged.tally + one.tally,
        )  # fmt: skip
    return merged


def find_panel(work: Work, comparisons: Iterable[Comparison]) -> Panel:
    """Who judged the round, each with its weight; where one judge was asked, or none, whoever compared something."""
    if is_recorded(work.run) or len(work.judges) == 1:
        return Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))
    asked = dict.fromkeys((q.judge_id, q.template_digest) for q in work.used(STAGE, Question))
    return Panel(
        members=tuple(
            PanelMember(judge_id=judge_id, template_digest=digest, weight=judge.config.weight)
            for (judge_id, digest), judge in zip(asked, work.judges, strict=True)
        )
    )


def find_judge_ids(work: Work) -> list[str]:
    """The fingerprints of the judges that labelled a round, in the order of `work.judges`."""
    return list(dict.fromkeys(question.judge_id for question in work.used(STAGE, Question)))


def is_recorded(run: RunFolder) -> bool:
    """Whether the verdicts were brought along: no judge of the configuration gave them."""
    return "recorded" in run.config["inputs"]
