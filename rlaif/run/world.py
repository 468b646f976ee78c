"""What the configuration finds in the embedded front desk: its prompts, and its truth as a measure.

The only file of rlaif that imports the front desk.
"""

from __future__ import annotations

from rlaif.config.models import FRONTDESK
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


def draw_held_out(config: RunConfig, num: int, *, first: int = 0) -> list[Prompt]:
    """`num` prompts of the front desk's held-out ones, from the place `first` on. No round draws any of them."""
    chats = make_prompts(seed=config.seed, n=first + num, held_out=True)[first:]
    return [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats]


def find_measures(config: RunConfig) -> tuple[str, ...]:
    """The configured measures. On the front desk's prompts, where none is configured, its simulated truth."""
    if config.evaluation.measures or not is_frontdesk_world(config):
        return config.evaluation.measures
    return (FRONTDESK_MEASURE,)
