"""A `ReportInput` -> the report's plain tables: what the run cost, what each stage kept, where the numbers come from.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.evaluation.cost import StageCost, total_cost
from rlaif.report.input import ReportInput, RewardCourse
from rlaif.report.wording import format_count, format_number, format_seconds

NOT_RECORDED = "\u2013"


def cost_view(report: ReportInput) -> dict[str, Any] | None:
    """Totals in words, and a row for each part of the run."""
    costs = report.costs
    if not costs:
        return None
    asked = sum(cost.calls for cost in costs if cost.unit == "questions")
    drawn = sum(cost.calls for cost in costs if cost.unit == "responses")
    found = sum(cost.found for cost in costs)
    read, written, seconds, money = total_cost(costs)
    return {
        "calls": format_number(asked + drawn),
        "asked": format_count(asked, "question") + " to the judge",
        "drawn": format_count(drawn, "response") + " by the policy",
        "found": format_count(found, "answer") if found else "",
        "tokens": _format_tokens(None if read is None or written is None else read + written),
        "read": _format_tokens(read),
        "written": _format_tokens(written),
        "seconds": format_seconds(seconds),
        "money": "" if money is None else _format_money(money),
        "rows": [_stage_view(cost) for cost in costs],
        "total": {
            "read": _format_tokens(read),
            "written": _format_tokens(written),
            "seconds": format_seconds(seconds) if seconds is not None else NOT_RECORDED,
        },
    }


def _stage_view(cost: StageCost) -> dict[str, Any]:
    unit = cost.unit.removesuffix("s")
    return {
        "name": cost.name,
        "calls": format_count(cost.calls, unit),
        "found": f"{format_number(cost.found)} more found in the ledger" if cost.found else "",
        "read": _format_tokens(cost.prompt_tokens),
        "written": _format_tokens(cost.reply_tokens),
        "seconds": NOT_RECORDED if cost.seconds is None else format_seconds(cost.seconds),
        "money": NOT_RECORDED if cost.money is None else _format_money(cost.money),
    }


def _format_tokens(tokens: int | None) -> str:
    return NOT_RECORDED if tokens is None else format_number(tokens)


def _format_money(money: float) -> str:
    """An amount with four decimals, as a judgement costs parts of a cent; two from 100 on."""
    return f"{money:,.4f}" if money < 100 else f"{money:,.2f}"


def funnel_view(report: ReportInput) -> dict[str, Any]:
    """What every stage took in, kept, and dropped by reason, and the stages that dropped anything."""
    stages: list[dict[str, Any]] = [
        {
            "name": stage.name,
            "unit": stage.unit,
            "num_in": format_number(stage.tally.num_in),
            "kept": format_number(stage.tally.kept),
            "dropped": [
                (reason.replace("_", " "), format_number(count))
                for reason, count in sorted(stage.tally.dropped.items(), key=lambda item: (-item[1], item[0]))
                if count
            ],
        }
        for stage in report.funnel
    ]
    return {"stages": stages, "dropping": [stage for stage in stages if stage["dropped"]]}


def cleaning_view(report: ReportInput) -> list[dict[str, Any]]:
    """What cleaning found, kind by kind: a line for each rule that found something, with its examples."""
    return [
        {
            "noun": cleaning.noun,
            "num_in": format_number(cleaning.num_in),
            "quiet": [rule.rule.replace("_", " ") for rule in cleaning.rules if not rule.found],
            "rules": [
                {
                    "name": rule.rule.replace("_", " "),
                    "mode": rule.mode,
                    "found": format_number(rule.found),
                    "fixed": format_number(rule.fixed),
                    "dropped": format_number(rule.dropped),
                    "examples": rule.examples,
                }
                for rule in cleaning.rules
                if rule.found
            ],
        }
        for cleaning in report.cleaning
    ]


def facts_view(report: ReportInput) -> list[tuple[str, str, str]]:
    """Rows (name, value, css class) that say where the numbers come from."""
    p = report.provenance
    facts = [
        ("Run", f"{p.run}, round {p.round}", ""),
        ("rlaif", p.rlaif_version, ""),
        ("Seed", str(p.seed), ""),
    ]
    for role, model in p.models.items():
        name = f"{model.observed.name}  " if model.observed.name else ""
        facts.append((role.capitalize(), f"{name}weights {model.weights}", "mono"))
    facts += [
        ("Constitution", f"{report.constitution.name}  sha256 {report.constitution.file_digest}", "mono"),
        ("Judge template", f"sha256 {p.template_digest}" if p.template_digest else "not given", "mono"),
        *(
            [("Evaluation's judge template", f"sha256 {p.evaluation_template_digest}", "mono")]
            if p.evaluation_template_digest
            else []
        ),
        ("Preferences", f"sha256 {p.dataset_digest}" if p.dataset_digest else "not given", "mono"),
        ("People's labels", f"sha256 {report.calibration.labels_digest}" if report.calibration else "none", "mono"),
        *([("Options not set", _describe_resolved(p.resolved), "mono")] if p.resolved else []),
        ("Evaluation", report.evaluation.id, "mono"),
        (
            "Ledger's head",
            f"row {p.ledger_seq}  {p.ledger_head}" if p.ledger_head else "not given: this report proves nothing",
            "mono",
        ),
        *([("Signed heads", "; ".join(p.signed_heads), "mono")] if p.signed_heads else []),
    ]
    return facts


def _describe_resolved(resolved: Mapping[str, Any]) -> str:
    """Options whose value follows from a model, with that value."""
    return ", ".join(f"{name} {value}" for name, value in resolved.items() if value is not None)


def rewards_view(sources: Sequence[RewardCourse]) -> list[dict[str, str]]:
    """A row for each source of PPO's rewards; none for a single one that never failed, whose curve shows all of it."""
    if len(sources) == 1 and not sources[0].failed:
        return []
    return [
        {
            "name": source.name,
            "weight": format_number(source.weight),
            "first": format_number(source.first),
            "last": format_number(source.last),
            "failed": ", ".join(f"{cause.replace('_', ' ')} {count}" for cause, count in source.failed.items()) or "0",
        }
        for source in sources
    ]
