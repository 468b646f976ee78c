"""A `ReportInput` -> what a reader must know before believing the report: one plain sentence each, the gravest first.

The limits are the constants below. A caution stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlaif.config.evaluation import is_built_in
from rlaif.judge_health.health import JudgeHealth
from rlaif.judging.modes import MODES
from rlaif.records import Estimate
from rlaif.report.input import ReportInput
from rlaif.report.moved import Moved, MovedRow, list_moved
from rlaif.report.plots import find_scale
from rlaif.report.wording import format_count, format_number, format_percent, join_words, show_plain

MAX_FLIPS = 0.25
MAX_FAILED = 0.02
MAX_SATURATED = 0.5
MIN_PROMPTS = 30
MIN_DISTINCT_LEFT = 0.5
"""Smallest share of the starting policy's variety that the trained policy should keep."""
MAX_LENGTH_RATIO = 1.5
MIN_DRIFT = 10.0
"""Smallest drift that is named, for measures from 0 to 100; on any other scale every clear move is."""


def find_cautions(report: ReportInput) -> tuple[str, ...]:
    """Signs of reward hacking, then the judge, then the reward model, then the size of the evaluation."""
    moved = list_moved(report.measures, constitution=report.constitution)
    return (
        *_about_hacking(report, moved),
        *_about_people(report),
        *_about_judge(report),
        *_about_reward_model(report),
        *_about_size(report),
        *_about_drift(moved),
    )


def _about_hacking(report: ReportInput, moved: Moved) -> Iterator[str]:
    for alarm in report.alarms:
        said = show_plain(f"{alarm.sentence}; {alarm.answer}")
        yield f"An alarm while the policy was trained, after {alarm.step} steps: {said}."
    reward = report.proxy_win.reward.change if report.proxy_win else None
    if reward is not None and reward.low > 0:
        if moved.named and not any(moved.is_as_asked(row) for row in moved.named):
            names = join_words([show_plain(row.name) for row in moved.named])
            as_asked = " move as asked" if moved.lowered else ""
            yield (
                f"The reward rose and {names} did not{as_asked}: the policy may have learnt what the reward model "
                "likes and not what the principles say."
            )
        elif not moved.named and report.win_rate and report.win_rate.soft and report.win_rate.soft.low <= 0.5:
            yield (
                "The reward rose and the judge sees no clear gain: the policy may have learnt what the reward model "
                "likes and not what the principles say."
            )
    behaviour = report.behaviour
    if behaviour is None:
        return
    if behaviour.distinct_after < MIN_DISTINCT_LEFT * behaviour.distinct_before:
        yield (
            f"The trained policy says the same to many: {format_percent(behaviour.distinct_after, decimals=0)} of its "
            f"responses differ, {format_percent(behaviour.distinct_before, decimals=0)} of the starting policy's did."
        )
    length = behaviour.response_tokens
    if length is not None and length.mean_before > 0 and length.mean_after > MAX_LENGTH_RATIO * length.mean_before:
        yield (
            f"Responses became longer by half or more ({format_number(length.mean_before, decimals=0)} to "
            f"{format_number(length.mean_after, decimals=0)} tokens): judges often favour length."
        )


def _about_people(report: ReportInput) -> Iterator[str]:
    if report.calibration is None:
        yield "Nobody checked the judge: there are no people's labels to compare its verdicts with."
    elif report.calibration.simulated:
        yield "The labels that the judge was checked with are simulated: no person has looked at these responses."
    if report.calibration_is_applied:
        yield (
            "The calibration was fitted to labels of another run, and its agreement is about that run's responses: "
            "nobody checked the judge on these, and a calibration may not hold for another policy."
        )


def _about_judge(report: ReportInput) -> Iterator[str]:
    if len(report.judges) > 1:
        for judge in report.judges:
            yield from _about_health(judge.health, whom=f"judge {show_plain(judge.name)}")
    elif report.judge_health is not None:
        yield from _about_health(report.judge_health, whom="judge")
    alpha = report.panel.alpha if report.panel is not None else None
    if alpha is not None and alpha.low <= 0:
        yield (
            "The judges agree hardly more than by chance "
            f"(Krippendorff's alpha {format_number(alpha.mean, decimals=2)}): the mean of their labels says little."
        )
    win = report.win_rate
    if win is not None and win.num_failed:
        verb = "is" if win.num_failed == 1 else "are"
        pairs = format_count(win.num_pairs, "pair")
        yield f"{win.num_failed} of {pairs} {verb} not in the win rate: a judgement failed."


def _about_health(health: JudgeHealth, *, whom: str) -> Iterator[str]:
    if health.flipped is not None and health.flipped.mean > MAX_FLIPS:
        yield (
            f"The {whom} changed its verdict with the order in {format_percent(health.flipped.mean)} of the "
            "comparisons. All orders together make the label, so the place weighs nothing, but such pairs teach little."
        )
    if health.num_one_order:
        many = format_count(health.num_one_order, "comparison was", "comparisons were")
        yield f"{many} {MODES[health.mode].words.too_few}: a liking for the first place is still in them."
    failed = sum(health.failed_by_cause.values())
    asked = failed + health.num_judgements
    if failed > MAX_FAILED * asked:
        of = "" if whom == "judge" else f" of the {whom}"
        many = f"{format_number(failed)} of {format_number(asked)} judgements{of}"
        yield f"{many} failed; the pairs that they belong to are out."
    if health.saturated is not None and health.saturated.mean > MAX_SATURATED:
        sure = format_percent(health.saturated.mean, decimals=0)
        of = "" if whom == "judge" else f" of the {whom}"
        yield f"{sure} of the labels{of} are surer than .99: training learns from them as if there were no doubt."
    if len(health.served_models) > 1:
        names = join_words([f'"{show_plain(name)}"' for name in health.served_models])
        yield f"The {whom}'s server answered as more than one model, {names}: the labels are not one judge's."


def _about_reward_model(report: ReportInput) -> Iterator[str]:
    quality = report.reward_model
    if quality is None or quality.accuracy is None:
        return
    pairs = format_count(quality.num_pairs, "held-out pair")
    if quality.accuracy.low <= 0.5:
        yield f"The reward model is not clearly better than a coin on {pairs}."
    length = quality.accuracy_of_length
    if length is not None and _best_rule(length) >= quality.accuracy.mean:
        rule = "longer" if length.mean >= 0.5 else "shorter"
        yield f'The rule "the {rule} one" orders {pairs} as well as the reward model does.'


def _best_rule(longer_is_better: Estimate) -> float:
    return max(longer_is_better.mean, 1 - longer_is_better.mean)


def _about_size(report: ReportInput) -> Iterator[str]:
    n = report.win_rate.soft.n if report.win_rate and report.win_rate.soft else None
    if n is None:
        n = min((change.change.n for change in report.measures.values() if change.change), default=None)
    if n is not None and n < MIN_PROMPTS:
        yield f"The comparison rests on {format_count(n, 'prompt')}: its intervals are rough."


def _about_drift(moved: Moved) -> Iterator[str]:
    shared = [row.change for row in (*moved.named, *moved.unnamed) if not is_built_in(row.name)]
    least = MIN_DRIFT if find_scale(shared) == (0, 100) else 0
    far = [row for row in moved.unnamed if row.clear and (is_built_in(row.name) or abs(_distance(row)) >= least)]
    if far:
        said = [f"{show_plain(row.name)} {_format_distance(row)}" for row in far]
        yield f"What no principle names moved as well: {join_words(said)}."


def _format_distance(row: MovedRow) -> str:
    return format_number(_distance(row), decimals=None if is_built_in(row.name) else 0, signed=True)


def _distance(row: MovedRow) -> float:
    return row.change.mean_after - row.change.mean_before
