"""The policies and the reward model of a round, by role: loaded when first asked for, kept until dropped.

Where a role's model is found depends on the round and on which stages are done. Trains nothing and samples nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from rlaif.config.models import PolicyModelConfig
from rlaif.config.run import RunConfig
from rlaif.errors import RunFolderError
from rlaif.models.interface import TextGenerator
from rlaif.models.open import ENGINES, load_model, open_generator
from rlaif.models.slot import Slot
from rlaif.models.weights.loading import LoadedModel, free_memory, load_reward_model
from rlaif.run.chain import Link, last_link
from rlaif.run.finished import stage_done
from rlaif.run.folder import RunFolder
from rlaif.run.stages import POLICY, REWARD_MODEL, SFT

Role = Literal["start", "current", "trained"]
"""A policy's part in a round.

start: what the run began with, after SFT if it did that; KL and evaluation are against it in every round.
current: what the round samples from, which the round before trained. trained: what this round trained.
"""


class Shelf:
    """The models of one round of a run, as far as they are loaded."""

    def __init__(self, config: RunConfig, run: RunFolder, *, round: int = 0, slot: Slot | None = None) -> None:
        """slot: where an engine that wants the machine's memory runs; the run's engines share it."""
        self._config, self._run, self._round, self._slot = config, run, round, slot
        self._policies: dict[Role, LoadedModel] = {}
        self._generators: dict[Role, TextGenerator] = {}
        self._reward_model: LoadedModel | None = None
        self._linked: tuple[Link, LoadedModel] | None = None

    def at(self, round: int) -> Shelf:
        """The shelf of another round. The starting policy is the same in all rounds and stays loaded."""
        other = Shelf(self._config, self._run, round=round, slot=self._slot)
        if "start" in self._policies:
            other._policies["start"] = self._policies["start"]
        return other

    @property
    def reward_model_dir(self) -> Path:
        """Folder of the reward model that this round trains."""
        return self._run.stage_dir(self._round, REWARD_MODEL) / "model"

    @property
    def policy_dir(self) -> Path:
        """Folder of the policy that this round trains: of its last method."""
        return self.model_dir(last_link(self._config, POLICY))

    @property
    def sft_dir(self) -> Path:
        """Folder of the policy that was made before sampling, in the run's first round: all rounds start from it."""
        return self.model_dir(last_link(self._config, SFT))

    def model_dir(self, link: Link, *, round: int | None = None) -> Path:
        """Folder of the policy that a method trains, by default in this round."""
        return link.find_dir(self._run, round=self._round if round is None else round) / "model"

    def trained_by(self, link: Link) -> LoadedModel:
        """The policy that a method of this round trained. The last one that was asked for is kept."""
        if self._linked is None or self._linked[0] != link:
            self._linked = None
            self._linked = link, load_model(self._in(self.model_dir(link)), part="policy")
        return self._linked[1]

    def policy(self, role: Role) -> LoadedModel:
        """The policy of this role. Raises `RunFolderError` where it is not trained yet."""
        role = self._same_as(role)
        if role not in self._policies:
            self._policies[role] = load_model(self._find_config(role), part="policy")
        return self._policies[role]

    def generator(self, role: Role) -> TextGenerator:
        """What draws responses of the policy of this role. The current one draws on the cluster, where there is one.

        An engine that samples with weights that are loaded here takes those of `policy(role)`.
        """
        is_spread = role == "current" and self._config.scale.is_spread
        key = role if is_spread else self._same_as(role)
        if key not in self._generators:
            self._generators[key] = open_generator(
                self._find_config(role),
                scale=self._config.scale if is_spread else None,
                slot=self._slot,
                load=lambda: self.policy(role),
            )
        return self._generators[key]

    def reward_model(self) -> LoadedModel:
        """The reward model that this round trained."""
        if self._reward_model is None:
            device = self._config.policy.device
            self._reward_model = load_reward_model(str(self.reward_model_dir), dtype="float32", device=device)
        return self._reward_model

    def drop(self, role: Role) -> None:
        """The policy of this role is loaded again when it is next asked for, as after SFT, which replaces the start."""
        self._policies.pop(role, None)
        self._generators.pop(role, None)

    def clear(self) -> None:
        """Nothing stays loaded."""
        self._policies.clear()
        self._generators.clear()
        self._reward_model = self._linked = None
        free_memory()

    def _same_as(self, role: Role) -> Role:
        """In the first round the current policy is the starting one."""
        return "start" if role == "current" and self._round == 0 else role

    def _find_config(self, role: Role) -> PolicyModelConfig:
        role = self._same_as(role)
        if role == "trained":
            return self._in(self.policy_dir)
        if role == "start":
            return self._in(self.sft_dir) if stage_done(self._run.stage_dir(0, SFT)) else self._config.policy
        before = self._run.stage_dir(self._round - 1, POLICY)
        if not stage_done(before):
            raise RunFolderError(
                "the round before has trained no policy",
                where=str(before),
                fix="run `rlaif train` for that round first",
            )
        return self._in(self.model_dir(last_link(self._config, POLICY), round=self._round - 1))

    def _in(self, folder: Path) -> PolicyModelConfig:
        """A policy that the run trained, in the engine and with the options of the policy that it was given."""
        return self._config.policy.model_copy(update={"path": str(folder), "revision": None})


def make_room(config: RunConfig, *clears: Callable[[], None]) -> None:
    """Call `clears`, which drop what is loaded, where an engine of the run wants the machine's memory for itself."""
    judges = (*config.judge.judges(), config.evaluation.judge.instead_of(config.judge))
    names = (config.policy.engine, *(judge.model.engine for judge in judges))
    if any(ENGINES[name].wants_memory for name in names):
        for clear in clears:
            clear()
