"""Options of the gates between rounds: what a round must have come to for the loop to go on.

Read by `rlaif.loop.gates`. Does not measure anything.
"""

from __future__ import annotations

from pydantic import Field

from rlaif.config.base import Config


class GatesConfig(Config):
    """When the loop stops after a round although more were asked for."""

    alarm: bool = True
    """Stop when an alarm of ppo.guards ended the policy's training."""
    min_win_rate: float | None = Field(0.5, ge=0, lt=1)
    """Stop unless the whole interval of the judge's win rate over the start lies above this; null: no gate."""
    min_accuracy: float | None = Field(0.5, ge=0, lt=1)
    """Stop unless the whole interval of the reward model's held-out accuracy lies above this; null: no gate."""
    max_failed: float | None = Field(0.1, ge=0, le=1)
    """Stop when more than this share of the round's questions to the judge failed; null: no gate."""
    max_flipped: float | None = Field(0.9, ge=0, le=1)
    """Stop when more than this share of the round's comparisons changed with the order; null: no gate.
    Responses that have grown alike flip more, and both orders together still mean something."""
    max_eos_drop: float | None = Field(0.2, ge=0, le=1)
    """Stop when the share of responses that the policy ends itself fell by more than this, and by more than two
    standard errors of the fall; null: no gate."""
