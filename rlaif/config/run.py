"""The whole configuration of a run, made of its parts; rlaif.yaml sets these options.

Every value has a default: without a file everything runs on the embedded front desk. Does not read files.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rlaif.config.base import Config, refuse_idle
from rlaif.config.by_preferences import DpoConfig, KtoConfig
from rlaif.config.calibration import HumanConfig
from rlaif.config.cleaning import CleaningConfig
from rlaif.config.evaluation import EvaluationConfig
from rlaif.config.gates import GatesConfig
from rlaif.config.generate import JudgeConfig, PolicyModelConfig, PreferencesConfig, PromptsConfig, SamplingConfig
from rlaif.config.ift import IftConfig
from rlaif.config.methods import (
    BY_PREFERENCES,
    BY_REWARDS,
    NEEDS,
    Chain,
    MethodName,
    check_chain,
    find_named,
    split_chain,
)
from rlaif.config.models import FRONTDESK
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_rewards import uses_run_model
from rlaif.config.reward_model import RewardModelConfig
from rlaif.config.rft import IrftConfig, RftConfig
from rlaif.config.scale import ScaleConfig
from rlaif.config.seft import SeftConfig
from rlaif.config.sft import SftConfig
from rlaif.config.verifier import ReftConfig, VerifierConfig
from rlaif.config.weights import WeightsConfig

MAX_FRONTDESK = 1_000_000
MAX_RECORDS = 100_000_000
"""Most responses or pairs in a round: each is a record of about a kilobyte in memory."""


class LedgerConfig(Config):
    """Where every decision is stored."""

    path: str | None = None
    """The ledger's file; null: ledger.sqlite in the runs folder, shared by all runs beside it."""


class RunConfig(Config):
    """All options of a run."""

    preset: str | None = None
    """A published recipe, which sets other options: cai, cai_cot, lee2023, salmon or mtbench (docs/presets.md), a path,
    or a name from presets/. Named in this file, it gives way to the file's other options; named on the command line, it
    wins over the file."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything that is random."""
    rounds: int = Field(1, ge=1, le=99)
    """Rounds of `rlaif run`; each samples with the policy of the round before. The front desk asks new questions in
    each round; prompts from a file or data set are the same in each round and are answered again."""
    methods: tuple[MethodName, ...] = ()
    """How the policy is trained: a list of methods, each of which trains the policy of the one before, such as [sft,
    dpo]; see docs/methods.md. rloo and grpo are ppo with that ppo.algorithm. Empty: sft where sft.demonstrations names
    some, then what ppo.algorithm says."""
    constitution: str = "courteous_and_brief"
    """The principles to judge by: a path, or a name from constitutions/."""
    prompts: PromptsConfig = PromptsConfig()
    """Where prompts come from."""
    cleaning: CleaningConfig = CleaningConfig()
    """Faults of prompts, demonstrations and preferences that are looked for, and what happens to them."""
    policy: PolicyModelConfig = PolicyModelConfig()
    """The model that is trained."""
    sampling: SamplingConfig = SamplingConfig()
    """How the policy answers each prompt."""
    judge: JudgeConfig = JudgeConfig()
    """Who judges and how."""
    preferences: PreferencesConfig = PreferencesConfig()
    """How judgements become preferences, and which of them do."""
    human: HumanConfig = HumanConfig()
    """People's labels, asked for or given, mixed in with the judge's."""
    sft: SftConfig = SftConfig()
    """Supervised fine-tuning on demonstrations."""
    ift: IftConfig = IftConfig()
    """Intuitive fine-tuning on the same demonstrations."""
    rft: RftConfig = RftConfig()
    """Reward learning from the same demonstrations, with a reward model."""
    irft: IrftConfig = IrftConfig()
    """Reward learning from the same demonstrations, without a reward model."""
    reft: ReftConfig = ReftConfig()
    """Reinforced fine-tuning: the same demonstrations, then PPO on their prompts against the verifier."""
    verifier: VerifierConfig = VerifierConfig()
    """Which answers are right, where that can be verified."""
    seft: SeftConfig = SeftConfig()
    """Self-evolution fine-tuning: critique and revision by the principles."""
    dpo: DpoConfig = DpoConfig()
    """Direct preference optimisation, for the method dpo."""
    kto: KtoConfig = KtoConfig()
    """Kahneman-Tversky optimisation, for the method kto."""
    reward_model: RewardModelConfig = RewardModelConfig()
    """The reward model and its training."""
    ppo: PpoConfig = PpoConfig()
    """Training of the policy against the reward, for the methods ppo, rloo and grpo."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How the trained policy is compared with the starting one."""
    gates: GatesConfig = GatesConfig()
    """When the loop stops before its last round."""
    ledger: LedgerConfig = LedgerConfig()
    """Where every decision is stored."""
    scale: ScaleConfig = ScaleConfig()
    """Where sampling and judging are computed."""

    @field_validator("methods")
    @classmethod
    def _methods_follow_one_another(cls, names: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
        check_chain(names)
        return names

    @model_validator(mode="after")
    def _methods_have_what_they_learn_from(self) -> Self:
        for name in self.methods:
            if NEEDS[name] == "demonstrations" and self.sft.demonstrations is None:
                raise ValueError(f"methods has {name}, which learns demonstrations: name some by sft.demonstrations")
        if "reft" in self.methods and not self.verifier.is_given:
            raise ValueError("methods has reft, which learns from verified answers: name a function by verifier.answer")
        return self

    @model_validator(mode="after")
    def _votes_are_verified(self, info: ValidationInfo) -> Self:
        if not self.verifier.is_given:
            refuse_idle(
                self.evaluation,
                {"num_votes": (0,)},
                when="without verifier.answer, which says what a response's answer is",
                info=info,
                prefix="evaluation.",
            )
        return self

    @model_validator(mode="after")
    def _a_method_names_the_algorithm(self) -> Self:
        algorithm = self.ppo.algorithm
        for name in find_named(self.methods):
            if name != algorithm:
                raise ValueError(f"methods has {name} and ppo.algorithm is {algorithm}: leave ppo.algorithm out")
        return self

    @model_validator(mode="after")
    def _rounds_train_on_what_they_judged(self) -> Self:
        if self.rounds > 1 and self.reward_model.preferences is not None:
            raise ValueError(
                f"{self.rounds} rounds train the reward model on what they judged themselves, "
                "so reward_model.preferences must be null"
            )
        return self

    @model_validator(mode="after")
    def _sizes_can_be_held(self) -> Self:
        prompts, sampling, evaluation = self.prompts, self.sampling, self.evaluation
        if prompts.path == FRONTDESK and prompts.num_prompts * self.rounds > MAX_FRONTDESK:
            raise ValueError(
                f"prompts.num_prompts is {prompts.num_prompts:,} in {self.rounds} rounds, and the front desk draws at "
                f"most {MAX_FRONTDESK:,} different questions; 500 to 5,000 are usual"
            )
        num_pairs = min(sampling.num_pairs, math.comb(sampling.num_samples, 2))
        counts = {
            "prompts.num_prompts times sampling.num_samples": prompts.num_prompts * sampling.num_samples,
            "prompts.num_prompts times sampling.num_pairs": prompts.num_prompts * num_pairs,
            "evaluation.num_prompts times its responses": evaluation.num_prompts
            * (2 * evaluation.num_samples + evaluation.best_of + 2 * self.verifier.is_given * evaluation.num_votes),
            "ppo.num_prompts_per_step times ppo.num_samples_per_prompt": self.ppo.num_prompts_per_step
            * self.ppo.num_samples_per_prompt,
        }
        for name, count in counts.items():
            if count > MAX_RECORDS:
                raise ValueError(f"{name} is {count:,}, and a run holds at most {MAX_RECORDS:,} of them: lower one")
        return self

    @model_validator(mode="after")
    def _judge_and_training_fit_together(self) -> Self:
        judge = self.evaluation.judge.instead_of(self.judge)
        if self.ppo.guards.judge_every is not None and judge.model.engine == "vllm":
            raise ValueError(
                "ppo.guards.judge_every asks the judge while the policy trains, and vLLM would want the memory that "
                "training has: give the judge engine: transformers, or serve it and give engine: openai"
            )
        return self

    @model_validator(mode="after")
    def _enough_judges_are_there(self) -> Self:
        num_judges = 1 + len(self.judge.panel)
        if (self.preferences.min_judges or 1) > num_judges:
            raise ValueError(
                f"preferences.min_judges is {self.preferences.min_judges}, and there "
                f"{'is one judge' if num_judges == 1 else f'are {num_judges} judges'}"
            )
        return self

    @model_validator(mode="after")
    def _labels_go_into_the_runs_own_preferences(self) -> Self:
        if self.human.is_used and self.reward_model.preferences is not None:
            raise ValueError(
                "human labels are mixed into the run's own preferences, so reward_model.preferences must be null"
            )
        return self

    @model_validator(mode="after")
    def _members_are_several(self) -> Self:
        for source in self.ppo.rewards:
            if source.model == "run" and source.members != "mean" and self.reward_model.num_members == 1:
                raise ValueError(
                    f"ppo.rewards takes {source.members} of the run's reward models and it trains one: set "
                    "reward_model.num_members, 4 or 5 are usual"
                )
        return self

    @model_validator(mode="after")
    def _gates_have_their_figures(self) -> Self:
        if self.gates.max_sft_loss is not None and not self.sft.test_fraction:
            raise ValueError(
                "gates.max_sft_loss needs demonstrations that are held out: set sft.test_fraction, .1 is usual"
            )
        return self

    @model_validator(mode="after")
    def _a_weight_is_of_peoples_rows(self) -> Self:
        how = self.reward_model.human_weight
        has_labels = self.human.path is not None or self.human.num_items > 0
        if how != "as_given" and not has_labels and self.reward_model.preferences is None:
            raise ValueError(
                f"reward_model.human_weight is {how} and there are no rows of people: ask for labels by "
                "human.num_items, name them by --human-labels, or name preferences whose `source` is human by "
                "reward_model.preferences"
            )
        return self

    @property
    def chain(self) -> Chain:
        """The methods that train the policy, in their order."""
        by_rewards: MethodName = self.ppo.algorithm
        if not self.methods:
            return Chain(("sft",) if self.sft.demonstrations is not None else (), (by_rewards,))
        return split_chain([by_rewards if name in BY_REWARDS else name for name in self.methods])

    def weights_of(self, method: MethodName) -> WeightsConfig:
        """Which weights of the policy a method trains. RFT trains the policy by PPO."""
        of_methods: dict[MethodName, WeightsConfig] = {
            "sft": self.sft, "ift": self.ift, "irft": self.irft, "dpo": self.dpo, "kto": self.kto,
        }  # fmt: skip
        return of_methods.get(method, self.ppo.model)

    @property
    def trains_reward_model(self) -> bool:
        """Whether a method needs a reward model that the run trains itself."""
        return any(name in BY_REWARDS for name in self.chain.after) and uses_run_model(self.ppo.rewards)

    @property
    def needs_preferences(self) -> bool:
        """Whether something trains on preferences that are not given to it alone."""
        given = {"dpo": self.dpo.preferences, "kto": self.kto.preferences}
        by_preferences = [name for name in self.chain.after if name in BY_PREFERENCES]
        revises = "seft" in self.chain.after and self.seft.reviser == "trained" and self.seft.preferences is None
        return self.trains_reward_model or revises or any(given[name] is None for name in by_preferences)
