"""How held-out pairs of people and of the judge are ordered with people's rows and without them, as figures by name.

Kept by a model's card, read back for the report. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlaif.records import Estimate, Source, Value

FIGURES = ("accuracy_with", "accuracy_without", "gain")


class SourceTrial(Value):
    """How held-out pairs of one source are ordered by a read-out with people's rows and by one without them."""

    source: Source
    num_pairs: int
    """Pairs with a preferred side."""
    accuracy_with: Estimate
    """Share of them ordered as their label says, by the fit with people's rows."""
    accuracy_without: Estimate
    """By the fit to the judge's rows alone."""
    gain: Estimate
    """The first less the second."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name, for a model's card."""
        found = {f"{self.source}_pairs": float(self.num_pairs), f"{self.source}_prompts": float(self.gain.n)}
        for name in FIGURES:
            one: Estimate = getattr(self, name)
            found |= {
                f"{self.source}_{name}": one.mean, f"{self.source}_{name}_low": one.low,
                f"{self.source}_{name}_high": one.high,
            }  # fmt: skip
        return found


def read_trials(metrics: Mapping[str, float]) -> tuple[SourceTrial, ...]:
    """The trials that a card's metrics name; none in the cards of models that measured none."""
    sources: tuple[Source, ...] = ("human", "judge")
    found = []
    for source in sources:
        if f"{source}_gain" not in metrics:
            continue
        n = int(metrics[f"{source}_prompts"])
        estimates: dict[str, Any] = {
            name: Estimate(
                mean=metrics[f"{source}_{name}"], low=metrics[f"{source}_{name}_low"],
                high=metrics[f"{source}_{name}_high"], n=n,
            )
            for name in FIGURES
        }  # fmt: skip
        found.append(SourceTrial(source=source, num_pairs=int(metrics[f"{source}_pairs"]), **estimates))
    return tuple(found)
