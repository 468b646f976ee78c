"""The options of a LoRA adapter's config: those that can be used exactly, and those that are refused by name.

Every option of peft's LoraConfig is in one of three tables. An option of a later peft is refused until it is in one.
Loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlaif.errors import ModelError

LORA = "LORA"

USED = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_bias", "lora_dropout",
    "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type", "unsloth_fixed", "use_dora", "use_rslora",
})  # fmt: skip
"""Options with any value: peft uses and merges them layer by layer, or they matter only in training."""

MERGED_ONLY: Mapping[str, Any] = {
    "bias": "none",
    "ensure_weight_tying": False,
    "modules_to_save": None,
    "target_parameters": None,
    "trainable_token_indices": None,
}
"""Options with their neutral values. With another value the adapter holds more than the layers' factors: peft can merge
it, but training cannot continue with it."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "corda_config": (None,),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "loftq_config": (None, {}),
    "lora_ga_config": (None,),
    "megatron_config": (None,),
    "monteclora_config": (None,),
    "use_bdlora": (None,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
"""Options with the only values allowed: others change the base model's weights or a layer's arithmetic."""


def check_options(config: Mapping[str, Any], *, where: str, merge: bool) -> None:
    """Refuse an adapter that cannot be used exactly. merge: the adapter is merged at once, not trained."""
    kind = config.get("peft_type")
    if kind != LORA:
        raise ModelError(f"the adapter is of the kind {kind}", where=where, fix="use a LoRA adapter, or merge it")
    for name, value in sorted(config.items()):
        if name in MERGED_ONLY:
            if not merge and value not in (MERGED_ONLY[name], None, []):
                held = "whole layers too" if name == "modules_to_save" else "more than the factors of layers"
                raise ModelError(
                    f"the adapter holds {held} ({name}: {value}), so training cannot continue with it",
                    where=where,
                    fix="merge it into its base model first",
                )
        elif name not in USED and not _is_neutral(name, value):
            raise ModelError(
                f"the adapter has an option that is not supported: {name}: {value}",
                where=where,
                fix="merge it into its base model with peft (merge_and_unload), and give the merged model",
            )


def _is_neutral(name: str, value: Any) -> bool:
    """Whether an unknown option is not set, and so harmless."""
    allowed = NEUTRAL.get(name, (None, False, [], {}, ""))
    return any(value == neutral and isinstance(value, type(neutral)) for neutral in allowed)
