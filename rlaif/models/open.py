"""The engines: one row each with what it needs, how it is opened, and what its callers must know of it.

The one place that tells engines apart. Each function imports its engine when it is called, after checking that it is
installed, so importing this file imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from rlaif.config.functions import load_function
from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.config.models import ModelConfig, PolicyModelConfig, resolve_path
from rlaif.config.scale import ScaleConfig
from rlaif.console import say
from rlaif.errors import ConfigError
from rlaif.models.budget import Budget, make_budget
from rlaif.models.interface import PolicyCopy, TextGenerator, TokenScorer
from rlaif.models.slot import Slot
from rlaif.models.weights.model_folder import check_model_path

if TYPE_CHECKING:
    from rlaif.config.ppo_rollout import RolloutConfig
    from rlaif.models.ray.engine import Described, RayGenerator, RayScorer
    from rlaif.models.vllm.engine import VllmEngine
    from rlaif.models.weights.loading import LoadedModel

Part = Literal["policy", "judge"]
EngineModel = JudgeModelConfig | PolicyModelConfig


class Engine(NamedTuple):
    """What runs a model, or stands for one."""

    is_local: bool
    """Whether the model's files, its tokenizer too, are on this machine."""
    is_served: bool
    """Whether a server answers over the network: each answer costs, and may differ the next time."""
    wants_memory: bool
    """Whether it takes most of the memory for a process outside this one: what is loaded here must go first."""
    loads_adapters: bool
    """Whether a policy may be a peft adapter instead of a whole model."""
    check_installed: Callable[[], object]
    """Raises, with the line that installs it, where a package is missing."""
    check_judge: Callable[[JudgeConfig], None]
    """Raises where the judge's folder, address or function cannot be used; loads nothing."""
    open_judge: Callable[[JudgeConfig, Budget, Slot | None], TokenScorer]
    open_policy: Callable[[PolicyModelConfig, Slot | None, Callable[[], LoadedModel] | None], TextGenerator] | None
    """None where the engine only judges."""
    reads_likelihoods: bool
    """Whether a judge can say how likely a given response is. A server may; its first replies tell."""
    describe: Callable[[EngineModel, Part], Described] | None
    """Describes a model to a cluster's driver, while the weights are on the workers. None where the engine is
    never spread over workers."""


class Rollout(NamedTuple):
    """What samples the responses of a PPO step."""

    check_installed: Callable[[], object]
    open_copy: Callable[[RolloutConfig, str, int], PolicyCopy] | None
    """Takes the options, the policy's device, and the longest prompt and response in tokens. None where the model in
    training samples for itself."""


def engine_of(model: EngineModel) -> Engine:
    """The row of a model's engine."""
    return ENGINES[model.engine]


def check_judge_engine(config: JudgeConfig) -> None:
    """Refuse a judge that could not be opened, before torch is imported and anything is loaded."""
    engine = engine_of(config.model)
    engine.check_installed()
    engine.check_judge(config)


def check_reads_likelihoods(config: JudgeConfig) -> None:
    """Refuse a judge whose engine gives no log-likelihood of a given response."""
    if not engine_of(config.model).reads_likelihoods:
        able = " or ".join(f"`engine: {name}`" for name, other in ENGINES.items() if other.reads_likelihoods)
        raise ConfigError(
            f"`engine: {config.model.engine}` gives no log-likelihood of a given response, and the template contrasts "
            "two of them",
            where="judge.model.engine",
            fix=f"use {able}, or a template that asks for a verdict or a score, such as pair",
        )


def check_policy_engine(config: PolicyModelConfig) -> None:
    """Refuse a policy that could not be opened, before torch is imported and anything is loaded."""
    engine = engine_of(config)
    engine.check_installed()
    path = resolve_path(config.path, part="policy")
    check_model_path(path, revision=config.revision, adapters=engine.loads_adapters)


def check_rollout_engine(config: RolloutConfig) -> None:
    """Refuse an engine for PPO's responses that is not installed, before hours are spent on what comes before PPO."""
    ROLLOUTS[config.engine].check_installed()


def open_judge(
    config: JudgeConfig, *, budget: Budget | None = None, scale: ScaleConfig | None = None, slot: Slot | None = None
) -> TokenScorer:
    """The judge, ready to be asked.

    budget: what it may cost, shared with whoever asks it in batches. scale: where it is computed; a served judge is
    asked from here. slot: the place in memory that all engines of a run share.
    """
    engine = engine_of(config.model)
    budget = budget or make_budget(config)
    if scale is not None and scale.is_spread and engine.describe is not None:
        return _spread_judge(config, engine.describe, budget=budget, scale=scale)
    return engine.open_judge(config, budget, slot)


def open_generator(
    config: PolicyModelConfig,
    *,
    scale: ScaleConfig | None = None,
    slot: Slot | None = None,
    load: Callable[[], LoadedModel] | None = None,
) -> TextGenerator:
    """The policy, ready to be sampled.

    scale: where it is computed. slot: the place in memory that all engines of a run share. load: gives the model that
    training holds in memory; an engine that can sample with it takes it, and loads no second one.
    """
    engine = engine_of(config)
    if engine.open_policy is None:
        able = ", ".join(name for name, other in ENGINES.items() if other.open_policy is not None)
        raise ConfigError(
            f"`engine: {config.engine}` samples no responses", where="policy.engine", fix=f"use one of {able}"
        )
    if scale is not None and scale.is_spread and engine.describe is not None:
        return _spread_policy(config, engine.describe, scale=scale)
    return engine.open_policy(config, slot, load)


def open_policy_copy(config: RolloutConfig, *, device: str, max_tokens: int) -> PolicyCopy | None:
    """The copy that samples the responses of PPO; None where the model in training samples for itself.

    device: where the policy is trained. max_tokens: the longest prompt and response together.
    """
    open_copy = ROLLOUTS[config.engine].open_copy
    return None if open_copy is None else open_copy(config, device, max_tokens)


def load_model(config: ModelConfig, *, part: Part, merge: bool = True) -> LoadedModel:
    """A model in this process, for training or for sampling. merge: put an adapter into its base model's weights."""
    from rlaif.models.weights.loading import load_causal_lm
    from rlaif.models.weights.saving import check_saving

    say(f"loading the {part}: {config.path}")
    path = resolve_path(config.path, part=part)
    loaded = load_causal_lm(path, revision=config.revision, dtype=config.dtype, device=config.device, merge=merge)
    if part == "policy":
        check_saving(loaded.model, loaded.tokenizer, where=config.path)
    return loaded


def _check_nothing() -> None:
    """Check nothing: what the engine needs is installed with rlaif."""


def _check_folder(config: JudgeConfig) -> None:
    check_model_path(resolve_path(config.model.path, part="judge"), revision=config.model.revision)


def _open_transformers_judge(config: JudgeConfig, budget: Budget, slot: Slot | None) -> TokenScorer:
    from rlaif.models.local.engine import TransformersEngine

    return TransformersEngine(load_model(config.model, part="judge"))


def _open_transformers_policy(
    config: PolicyModelConfig, slot: Slot | None, load: Callable[[], LoadedModel] | None
) -> TextGenerator:
    from rlaif.models.local.engine import TransformersEngine

    return TransformersEngine(load() if load is not None else load_model(config, part="policy"))


def _describe_transformers(model: EngineModel, part: Part) -> Described:
    from rlaif.models.ray.engine import describe_causal_lm

    return describe_causal_lm(resolve_path(model.path, part=part), revision=model.revision, dtype=model.dtype)


def _check_vllm() -> str:
    """The installed version of vLLM."""
    from rlaif.models.vllm.process import find_vllm

    return find_vllm()


def _open_vllm(model: EngineModel, *, part: Part, slot: Slot | None) -> VllmEngine:
    """A model that vLLM runs once it is asked; until then only its tokenizer is loaded."""
    say(f"the {part} runs in vLLM {_check_vllm()}, in a separate process: {model.path}")
    from rlaif.models.vllm.engine import VllmEngine

    path = resolve_path(model.path, part=part)
    return VllmEngine(model.model_copy(update={"path": path}), options=model.vllm, slot=slot)


def _open_vllm_judge(config: JudgeConfig, budget: Budget, slot: Slot | None) -> TokenScorer:
    return _open_vllm(config.model, part="judge", slot=slot)


def _open_vllm_policy(
    config: PolicyModelConfig, slot: Slot | None, load: Callable[[], LoadedModel] | None
) -> TextGenerator:
    return _open_vllm(config, part="policy", slot=slot)


def _describe_vllm(model: EngineModel, part: Part) -> Described:
    from rlaif.models.ray.engine import Described

    engine = _open_vllm(model, part=part, slot=None)
    return Described(engine.fingerprint, engine.context_tokens, engine.count_tokens)


def _check_address(config: JudgeConfig) -> None:
    from rlaif.models.endpoint.address import find_address

    endpoint = config.endpoint
    find_address(base_url_env=endpoint.base_url_env, api_key_env=endpoint.api_key_env, environ=os.environ)


def _open_served_judge(config: JudgeConfig, budget: Budget, slot: Slot | None) -> TokenScorer:
    from rlaif.models.endpoint.engine import OpenAIEngine

    engine = OpenAIEngine(config, budget=budget)
    how = "in batches" if config.endpoint.batch_api else f"{config.endpoint.concurrency} questions at once"
    say(f"judge: {config.model.path} at {engine.host}, {how}")
    return engine


def _check_script(config: JudgeConfig) -> None:
    load_function(config.model.path, what="scripted judge", where="judge.model.path")


def _open_scripted_judge(config: JudgeConfig, budget: Budget, slot: Slot | None) -> TokenScorer:
    from rlaif.models.scripted_engine import ScriptedEngine

    return ScriptedEngine(config.model.path)


def _describe_scripted(model: EngineModel, part: Part) -> Described:
    from rlaif.models.ray.engine import Described
    from rlaif.models.scripted_engine import ScriptedEngine

    engine = ScriptedEngine(model.path)
    return Described(engine.fingerprint, engine.context_tokens, engine.count_tokens)


def _open_vllm_copy(config: RolloutConfig, device: str, max_tokens: int) -> PolicyCopy:
    from rlaif.models.vllm.copy import VllmCopy

    return VllmCopy(config, device=device, max_tokens=max_tokens)


def _open_vllm_server(config: RolloutConfig, device: str, max_tokens: int) -> PolicyCopy:
    from rlaif.models.vllm.server import VllmServer

    server = VllmServer(config.server)
    server.check(max_tokens=max_tokens)
    return server


def _spread_judge(
    config: JudgeConfig, describe: Callable[[EngineModel, Part], Described], *, budget: Budget, scale: ScaleConfig
) -> RayScorer:
    """The judge on the workers of a cluster; none of its weights are loaded here."""
    from rlaif.models.ray.cluster import load_ray
    from rlaif.models.ray.engine import RayScorer, for_worker

    load_ray()  # a missing package is reported before anything is asked
    on_worker = config.model_copy(update={"model": for_worker(config.model, scale)})
    return RayScorer(
        describe(config.model, "judge"), make_engine=partial(open_judge, on_worker), scale=scale, budget=budget,
        batch_tokens=config.batch_tokens,
    )  # fmt: skip


def _spread_policy(
    config: PolicyModelConfig, describe: Callable[[EngineModel, Part], Described], *, scale: ScaleConfig
) -> RayGenerator:
    """The policy on the workers of a cluster; none of its weights are loaded here."""
    from rlaif.models.ray.cluster import load_ray
    from rlaif.models.ray.engine import RayGenerator, for_worker

    load_ray()
    make_engine = partial(open_generator, for_worker(config, scale))
    return RayGenerator(describe(config, "policy"), make_engine=make_engine, scale=scale)


ENGINES: Mapping[str, Engine] = {
    "transformers": Engine(
        is_local=True, is_served=False, wants_memory=False, loads_adapters=True,
        check_installed=_check_nothing, check_judge=_check_folder, open_judge=_open_transformers_judge,
        open_policy=_open_transformers_policy, reads_likelihoods=True, describe=_describe_transformers,
    ),
    "vllm": Engine(
        is_local=True, is_served=False, wants_memory=True, loads_adapters=False,
        check_installed=_check_vllm, check_judge=_check_folder, open_judge=_open_vllm_judge,
        open_policy=_open_vllm_policy, reads_likelihoods=True, describe=_describe_vllm,
    ),
    "openai": Engine(
        is_local=False, is_served=True, wants_memory=False, loads_adapters=False,
        check_installed=_check_nothing, check_judge=_check_address, open_judge=_open_served_judge,
        open_policy=None, reads_likelihoods=True, describe=None,
    ),
    "scripted": Engine(
        is_local=False, is_served=False, wants_memory=False, loads_adapters=False,
        check_installed=_check_nothing, check_judge=_check_script, open_judge=_open_scripted_judge,
        open_policy=None, reads_likelihoods=False, describe=_describe_scripted,
    ),
}  # fmt: skip
"""The engines of judges and policies, by their names in the configuration."""
ROLLOUTS: Mapping[str, Rollout] = {
    "transformers": Rollout(_check_nothing, open_copy=None),
    "vllm": Rollout(_check_vllm, open_copy=_open_vllm_copy),
    "vllm_server": Rollout(_check_nothing, open_copy=_open_vllm_server),
}
"""The engines of PPO's responses, by their names in `ppo.rollout.engine`."""
