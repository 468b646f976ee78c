"""A `ReportInput` or `Trained` -> how both trainings went: charts over steps, alarms in words, and responses over time.

Decides wording and order, not layout. Computes no statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from rlaif.config.methods import BY_REWARDS
from rlaif.report.charts import Mark, average_stretches, line_chart
from rlaif.report.input import CurvePoint, ReportInput, ResponseCourse, Trained
from rlaif.report.wording import cut_text, find_decimals, format_count, format_number

MAX_POINTS = 200
REPORT_FILE = "report.json"
OPEN_COURSES = 2
"""Prompts whose responses over time are shown at once; the others are one click away."""
Points = list[tuple[int, float | None]]


class Panel(NamedTuple):
    title: str
    unit: str
    number: str
    """The number's name in metrics.jsonl; empty for a number that only evaluations have."""
    note: str
    evaluated: str = ""
    """The number's name in the rows of evaluations on held-out prompts."""


REWARD_MODEL_PANELS = (
    Panel("Loss", "of a batch, nats", "loss", "how badly it predicts the labels it learns from; should fall"),
    Panel("Accuracy", "in the batch", "accuracy", "share of pairs that it orders as the label says"),
    Panel("Margin", "of rewards", "reward_margin", "how far apart it puts the two responses of a pair"),
)
POLICY_PANELS = (
    Panel("Loss", "of a batch, nats", "loss", "how badly it fits what it learns from; should fall"),
    Panel("Accuracy", "in the batch", "accuracy", "share of pairs whose preferred response gained more likelihood"),
    Panel("Margin", "of implicit rewards", "margin", "how much more likelihood the preferred responses gained"),
    Panel("Reward", "by what it is trained on", "objective/scores", "what training pushes up", "eval/scores"),
    Panel("Held-out reward", "by another model", "", "not trained on; should rise with the reward", "eval/held_out"),
    Panel("Judge's check", "win rate over the start", "", "one half is no difference", "eval/win_rate"),
    Panel(
        "KL", "nats per response", "objective/kl", "how far the policy has moved from its start; 0 is no move",
        "eval/kl",
    ),
    Panel(
        "Response length", "tokens", "val/response_length", "a reward model that likes length shows here",
        "eval/response_length",
    ),
    Panel(
        "Ended by the policy", "share", "val/eos_rate", "responses that end by themselves and are not cut off (EOS)",
        "eval/eos_rate",
    ),
    Panel(
        "Repetition", "share", "val/repetition", "three-token sequences that a response says again", "eval/repetition"
    ),
    Panel(
        "Entropy", "nats per token", "policy/entropy_avg", "how open its next word is; near 0 it always says the same",
        "eval/entropy",
    ),
    Panel("Clipped", "share of tokens", "policy/clipfrac_avg", "whose update was cut for going too far"),
    Panel("Explained variance", "of returns", "val/explained_variance", "1: values foresee all, 0: nothing"),
    Panel("KL coefficient", "", "kl_coef", "how much a move away from the start costs it"),
)  # fmt: skip


def training_view(report: ReportInput | Trained, *, texts_in: str = REPORT_FILE) -> dict[str, Any]:
    """The section on how both trainings went. texts_in: the file that has long texts whole."""
    marks = [Mark(step, "alarm") for step in dict.fromkeys(alarm.step for alarm in report.alarms)]
    if report.kept_steps is not None and (report.alarms or report.policy_evaluations):
        marks.append(Mark(report.kept_steps, "kept"))
    courses = [_course_view(course, texts_in=texts_in) for course in report.response_courses]
    return {
        "reward_model": draw_panels(report.reward_model_curve, REWARD_MODEL_PANELS, name="rm"),
        "policy": draw_panels(
            report.policy_curve, POLICY_PANELS, name="ppo", evaluations=report.policy_evaluations, marks=marks
        ),
        "method": report.policy_method.upper(),
        "by_rewards": report.policy_method in BY_REWARDS,
        "evaluated": bool(report.policy_evaluations),
        "alarms": [
            {"step": format_number(alarm.step), "sentence": alarm.sentence, "answer": alarm.answer}
            for alarm in report.alarms
        ],
        "kept": _describe_kept(report),
        "marks": {mark.kind for mark in marks},
        "courses": courses[:OPEN_COURSES],
        "more_courses": courses[OPEN_COURSES:],
    }


def _describe_kept(report: ReportInput | Trained) -> str:
    """The step whose policy was kept, in words; empty where it is the last step."""
    last = max((point.step + 1 for point in report.policy_curve), default=0)
    if report.kept_steps is None or report.kept_steps == last:
        return ""
    return f"The policy after {report.kept_steps} of {format_count(last, 'step')} is the one that was kept."


def draw_panels(
    curve: Sequence[CurvePoint],
    panels: Sequence[Panel],
    *,
    name: str,
    evaluations: Sequence[CurvePoint] = (),
    marks: Sequence[Mark] = (),
) -> dict[str, list[dict[str, Any]]] | None:
    """A chart per panel whose number the curve or the evaluations have; numbers that never changed are listed instead.

    A long curve is drawn by the means of equal stretches. A step is drawn at the number of steps done before it, as is
    the evaluation of the same policy.
    """
    drawn: list[dict[str, Any]] = []
    constant: list[dict[str, Any]] = []
    for panel in panels:
        points: Points = [(p.step, p.numbers[panel.number]) for p in curve if panel.number in p.numbers]
        spots: Points = [(p.step, p.numbers[panel.evaluated]) for p in evaluations if panel.evaluated in p.numbers]
        if not points:
            points, spots = spots, []
        if not points:
            continue
        counted = format_count(len(points), "step" if panel.number else "evaluation")
        stretch = math.ceil(len(points) / MAX_POINTS)
        changes = len({value for _, value in points}) > 1
        points = average_stretches(points, stretch=stretch)
        (drawn if changes else constant).append(
            {
                "title": panel.title,
                "unit": panel.unit if stretch == 1 else f"{panel.unit}, means of {stretch} steps".removeprefix(", "),
                "note": panel.note,
                "course": f"{_describe_course_ends([value for _, value in points])}, {counted}",
                "svg": line_chart(points, name=f"{name}-{len(drawn)}", title=panel.title, spots=spots, marks=marks),
            }
        )
    return {"drawn": drawn, "constant": constant} if drawn or constant else None


def _describe_course_ends(values: Sequence[float | None]) -> str:
    """The first and the last value, with an arrow between them."""
    known = [value for value in values if value is not None]
    if not known:
        return "no values"
    decimals = find_decimals((max(known) - min(known)) / 3 or abs(known[-1]) * 2)
    first, last = (format_number(value, decimals=decimals) for value in (known[0], known[-1]))
    return last if first == last else f"{first} \u2192 {last}"


def _course_view(course: ResponseCourse, *, texts_in: str) -> dict[str, Any]:
    rows = []
    for at in course.responses:
        text, left_off = cut_text(at.text)
        rows.append(
            {
                "step": format_number(at.step), "text": text,
                "left_off": describe_left_off(left_off, texts_in=texts_in),
                "reward": format_number(at.score, decimals=2, signed=True), "kl": format_number(at.kl, decimals=1),
            }
        )  # fmt: skip
    return {"prompt": prompt_view(course.prompt), "rows": rows}


def prompt_view(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """The turns of a conversation, long ones cut."""
    turns = []
    for message in messages:
        text, left_off = cut_text(message.content)
        turns.append({"role": message.role, "text": text, "left_off": describe_left_off(left_off)})
    return turns


def describe_left_off(count: int, *, texts_in: str = REPORT_FILE) -> Markup:
    words = Markup("<p><small>and {} more characters, which stand in {}</small></p>")
    return words.format(format_number(count), texts_in) if count else Markup("")
