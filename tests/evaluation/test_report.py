"""The report: everything in it, nothing from elsewhere, hostile text harmless, missing parts said."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rlaif.evaluation.loop_plot import loop_plot_svg
from rlaif.evaluation.report import render_report, report_data, write_report
from rlaif.evaluation.report_input import CurvePoint, ReportInput, ShownSample
from rlaif.records import Message

VOID = {"meta", "br", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed, every id once."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "srcset", "action", "data", "xlink:href"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(full_report: ReportInput) -> str:
    return render_report(full_report)


def test_the_page_is_well_formed_and_no_id_stands_twice(html: str) -> None:
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert html.startswith("<!doctype html>")


def test_every_link_leads_to_a_place_on_the_page(html: str) -> None:
    page = Page(html)
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)


def test_the_page_loads_nothing_and_runs_nothing(html: str) -> None:
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(Page(html).tags)
    assert "@import" not in html
    assert "url(" not in html
    assert not re.search(r"\son\w+\s*=", html)
    assert "default-src 'none'" in html


def test_every_part_is_on_the_page(html: str, full_report: ReportInput) -> None:
    for section in (
        "moved",
        "constitution",
        "funnel",
        "judge",
        "reward-model",
        "policy",
        "samples",
        "figures",
        "provenance",
    ):
        assert f'<section id="{section}">' in html
    assert "missing" not in Page(html).tags
    assert '<p class="missing' not in html
    assert "simulated truth of the embedded world" in html
    assert str(full_report.provenance.ledger_head) in html
    assert html.count("<polyline") == 2 + 6
    for title in ("Score", "KL", "Entropy", "Response length", "Ended by the policy", "KL coefficient"):
        assert f"<b>{title}</b>" in html


def test_a_long_training_is_drawn_by_means_and_says_so(full_report: ReportInput) -> None:
    curve = tuple(CurvePoint(step=step, numbers={"loss": 1.0 / step}) for step in range(1, 1001))
    html = render_report(full_report.model_copy(update={"reward_model_curve": curve}))
    assert "means of 5 steps" in html
    assert max(len(points.split()) for points in re.findall(r'points="([^"]*)"', html)) == 200


def test_measures_that_a_principle_names_are_apart_from_those_that_drifted(html: str) -> None:
    named, drift = html.index("Named by the constitution"), html.index("Not named: drift")
    places = {name: html.index(f'<div class="name">{name}') for name in ("courteous", "brief", "helpful", "calm")}
    assert named < places["courteous"] < places["brief"] < drift < places["helpful"] < places["calm"]
    assert '<div class="name">curt' not in html
    assert "curt is 100 \u2212 courteous" in html


def test_dropped_items_are_shown_with_their_reason(html: str) -> None:
    assert "<span>identical 198</span><span>tie 41</span><span>failed judgement 4</span>" in html


def test_what_is_missing_is_said(bare_report: ReportInput) -> None:
    html = render_report(bare_report)
    Page(html)
    assert "The policies were not compared" in html
    for said in (
        "No measures were compared",
        "No stage left its counts",
        "No judgements were given",
        "No held-out accuracy of a reward model",
        "No training curve of a reward model",
        "No training curve of a policy",
        "No responses were given",
        "No figures of the policies",
        "this report proves nothing",
    ):
        assert said in html


HOSTILE = '</div><script>alert(1)</script><img src=x onerror="x">{{ 7*7 }}\u202egnp.exe\x1b[31m\ud800'


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
    config = {"note": HOSTILE}
    return report.model_copy(
        update={
            "samples": (sample,),
            "constitution": constitution,
            "measures_note": HOSTILE,
            "measures": {HOSTILE: report.measures["calm"]},
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


def test_a_long_response_is_cut_on_the_page_and_whole_in_the_data(full_report: ReportInput) -> None:
    long = ShownSample(prompt=(Message(role="user", content="q"),), before="a" * 1600, after="b")
    report = full_report.model_copy(update={"samples": (long,)})
    assert "and 100 more characters, which stand in report.json" in render_report(report)
    assert report_data(report)["samples"][0]["before"] == "a" * 1600


def test_the_data_hold_the_evaluation_and_read_back(full_report: ReportInput, tmp_path: Path) -> None:
    write_report(full_report, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["evaluation"] == json.loads(full_report.evaluation.model_dump_json())
    assert data["evaluation_id"] == full_report.evaluation.id
    assert [row["name"] for row in data["moved"][:2]] == ["courteous", "brief"]
    known = {name: value for name, value in data.items() if name in ReportInput.model_fields}
    assert ReportInput.model_validate(known) == full_report


def test_the_same_report_is_written_in_the_same_bytes(full_report: ReportInput, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(full_report, tmp_path / name)
    for file in ("report.html", "report.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_loop_plot_stands_alone(full_report: ReportInput) -> None:
    svg = loop_plot_svg(json.loads(json.dumps(report_data(full_report))))
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "prefers-color-scheme:dark" in svg
    assert "simulated truth of the embedded world" in svg
    assert svg.index(">courteous<") < svg.index(">not named: drift<") < svg.index(">helpful<")
    assert "href" not in svg


def test_the_loop_plot_of_a_run_without_measures_has_no_rows(bare_report: ReportInput) -> None:
    assert "<circle" not in loop_plot_svg(report_data(bare_report))


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
    for mark in ("before", "after", "drift"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PROBE = """<!doctype html>
<iframe id=f src="report.html" style="width:{width}px;height:2000px;border:0"></iframe>
<pre id=out></pre><script>
f.onload = () => {{
  const d = f.contentDocument, w = d.documentElement.clientWidth;
  const wide = [...d.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > w + 1);
  out.textContent = "RESULT " + JSON.stringify({{width: w, scroll: d.documentElement.scrollWidth,
    wide: wide.map(e => e.tagName + "." + e.getAttribute("class")), height: d.body.scrollHeight}});
}};
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
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("kind", ["full", "hostile"])
def test_the_page_renders_in_a_browser_without_errors_and_overflows_nowhere(
    full_report: ReportInput, browser: list[str], tmp_path: Path, width: int, kind: str
) -> None:
    write_report(full_report if kind == "full" else hostile(full_report), tmp_path)
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width))
    done = subprocess.run([*browser, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"RESULT (\{.*?\})<", done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(found[1].replace("&gt;", ">"))
    assert result["width"] == width
    assert result["scroll"] <= width
    assert result["wide"] == []
    assert result["height"] > 2000
    assert "CONSOLE" not in done.stderr
