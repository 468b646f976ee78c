"""What SEFT is given by the run: prompts without responses, and the run's first judge.

Takes values out of the run; `policy/stage.py` builds the task, saves and closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.seft import SeftConfig
from rlaif.judging.bench import Bench
from rlaif.judging.panel import load_score_template
from rlaif.judging.setup import check_judge
from rlaif.policy.ppo.stage import make_critic
from rlaif.policy.rewards.episodes import Critic
from rlaif.records import Constitution, Prompt, Tally
from rlaif.run.book import Book
from rlaif.run.round import Round
from rlaif.run.shelf import Shelf
from rlaif.sampling.prompts import drop_over_length
from rlaif.sampling.stage import find_unlabelled_prompts


class Given(NamedTuple):
    prompts: Sequence[Prompt]
    critic: Critic
    tally: Tally
    """The prompts that leave no room for a response."""


def check_revising(config: SeftConfig, *, judge: JudgeConfig, constitution: Constitution) -> None:
    """Before anything is spent: the judge can score single responses. judge: the run's first one."""
    check_judge(judge, constitution=constitution, template=load_score_template(source_of(config), judge))


def gather_revising(round: Round, book: Book, shelf: Shelf, bench: Bench, *, lent: ExitStack) -> Given:
    """The prompts that leave room for a response, and the judge. lent: keeps it open while the training runs."""
    config = round.config
    generator = shelf.generator("current")
    fitting = drop_over_length(
        find_unlabelled_prompts(round, book),
        count_tokens=lambda prompt: generator.count_tokens(prompt.as_segments()),
        max_tokens=generator.context_tokens - config.sampling.max_new_tokens,
    )
    num_long = fitting.tally.num_dropped
    tally = Tally(num_in=num_long, dropped=fitting.tally.dropped)
    return Given(
        fitting.prompts, make_critic(round, book, shelf, bench, source=source_of(config.seft), lent=lent), tally
    )


def source_of(config: SeftConfig) -> RewardConfig:
    """The judge as a source of scores."""
    return RewardConfig(judge=True, template=config.template)
