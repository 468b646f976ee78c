"""Several judges who decide together. A preference, a calibration and an evaluation name one by its id.

Another judge, another template or another weight is another panel. Decides nothing.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from rlaif.records.base import Record, Value


class PanelMember(Value):
    judge_id: str
    """The `Model` record's id."""
    template_digest: str | None = None
    """What it read its questions in; None where the exact prompts are not known."""
    weight: float = Field(1.0, gt=0)


class Panel(Record):
    table: ClassVar[str] = "panels"
    members: tuple[PanelMember, ...]
    """In the order of the configuration."""

    @classmethod
    def of(cls, *judge_ids: str) -> Self:
        """Judges that count alike."""
        return cls(members=tuple(PanelMember(judge_id=judge_id) for judge_id in judge_ids))

    @property
    def judge_id(self) -> str | None:
        """What a record of their common decision names: the panel, or the only judge; None where nobody judged."""
        if len(self.members) < 2:
            return self.members[0].judge_id if self.members else None
        return self.id

    @property
    def weights(self) -> dict[str, float]:
        """By judge id."""
        return {member.judge_id: member.weight for member in self.members}
