"""Options of how comparisons become labels of pairs and which pairs are dropped, and sentences that describe them.

Does not label anything; `rlaif.preferences` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.config.base import Config


class PreferencesConfig(Config):
    """How judgements become preferences, and which of them do."""

    kind: Literal["pair", "ranking", "choice"] = "pair"
    """What a preference compares. pair: the two responses of a judged pair. ranking: any two responses to a prompt,
    judged or not; their label follows from a Bradley-Terry ranking of the prompt's responses by its judged pairs.
    choice: all responses to a prompt, each with its probability of being the best by that ranking; the reward model's
    loss is then K-way."""
    min_margin: float = Field(0.0, ge=0, lt=0.5)
    """Drop pairs whose label is nearer to 0.5 than this; 0: drop none."""
    drop_flipped: bool = False
    """Drop pairs whose verdict changed with the order under every principle."""
    min_judges: int | None = Field(None, ge=1, le=1000)
    """With `judge.panel`: how many judges must have answered all questions about a pair before it gets a label; null:
    all of them."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the two orders of a pair. logits: the log-odds of its first response. probabilities: its
    probability."""
    verdicts: Literal["soft", "hard"] = "soft"
    """What each order adds to the label. soft: the judge's probability. hard: the verdict alone, as 1, 0 or 0.5."""
    inconsistent: Literal["average", "tie"] = "average"
    """How a comparison counts whose two orders disagree. average: as the mean of both. tie: as a tie, however sure one
    order was."""
    normalise: Literal["none", "principle"] = "none"
    """Whether log-odds are brought to one scale. principle: those of each principle and judge are divided by their root
    mean square over the round's pairs, so that no principle counts more because the judge is surer about it."""
    combine: Literal["weighted", "dominant"] = "weighted"
    """How a pair's principles make its label. weighted: by the weighted mean of their log-odds. dominant: by the one
    principle whose log-odds times its weight are furthest from zero."""
    subset_p: float | None = Field(None, gt=0, lt=1)
    """Label each pair by some of its principles, drawn for each pair: after each principle the draw ends with this
    probability. null: by all of them."""
    subset_max: int = Field(8, ge=1, le=1000)
    """With `subset_p`: most principles that are drawn for a pair."""
    labels: Literal["soft", "hard"] = "soft"
    """Labels that training reads. soft: probabilities. hard: 1, 0 or 0.5, by the side of 0.5 on which a label is."""
    label_noise: float = Field(0.0, ge=0, lt=0.5)
    """Share of the labels that are inverted (p becomes 1 - p), drawn by pair."""
    clamp: float = Field(0.0, ge=0, lt=0.5)
    """Least distance of a label from 0 and from 1; a label that is nearer is moved to it. 0.4 leaves labels between 0.4
    and 0.6."""

    @model_validator(mode="after")
    def _verdicts_have_no_log_odds(self) -> Self:
        for name, value in (("average", "probabilities"), ("normalise", "principle")):
            if self.verdicts == "hard" and getattr(self, name) == value:
                raise ValueError(f"`{name}: {value}` is about log-probabilities, which `verdicts: hard` leaves out")
        return self

    @model_validator(mode="after")
    def _a_choice_is_no_label_of_a_pair(self) -> Self:
        if self.kind == "choice" and (self.labels == "hard" or self.label_noise or self.clamp):
            raise ValueError(
                "`labels`, `label_noise` and `clamp` are about labels of pairs, and `kind: choice` has none"
            )
        return self

    def making(self) -> dict[str, Any]:
        """The options that decide how a label is made and are not at their defaults."""
        return {
            name: value
            for name in MAKING
            if (value := getattr(self, name)) != type(self).model_fields[name].default
            and (name != "subset_max" or self.subset_p is not None)
        }

    def describe_making(self) -> Iterator[str]:
        """The options of `making`, and `kind`, in a sentence each; no sentence for an option at its default."""
        if self.verdicts == "hard":
            yield "Each order's verdict counts as 1, 0 or one half."
        if self.average == "probabilities":
            yield "Probabilities are averaged over the two orders, not their log-odds."
        if self.inconsistent == "tie":
            yield "A comparison whose two orders disagree counts as a tie."
        if self.normalise == "principle":
            yield "The log-odds under each principle are divided by their root mean square."
        if self.subset_p is not None:
            yield (
                f"Each pair is labelled by principles drawn for it, at most {self.subset_max}, their number geometric "
                f"with p = {self.subset_p:g}."
            )
        if self.combine == "dominant":
            yield "Each pair is decided by one of its principles alone: the one under which the judge is surest."
        if self.kind == "choice":
            yield (
                "The labels of a prompt's judged pairs rank its responses by Bradley-Terry, which gives each its "
                "probability to be the best."
            )
        if self.kind == "ranking":
            yield (
                "The labels of a prompt's judged pairs rank its responses by Bradley-Terry, and the label of each pair "
                "follows from their ranking."
            )
        if self.labels == "hard":
            yield "Labels are 1, 0 or one half."
        if self.label_noise:
            yield f"A share of {self.label_noise:g} of the labels is inverted."
        if self.clamp:
            yield f"Labels are kept between {self.clamp:g} and {1 - self.clamp:g}."


MAKING = (
    "average", "verdicts", "inconsistent", "normalise", "combine", "subset_p", "subset_max", "kind", "labels",
    "label_noise", "clamp",
)  # fmt: skip
COUNT_AS_SAID = {"kind", "labels", "label_noise", "clamp"}
"""Options of MAKING that do not change how a comparison counts."""
