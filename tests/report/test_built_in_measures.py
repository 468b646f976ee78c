"""A report whose measures are the built-in ones, each in its own unit."""

from __future__ import annotations

import re

import pytest
from made_up_report import make_sample

from rlaif.evaluation.measures import compute_measures, load_measure
from rlaif.evaluation.policy import pair_samples
from rlaif.records import Message, Principle, Prompt
from rlaif.report.cautions import find_cautions
from rlaif.report.input import ReportInput
from rlaif.report.loop_plot import loop_plot_svg
from rlaif.report.page import render_report, report_data


@pytest.fixture(scope="module")
def report(full_report: ReportInput) -> ReportInput:
    """Long replies with questions became short ones without, as the principle of brevity asked."""
    prompts = {
        prompt.id: prompt for prompt in (Prompt(messages=(Message(role="user", content=f"{k}"),)) for k in "abcd")
    }
    start = [make_sample(i, "Well, do you know? " * (20 + k), policy="s") for k, i in enumerate(prompts)]
    trained = [make_sample(i, "It's fine. " * (2 + k % 2), policy="t") for k, i in enumerate(prompts)]
    measures = {spec: load_measure(spec) for spec in ("words", "questions", "contractions", "regex:fine")}
    brief = Principle(id="brief", text="Prefer the shorter reply.", tags=("-words",))
    return full_report.model_copy(
        update={
            "constitution": full_report.constitution.model_copy(update={"principles": (brief,)}),
            "measures": compute_measures(pair_samples(start, trained), prompts=prompts, measures=measures),
            "measures_note": "",
            "best_of_n": None,
            "rounds": (),
        }
    )


def test_fewer_words_are_as_asked_and_the_rest_is_drift_in_its_own_unit(report: ReportInput) -> None:
    assert report_data(report)["headline"]["title"] == "The policy moved as asked"
    html = render_report(report)
    changed = html[html.index('id="changed"') : html.index("What the judge says")]
    for words in ("per response", "by brief: less of it", "% of sentences", "per 100 words", "% of responses"):
        assert f"<small>{words}</small>" in changed
    assert 'class="row axis"' not in changed, "no scale is shared"
    assert re.findall(r'class="tick"[^>]*>([^<]+)<', changed)[:2] == ["0", "95"]
    assert any("questions \N{MINUS SIGN}100" in caution for caution in find_cautions(report))


def test_the_picture_gives_each_built_in_measure_its_own_scale(report: ReportInput) -> None:
    svg = loop_plot_svg(report_data(report))
    assert svg.count('class="dot') == 8
    assert ">95<" in svg
    assert ">not named: drift<" in svg
