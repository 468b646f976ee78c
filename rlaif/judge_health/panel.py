"""Values about several judges of the same pairs: how far they agree, and how steady each of them is.

Computed in agreement.py and health.py.
"""

from __future__ import annotations

from rlaif.judge_health.health import JudgeHealth
from rlaif.records import Agreement, Estimate
from rlaif.records.base import Value


class JudgesAgree(Value):
    """Two judges on the same pairs under the same principles."""

    judges: tuple[str, str]
    """Names of the two judges, this run's judge first, each with the beginning of its fingerprint's id."""
    agreement: Agreement
    """Agreement on the winner of each comparison, which is a pair under one principle."""
    by_principle: dict[str, Agreement] = {}
    winners: Estimate | None = None
    """Share of pairs on which they name the same winner over all principles; None where no pair has both labels."""
    correlation: Estimate | None = None
    """Correlation of their logits about zero, as either response may be called the first; None without
    log-probabilities."""


class PanelAgreement(Value):
    """All judges of a run together. Krippendorff's alpha corrects for chance and takes any number of judges."""

    judges: tuple[str, ...]
    num_comparisons: int
    """Comparisons that at least two judges made; each is of a pair under one principle."""
    alpha: Estimate | None
    """Krippendorff's alpha; None where all of them always chose the same."""
    alpha_by_principle: dict[str, Estimate | None]
    unanimous: Estimate | None
    """Share of pairs on which all judges name the same winner over all principles."""
    pairs: tuple[JudgesAgree, ...]


class CheckedJudge(Value):
    """One judge of a run by itself."""

    name: str
    judge_id: str
    health: JudgeHealth
