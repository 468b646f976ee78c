"""Options of PPO's models: the value model, the reference of the KL, what is trained, and how it is computed.

Reads nothing and loads nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import FOLLOWS_POLICY
from rlaif.config.weights import WeightsConfig

ReferenceMode = Literal["copy", "adapter_off", "start_adapter", "hydra"]


class PpoModelConfig(WeightsConfig):
    """The models of PPO."""

    value_model: Literal["shared", "separate"] = "shared"
    """What estimates the value of a state. shared: a linear head on the policy's trunk, which starts at zero. separate:
    a second model that starts as the reward model; it takes twice the memory and half the speed."""
    value_learning_rate: Annotated[float | None, FOLLOWS_POLICY] = Field(None, ge=0, le=1)
    """Adam's learning rate for the separate value model at the first step; it falls as the policy's does. null: the
    policy's for the front desk, 1e-5 for any other model; 1e-6 to 1e-5 is usual."""
    save_adapter: bool = False
    """Save the adapter too, beside the policy that it is merged into; only with train: lora."""
    reference: Literal["auto"] | ReferenceMode = "auto"
    """How the reference policy of the KL is kept. copy: as a frozen copy. adapter_off: as the model without its
    adapter. start_adapter: as the model with the adapter that the policy started with. hydra: as frozen copies of the
    trained upper layers on the shared lower ones. auto: the cheapest of these that is exact. Only copy keeps a second
    model in memory."""
    cache_trunk: bool = True
    """Compute the lower layers that are not trained once for each response and keep their output until the step ends.
    false: less memory, more time."""
    compute_dtype: Annotated[Literal["float32", "bfloat16"], FOLLOWS_POLICY] = "float32"
    """Number format of the layers' arithmetic. Weights, logits and losses stay float32. null: bfloat16 on an NVIDIA GPU
    for a policy that is not the front desk's, else float32."""
    gradient_checkpointing: bool = False
    """Keep only the layers' inputs and run each layer again for its gradient: less memory, about a third more time."""

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        if self.save_adapter and self.train != "lora":
            raise ValueError("save_adapter needs `train: lora`: nothing else has an adapter")
        if self.reference in ("adapter_off", "start_adapter") and self.train != "lora":
            raise ValueError(f"`reference: {self.reference}` needs `train: lora`: nothing else has an adapter")
        if self.reference == "hydra" and self.train not in ("last_layers", "names"):
            raise ValueError(
                "`reference: hydra` needs lower layers that are not trained: `train: last_layers` or names"
            )
        if self.value_learning_rate is not None and self.value_model == "shared":
            raise ValueError("value_learning_rate needs `value_model: separate`")
        return self
