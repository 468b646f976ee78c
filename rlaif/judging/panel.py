"""The judges of a run, one or a panel: who they are, where each keeps its plans, and what templates they need.

Opens no judge and asks nothing: see bench.py and stage.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from rlaif.config.judge import JudgeConfig
from rlaif.config.models import is_frontdesk
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.run import MAX_RECORDS, RunConfig
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.errors import ConfigError
from rlaif.judging.judge import Judging
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import JUDGE_FOLDER
from rlaif.records import Comparison, Panel, PanelMember, Question, Tally


class RunJudge:
    """One of a run's judges, as it is configured."""

    def __init__(self, number: int, config: JudgeConfig) -> None:
        """number: from 1, in the order of the configuration; 0 for the evaluation's judge, which labels no pairs."""
        self.number, self.config = number, config

    @cached_property
    def template(self) -> JudgeTemplate:
        """The judge's template, as its file is now."""
        return load_template(self.config.template)

    @property
    def name(self) -> str:
        return self.config.model.path

    @property
    def template_key(self) -> str:
        """The key of the template's digest among a run's inputs."""
        return "judge.template" if self.number == 1 else f"judge.template of judge {self.number}"

    def folder(self, stage_dir: Path) -> Path:
        """Where the judge keeps its plan of questions: the first judge in the stage's folder itself."""
        return stage_dir if self.number == 1 else stage_dir / f"{JUDGE_FOLDER}{self.number}"


def find_run_judges(config: JudgeConfig) -> tuple[RunJudge, ...]:
    """`judge.model` first, then those of `judge.panel`."""
    return tuple(RunJudge(number, one) for number, one in enumerate(config.judges(), start=1))


def template_digests(config: JudgeConfig) -> dict[str, str]:
    """Each judge's template by digest, to be stored among a run's inputs: a run keeps its templates."""
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
    """The template that the judge scores single responses by; one of another kind is refused."""
    return _load_template(
        reward, judge, scores=True, names=("frontdesk_score", "score"),
        refusal="the judge gives rewards by a template of `kind: score` or `kind: contrast`",
        fix="name one that scores, such as score, contrast or frontdesk_score",
    )  # fmt: skip


def load_rank_template(reward: RewardConfig, judge: JudgeConfig) -> JudgeTemplate:
    """The template by which the judge compares the responses to a prompt; one that scores them singly is refused."""
    return _load_template(
        reward, judge, scores=False, names=("frontdesk_pair", "rank"),
        refusal="responses are ranked by a template of `kind: ranking` or `kind: pair`",
        fix="name one that compares, such as rank or frontdesk_pair, or leave `ranks` out",
    )  # fmt: skip


def _load_template(
    reward: RewardConfig, judge: JudgeConfig, *, scores: bool, names: tuple[str, str], refusal: str, fix: str
) -> JudgeTemplate:
    """The reward's own template, else the judge's where that one scores or not as asked, else one of these names: for
    the front desk's judge, for any other."""
    if reward.template is not None:
        template = load_template(reward.template)
        if (MODES[template.kind].worth is not None) != scores:
            raise ConfigError(
                f'{refusal}, and "{reward.template}" is of `kind: {template.kind}`', where="ppo.rewards", fix=fix
            )
        return template
    own = load_template(judge.template)
    if (MODES[own.kind].worth is not None) == scores:
        return own
    desk = judge.model.is_local and is_frontdesk(judge.model.path, part="judge")
    return load_template(names[0] if desk else names[1])


def load_reward_template(reward: RewardConfig, judge: JudgeConfig) -> JudgeTemplate:
    """The template by which the judge gives rewards, alone or by ranks."""
    return load_score_template(reward, judge) if reward.ranks is None else load_rank_template(reward, judge)


def check_ranks(config: PpoConfig, *, template: JudgeTemplate) -> None:
    """Refuse more responses to a prompt than a template that ranks can name."""
    if MODES[template.kind].shows == "all" and config.num_samples_per_prompt > len(template.labels):
        raise ConfigError(
            f"{config.num_samples_per_prompt} responses are ranked together, and the template names "
            f"{len(template.labels)}",
            where=template.name,
            fix="list more `labels` in the template, or lower ppo.num_samples_per_prompt",
        )


def merge_judgings(judgings: Iterable[Judging]) -> Judging:
    """What several judges were asked and answered, one after another, with their tallies added."""
    merged = Judging([], [], [], [], Tally(num_in=0))
    for one in judgings:
        merged = Judging(
            [*merged.questions, *one.questions], [*merged.judgements, *one.judgements],
            [*merged.failed, *one.failed], [*merged.comparisons, *one.comparisons], merged.tally + one.tally,
        )  # fmt: skip
    return merged


def find_panel(
    judges: Sequence[RunJudge], *, questions: Iterable[Question], comparisons: Iterable[Comparison], is_recorded: bool
) -> Panel:
    """Who judged the round, each with its weight; where one judge was asked, or none, whoever compared something.

    questions, comparisons: those of the round. is_recorded: its verdicts were brought along.
    """
    if is_recorded or len(judges) == 1:
        return Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))
    asked = dict.fromkeys((q.judge_id, q.template_digest) for q in questions)
    return Panel(
        members=tuple(
            PanelMember(judge_id=judge_id, template_digest=digest, weight=judge.config.weight)
            for (judge_id, digest), judge in zip(asked, judges, strict=True)
        )
    )


def find_judge_ids(questions: Iterable[Question]) -> list[str]:
    """The fingerprints of the judges that were asked, in the order of the configuration."""
    return list(dict.fromkeys(question.judge_id for question in questions))
