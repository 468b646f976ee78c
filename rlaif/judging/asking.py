"""How a judge is asked: one value, made by whoever asks and handed on whole.

Holds nothing of the judge that is loaded, of the pairs, or of the files of a stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.records import Constitution

RESUME = "continue with the same command and --resume"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a judge is asked by, where its answers are kept, and what they may cost."""

    constitution: Constitution
    template: JudgeTemplate
    config: JudgeConfig
    ledger: Ledger
    budget: Budget = field(default_factory=Budget)
    """What planned batches may cost; a judge that answers a stream knows its own budget."""
    draw_seed: int | None = None
    """Each pair is asked under one principle, drawn with this seed. None: under every principle that counts."""
    again: str = RESUME
    """What the user does once the judge's server answers again, as the message about unanswered questions says it."""
    drops_refused: bool = False
    """Whether questions that a server refuses one by one fail at once, for a caller that limits failures itself."""
