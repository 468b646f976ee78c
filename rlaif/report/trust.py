"""A `ReportInput` -> what the report says of whether to believe it: people, the judge, the reward model.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from typing import Any

from rlaif.evaluation.policy import Change
from rlaif.evaluation.reward_calibration import RewardCalibration
from rlaif.evaluation.reward_model import RewardModelQuality
from rlaif.records import TIE_BAND, Agreement, CalibrationCard, CalibrationMap, Estimate
from rlaif.report.charts import reliability_chart
from rlaif.report.input import ReportInput
from rlaif.report.plots import Scale, dot_axis, share_row
from rlaif.report.wording import Said, say_count, say_estimate, say_list, say_number, say_percent

NOTHING = Said("", "", "")
MAP_NAMES = {
    "identity": "left as they are",
    "temperature": "temperature",
    "temperature_length": "temperature and length",
}


def describe_calibration(card: CalibrationCard | None) -> dict[str, Any] | None:
    if card is None:
        return None
    whom = "the simulated annotator" if card.simulated else "people"
    rows = [(f"The judge as it was, with {whom}", card.before), (f"After calibration, with {whom}", card.after)]
    if card.between_people is not None:
        rows.append(("Two annotators with each other", card.between_people))
    return {
        "labels": say_count(card.num_labels, "label"),
        "annotators": say_count(card.num_annotators, "annotator"),
        "simulated": card.simulated,
        "whom": whom,
        "rows": [_describe_agreement(name, agreement) for name, agreement in rows],
        "before": say_estimate(card.before.share, percent=True),
        "after": say_estimate(card.after.share, percent=True),
        "base_rates": say_list(
            [f"{choice} {say_percent(share, decimals=0)}" for choice, share in card.before.base_rates.items()]
        ),
        "base_n": say_count(card.before.n, "item"),
        "design": _describe_design(card),
        "map": say_map(card.map),
        "losses": [
            (MAP_NAMES[kind], say_number(loss, decimals=4), kind == card.map.kind)
            for kind, loss in card.log_loss.items()
        ],
        "weight": say_number(card.human_weight),
    }


def _describe_design(card: CalibrationCard) -> list[str]:
    """What must be said beside the agreement: how the items were drawn, and what a tie is."""
    said = []
    if card.effective_n is not None:
        alike = say_number(card.effective_n, decimals=0)
        said.append(
            "Items were drawn with unequal probabilities, and each counts one over its own: agreement is about all "
            f"pairs that could have been drawn. The {say_count(card.before.n, 'item')} tell as much as {alike} drawn "
            "alike."
        )
    if card.num_tied:
        before, after = (say_estimate(share, percent=True) for share in (card.before_decided, card.after_decided))
        said.append(
            f"On {say_count(card.num_tied, 'item')} most people chose no side, and a label of the judge agrees with "
            f"that within {TIE_BAND:g} of one half only. Where people chose a side the judge chose the same in "
            f"{before.mean} ({before.interval}), after calibration in {after.mean} ({after.interval})."
        )
    return said


def _describe_agreement(name: str, agreement: Agreement) -> dict[str, Any]:
    return {
        "name": name,
        "share": say_estimate(agreement.share, percent=True),
        "kappa": _say_or_undefined(agreement.kappa),
        "ac1": _say_or_undefined(agreement.ac1),
        "n": say_number(agreement.n),
    }


def _say_or_undefined(estimate: Estimate | None) -> Said:
    return say_estimate(estimate, decimals=2) if estimate else Said("not defined", "", "")


def say_map(found: CalibrationMap) -> str:
    """What calibration does to the judge's labels, in words."""
    if found.kind == "identity":
        return "The judge's labels were left as they are: no other map predicted the people's choices better."
    sure = "surer" if found.slope > 1 else "less sure"
    said = f"The labels were made {sure} (their log-odds times {say_number(found.slope, decimals=2)})"
    if found.kind == "temperature":
        return said + "."
    step, limit = found.length_sd, found.length_limit * found.length_sd
    return (
        f"{said}, and the longer response {'loses' if found.length < 0 else 'gains'} "
        f"{say_number(abs(found.length), decimals=2)} log-odds for every {say_number(step, decimals=1)} words "
        f"that it is longer, up to {say_number(limit, decimals=0)} words: the judge had liked length "
        f"{'more' if found.length < 0 else 'less'} than the labels do."
    )


def describe_reward_model(
    quality: RewardModelQuality | None, calibration: RewardCalibration | None
) -> dict[str, Any] | None:
    if quality is None:
        return None
    undecided = f", {quality.num_undecided} of them undecided and not in the accuracy" if quality.num_undecided else ""
    if quality.is_weighted:
        undecided += ", each counted by its row's weight"
    entropy = quality.label_entropy
    return {
        "accuracy": say_estimate(quality.accuracy, percent=True),
        "at_most": ""
        if quality.accuracy_at_most == 1
        else f"; at most {say_percent(quality.accuracy_at_most)}, as some pairs are labelled both ways",
        "of_length": say_estimate(quality.accuracy_of_length, percent=True),
        "log_loss": say_estimate(quality.log_loss),
        "pairs": f"{say_count(quality.num_pairs, 'pair')}{undecided}",
        "entropy": "" if entropy is None else f"no model could come below {say_number(entropy, decimals=3)}",
        "buckets": [
            {
                "range": f"{bucket.low} to {bucket.high}" if bucket.low < bucket.high else str(bucket.low),
                "pairs": say_number(bucket.num_pairs),
                "said": say_estimate(bucket.accuracy, percent=True),
            }
            for bucket in quality.by_length_difference
        ],
        "calibration": _describe_reliability(calibration),
    }


def _describe_reliability(calibration: RewardCalibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    over = calibration.overconfidence
    return {
        "gap": say_number(100 * calibration.gap, decimals=1),
        "pairs": say_count(calibration.num_pairs, "pair"),
        "n": say_count(calibration.num_prompts, "prompt"),
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


def describe_hacking(report: ReportInput) -> dict[str, Any]:
    """Who finds the trained policy better, its own aim first; and how both policies write."""
    rows = []
    proxy, win = report.proxy_win, report.win_rate
    bound = "" if win is None or win.at_most == 1 else f"; at most {say_percent(win.at_most, decimals=0)}"
    if proxy is not None and proxy.higher is not None:
        rows.append(_say_who("the reward model", f"the aim of training{bound}", proxy.higher, "who-reward"))
    if win is not None and win.hard is not None:
        rows.append(_say_who("the judge", f"the likelier side counts{bound}", win.hard, "who-judge"))
    return {"axis": dot_axis(Scale(0, 1), percent=True), "rows": rows, "figures": list_figure_rows(report)}


def _say_who(name: str, note: str, share: Estimate, svg_name: str) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "failed": 0,
        "svg": share_row(share, name=svg_name, label=f"Trained response better, says {name}"),
        "said": say_estimate(share, percent=True),
    }


def list_figure_rows(report: ReportInput) -> list[dict[str, Any]]:
    """Behaviour and rewards, before and after."""
    rows: list[dict[str, Any]] = []
    behaviour, proxy = report.behaviour, report.proxy_win
    pairs = report.win_rate.num_pairs if report.win_rate else report.samples_drawn_from
    n = "" if pairs is None else say_count(pairs, "response")
    if proxy is not None:
        unscored = f"; {say_count(proxy.num_unscored, 'pair')} without a reward" if proxy.num_unscored else ""
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
        "before": Said(say_percent(behaviour.distinct_before), "", ""),
        "after": Said(say_percent(behaviour.distinct_after), "", ""),
        "change": NOTHING, "n": n,
    })  # fmt: skip
    if behaviour.kl is not None:
        rows.append(_describe_kl(behaviour.kl, behaviour.kl_interval, report))
    return rows


def _describe_kl(kl: float, interval: Estimate | None, report: ReportInput) -> dict[str, Any]:
    """How far the kept policy moved, as it was measured; or else what its last step found before its update."""
    name, note = "KL to the starting policy", "how far it moved, nats per response"
    if interval is not None:
        said = say_estimate(interval)
        note += ", on prompts held out of training"
        return {"name": name, "note": note, "before": NOTHING, "after": said, "change": NOTHING, "n": said.n}
    note += ", of the responses that its last step trained on, drawn before that step's update"
    steps = len(report.policy_curve) if report.kept_steps is None else report.kept_steps
    said = Said(say_number(kl, decimals=2), "", "")
    n = f"step {say_number(steps)}" if steps else ""
    return {"name": name, "note": note, "before": NOTHING, "after": said, "change": NOTHING, "n": n}


def _row(name: str, change: Change, *, note: str = "", percent: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "before": say_estimate(change.before, percent=percent),
        "after": say_estimate(change.after, percent=percent),
        "change": say_estimate(change.change, percent=percent, signed=True),
        "n": say_estimate(change.change).n,
    }
