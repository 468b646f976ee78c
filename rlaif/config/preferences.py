"""Options of how comparisons become labels of pairs, and which pairs are dropped; the same options in words.

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
    """What a preference is of. pair: one for each judged pair. ranking: a prompt's responses are ranked by
    Bradley-Terry on its judged pairs, and each pair of them gets its label from the ranking, whether it was judged or
    not. choice: one for each prompt, with each response's probability by that ranking to be the best; the reward
    model's loss is then K-way."""
    min_margin: float = Field(0.0, ge=0, lt=0.5)
    """Drop pairs whose label is nearer to one half than this."""
    drop_flipped: bool = False
    """Drop pairs on which every principle's verdict flipped with the order."""
    min_judges: int | None = Field(None, ge=1, le=1000)
    """With `judge.panel`: a pair is labelled where so many judges have answered all of its questions; null: all."""
    average: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the two orders of a pair: the log-odds of its first response, or the probabilities."""
    verdicts: Literal["soft", "hard"] = "soft"
    """What of an order counts. hard: its verdict as 1, 0 or one half, as if there were no log-probabilities."""
    inconsistent: Literal["average", "tie"] = "average"
    """What a comparison counts as whose two orders disagree. tie: as a tie, however sure one of them was."""
    normalise: Literal["none", "principle"] = "none"
    """Bring log-odds to one scale. principle: divide those under each principle, of each judge, by their root mean
    square over the round's pairs, so that no principle outweighs another by being judged more surely."""
    combine: Literal["weighted", "dominant"] = "weighted"
    """How principles make a label. weighted: the mean of the log-odds by weight. dominant: the principle alone whose
    log-odds times its weight are furthest from zero."""
    subset_p: float | None = Field(None, gt=0, lt=1)
    """Label each pair by some of its principles alone, drawn anew for each pair: how many is geometric, with this
    chance to stop after each; null: by all of them."""
    subset_max: int = Field(8, ge=1, le=1000)
    """With `subset_p`: at most so many principles."""
    labels: Literal["soft", "hard"] = "soft"
    """What training reads. hard: 1, 0 or one half, whichever side of one half a label is on."""
    label_noise: float = Field(0.0, ge=0, lt=0.5)
    """Share of the labels that are turned round, drawn by pair."""
    clamp: float = Field(0.0, ge=0, lt=0.5)
    """Move labels nearer to 0 or 1 than this to this distance: .4 leaves labels between .4 and .6."""

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
        """The options that say how a label is made in another way than by default."""
        return {
            name: value
            for name in MAKING
            if (value := getattr(self, name)) != type(self).model_fields[name].default
            and (name != "subset_max" or self.subset_p is not None)
        }

    def describe_making(self) -> Iterator[str]:
        """The same in words, a sentence each; none: as by default."""
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
            yield "Of a pair's principles the one decides alone under which the judge is surest."
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
            yield f"A share of {self.label_noise:g} of the labels is turned round."
        if self.clamp:
            yield f"Labels are kept between {self.clamp:g} and {1 - self.clamp:g}."


MAKING = (
    "average", "verdicts", "inconsistent", "normalise", "combine", "subset_p", "subset_max", "kind", "labels",
    "label_noise", "clamp",
)  # fmt: skip
COUNT_AS_SAID = {"kind", "labels", "label_noise", "clamp"}
"""Those that change nothing of what a comparison counts as."""
