"""Options of self-evolution fine-tuning: how responses are revised, which revisions are kept, and how they are learnt.

Does not read files.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import FOLLOWS_POLICY, MAX_TEXT, refuse_idle
from rlaif.config.learner import LearnerConfig
from rlaif.config.models import FRONTDESK

OF_TRAINED = ("preferences", "split", "max_odd_rows", "major_from", "reviser_epochs")
OF_FRONTDESK = 1e-3
"""The reviser's learning rate that suits the front desk's policy; null chooses it whoever revises."""
OF_PROMPTED = ("instruction", "good_from", "major_below")
INSTRUCTION = (
    "Rewrite the reply so that it follows the principles. Keep what is right in it, keep to the facts of the "
    "conversation, and write the new reply alone, without a comment."
)


class SeftConfig(LearnerConfig):
    """Self-evolution fine-tuning: the policy answers prompts, a reviser improves the answers, the judge keeps those
    that are no worse, and the policy learns them. The options of the steps are the policy's in each round."""

    reviser: Literal["trained", "prompted"] = "trained"
    """Who revises. trained: a copy of the policy that first learns revisions from preferences, for a policy of any
    size. prompted: the policy itself, shown the principles and the judge's reasons, for an instruct model."""
    num_rounds: int = Field(3, ge=1, le=1000)
    """How often responses are drawn with the newest policy, revised, judged and learnt; 1 to 5 are usual."""
    prompts: str | None = None
    """Further prompts without responses, as a file, folder or hub id, in the place of the run's training prompts;
    frontdesk: new ones of the front desk. They need no labels, so take as many as the judge can pay for. null: the
    run's training prompts."""
    prompts_per_round: int | None = Field(None, ge=1, le=10_000_000)
    """Prompts in a round: each round takes the next ones, and begins again after the last. null: all of them in every
    round."""
    template: str | None = None
    """Judge template of `kind: score` or `contrast` by which responses and revisions are scored; null: the judge's
    template where that one scores, else one that comes with rlaif."""
    max_failed: float = Field(0.1, ge=0, le=1)
    """Share of a round's responses that the judge may fail to score; above it training stops."""
    preferences: str | None = None
    """With reviser: trained, the preference folder, file or hub id that it learns from; null: what the reward model
    trains on, which is the run's own preferences or reward_model.preferences."""
    split: str | None = None
    """Split of `preferences`, such as `train_prefs`, or `SUBSET/SPLIT`; null: `train`."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most rows of `preferences` that may be left out because they cannot be read; they are counted as `odd`."""
    major_from: float = Field(0.9, ge=0.5, le=1)
    """With reviser: trained, the probability with which the best response to a prompt is preferred to another one from
    which on the other one needs a MAJOR revision; it is then revised to the best. Below it is MINOR, and revised to
    the most similar one of the better responses."""
    reviser_epochs: int = Field(3, ge=1, le=10_000)
    """With reviser: trained, its passes over the examples; 1 to 5 are usual."""
    reviser_learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """With reviser: trained, its peak learning rate. null: 1e-3 for the front desk's policy, 1e-5 for any other."""
    instruction: str = Field(INSTRUCTION, min_length=1, max_length=MAX_TEXT)
    """With reviser: prompted, what it is told after the conversation, the reply, and the principles with the judge's
    reasons."""
    good_from: float = Field(0.8, ge=-1, le=1)
    """With reviser: prompted, the judge's score, from -1 to 1, from which on a response is GOOD and stays as it is."""
    major_below: float = Field(0.0, ge=-1, le=1)
    """With reviser: prompted, the judge's score below which a response needs a MAJOR revision, and may be written from
    scratch; from here to good_from it is MINOR, and changed as little as possible."""

    @model_validator(mode="after")
    def _options_are_of_the_reviser(self, info: ValidationInfo) -> Self:
        names: dict[str, tuple[float, ...]] = dict.fromkeys(
            OF_PROMPTED if self.reviser == "trained" else OF_TRAINED, ()
        )
        names |= {"reviser_learning_rate": (OF_FRONTDESK,)} if self.reviser == "prompted" else {}
        refuse_idle(self, names, when=f"with reviser: {self.reviser}", info=info)
        if self.reviser == "prompted" and self.major_below > self.good_from:
            raise ValueError(f"major_below is {self.major_below:g}, above good_from, {self.good_from:g}: lower it")
        if self.prompts == FRONTDESK and self.prompts_per_round is None:
            raise ValueError(
                "the front desk draws as many prompts as it is asked for: set prompts_per_round, 500 is usual"
            )
        if self.split is not None and self.preferences is None:
            raise ValueError("a split is given and no preferences: name them by `preferences`")
        return self
