"""Options that follow a model: null, or not given -> what suits the policy or the judge that the configuration names.

The front desk's models have half a million parameters and learn at a thousand times the rate of a real one. Decides
from the configuration and from the small files of a model's folder, and loads no model.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.config.base import Follows
from rlaif.config.evaluation import EvaluationJudgeConfig
from rlaif.config.judge import JudgeConfig, JudgeModelConfig, PanelJudgeConfig
from rlaif.config.models import FRONTDESK, ModelConfig, is_frontdesk, read_context
from rlaif.config.options import describe_config
from rlaif.config.run import RunConfig

FRONTDESK_POLICY: dict[str, Any] = {
    "sampling.max_new_tokens": 64,
    "sft.learning_rate": 5e-4,
    "reward_model.learning_rate": 1e-3,
    "reward_model.num_epochs": 3,
    "ppo.learning_rate": 7e-4,
    "ppo.num_steps": 30,
    "ppo.response_length": 64,
}
"""What suits the policy that comes with rlaif. For every other one the defaults of the classes hold."""
FRONTDESK_TEMPLATES = ("frontdesk_pair", "frontdesk_score")
ADAPTERS: dict[str, Any] = {"ppo.learning_rate": 1e-5}
"""What suits a policy of ordinary size of which only adapters are trained."""
SEPARATE_VALUES = 1e-5
"""Learning rate of a value model of ordinary size: its loss is a regression, which bears more than the policy's."""
_LENGTHS = ("sampling.max_new_tokens", "ppo.response_length")
"""A response takes half of the context at most, so that a model with a short one has room for prompts."""
DEMO = {"constitution": RunConfig().constitution, "prompts.path": FRONTDESK}
"""Options whose defaults are the demo's; they make sense for other models, and are said to be used."""


def find_followers() -> dict[str, Follows]:
    """Every option that follows a model, by its dotted name."""
    return {option.dotted: option.follows for option in describe_config(RunConfig) if option.follows is not None}


def resolve(config: RunConfig, *, left_open: Collection[str], has_gpu: bool) -> dict[str, Any]:
    """Each option of `left_open` that follows a model -> the value that suits it.

    Of a panel's judges and the evaluation's, as `judge.panel.0.template`, those that need another value than `judge`.
    """
    values = {name: default_of(config, name) for name in find_followers() if name in left_open}
    values |= _resolve_policy(config, values, has_gpu=has_gpu)
    on_gpu = config.scale.gpus_per_worker > 0 if config.scale.is_spread else has_gpu
    suits = suit_judge(config.judge.model, on_gpu=on_gpu)
    found = {"judge.template": suits.template, "judge.model.dtype": suits.dtype}
    values |= {name: value for name, value in found.items() if name in values}
    return values | _resolve_other_judges(config, values, left_open=left_open)


def default_of(config: RunConfig, name: str) -> Any:
    """What stands there while nothing is resolved: the default of the option's class."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


class JudgeSuits(NamedTuple):
    template: str
    dtype: Literal["float32", "bfloat16", "float16"]


def suit_judge(model: JudgeModelConfig, *, on_gpu: bool) -> JudgeSuits:
    """What suits a judge: the front desk's reads its own template alone, any other is asked in plain words."""
    if model.is_local and is_frontdesk(model.path, part="judge"):
        return JudgeSuits("frontdesk_pair", "float32")
    is_short = model.engine == "vllm" or (model.engine == "transformers" and _is_short(model, has_gpu=on_gpu))
    return JudgeSuits(JudgeConfig().template, "bfloat16" if is_short else "float32")


def find_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU to programs; torch, which takes seconds to load, is not asked."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


def describe_resolved(config: RunConfig, resolved: Mapping[str, Any]) -> Iterator[str]:
    """A line for each model that options follow, and what they came to."""
    for model, name in (("policy", _name_policy(config)), ("judge", f"the judge {config.judge.model.path}")):
        mine = {k: v for k, v in resolved.items() if k.startswith(("judge.", "evaluation.")) == (model == "judge")}
        if said := ", ".join(f"{option} {value}" for option, value in mine.items() if value is not None):
            yield f"not set, so as suits {name}: {said}"
    judge = config.judge
    if judge.template in FRONTDESK_TEMPLATES and not (
        judge.model.is_local and is_frontdesk(judge.model.path, part="judge")
    ):
        yield (
            f"judge.template {judge.template} holds no instruction and only the front desk's judge can read it; name "
            f"another one for {judge.model.path}, such as {JudgeConfig().template}"
        )


def describe_demo(config: RunConfig, left_open: Collection[str]) -> Iterator[str]:
    """What is the demo's although the policy is another one."""
    used = [f"{name} {value}" for name, value in DEMO.items() if name in left_open]
    if used and not is_frontdesk(config.policy.path, part="policy"):
        yield f"not set, so the demo's: {', '.join(used)}"


def _name_policy(config: RunConfig) -> str:
    if is_frontdesk(config.policy.path, part="policy"):
        return "the front desk's policy"
    how = {"all": "all weights trained", "lora": "adapters trained"}.get(config.ppo.model.train, "some weights trained")
    return f"the policy {config.policy.path} ({how})"


def _resolve_policy(config: RunConfig, values: Mapping[str, Any], *, has_gpu: bool) -> dict[str, Any]:
    if is_frontdesk(config.policy.path, part="policy"):
        found: dict[str, Any] = dict(FRONTDESK_POLICY)
    else:
        has_rate = config.ppo.model.value_model == "separate" and config.ppo.learning_rate > 0
        found = {
            "ppo.model.value_learning_rate": SEPARATE_VALUES if has_rate else None,
            "ppo.model.compute_dtype": "bfloat16" if _is_short(config.policy, has_gpu=has_gpu) else "float32",
            "ppo.rollout.dtype": "bfloat16" if config.ppo.rollout.engine == "vllm" else "float32",
            **(ADAPTERS if config.ppo.model.train == "lora" else {}),
        }
        if (context := read_context(config.policy.path)) is not None:
            found |= {name: max(1, min(default_of(config, name), context // 2)) for name in _LENGTHS}
    return {name: value for name, value in found.items() if name in values}


def _resolve_other_judges(
    config: RunConfig, values: Mapping[str, Any], *, left_open: Collection[str]
) -> dict[str, Any]:
    """Their templates, where the first judge's is not for them: it was not given, or it is the front desk's."""
    first = str(values.get("judge.template", config.judge.template))
    others: list[tuple[str, PanelJudgeConfig | EvaluationJudgeConfig]] = [
        *((f"judge.panel.{number}", one) for number, one in enumerate(config.judge.panel)),
        ("evaluation.judge", config.evaluation.judge),
    ]
    found = {}
    for name, one in others:
        model = config.judge.with_other(one.model, template=None).model
        suits = suit_judge(model, on_gpu=False).template
        if first == "frontdesk_score":
            suits = first if suits == "frontdesk_pair" else "score"
        is_meant = "judge.template" not in values and not (first in FRONTDESK_TEMPLATES and suits != first)
        if one.template is None and f"{name}.template" in left_open and not is_meant and suits != first:
            found[f"{name}.template"] = suits
    return found


def _is_short(model: ModelConfig, *, has_gpu: bool) -> bool:
    """Whether a model is computed in bfloat16: on an NVIDIA GPU; a CPU would be slower in it."""
    return model.device.startswith("cuda") or (model.device == "auto" and has_gpu)
