"""The methods of a run as links of a chain: which stage trains with each, and in which folder.

A stage with one method works in its own folder; with several, each has a folder in it. Trains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rlaif.config.methods import BY_REWARDS, MethodName
from rlaif.config.run import RunConfig
from rlaif.run.folder import RunFolder
from rlaif.run.stages import POLICY, SFT, Stage


class Link(NamedTuple):
    """One method of a run."""

    method: MethodName
    stage: Stage
    folder: str
    """Its folder in the stage's, such as `01_dpo`; empty where it is the stage's only method."""

    def find_dir(self, run: RunFolder, *, round: int) -> Path:
        """The link's folder; those before sampling are in the first round."""
        stage_dir = run.stage_dir(0 if self.stage == SFT else round, self.stage)
        return stage_dir / self.folder if self.folder else stage_dir


def find_links(config: RunConfig, stage: Stage) -> list[Link]:
    """The methods of a stage in their order: of `sft` and `policy`, which train a policy."""
    names = {SFT: config.chain.before, POLICY: config.chain.after}[stage]
    if len(names) == 1:
        return [Link(names[0], stage, "")]
    return [Link(name, stage, f"{number:02}_{name}") for number, name in enumerate(names, start=1)]


def last_link(config: RunConfig, stage: Stage) -> Link:
    """The method whose policy is the stage's. Of a stage with none, as one that is not configured: the stage itself."""
    links = find_links(config, stage)
    return links[-1] if links else Link("sft", stage, "")


def find_by_rewards(config: RunConfig) -> Link:
    """The link that trains by rewards, of which there is one at most; where there is none, the last one."""
    links = find_links(config, POLICY)
    return next((link for link in links if link.method in BY_REWARDS), links[-1])


def find_before(config: RunConfig, link: Link) -> Link | None:
    """The method before this one in its stage; None before the first."""
    links = find_links(config, link.stage)
    place = links.index(link)
    return links[place - 1] if place else None
