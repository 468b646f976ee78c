"""Several judges of one run -> what the report says and draws of them: do they agree, and is each of them steady?

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlaif.judge_health.panel import CheckedJudge, JudgesAgree, PanelAgreement
from rlaif.records import Estimate
from rlaif.report.plots import Scale, dot_axis, share_row
from rlaif.report.wording import Said, say_count, say_estimate, say_number, say_percent

NOTHING = Said("", "", "")


def describe_judges(judges: Sequence[CheckedJudge], panel: PanelAgreement | None) -> dict[str, Any] | None:
    """None where one judge alone was asked."""
    if len(judges) < 2:
        return None
    return {
        "count": len(judges),
        "first": judges[0].name,
        "rows": [_describe_steadiness(judge) for judge in judges],
        "agreement": None if panel is None else _describe_agreement(panel),
    }


def _describe_steadiness(judge: CheckedJudge) -> dict[str, Any]:
    health = judge.health
    failed = sum(health.failed_by_cause.values())
    asked = failed + health.num_judgements
    return {
        "name": judge.name,
        "failed": f"{say_number(failed)} ({say_percent(failed / max(1, asked))})",
        "flipped": say_estimate(health.flipped, percent=True, decimals=0),
        "position": say_estimate(health.position_effect, signed=True, decimals=2),
        "saturated": say_estimate(health.saturated, percent=True, decimals=0),
        "n": say_estimate(health.flipped).n,
    }


def _describe_agreement(panel: PanelAgreement) -> dict[str, Any]:
    together = [("all judges", panel.unanimous)] if len(panel.judges) > 2 else []
    shares = [*together, *((" and ".join(pair.judges), pair.winners) for pair in panel.pairs)]
    return {
        "comparisons": say_count(panel.num_comparisons, "comparison"),
        "alpha": say_estimate(panel.alpha, decimals=2),
        "axis": dot_axis(Scale(0, 1), percent=True),
        "rows": [_describe_share(name, share, f"judges-{k}") for k, (name, share) in enumerate(shares) if share],
        "principles": list(panel.alpha_by_principle),
        "table": [
            *([_describe_all(panel)] if len(panel.judges) > 2 else []),
            *(_describe_pair(pair, principles=list(panel.alpha_by_principle)) for pair in panel.pairs),
        ],
    }


def _describe_all(panel: PanelAgreement) -> dict[str, Any]:
    return {
        "name": "all judges, alpha",
        "kappa": say_estimate(panel.alpha, decimals=2),
        "by_principle": [say_estimate(alpha, decimals=2) for alpha in panel.alpha_by_principle.values()],
        "correlation": NOTHING,
        "n": say_estimate(panel.alpha).n,
    }


def _describe_share(name: str, share: Estimate, svg_name: str) -> dict[str, Any]:
    return {
        "name": name,
        "note": "",
        "failed": 0,
        "svg": share_row(share, name=svg_name, label=f"Same winner, {name}"),
        "said": say_estimate(share, percent=True),
    }


def _describe_pair(pair: JudgesAgree, *, principles: Sequence[str]) -> dict[str, Any]:
    by_principle = [pair.by_principle.get(name) for name in principles]
    return {
        "name": f"{' and '.join(pair.judges)}, kappa",
        "kappa": say_estimate(pair.agreement.kappa, decimals=2),
        "by_principle": [
            say_estimate(agreement.kappa if agreement else None, decimals=2) for agreement in by_principle
        ],
        "correlation": say_estimate(pair.correlation, decimals=2),
        "n": say_estimate(pair.agreement.share).n,
    }
