"""Options of PPO. Where TRL's PPO had an option, it keeps TRL's name.

There is no top_p and no top_k: a cut distribution has another normaliser, which would enter the probability ratio.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config, refuse_idle
from rlaif.config.models import MAX_NEW_TOKENS
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.config.ppo_rewards import RewardConfig, check_labels, find_sources
from rlaif.config.ppo_rollout import RolloutConfig


class PpoConfig(Config):
    """How the policy is trained against the reward."""

    start_from: Literal["start", "last_round"] = "start"
    """Policy that a later round trains. start: the starting policy again. last_round: the last round's policy. The KL
    is measured against the starting policy in either case."""
    algorithm: Literal["ppo", "rloo", "grpo"] = "ppo"
    """What a response is compared with. ppo: the expectation of a value head. rloo: the other responses to its
    prompt. grpo: the same, in standard deviations of the prompt's responses. `methods: [rloo]` says the same."""
    rewards: tuple[RewardConfig, ...] = ()
    """Sources of a response's score: a list, each a reward model, the judge, a function or a server. Empty: the run's
    reward model. With several, the score is their weighted sum, see docs/rewards.md."""
    model: PpoModelConfig = PpoModelConfig()
    """The value model, the reference, which weights are trained, and how they are computed."""
    num_steps: Annotated[int, FOLLOWS_POLICY] = Field(100, ge=1, le=100_000)
    """Training steps; each samples responses, scores them and updates the policy. null: 30 for the front desk's policy,
    100 for any other; a hundred to a thousand are usual."""
    num_prompts_per_step: int = Field(32, ge=1, le=100_000)
    """Prompts in a step; 32 to 512 are usual."""
    num_samples_per_prompt: int = Field(4, ge=1, le=1024)
    """Responses to each prompt of a step; rloo and grpo need two or more. 1 to 16 are usual."""
    response_length: Annotated[int, FOLLOWS_POLICY] = Field(512, ge=1, le=MAX_NEW_TOKENS)
    """Longest response in tokens. null: 64 for the front desk's policy, 512 for any other; 256 to 2048 are usual."""
    temperature: float = Field(1.0, ge=0.001, le=100)
    """Sampling temperature; the policy is trained at this temperature too. 0.7 to 1 is usual."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-6, ge=0, le=1)
    """Adam's learning rate at the first step; it falls linearly to zero. null: 7e-4 for the front desk's policy; for
    any other 1e-5 where adapters are trained (`model.train: lora`), else 1e-6. Usual: 5e-7 to 3e-6, for adapters 5e-6
    to 1e-4."""
    num_ppo_epochs: int = Field(2, ge=1, le=10_000)
    """Passes over a step's responses; 1 to 4 are usual."""
    num_mini_batches: int = Field(1, ge=1, le=100_000)
    """Optimizer steps in a pass; 1 to 8 are usual."""
    kl_coef: float = Field(0.1, ge=0, le=1e6)
    """Weight of the KL penalty against the reference policy; with adaptive_kl its first value. 0.01 to 0.2 is usual."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """KL penalty per token in the reward. k1: the log-ratio, whose gradient is that of the KL. k2: half its square. k3:
    an estimate that is never negative. k2 and k3 lead to another optimum; k1 is usual."""
    adaptive_kl: bool = False
    """Change kl_coef during training so that the KL approaches kl_target."""
    kl_target: float = Field(6.0, gt=0, le=1e6)
    """KL, in nats per response, that adaptive_kl aims at."""
    kl_horizon: float = Field(10_000.0, gt=0, le=1e12)
    """Episodes in which adaptive_kl changes kl_coef by a fifth at most."""
    gamma: float = Field(1.0, ge=0, le=1)
    """Discount per token; 1 is usual."""
    lam: float = Field(0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation; 0.95 to 1 is usual."""
    value_lam: float | None = Field(None, ge=0, le=1)
    """Lambda of the returns that the value head learns; null: lam. 1: the returns of whole responses."""
    cliprange: float = Field(0.2, gt=0, le=1e6)
    """How far the probability ratio may move from 1 before its gradient is cut; 0.2 is usual."""
    dual_clip: float | None = Field(None, gt=1, le=1e6)
    """Ratio above which a token with a negative advantage has no gradient; null: no bound. 3 is usual."""
    cliprange_value: float = Field(0.2, gt=0, le=1e9)
    """How far a value may move from the old value before its gradient is cut; 0.2 is usual."""
    vf_coef: float = Field(0.1, ge=0, le=1e6)
    """Weight of the value loss; 0.1 to 0.5 is usual."""
    value_warmup_steps: int = Field(2, ge=0, le=100_000)
    """First steps, in which only the value head is trained."""
    whiten_advantages: bool | None = None
    """Scale a step's advantages to mean 0 and standard deviation 1; null: yes with ppo, else
    no."""
    whiten_rewards: bool = False
    """Scale a step's per-token rewards to standard deviation 1 and keep their mean."""
    standardise_scores: bool = False
    """Scale scores to mean 0 and standard deviation 1 on the reference policy's responses. With several sources each is
    scaled by default, so that their weights can be compared. A reward model that learnt nothing gives nearly equal
    scores; when these are scaled up, PPO follows their noise as it would follow a real preference."""
    num_reference_samples: int = Field(256, ge=2, le=1_000_000)
    """Responses of the reference policy that are scored before training, to standardise scores."""
    truncated: Literal["penalise", "replace", "bootstrap", "mask"] = "penalise"
    """Score of a response that ran out of tokens. penalise: its score less missing_eos_penalty. replace: minus
    missing_eos_penalty, whatever its score. bootstrap: its score and the value of what would follow. mask: none; it is
    not trained on."""
    missing_eos_penalty: float = Field(1.0, ge=0, le=1e6)
    """What a truncated response loses, with truncated: penalise or replace."""
    max_failed_rewards: float = Field(0.1, ge=0, le=1)
    """Share of a step's responses whose reward may fail; above it training stops. A judge or reward server that gives
    no answer at all stops training at once, and --resume asks for those rewards again."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Largest norm of the gradient; a larger gradient is scaled down to it. 1 is usual."""
    adam_epsilon: float = Field(1e-5, gt=0, le=1)
    """Adam's epsilon."""
    micro_batch_tokens: int | None = Field(None, ge=1, le=1_000_000_000)
    """Most tokens in one forward and backward pass; the result does not depend on it. null: 16384 on an accelerator; on
    a CPU 512 times num_samples_per_prompt; where memory runs out, fewer are tried."""
    sample_every: int = Field(5, ge=1, le=1_000_000)
    """Steps between two times that some responses are shown."""
    checkpoint_every: int = Field(5, ge=1, le=1_000_000)
    """Steps between two checkpoints; the last two are kept, and the best."""
    rollout: RolloutConfig = RolloutConfig()
    """What samples the responses."""
    guards: GuardsConfig = GuardsConfig()
    """What is watched while the policy trains, and what an alarm does."""

    @model_validator(mode="after")
    def _sources_have_names(self) -> Self:
        check_labels(self.rewards)
        return self

    @model_validator(mode="after")
    def _has_enough_episodes(self) -> Self:
        episodes = self.num_prompts_per_step * self.num_samples_per_prompt
        if episodes < self.num_mini_batches:
            raise ValueError(f"num_mini_batches is {self.num_mini_batches}, but a step has {episodes} responses")
        if self.has_values:
            return self
        name = self.algorithm
        if self.num_samples_per_prompt < 2:
            raise ValueError(f"{name} compares the responses to a prompt: num_samples_per_prompt must be 2 or more")
        if self.truncated == "bootstrap":
            raise ValueError(f"truncated: bootstrap needs values, and {name} has none")
        if self.model.value_model == "separate":
            raise ValueError(f"{name} has no use for a value model: model.value_model must be shared")
        return self

    @model_validator(mode="after")
    def _ranks_have_a_group(self) -> Self:
        if all(source.ranks is None for source in self.rewards):
            return self
        if self.num_samples_per_prompt < 2:
            raise ValueError("`ranks` compares the responses to a prompt: num_samples_per_prompt must be 2 or more")
        if self.guards.keeps_best and self.guards.metric in ("rlhf_reward", "scores"):
            raise ValueError(
                "`ranks` says nothing of one response to a prompt, so evaluations have no reward to choose the best "
                "policy by: leave guards.keep out, or set guards.judge_every or guards.held_out_model"
            )
        return self

    @model_validator(mode="after")
    def _options_do_something(self, info: ValidationInfo) -> Self:
        if not self.has_values:
            names = {
                "gamma": (), "lam": (), "value_lam": (), "cliprange_value": (), "vf_coef": (0.0,),
                "value_warmup_steps": (0,),
            }  # fmt: skip
            refuse_idle(self, names, when=f"with algorithm: {self.algorithm}, which has no values", info=info)
        if not self.adaptive_kl and "adaptive_kl" not in self.model_fields_set:
            refuse_idle(self, {"kl_target": (), "kl_horizon": ()}, when="without adaptive_kl: true", info=info)
        if self.truncated in ("bootstrap", "mask"):
            when = f"with truncated: {self.truncated}"
            refuse_idle(self, {"missing_eos_penalty": (0.0,)}, when=when, info=info)
        if self.learning_rate == 0 and not (info.context or {}).get("stored") and self.model.value_learning_rate:
            raise ValueError(
                "model.value_learning_rate falls as learning_rate does, which is 0, so nothing would be trained: to "
                "train the values alone, give learning_rate a value and value_warmup_steps as many steps as num_steps"
            )
        return self

    @property
    def has_values(self) -> bool:
        """Whether a value head or model is trained beside the policy."""
        return self.algorithm == "ppo"

    @property
    def whitens_advantages(self) -> bool:
        return self.algorithm == "ppo" if self.whiten_advantages is None else self.whiten_advantages

    @property
    def standardises(self) -> tuple[bool, ...]:
        """Whether the scores of each source of rewards are standardised."""
        sources = find_sources(self.rewards)
        otherwise = len(sources) > 1 or self.standardise_scores
        return tuple(
            source.ranks is None and (otherwise if source.standardise is None else source.standardise)
            for source in sources
        )
