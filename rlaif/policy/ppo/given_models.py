"""The models that PPO is handed, and what is left of them: the policy as a plain folder, its adapter beside it.

Loads what the options name. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rlaif.config.ppo_rewards import RUN, find_sources
from rlaif.errors import ConfigError
from rlaif.judging.setup import load_model
from rlaif.models.weights.adapters import save_adapter
from rlaif.models.weights.loading import LoadedModel, base_of_adapter, save_model
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.policy.ppo.models import ValueStart
from rlaif.policy.task import TrainedPolicy
from rlaif.reward_model.model import find_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rlaif.run.shelf import RunModels
    from rlaif.run.work import Work


def find_initial_policy(models: RunModels) -> LoadedModel:
    """What PPO begins with. Where it trains adapters and the policy starts with one, it goes on with that one."""
    config = models.config.ppo
    initial = models.current_policy if config.start_from == "last_round" else models.start_policy
    if config.model.train == "lora" and find_model_folder(str(initial.folder), adapters=True).is_adapter:
        return load_model(models.config.policy, part="policy", merge=False)
    return initial


def find_value_start(models: RunModels, rewards: Mapping[str, LoadedModel]) -> ValueStart | None:
    """The reward model, for a value model of its own to begin as; the run's own where it is among several.

    None where no reward is a model's, or where values are read on the policy's trunk. rewards: by name.
    """
    if models.config.ppo.model.value_model == "shared" or not rewards:
        return None
    own = {source.label for source in find_sources(models.config.ppo.rewards) if source.model == RUN}
    name = next((name for name in rewards if name in own), next(iter(rewards)))
    return make_value_start(rewards[name], name=name, policy=models.start_policy)


def make_value_start(reward_model: LoadedModel, *, name: str, policy: LoadedModel) -> ValueStart:
    """A reward model's trunk and head; it must read the policy's own tokens."""
    if reward_model.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ConfigError(
            "the value model cannot begin as this reward model, which has another tokenizer than the policy",
            where=reward_model.path,
            fix="set ppo.model.value_model: shared, or use a reward model with the policy's tokenizer",
        )
    head = find_head(reward_model.model, where=reward_model.path)
    return ValueStart(cast("PreTrainedModel", reward_model.model.base_model), head, name)


def save_policy(trained: TrainedPolicy, work: Work, *, initial: LoadedModel) -> None:
    """The trained policy as a plain folder, and the adapter that was trained beside it where that is asked for."""
    save_model(trained.model, initial.tokenizer, work.policy_dir)
    if work.config.ppo.model.save_adapter and trained.adapted is not None:
        save_adapter(trained.adapted, work.policy_dir.with_name("adapter"), base=_base_of(initial))


def _base_of(initial: LoadedModel) -> str:
    """The model that the adapter was trained on: path or hub id."""
    found = find_model_folder(str(initial.folder), adapters=True)
    base = base_of_adapter(found) if found.is_adapter else initial.path
    return str(Path(base).resolve()) if Path(base).is_dir() else base
