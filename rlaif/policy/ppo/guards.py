"""What stops training: a loss that is not a number, or a policy too far from its reference.

Looks at numbers only; what happens after a stop is the trainer's business.
"""

from __future__ import annotations

import math

from rlaif.errors import TrainingError


def check_finite(*, loss: float, grad_norm: float, step: int) -> None:
    """Refuse to take an optimizer step from a loss or a gradient that is not finite."""
    for name, value in (("loss", loss), ("gradient norm", grad_norm)):
        if not math.isfinite(value):
            raise TrainingError(
                f"the {name} is {value} and training stopped before it reached the weights",
                where=f"PPO step {step}",
                fix="look at the last steps' scores, or lower ppo.learning_rate",
            )


def describe_kl_alarm(*, kl: float, ceiling: float, step: int, kept_step: int) -> str:
    """What to tell about a policy above the ceiling."""
    return (
        f"after {step} steps the KL is {kl:.1f} nats per response, above ppo.kl_ceiling {ceiling:g}; "
        f"the policy of step {kept_step} is kept"
    )
