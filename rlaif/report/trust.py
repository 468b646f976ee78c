"""A `ReportInput` -> the section on whether to believe it: the reward model, signs of reward hacking.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from typing import Any

from rlaif.evaluation.policy import Change
from rlaif.evaluation.reward_calibration import RewardCalibration
from rlaif.evaluation.reward_model import RewardModelQuality
from rlaif.records import Estimate
from rlaif.report.changed import name_win_judge
from rlaif.report.charts import reliability_chart
from rlaif.report.input import ReportInput
from rlaif.report.plots import Scale, dot_axis, share_view
from rlaif.report.wording import (
    NOTHING,
    EstimateText,
    format_count,
    format_estimate,
    format_number,
    format_percent,
)
from rlaif.reward_model.held_out import Ensemble

SOURCE_NAMES = {"human": "people", "judge": "the judge"}


def reward_model_view(
    quality: RewardModelQuality | None, calibration: RewardCalibration | None, *, ensemble: Ensemble | None = None
) -> dict[str, Any] | None:
    if quality is None:
        return None
    undecided = f", {quality.num_undecided} of them undecided and not in the accuracy" if quality.num_undecided else ""
    if quality.is_weighted:
        undecided += ", each counted by its row's weight"
    entropy = quality.label_entropy
    return {
        "accuracy": format_estimate(quality.accuracy, percent=True),
        "at_most": ""
        if quality.accuracy_at_most == 1
        else f"; at most {format_percent(quality.accuracy_at_most)}, as some pairs are labelled both ways",
        "of_length": format_estimate(quality.accuracy_of_length, percent=True),
        "log_loss": format_estimate(quality.log_loss),
        "pairs": f"{format_count(quality.num_pairs, 'pair')}{undecided}",
        "entropy": "" if entropy is None else f"no model could come below {format_number(entropy, decimals=3)}",
        "buckets": [
            {
                "range": f"{bucket.low} to {bucket.high}" if bucket.low < bucket.high else str(bucket.low),
                "pairs": format_number(bucket.num_pairs),
                "said": format_estimate(bucket.accuracy, percent=True),
            }
            for bucket in quality.by_length_difference
        ],
        "sources": [
            {
                "name": SOURCE_NAMES[found.source],
                "pairs": format_number(found.num_pairs),
                "accuracy": format_estimate(found.accuracy, percent=True),
                "log_loss": format_estimate(found.log_loss),
                "entropy": format_number(found.label_entropy, decimals=3),
            }
            for found in quality.by_source
        ],
        "calibration": _reliability_view(calibration),
        "members": "" if ensemble is None else _describe_members(ensemble),
    }


def _describe_members(ensemble: Ensemble) -> str:
    """How far several reward models differ."""
    each = [one for one in ensemble.accuracies if one is not None]
    said = f"The reward is the mean of {ensemble.num_members} reward models"
    if each:
        said += f", of which each alone orders {format_percent(min(each))} to {format_percent(max(each))} as labelled"
    if ensemble.spread is None:
        return f"{said}."
    spread = format_number(ensemble.spread, decimals=2)
    return f"{said}. On a held-out response they differ by {spread} (standard deviation)."


def _reliability_view(calibration: RewardCalibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    over, floor = calibration.overconfidence, calibration.floor
    return {
        "gap": format_number(100 * calibration.gap, decimals=1),
        "floor": ""
        if floor is None
        else f"; where every claim is right, chance alone makes {format_number(100 * floor, decimals=1)}",
        "pairs": format_count(calibration.num_pairs, "pair"),
        "n": format_count(calibration.num_prompts, "prompt"),
        "direction": "too sure of itself"
        if over > 0.01
        else "not sure enough"
        if over < -0.01
        else "about as sure as right",
        "svg": reliability_chart(
            [(b.claimed, b.labelled, b.num_pairs) for b in calibration.bins],
            name="reliability",
            title="What the reward model claims and what the labels say",
        ),
    }


def hacking_view(report: ReportInput) -> dict[str, Any]:
    """The reward model's and the judge's opinion of the trained policy, and how both policies write."""
    rows = []
    proxy, win = report.proxy_win, report.win_rate
    bound = "" if win is None or win.at_most == 1 else f"; at most {format_percent(win.at_most, decimals=0)}"
    if proxy is not None and proxy.higher is not None:
        label = "Trained response better, says the reward model"
        note = f"the aim of training{bound}"
        rows.append(share_view("the reward model", proxy.higher, svg_name="who-reward", label=label, note=note))
    if win is not None and win.hard is not None:
        who = name_win_judge(report)
        mean = f"; its mean probability is {format_percent(win.soft.mean)}" if win.soft is not None else ""
        note = f"the likelier side counts{mean}{bound}"
        row = share_view(who, win.hard, svg_name="who-judge", label=f"Trained response better, says {who}", note=note)
        rows.append(row)
    return {"axis": dot_axis(Scale(0, 1), percent=True), "rows": rows, "figures": figures_view(report)}


def figures_view(report: ReportInput) -> list[dict[str, Any]]:
    """Behaviour and rewards, before and after."""
    rows: list[dict[str, Any]] = []
    behaviour, proxy = report.behaviour, report.proxy_win
    pairs = report.win_rate.num_pairs if report.win_rate else report.samples_drawn_from
    n = "" if pairs is None else format_count(pairs, "response")
    if proxy is not None:
        unscored = f"; {format_count(proxy.num_unscored, 'pair')} without a reward" if proxy.num_unscored else ""
        rows.append(_row("Reward", proxy.reward, note=f"by the reward model, which training aimed at{unscored}"))
    if behaviour is None:
        return rows
    if behaviour.response_tokens is not None:
        rows.append(_row("Length of a response", behaviour.response_tokens, note="tokens"))
    if behaviour.ended is not None:
        note = "not cut off at the longest length allowed"
        rows.append(_row("Responses that the policy ended itself", behaviour.ended, note=note, percent=True))
    rows.append({
        "name": "Different texts among all responses", "note": "near zero: it says the same to everybody",
        "before": EstimateText(format_percent(behaviour.distinct_before), "", ""),
        "after": EstimateText(format_percent(behaviour.distinct_after), "", ""),
        "change": NOTHING, "n": n,
    })  # fmt: skip
    if behaviour.kl is not None:
        rows.append(_kl_view(behaviour.kl, behaviour.kl_interval, report))
    return rows


def _kl_view(kl: float, interval: Estimate | None, report: ReportInput) -> dict[str, Any]:
    """The row of the KL: measured for the kept policy, or else found by its last step before that step's update."""
    name, note = "KL to the starting policy", "how far it moved, nats per response"
    if interval is not None:
        said = format_estimate(interval)
        note += ", on prompts held out of training"
        return {"name": name, "note": note, "before": NOTHING, "after": said, "change": NOTHING, "n": said.n}
    note += ", of the responses that its last step trained on, drawn before that step's update"
    steps = len(report.policy_curve) if report.kept_steps is None else report.kept_steps
    said = EstimateText(format_number(kl, decimals=2), "", "")
    n = f"step {format_number(steps)}" if steps else ""
    return {"name": name, "note": note, "before": NOTHING, "after": said, "change": NOTHING, "n": n}


def _row(name: str, change: Change, *, note: str = "", percent: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "before": format_estimate(change.before, percent=percent),
        "after": format_estimate(change.after, percent=percent),
        "change": format_estimate(change.change, percent=percent, signed=True),
        "n": format_estimate(change.change).n,
    }
