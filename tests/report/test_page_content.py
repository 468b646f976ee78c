"""The report's page: hostile text harmless, words readable in light, dark and print, nothing wider than the window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from page import Page

from rlaif.evaluation.people import CalibrationEffect
from rlaif.records import Alarm, Message, Tally
from rlaif.report.input import ReportInput, ResponseAt, ResponseCourse, ShownSample
from rlaif.report.loop_plot import loop_plot_svg
from rlaif.report.page import render_report, report_data, write_report


@pytest.fixture(scope="module")
def html(full_report: ReportInput) -> str:
    return render_report(full_report)


HOSTILE = '</div><script>alert(1)</script><img src=x onerror="x">{{ 7*7 }}\u202egnp.exe\x1b[31m\ud800'


JUDGES = {
    "model": {"path": HOSTILE},
    "weight": 1.0,
    "panel": [{"model": {"path": HOSTILE}, "weight": 2.0}],
}


def hostile(report: ReportInput) -> ReportInput:
    """Every text that a model, a data set or a user may have written, at its worst."""
    sample = ShownSample(
        prompt=(Message(role="user", content=HOSTILE),),
        before=HOSTILE,
        after=HOSTILE * 200,
        reward_before=0.0,
    )
    principle = report.constitution.principles[0].model_copy(
        update={"id": HOSTILE, "text": HOSTILE, "tags": (HOSTILE,)}
    )
    constitution = report.constitution.model_copy(
        update={"name": HOSTILE, "description": HOSTILE, "source": HOSTILE, "principles": (principle,)}
    )
    config = {"note": HOSTILE, "judge": JUDGES, "policy": {"path": HOSTILE}}
    costs = (report.costs[0].model_copy(update={"name": HOSTILE}),)
    funnel = tuple(
        stage.model_copy(update={"name": HOSTILE, "tally": Tally(num_in=9, dropped={HOSTILE: 1})})
        for stage in report.funnel
    )
    rounds = tuple(
        summary.model_copy(update={"measures": {HOSTILE: summary.measures["brief"]}}) for summary in report.rounds
    )
    best = report.best_of_n
    assert best is not None
    assert report.win_rate is not None
    win_rate = report.win_rate.model_copy(
        update={"soft_by_principle": {HOSTILE: report.win_rate.soft}, "failed_by_principle": {HOSTILE: 3}}
    )
    health = report.judge_health
    assert health is not None
    assert health.length is not None
    health = health.model_copy(
        update={
            "by_principle": {HOSTILE: health.by_principle["brief"]},
            "influence": {HOSTILE: health.influence["brief"]},
            "length": health.length.model_copy(update={"not_separable": (HOSTILE,)}),
            "served_models": {HOSTILE: 2, "other": 1},
        }
    )
    panel = report.panel
    assert panel is not None
    panel = panel.model_copy(
        update={
            "judges": (HOSTILE, HOSTILE),
            "alpha_by_principle": {HOSTILE: panel.alpha},
            "pairs": tuple(pair.model_copy(update={"judges": (HOSTILE, HOSTILE)}) for pair in panel.pairs),
        }
    )
    course = ResponseCourse(
        prompt=sample.prompt, responses=(ResponseAt(step=1, text=HOSTILE * 200, score=0.0, kl=0.0),)
    )
    people = report.people
    assert people is not None
    people = people.model_copy(
        update={
            "disagreements": (
                people.disagreements[0].model_copy(
                    update={"principle": HOSTILE, "prompt": sample.prompt, "first": HOSTILE * 200, "second": HOSTILE}
                ),
            ),
            "effect": CalibrationEffect(num_pairs=9, num_turned=1, by_principle={HOSTILE: (1, 9)}),
            "leanings": tuple(one.model_copy(update={"name": HOSTILE}) for one in people.leanings[:1]),
        }
    )
    alarm = Alarm(name="kl_ceiling", step=1, value=2.0, limit=1.0, sentence=HOSTILE, answer=HOSTILE)
    return report.model_copy(
        update={
            "judge_health": health,
            "judges": tuple(judge.model_copy(update={"name": HOSTILE}) for judge in report.judges),
            "panel": panel,
            "people": people,
            "samples": (sample,),
            "response_courses": (course,),
            "alarms": (alarm,),
            "constitution": constitution,
            "measures_note": HOSTILE,
            "measures": {HOSTILE: report.measures["calm"]},
            "best_of_n": best.model_copy(update={"measures": {HOSTILE: report.measures["calm"]}}),
            "costs": costs,
            "funnel": funnel,
            "rounds": rounds,
            "win_rate": win_rate,
            "provenance": report.provenance.model_copy(update={"run": HOSTILE, "config": config}),
        }
    )


def test_hostile_text_is_text_wherever_it_stands(full_report: ReportInput, tmp_path: Path) -> None:
    html = write_report(hostile(full_report), tmp_path).read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "&lt;script&gt;" in html
    assert "{{ 7*7 }}" in html


def test_control_and_direction_characters_are_visible_in_every_text(full_report: ReportInput) -> None:
    report = hostile(full_report)
    html = render_report(report)
    assert not {"\u202e", "\x1b", "\ud800"} & set(html)
    assert html.count('<span class="ctl">U+202E</span>') > 10
    assert not {"\u202e", "\x1b", "\ud800"} & set(loop_plot_svg(report_data(report)))


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["light", "dark", "print"])
def test_all_words_have_the_contrast_that_people_need(mode: int, html: str) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    block = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)[mode]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block.replace("#fff;", "#ffffff;").replace("#000;", "#000000;")))
    for words in ("ink", "muted", "good", "bad", "unclear"):
        for ground in ("paper", "panel", "tint"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
    assert contrast(colours["choice"], colours["paper"]) >= 4.5
    assert contrast(colours["ink"], colours["warn"]) >= 4.5
    for mark in ("before", "after", "drift"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WIDTHS = (390, 1280)
"""A phone's and a laptop's, in CSS pixels."""

PROBE = """<!doctype html><meta name="color-scheme" content="light dark">
<pre id=out></pre><script>
const rgb = s => s.match(/[\\d.]+/g).map(Number);
const luminance = c => {
  const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (e, w) => {
  for (; e; e = e.parentElement) {
    const c = rgb(w.getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const name = e => e.tagName + "." + e.getAttribute("class");
const measure = f => {
  const d = f.contentDocument, w = f.contentWindow, width = d.documentElement.clientWidth;
  d.querySelectorAll("details").forEach(e => e.open = true);
  const all = [...d.body.querySelectorAll("*")];
  const worded = all.filter(e => !["title", "desc"].includes(e.tagName)
    && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
  const faint = worded.map(e => {
    const style = w.getComputedStyle(e);
    const a = luminance(rgb(e.ownerSVGElement ? style.fill : style.color)), b = luminance(ground(e, w));
    return [name(e), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }).filter(([_, ratio]) => ratio < 4.5);
  return {width, scroll: d.documentElement.scrollWidth, height: d.body.scrollHeight, words: worded.length, faint,
    wide: all.filter(e => e.getBoundingClientRect().right > width + 1).map(name),
    paper: rgb(w.getComputedStyle(d.body).backgroundColor).slice(0, 3)};
};
const found = [];
for (const width of WIDTHS) {
  const f = document.createElement("iframe");
  f.src = "report.html"; f.style = `width:${width}px;height:2000px;border:0`;
  f.onload = () => {
    found.push(measure(f));
    if (found.length == WIDTHS.length) out.textContent = "RESULT " + JSON.stringify(found) + " END";
  };
  document.body.append(f);
}
</script>"""


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install it to have the report looked at in a real browser")
    return [
        CHROMIUM,
        "--headless",
        "--hide-scrollbars",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["full", "bare", "hostile"])
def test_in_a_browser_nothing_overflows_and_all_words_can_be_read(
    full_report: ReportInput, bare_report: ReportInput, browser: list[str], tmp_path: Path, kind: str, dark: bool
) -> None:
    reports = {"full": full_report, "bare": bare_report, "hostile": hostile(full_report)}
    write_report(reports[kind], tmp_path)
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.replace("WIDTHS", str(list(WIDTHS))))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = subprocess.run([*browser, scheme, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"RESULT (\[.*?\]) END<", done.stdout)
    assert found, done.stderr[-2000:]
    results = sorted(json.loads(found[1].replace("&gt;", ">")), key=lambda result: result["width"])
    assert [result["width"] for result in results] == list(WIDTHS)
    for result in results:
        assert result["wide"] == []
        assert result["scroll"] <= result["width"]
        assert (sum(result["paper"]) < 3 * 60) == dark, "the browser shows the other colours"
        assert result["faint"] == []
        assert result["words"] > 50
        assert result["height"] > 1500
    assert "CONSOLE" not in done.stderr
