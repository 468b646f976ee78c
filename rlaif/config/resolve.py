"""Options that follow a model and are null or not given -> values that suit the policy or judge of the configuration.

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
from rlaif.config.methods import BY_DEMONSTRATIONS, BY_PREFERENCES, MethodName
from rlaif.config.models import FRONTDESK, ModelConfig, is_frontdesk, read_context
from rlaif.config.options import describe_config
from rlaif.config.run import RunConfig
from rlaif.config.seft import OF_FRONTDESK

FRONTDESK_POLICY: dict[str, Any] = {
    "sampling.max_new_tokens": 64,
    "sft.learning_rate": 5e-4,
    "ift.learning_rate": 5e-4,
    "rft.learning_rate": 1e-3,
    "irft.learning_rate": 2e-4,
    "seft.learning_rate": 5e-4,
    "seft.reviser_learning_rate": OF_FRONTDESK,
    "dpo.learning_rate": 2e-4,
    "kto.learning_rate": 2e-4,
    "reward_model.learning_rate": 1e-3,
    "reward_model.num_epochs": 3,
    "ppo.learning_rate": 7e-4,
    "ppo.num_steps": 30,
    "ppo.response_length": 64,
}
"""Values that suit the policy that comes with rlaif. Any other policy gets the defaults of the classes."""
FRONTDESK_TEMPLATES = ("frontdesk_pair", "frontdesk_score")
ADAPTERS: dict[MethodName, float] = {"ppo": 1e-5, "sft": 1e-4, "ift": 1e-4, "irft": 1e-4, "dpo": 1e-5, "kto": 1e-5}
"""Method -> the learning rate that suits a policy of ordinary size of which it trains only adapters."""
SEPARATE_VALUES = 1e-5
"""Learning rate of a value model of ordinary size: its loss is a regression, which bears a higher rate than a
policy."""
_LENGTHS = ("sampling.max_new_tokens", "ppo.response_length")
"""Options that are at most half of the model's context, so that a model with a short one has room for prompts."""
DEMO = {"constitution": RunConfig().constitution, "prompts.path": FRONTDESK}
"""Options whose defaults belong to the demo. They also work for other models, so a line says that they are used."""


def find_followers() -> dict[str, Follows]:
    """Every option that follows a model, by its dotted name."""
    return {option.dotted: option.follows for option in describe_config(RunConfig) if option.follows is not None}


def resolve(config: RunConfig, *, left_open: Collection[str], has_gpu: bool) -> dict[str, Any]:
    """Each option of `left_open` that follows a model -> the value that suits it.

    For further judges, such as `judge.panel.0.template`, only options that need another value than `judge` has.
    """
    values = {name: default_of(config, name) for name in find_followers() if name in left_open}
    values |= _resolve_policy(config, values, has_gpu=has_gpu)
    on_gpu = config.scale.gpus_per_worker > 0 if config.scale.is_spread else has_gpu
    suits = suit_judge(config.judge.model, on_gpu=on_gpu)
    found = {"judge.template": suits.template, "judge.model.dtype": suits.dtype}
    values |= {name: value for name, value in found.items() if name in values}
    return values | _resolve_other_judges(config, values, left_open=left_open)


def default_of(config: RunConfig, name: str) -> Any:
    """The value of an option in a configuration where nothing is resolved: the default of its class."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


class JudgeSuits(NamedTuple):
    template: str
    dtype: Literal["float32", "bfloat16", "float16"]


def suit_judge(model: JudgeModelConfig, *, on_gpu: bool) -> JudgeSuits:
    """Values that suit a judge: the front desk's reads its own template alone, any other is asked in plain words."""
    if model.is_local and is_frontdesk(model.path, part="judge"):
        return JudgeSuits("frontdesk_pair", "float32")
    in_bfloat16 = model.engine == "vllm" or (model.engine == "transformers" and _fits_bfloat16(model, has_gpu=on_gpu))
    return JudgeSuits(JudgeConfig().template, "bfloat16" if in_bfloat16 else "float32")


def find_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU to programs; torch, which takes seconds to load, is not asked."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


def describe_resolved(config: RunConfig, resolved: Mapping[str, Any]) -> Iterator[str]:
    """A line for each model with the values that were chosen to suit it, and a warning about an unsuitable template."""
    for model, name in (("policy", _name_policy(config)), ("judge", f"the judge {config.judge.model.path}")):
        mine = {k: v for k, v in resolved.items() if k.startswith(("judge.", "evaluation.")) == (model == "judge")}
        idle = [name for name in (*BY_PREFERENCES, *BY_DEMONSTRATIONS, "seft") if name not in config.chain.names]
        mine = {k: v for k, v in mine.items() if k.partition(".")[0] not in idle}
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
    """A line that names defaults of the demo which are used with a policy that is not the demo's."""
    used = [f"{name} {value}" for name, value in DEMO.items() if name in left_open]
    if used and not is_frontdesk(config.policy.path, part="policy"):
        yield f"not set, so the demo's: {', '.join(used)}"


def _name_policy(config: RunConfig) -> str:
    if is_frontdesk(config.policy.path, part="policy"):
        return "the front desk's policy"
    kinds = {config.weights_of(method).train for method in config.chain.names}
    whole = {"all": "all weights trained", "lora": "adapters trained"}
    how = whole.get(kinds.pop(), "some weights trained") if len(kinds) == 1 else "some weights trained"
    return f"the policy {config.policy.path} ({how})"


def _resolve_policy(config: RunConfig, values: Mapping[str, Any], *, has_gpu: bool) -> dict[str, Any]:
    if is_frontdesk(config.policy.path, part="policy"):
        found: dict[str, Any] = dict(FRONTDESK_POLICY)
    else:
        has_rate = config.ppo.model.value_model == "separate" and config.ppo.learning_rate > 0
        found = {
            "ppo.model.value_learning_rate": SEPARATE_VALUES if has_rate else None,
            "ppo.model.compute_dtype": "bfloat16" if _fits_bfloat16(config.policy, has_gpu=has_gpu) else "float32",
            "ppo.rollout.dtype": "bfloat16" if config.ppo.rollout.engine == "vllm" else "float32",
            **{
                f"{method}.learning_rate": rate
                for method, rate in ADAPTERS.items()
                if config.weights_of(method).train == "lora"
            },
        }
        if (context := read_context(config.policy.path)) is not None:
            found |= {name: max(1, min(default_of(config, name), context // 2)) for name in _LENGTHS}
    return {name: value for name, value in found.items() if name in values}


def _resolve_other_judges(
    config: RunConfig, values: Mapping[str, Any], *, left_open: Collection[str]
) -> dict[str, Any]:
    """Templates of further judges that do not take the first judge's: it was not given, or only its model reads it."""
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


def _fits_bfloat16(model: ModelConfig, *, has_gpu: bool) -> bool:
    """Whether bfloat16 suits a model: it does on an NVIDIA GPU, and makes a CPU slower."""
    return model.device.startswith("cuda") or (model.device == "auto" and has_gpu)
