"""Options of the gates: what a round must achieve for the loop to continue, and a stage for the next one to begin.

Read by `rlaif.loop.gates`. Does not measure anything.
"""

from __future__ import annotations

from pydantic import Field

from rlaif.config.base import Config


class GatesConfig(Config):
    """When the loop stops before its last round, and a round before its next stage."""

    alarm: bool = True
    """Stop when an alarm of ppo.guards ended the policy's training."""
    transport: bool = True
    """Stop a round after the first, before it trains, where people's labels of its pairs show that the calibration by
    the labels of earlier rounds no longer holds for the new policy's responses. Needs human.num_items. false: continue,
    and calibrate by the round's own labels alone."""
    min_win_rate: float | None = Field(0.5, ge=0, lt=1)
    """Stop unless the whole 95 % interval of the policy's win rate over the starting policy lies above this; null: no
    gate."""
    min_accuracy: float | None = Field(0.5, ge=0, lt=1)
    """Stop unless the whole 95 % interval of the reward model's held-out accuracy lies above this; null: no gate."""
    max_failed: float | None = Field(0.1, ge=0, le=1)
    """Stop when more than this share of the round's questions to the judge failed; null: no gate."""
    max_flipped: float | None = Field(0.9, ge=0, le=1)
    """Stop when more than this share of the round's comparisons changed winner with the order; null: no gate. The more
    alike the responses become, the more often this happens; both orders together remain informative."""
    max_eos_drop: float | None = Field(0.2, ge=0, le=1)
    """Stop when the share of responses that the policy ends itself fell by more than this, and by more than two
    standard errors of the fall; null: no gate."""
    max_cleaned: float | None = Field(None, ge=0, le=1)
    """Stop before a stage uses prompts, demonstrations or preferences of which `cleaning` dropped more than this share;
    null: no gate."""
    max_sft_loss: float | None = Field(None, gt=0, le=1000)
    """Stop before anything is sampled unless the loss of the fine-tuned policy on held-out demonstrations is at most
    this, in nats per token. Needs sft.test_fraction. null: no gate."""
    min_answered: float | None = Field(None, ge=0, le=1)
    """Stop before preferences are made unless at least this share of the questions to the judge has an answer that
    could be read; null: no gate."""
    min_accuracy_before_policy: float | None = Field(None, ge=0, lt=1)
    """Stop before the policy is trained unless the whole 95 % interval of the reward model's held-out accuracy lies
    above this; null: no gate. min_accuracy compares the same figure after the round."""
