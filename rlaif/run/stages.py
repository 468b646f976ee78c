"""The table of stages: the order of a round, and everything that the program knows about a stage by its name.

A stage's code is `stage.py` of its room. Nothing else lists the stages or tells them apart by name.
"""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """One step of a round. Its place in a round is its row's place in `STAGES`."""

    folder: str
    """Name of its folder in a round, and of the stage in the ledger."""
    name: str
    """What people read."""
    unit: str
    """What its tally counts."""
    product: str
    """What it makes, as a later stage names it when it is missing."""
    command: str
    """The command that makes it."""
    held: tuple[str, ...]
    """Parts of the configuration that may no longer change once the stage has begun."""
    table: str | None
    """A table of which the stage surely used records, if it kept anything; None where there is none."""
    exports: frozenset[str] = frozenset()
    """Tables that the stage leaves in its folder as Parquet. Preferences are exported in their own schema."""
    is_judged: bool = False
    """Whether the ledger stores its records with the constitution that the judge was asked under."""
    is_recorded: bool = False
    """Whether recorded responses and verdicts fill it, so that it holds no option of policy or judge then."""


SFT = Stage(
    "0_sft", "sft", unit="demonstrations", product="fine-tuned policy", command="rlaif train --stage sft",
    held=("sft", "ift", "rft", "irft", "reft", "verifier", "policy", "cleaning"), table=None,
    exports=frozenset({"prompts"}),
)  # fmt: skip
PROMPTS = Stage(
    "1_prompts", "prompts", unit="prompts", product="prompts", command="rlaif generate-prefs",
    held=("seed", "prompts", "cleaning"), table="prompts", exports=frozenset({"prompts"}), is_recorded=True,
)  # fmt: skip
SAMPLES = Stage(
    "2_samples", "samples", unit="responses", product="samples", command="rlaif generate-prefs",
    held=("policy", "sampling"), table="samples", exports=frozenset({"samples"}), is_recorded=True,
)  # fmt: skip
JUDGEMENTS = Stage(
    "3_judgements", "judgements", unit="questions", product="judgements", command="rlaif generate-prefs",
    held=("constitution", "judge"), table="judgements",
    exports=frozenset({"judgements", "failed_judgements", "comparisons"}), is_judged=True, is_recorded=True,
)  # fmt: skip
PREFERENCES = Stage(
    "4_preferences", "preferences", unit="pairs", product="preferences", command="rlaif generate-prefs",
    held=("preferences",), table=None, exports=frozenset({"prompts", "samples", "human_labels"}),
    is_judged=True, is_recorded=True,
)  # fmt: skip
REWARD_MODEL = Stage(
    "5_reward_model", "reward model", unit="pairs", product="reward model", command="rlaif train",
    held=("reward_model", "human", "human_labels", "policy", "cleaning"), table="reward_models", is_judged=True,
)  # fmt: skip
POLICY = Stage(
    "6_policy", "policy", unit="prompts", product="trained policy", command="rlaif train",
    held=("methods", "sft", "ift", "rft", "irft", "reft", "verifier", "seft", "dpo", "kto", "ppo", "policy"),
    table="policies", is_judged=True,
)  # fmt: skip
EVALUATION = Stage(
    "7_evaluation", "evaluation", unit="questions", product="evaluation", command="rlaif evaluate",
    held=("evaluation", "verifier", "policy", "sampling", "judge", "constitution"), table="evaluations",
    exports=frozenset({"judgements", "failed_judgements", "comparisons"}), is_judged=True,
)  # fmt: skip
STAGES = (SFT, PROMPTS, SAMPLES, JUDGEMENTS, PREFERENCES, REWARD_MODEL, POLICY, EVALUATION)
GENERATING = (PROMPTS, SAMPLES, JUDGEMENTS, PREFERENCES)
"""The stages of `rlaif generate-prefs`."""


def find_stage(folder: str) -> Stage | None:
    """The stage whose folder has this name; None where no stage has."""
    return next((stage for stage in STAGES if stage.folder == folder), None)


def stage_before(stage: Stage) -> Stage | None:
    """The stage before this one in a round; None before the first."""
    place = STAGES.index(stage)
    return STAGES[place - 1] if place else None
