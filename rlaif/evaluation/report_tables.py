"""Numbers of a `ReportInput` -> the words that the report's tiles and tables show.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from typing import Any

from rlaif.evaluation.judge_health import JudgeHealth
from rlaif.evaluation.plots import histogram
from rlaif.evaluation.policy import Change
from rlaif.evaluation.report_input import ReportInput
from rlaif.evaluation.reward_model import RewardModelQuality
from rlaif.evaluation.wording import Said, say_estimate, say_number, say_percent

NOTHING = Said("", "", "")


def describe_judge(health: JudgeHealth | None) -> dict[str, Any] | None:
    if health is None:
        return None
    failed = sum(health.failed_by_cause.values())
    lowest = health.lowest_label_mass
    return {
        "flipped": say_estimate(health.flipped, percent=True),
        "position": say_estimate(health.position_effect, signed=True),
        "mass": say_estimate(health.label_mass, percent=True),
        "lowest_mass": "" if lowest is None else f"probability on the verdict words, least {say_percent(lowest)}",
        "failed": say_number(failed),
        "asked": f"{say_number(failed + health.num_judgements)} answers",
        "causes": [(cause.replace("_", " "), count) for cause, count in health.failed_by_cause.items()],
        "one_order": health.num_one_order,
        "saturated": say_estimate(health.saturated, percent=True),
        "histogram": histogram(
            health.confidence_bins,
            edges=("even: .5", "certain: 1"),
            name="labels",
            title="Comparisons by the probability of the likelier response",
            desc="Ten bins from .5 to 1: " + ", ".join(str(count) for count in health.confidence_bins),
        ),
    }


def describe_reward_model(quality: RewardModelQuality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    undecided = f", {quality.num_undecided} undecided" if quality.num_undecided else ""
    entropy = quality.label_entropy
    return {
        "accuracy": say_estimate(quality.accuracy, percent=True),
        "of_length": say_estimate(quality.accuracy_of_length, percent=True),
        "log_loss": say_estimate(quality.log_loss),
        "margin": say_estimate(quality.margin, signed=True),
        "pairs": f"{say_number(quality.num_pairs)} pairs{undecided}",
        "entropy": "" if entropy is None else f"the labels' own entropy is {say_number(entropy, decimals=3)}",
        "buckets": [
            {
                "range": f"{bucket.low} to {bucket.high}" if bucket.low < bucket.high else str(bucket.low),
                "pairs": say_number(bucket.num_pairs),
                "said": say_estimate(bucket.accuracy, percent=True),
            }
            for bucket in quality.by_length_difference
        ],
    }


def list_figure_rows(report: ReportInput) -> list[dict[str, Any]]:
    """Behaviour and rewards, before and after."""
    rows: list[dict[str, Any]] = []
    behaviour, proxy = report.behaviour, report.proxy_win
    if behaviour is not None:
        if behaviour.response_tokens is not None:
            rows.append(_row("Response length, tokens", behaviour.response_tokens))
        if behaviour.ended is not None:
            rows.append(_row("Responses the policy ended itself", behaviour.ended, percent=True))
        rows.append({
            "name": "Different texts among all responses", "note": "near zero: it says the same to everybody",
            "before": Said(say_percent(behaviour.distinct_before), "", ""),
            "after": Said(say_percent(behaviour.distinct_after), "", ""),
            "change": NOTHING,
        })  # fmt: skip
        if behaviour.kl is not None:
            rows.append({
                "name": "KL to the starting policy, nats per response", "note": "at the end of training",
                "before": NOTHING,
                "after": Said(say_number(behaviour.kl, decimals=2), "", ""), "change": NOTHING,
            })  # fmt: skip
    if proxy is not None:
        note = "the policy's own aim in training, so no evidence that it is better"
        rows.append(_row("Reward by the reward model", proxy.reward, note=note))
        if proxy.higher is not None:
            rows.append({
                "name": "Pairs in which the reward is higher",
                "note": f"{proxy.num_unscored} pairs without a reward" if proxy.num_unscored else "",
                "before": NOTHING, "after": say_estimate(proxy.higher, percent=True), "change": NOTHING,
            })  # fmt: skip
    return rows


def _row(name: str, change: Change, *, note: str = "", percent: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "before": say_estimate(change.before, percent=percent),
        "after": say_estimate(change.after, percent=percent),
        "change": say_estimate(change.change, percent=percent, signed=True),
    }


def list_facts(report: ReportInput) -> list[tuple[str, str, str]]:
    """(name, value, css class) of what proves where the numbers came from."""
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
        ("Preferences", f"sha256 {p.dataset_digest}" if p.dataset_digest else "not given", "mono"),
        ("Evaluation", report.evaluation.id, "mono"),
        (
            "Ledger's head",
            f"row {p.ledger_seq}  {p.ledger_head}" if p.ledger_head else "not given: this report proves nothing",
            "mono",
        ),
    ]
    return facts
