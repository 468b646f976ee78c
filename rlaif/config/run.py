"""The whole configuration of a run, put together from its parts; this is what rlaif.yaml says.

Every value has a default: without a file everything runs on the embedded front desk. Does not read files.
"""

from __future__ import annotations

from pydantic import Field

from rlaif.config.base import Config
from rlaif.config.evaluation import EvaluationConfig
from rlaif.config.generate import JudgeConfig, ModelConfig, PreferencesConfig, PromptsConfig, SamplingConfig
from rlaif.config.ppo import PpoConfig
from rlaif.config.reward_model import RewardModelConfig
from rlaif.config.sft import SftConfig


class LedgerConfig(Config):
    """Where every decision is kept."""

    path: str | None = None
    """The ledger's file; null: ledger.sqlite in the runs folder, shared by all runs beside it."""


class RunConfig(Config):
    """Everything a run can be told."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything that is drawn."""
    constitution: str = "courteous_and_brief"
    """The principles: a path, or a name from constitutions/."""
    prompts: PromptsConfig = PromptsConfig()
    """Where prompts come from."""
    policy: ModelConfig = ModelConfig()
    """The model that is trained."""
    sampling: SamplingConfig = SamplingConfig()
    """How the policy answers each prompt."""
    judge: JudgeConfig = JudgeConfig()
    """Who judges and how."""
    preferences: PreferencesConfig = PreferencesConfig()
    """Which judgements become preferences."""
    sft: SftConfig = SftConfig()
    """Supervised fine-tuning on demonstrations."""
    reward_model: RewardModelConfig = RewardModelConfig()
    """The reward model and its training."""
    ppo: PpoConfig = PpoConfig()
    """Training of the policy against the reward model."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How the trained policy is compared with the starting one."""
    ledger: LedgerConfig = LedgerConfig()
    """Where every decision is kept."""
