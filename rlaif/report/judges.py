"""Several judges of one run -> the section on how steady each is and how far they agree.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlaif.judge_health.panel import CheckedJudge, JudgesAgree, PanelAgreement
from rlaif.report.plots import Scale, dot_axis, share_view
from rlaif.report.wording import NOTHING, format_count, format_estimate, format_number, format_percent


def judges_view(judges: Sequence[CheckedJudge], panel: PanelAgreement | None) -> dict[str, Any] | None:
    """The section on several judges; None where there was only one."""
    if len(judges) < 2:
        return None
    return {
        "count": len(judges),
        "first": judges[0].name,
        "rows": [_steadiness_view(judge) for judge in judges],
        "agreement": None if panel is None else _agreement_view(panel),
    }


def _steadiness_view(judge: CheckedJudge) -> dict[str, Any]:
    health = judge.health
    failed = sum(health.failed_by_cause.values())
    asked = failed + health.num_judgements
    return {
        "name": judge.name,
        "failed": f"{format_number(failed)} ({format_percent(failed / max(1, asked))})",
        "flipped": format_estimate(health.flipped, percent=True, decimals=0),
        "position": format_estimate(health.position_effect, signed=True, decimals=2),
        "saturated": format_estimate(health.saturated, percent=True, decimals=0),
        "n": format_estimate(health.flipped).n,
    }


def _agreement_view(panel: PanelAgreement) -> dict[str, Any]:
    together = [("all judges", panel.unanimous)] if len(panel.judges) > 2 else []
    shares = [*together, *((" and ".join(pair.judges), pair.winners) for pair in panel.pairs)]
    return {
        "comparisons": format_count(panel.num_comparisons, "comparison"),
        "alpha": format_estimate(panel.alpha, decimals=2),
        "axis": dot_axis(Scale(0, 1), percent=True),
        "rows": [
            share_view(name, share, svg_name=f"judges-{k}", label=f"Same winner, {name}")
            for k, (name, share) in enumerate(shares)
            if share
        ],
        "principles": list(panel.alpha_by_principle),
        "table": [
            *([_all_view(panel)] if len(panel.judges) > 2 else []),
            *(_pair_view(pair, principles=list(panel.alpha_by_principle)) for pair in panel.pairs),
        ],
    }


def _all_view(panel: PanelAgreement) -> dict[str, Any]:
    return {
        "name": "all judges, alpha",
        "kappa": format_estimate(panel.alpha, decimals=2),
        "by_principle": [format_estimate(alpha, decimals=2) for alpha in panel.alpha_by_principle.values()],
        "correlation": NOTHING,
        "n": format_estimate(panel.alpha).n,
    }


def _pair_view(pair: JudgesAgree, *, principles: Sequence[str]) -> dict[str, Any]:
    by_principle = [pair.by_principle.get(name) for name in principles]
    return {
        "name": f"{' and '.join(pair.judges)}, kappa",
        "kappa": format_estimate(pair.agreement.kappa, decimals=2),
        "by_principle": [
            format_estimate(agreement.kappa if agreement else None, decimals=2) for agreement in by_principle
        ],
        "correlation": format_estimate(pair.correlation, decimals=2),
        "n": format_estimate(pair.agreement.share).n,
    }
