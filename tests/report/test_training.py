"""How training went, on the page: charts with their marks, alarms in words, responses over time."""

from __future__ import annotations

import re

from page import Page

from rlaif.records import Alarm
from rlaif.report.charts import Mark, line_chart
from rlaif.report.input import CurvePoint, ReportInput
from rlaif.report.page import render_report
from rlaif.report.training import training_view

ALARM = Alarm(
    name="kl_ceiling", step=25, value=21.0, limit=20.0,
    sentence="the KL is 21.0 nats per response, above ppo.guards.kl_ceiling 20",
    answer="training stops and the policy of step 20 is kept",
)  # fmt: skip


def test_a_chart_holds_held_out_dots_and_marks_at_their_places_on_one_scale() -> None:
    svg = line_chart(
        [(0, 1.0), (10, 2.0)], name="c", title="Reward", spots=[(0, 0.0), (20, 3.0)],
        marks=[Mark(10, "alarm"), Mark(20, "kept"), Mark(30, "kept")],
    )  # fmt: skip
    assert re.findall(r'class="tick"[^>]*text-anchor="end">([^<]+)<', svg) == ["0.0", "3.0", "20"]
    assert svg.count('class="dot before"') == 2
    (alarm,) = re.findall(r'class="mark alarm" x1="([\d.]+)"', svg)
    (kept,) = re.findall(r'class="mark kept" x1="([\d.]+)"', svg)
    assert float(alarm) == (44 + 240) / 2, "half way"
    assert float(kept) == 240, "at the right; the mark beyond the last step is left out"
    assert "From 1.0 at step 0 to 2.0 at step 10; least 0.0, greatest 3.0." in svg
    assert "On held-out prompts from 0.0 to 3.0. An alarm after 10 steps. Kept after 20 steps." in svg


def test_what_evaluations_alone_tell_has_a_chart_of_its_own(full_report: ReportInput) -> None:
    evaluations = tuple(
        CurvePoint(step=step, numbers={"eval/win_rate": rate, "eval/scores": 0.1 * step})
        for step, rate in ((0, 0.5), (20, 0.7), (40, 0.65))
    )
    panels = training_view(full_report.model_copy(update={"policy_evaluations": evaluations}))["policy"]["drawn"]
    by_title = {panel["title"]: panel for panel in panels}
    assert by_title["Judge's check"]["course"] == "0.500 \u2192 0.650, 3 evaluations"
    assert by_title["Reward"]["svg"].count('class="dot before"') == 3
    assert "Held-out reward" not in by_title, "nobody measured it"


def test_alarms_are_told_and_marked_and_the_kept_step_named(full_report: ReportInput) -> None:
    html = render_report(full_report.model_copy(update={"alarms": (ALARM,), "kept_steps": 20}))
    text = Page(html).root.text
    assert f"Alarm after 25 steps: {ALARM.sentence}; {ALARM.answer}." in text
    assert "The policy after 20 of 41 steps is the one that was kept." in text
    assert 'class="mark alarm"' in html
    assert 'class="mark kept"' in html
    assert f"An alarm while the policy was trained, after 25 steps: {ALARM.sentence}" in text, "among the cautions"


def test_the_same_prompts_responses_stand_below_each_other(full_report: ReportInput) -> None:
    courses = training_view(full_report)["courses"]
    assert [[row["step"] for row in course["rows"]] for course in courses] == [["0", "40"], ["0", "40"]]
    text = Page(render_report(full_report)).root.text
    assert "What it said as training went on" in text
    assert "1 more" in text


def test_a_training_without_evaluations_and_alarms_shows_its_curves_alone(full_report: ReportInput) -> None:
    plain = {"policy_evaluations": (), "response_courses": (), "kept_steps": 41}
    html = render_report(full_report.model_copy(update=plain))
    assert "What it said as training went on" not in html
    assert "held-out prompts, the same each time" not in html
    assert 'class="mark' not in html
    assert "is the one that was kept" not in html
