"""The models that PPO is handed, and what is left of them: the policy as a plain folder, its adapter beside it.

Loads what the options name. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_rewards import RUN, find_sources
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError
from rlaif.models.open import load_model
from rlaif.models.weights.adapters import save_adapter
from rlaif.models.weights.loading import LoadedModel, base_of_adapter
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.models.weights.saving import save_model
from rlaif.policy.ppo.models import ValueStart
from rlaif.policy.task import TrainedPolicy
from rlaif.reward_model.model import find_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_initial_policy(
    config: RunConfig, *, start: Callable[[], LoadedModel], current: Callable[[], LoadedModel]
) -> LoadedModel:
    """The policy that PPO begins with. Where PPO trains adapters and that policy has one, PPO continues with it.

    start, current: give the policy of the run's first round, and the one that this round samples from.
    """
    initial = current() if config.ppo.start_from == "last_round" else start()
    if config.ppo.model.train == "lora" and find_model_folder(str(initial.folder), adapters=True).is_adapter:
        return load_model(config.policy, part="policy", merge=False)
    return initial


def find_value_start(
    config: PpoConfig, *, rewards: Mapping[str, LoadedModel], policy: LoadedModel
) -> ValueStart | None:
    """The reward model, for a separate value model to begin as; the run's own where it is among several.

    None where no reward is a model's, or where values are read on the policy's trunk. rewards: reward models by name.
    """
    if config.model.value_model == "shared" or not rewards:
        return None
    own = {source.label for source in find_sources(config.rewards) if source.model == RUN}
    name = next((name for name in rewards if name in own), next(iter(rewards)))
    return make_value_start(rewards[name], name=name, policy=policy)


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


def save_policy(trained: TrainedPolicy, *, initial: LoadedModel, folder: Path, keeps_adapter: bool) -> None:
    """Write the trained policy as a plain folder, and with `keeps_adapter` the adapter that was trained beside it."""
    save_model(trained.model, initial.tokenizer, folder)
    if keeps_adapter and trained.adapted is not None:
        save_adapter(trained.adapted, folder.with_name("adapter"), base=_base_of(initial))


def _base_of(initial: LoadedModel) -> str:
    """The model that the adapter was trained on: path or hub id."""
    found = find_model_folder(str(initial.folder), adapters=True)
    base = base_of_adapter(found) if found.is_adapter else initial.path
    return str(Path(base).resolve()) if Path(base).is_dir() else base
