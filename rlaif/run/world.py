"""What the configuration finds in the embedded front desk: its prompts, and its truth as a measure.

Also which measures a run has where none is configured.

The only file of rlaif that imports the front desk.
"""

from __future__ import annotations

from rlaif.config.evaluation import PLAIN_MEASURES
from rlaif.config.models import FRONTDESK, is_frontdesk
from rlaif.config.run import RunConfig
from rlaif.frontdesk.world import make_prompts
from rlaif.records import Prompt

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
