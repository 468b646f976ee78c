"""A panel: several judges who decide together. Preferences, calibrations and evaluations name it by its id.

Another judge, template or weight makes another panel. Decides nothing.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from rlaif.records.base import Record, Value


class PanelMember(Value):
    judge_id: str
    """The `Model` record's id."""
    template_digest: str | None = None
    """Template of the judge's questions; None where the exact prompts are not known."""
    weight: float = Field(1.0, gt=0)


class Panel(Record):
    table: ClassVar[str] = "panels"
    members: tuple[PanelMember, ...]
    """The judges, in the order of the configuration."""

    @classmethod
    def of(cls, *judge_ids: str) -> Self:
        """A panel of judges of equal weight."""
        return cls(members=tuple(PanelMember(judge_id=judge_id) for judge_id in judge_ids))

    @property
    def judge_id(self) -> str | None:
        """Id that a record of the common decision names: the panel's, or the only judge's; None where nobody judged."""
        if len(self.members) < 2:
            return self.members[0].judge_id if self.members else None
        return self.id

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each judge, by its id."""
        return {member.judge_id: member.weight for member in self.members}
