"""What the configuration finds in the embedded front desk: its prompts, and its truth as a measure.

Also which measures a run has where none is configured, and the task that a study of training methods teaches.

The only file of rlaif that imports the front desk.
"""

from __future__ import annotations

import random

from rlaif.config.evaluation import PLAIN_MEASURES
from rlaif.config.models import FRONTDESK, is_frontdesk
from rlaif.config.run import RunConfig
from rlaif.frontdesk import tasks
from rlaif.frontdesk.world import make_prompts
from rlaif.records import Demonstration, Prompt

FRONTDESK_MEASURE = "rlaif.frontdesk.truth:measure"


def is_frontdesk_world(config: RunConfig) -> bool:
    """Whether the prompts are the front desk's."""
    return config.prompts.path == FRONTDESK


def draw_prompts(config: RunConfig, *, round: int) -> list[Prompt]:
    """The front desk's prompts of a round: each round has others."""
    num = config.prompts.num_prompts
    chats = make_prompts(seed=config.seed, n=num * (round + 1))[num * round :]
    return [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]


def draw_further(config: RunConfig, num: int, *, round: int) -> list[Prompt]:
    """`num` prompts of the front desk's that no round of the run answers; each round has others of them."""
    first = config.prompts.num_prompts * config.rounds + num * round
    chats = make_prompts(seed=config.seed, n=first + num)[first:]
    return [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]


def draw_held_out(config: RunConfig, num: int, *, first: int = 0) -> list[Prompt]:
    """`num` prompts of the front desk's held-out ones, from the place `first` on. No round draws any of them."""
    chats = make_prompts(seed=config.seed, n=first + num, held_out=True)[first:]
    return [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]


def find_measures(config: RunConfig) -> tuple[str, ...]:
    """The configured measures; where there are none, those that suit the run.

    On the front desk's prompts that is its simulated truth; with a policy that is not the front desk's, the built-in
    measures that need no package.
    """
    if config.evaluation.measures:
        return config.evaluation.measures
    if is_frontdesk_world(config):
        return (FRONTDESK_MEASURE,)
    return () if is_frontdesk(config.policy.path, part="policy") else PLAIN_MEASURES


STUDY_WANTED = tuple(tasks.WANTED)
"""The qualities of a good reply in a study, all of which it must have."""


def draw_study_prompts(seed: int, num: int, *, held_out: bool = False) -> list[Prompt]:
    """`num` of the front desk's prompts; held-out ones are in no training."""
    return [Prompt.from_chat(chat, source=FRONTDESK) for chat in make_prompts(seed=seed, n=num, held_out=held_out)]


def draw_demonstrations(seed: int, num: int, *, noise: float) -> list[tuple[Prompt, Demonstration]]:
    """`num` simulated demonstrations, each of which lacks each wanted quality with probability `noise`."""
    rows = []
    for row in tasks.write_noisy(seed, num, noise=noise):
        prompt = Prompt.from_chat(row.messages, source=FRONTDESK)
        rows.append((prompt, Demonstration(prompt_id=prompt.id, response=row.response, source="simulated")))
    return rows


def share_wanted(prompt: Prompt, response: str) -> float:
    """The share of the wanted qualities that a response has, by the front desk's truth; 1 is success."""
    return tasks.share_kept(prompt.as_chat(), response)


def judge_wanted(prompt: Prompt, response: str, *, rng: random.Random) -> float:
    """The same as a judge would say it that errs as the front desk's was taught to."""
    return tasks.judge_share(prompt.as_chat(), response, rng=rng)
