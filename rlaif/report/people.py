"""What people's labels say of the judge and did to it -> the part "People and the judge".

Agreement, rates about what people would say, reliability, disagreements; what the labels did is in calibrated.py.
Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

from typing import Any

from rlaif.calibration.judge_quality import Group
from rlaif.calibration.people import AgreementReport
from rlaif.calibration.ppi import MIN_RARER
from rlaif.evaluation.people import HonestRate
from rlaif.evaluation.reward_calibration import RewardCalibration
from rlaif.records import TIE_BAND, Agreement, CalibrationCard, Estimate, TransportCheck
from rlaif.report.calibrated import (
    MAP_NAMES,
    describe_effect,
    describe_liking,
    describe_map,
    describe_readout,
    leanings_view,
    predictors_view,
    trials_view,
)
from rlaif.report.charts import reliability_chart
from rlaif.report.input import PeopleAndJudge, ReportInput, ShownDisagreement
from rlaif.report.moved import Moved
from rlaif.report.training import describe_left_off, prompt_view
from rlaif.report.wording import (
    NOTHING,
    EstimateText,
    cut_text,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    join_words,
)


def people_view(report: ReportInput, moved: Moved) -> dict[str, Any] | None:
    """The whole part; None where no people's labels had a part in the preferences."""
    card, people = report.calibration, report.people or PeopleAndJudge()
    if card is None and people.win_rate is None:
        return None
    liking = "" if card is None else describe_liking(card.map)
    rates = _rates_view(report, people)
    return {
        "simulated": card is not None and card.simulated,
        "calibration": calibration_view(card),
        "is_applied": report.calibration_is_applied,
        "rates": rates,
        "has_judge_rate": any(row["judge"].mean for row in rates),
        "only_these": people.agreement is not None and not people.is_drawn,
        "groups": _groups_view(people.agreement),
        "ceiling": _describe_ceiling(people.agreement),
        "prevalence": _describe_prevalence(people.agreement),
        "reliability": _reliabilities_view(people),
        "changed": [*([liking] if liking else []), *describe_effect(people.effect)],
        "readout": describe_readout(people.readout),
        "trials": trials_view(people.readout),
        "predictors": predictors_view(people.predictors),
        "leanings": leanings_view(people.leanings, moved),
        "disagreements": [_disagreement_view(one) for one in people.disagreements],
        "num_disagreements": _count_disagreements(people.agreement),
    }


def calibration_view(card: CalibrationCard | None) -> dict[str, Any] | None:
    if card is None:
        return None
    whom = "the simulated annotator" if card.simulated else "people"
    rows = [(f"The judge as it was, with {whom}", card.before), (f"After calibration, with {whom}", card.after)]
    if card.between_people is not None:
        rows.append(("Two annotators with each other", card.between_people))
    return {
        "labels": format_count(card.num_labels, "label"),
        "annotators": format_count(card.num_annotators, "annotator"),
        "simulated": card.simulated,
        "whom": whom,
        "rows": [_agreement_view(name, agreement) for name, agreement in rows],
        "before": format_estimate(card.before.share, percent=True),
        "after": format_estimate(card.after.share, percent=True),
        "base_rates": join_words(
            [f"{choice} {format_percent(share, decimals=0)}" for choice, share in card.before.base_rates.items()]
        ),
        "base_n": format_count(card.before.n, "item"),
        "design": _describe_design(card),
        "map": describe_map(card.map),
        "losses": [
            (MAP_NAMES[kind], format_number(loss, decimals=4), kind == card.map.kind)
            for kind, loss in card.log_loss.items()
        ],
        "weight": format_number(card.human_weight),
    }


def _describe_design(card: CalibrationCard) -> list[str]:
    """Sentences that qualify the agreement: how the items were drawn, and what a tie is."""
    said = [] if card.transport is None else [_describe_transport(card.transport)]
    if card.effective_n is not None:
        alike = format_number(card.effective_n, decimals=0)
        said.append(
            "Items were drawn with unequal probabilities, and each counts one over its own: agreement is about all "
            f"pairs that could have been drawn. The {format_count(card.before.n, 'item')} tell as much as {alike} "
            "drawn alike."
        )
    if card.num_tied:
        before, after = (format_estimate(share, percent=True) for share in (card.before_decided, card.after_decided))
        said.append(
            f"On {format_count(card.num_tied, 'item')} most people chose no side, and a label of the judge agrees with "
            f"that within {TIE_BAND:g} of one half only. Where people chose a side the judge chose the same in "
            f"{before.mean} ({before.interval}), after calibration in {after.mean} ({after.interval})."
        )
    return said


def _describe_transport(found: TransportCheck) -> str:
    """Whether the calibration of the rounds before held for this round's labels."""
    outcomes = {
        "holds": "still holds for this round",
        "does not hold": "does not hold for this round",
        "undecided": "may or may not hold for this round: more labels would tell",
    }
    residual = format_estimate(found.residual, signed=True, percent=True)
    return (
        f"By {format_count(found.num_pairs, 'fresh item')} the calibration of the rounds before "
        f"{outcomes[found.outcome]}. People take its side more often than it predicts by {residual.mean} "
        f"({residual.interval})."
    )


def _agreement_view(name: str, agreement: Agreement) -> dict[str, Any]:
    return {
        "name": name,
        "share": format_estimate(agreement.share, percent=True),
        "kappa": _format_or_undefined(agreement.kappa),
        "ac1": _format_or_undefined(agreement.ac1),
        "n": format_number(agreement.n),
    }


def _format_or_undefined(estimate: Estimate | None) -> EstimateText:
    return format_estimate(estimate, decimals=2) if estimate else EstimateText("not defined", "", "")


def _rates_view(report: ReportInput, people: PeopleAndJudge) -> list[dict[str, Any]]:
    """Rates about what people would say, each with that of people's labels alone beside it."""
    win = report.win_rate.soft if report.win_rate else None
    rates = [
        ("The judge takes the side that people take", people.accuracy, None),
        ("The trained policy's response is the better one", people.win_rate, win),
    ]
    return [_rate_view(name, rate, judge=judge) for name, rate, judge in rates if rate is not None]


def _rate_view(name: str, rate: HonestRate, *, judge: Estimate | None) -> dict[str, Any]:
    few = f"fewer than {MIN_RARER} labels of the rarer answer, or on too few prompts: by people's labels alone"
    return {
        "name": name,
        "note": "" if rate.uses_judge else few,
        "estimate": format_estimate(rate.estimate, percent=True),
        "people": format_estimate(rate.people, percent=True),
        "judge": format_estimate(judge, percent=True) if judge else NOTHING,
        "labels": f"{format_number(rate.num_labels)} of {format_number(rate.num_items)}",
    }


def _groups_view(agreement: AgreementReport | None) -> list[dict[str, Any]]:
    if agreement is None or agreement.judge is None:
        return []
    return [{"by": group.by, **_agreement_view(group.name, group.majority)} for group in _find_groups(agreement)]


def _find_groups(agreement: AgreementReport) -> tuple[Group, ...]:
    return agreement.judge.groups if agreement.judge else ()


def _describe_ceiling(agreement: AgreementReport | None) -> str:
    """How near the judge comes to people's agreement with one another; empty where nobody labelled the same pairs."""
    if agreement is None or agreement.people.any_two is None or agreement.judge is None:
        return ""
    two = format_estimate(agreement.people.any_two, percent=True)
    items = format_count(agreement.people.num_shared_items, "item")
    said = (
        f"Two people chose the same on {two.mean} ({two.interval}) of {items}: no judge can be expected to agree with "
        "them more"
    )
    share = agreement.judge.of_ceiling
    if share is None:
        return f"{said}."
    of = format_estimate(share, percent=True)
    return f"{said}. The judge as it was reaches {of.mean} ({of.interval}) of that."


def _describe_prevalence(agreement: AgreementReport | None) -> str:
    if agreement is None or agreement.judge is None:
        return ""
    said = [
        f"{whose} {join_words([f'{choice} {format_percent(share, decimals=0)}' for choice, share in rates.items()])}"
        for whose, rates in (("people chose", agreement.people.base_rates), ("the judge", agreement.judge.base_rates))
    ]
    return f"Of these items {said[0]}; {said[1]}. Which response is called the first is arbitrary."


def _reliabilities_view(people: PeopleAndJudge) -> list[dict[str, Any]]:
    found = [("Before calibration", people.reliability_before), ("After", people.reliability_after)]
    return [_reliability_view(title, one) for title, one in found if one is not None]


def _reliability_view(title: str, found: RewardCalibration) -> dict[str, Any]:
    gap = f"{format_number(100 * found.gap, decimals=1)} points apart"
    if found.floor is not None:
        gap += f"; chance alone makes {format_number(100 * found.floor, decimals=1)} where every claim is right"
    return {
        "title": title,
        "gap": gap,
        "pairs": format_count(found.num_pairs, "item"),
        "n": format_count(found.num_prompts, "prompt"),
        "svg": reliability_chart(
            [(b.claimed, b.labelled, b.num_pairs) for b in found.bins],
            name=f"people-{title.split()[0].lower()}",
            title=f"What the judge claims and what people chose, {title.lower()}",
        ),
    }


def _count_disagreements(agreement: AgreementReport | None) -> str:
    listed = agreement.judge.disagreements if agreement and agreement.judge else ()
    return format_count(len(listed), "disagreement")


def _disagreement_view(one: ShownDisagreement) -> dict[str, Any]:
    return {
        "prompt": prompt_view(one.prompt),
        "principle": one.principle,
        "ids": " and ".join(sample_id[:12] for sample_id in one.sample_ids),
        "sides": [
            _side_view(one, "first", one.first, p=one.p_first, calibrated=one.calibrated),
            _side_view(one, "second", one.second, p=1 - one.p_first, calibrated=1 - one.calibrated),
        ],
    }


def _side_view(one: ShownDisagreement, side: str, whole: str, *, p: float, calibrated: float) -> dict[str, Any]:
    text, left_off = cut_text(whole)
    num = sum(choice == side for choice in one.choices.values())
    return {
        "title": f"chosen by {num} of {format_count(len(one.choices), 'person', 'people')}",
        "css": "new" if 2 * num > len(one.choices) else "old",
        "p": f"{format_percent(p, decimals=0)}, calibrated {format_percent(calibrated, decimals=0)}",
        "text": text,
        "left_off": describe_left_off(left_off),
    }
