"""Charts: where lines and bars stand, what they say, and what they do with odd numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from rlaif.records import Estimate
from rlaif.report.charts import (
    RoundPoint,
    Spot,
    average_stretches,
    histogram,
    line_chart,
    reliability_chart,
    round_chart,
    spot_chart,
)


def test_a_line_is_marked_at_its_least_and_greatest_value_and_described() -> None:
    svg = line_chart([(1, 4.0), (2, 1.0), (3, 2.5)], name="c", title="Loss")
    assert re.findall(r'class="tick"[^>]*text-anchor="end">([^<]+)<', svg) == ["1.0", "4.0", "3"]
    assert "From 4.0 at step 1 to 2.5 at step 3; least 1.0, greatest 4.0." in svg


def test_a_missing_value_breaks_the_line() -> None:
    points = [(1, 1.0), (2, 2.0), (3, None), (4, 3.0), (5, 1.0)]
    assert line_chart(points, name="c", title="t").count("<polyline") == 2


def test_a_long_curve_is_averaged_over_equal_stretches() -> None:
    points = [(1, 1.0), (2, 3.0), (3, None), (4, None), (5, 7.0)]
    assert average_stretches(points, stretch=2) == [(2, 2.0), (4, None), (5, 7.0)]
    assert average_stretches(points, stretch=1) == points


def test_a_constant_and_a_single_point_are_drawn() -> None:
    assert ">0.05<" in line_chart([(1, 0.05), (2, 0.05)], name="c", title="t")
    assert "<circle" in line_chart([(7, 0.05)], name="c", title="t")
    assert "No values" in line_chart([(1, None)], name="c", title="t")


def test_bars_are_as_high_as_their_counts() -> None:
    svg = histogram([1, 0, 4], edges=("0", "1"), name="h", title="t", desc="d")
    heights = [float(height) for height in re.findall(r'class="bar"[^>]* height="([\d.]+)"', svg)]
    assert heights[1] == 0
    assert heights[2] == pytest.approx(4 * heights[0], abs=0.2)


def test_rounds_are_joined_and_each_has_its_interval() -> None:
    svg = round_chart([RoundPoint(0, 50, 40, 60), RoundPoint(1, 70, 65, 80)], name="r", title="brief")
    (points,) = re.findall(r'points="([^"]*)"', svg)
    (_, y0), (_, y1) = (map(float, point.split(",")) for point in points.split())
    assert y1 < y0, "more stands higher"
    assert svg.count('class="whisker after"') == 2
    assert re.findall(r'text-anchor="end">([^<]+)<', svg) == ["40", "80"]
    assert "round 0: 50; round 1: 70" in svg


def test_rounds_without_any_spread_are_drawn() -> None:
    assert "<polyline" in round_chart([RoundPoint(0, 0, 0, 0), RoundPoint(1, 0, 0, 0)], name="r", title="t")


def test_a_claim_that_is_so_stands_on_the_dashed_line() -> None:
    svg = ElementTree.fromstring(reliability_chart([(0.5, 0.5, 7), (1.0, 1.0, 9)], name="c", title="t"))
    (half,) = (line for line in svg.iter("line") if line.attrib["class"] == "half")
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in svg.iter("circle")]
    ends = [(float(half.attrib[f"x{k}"]), float(half.attrib[f"y{k}"])) for k in (1, 2)]
    assert dots == ends
    assert (
        svg[1].text
        == "claimed 50\u202f%, labelled 50\u202f%, 7 pairs; claimed 100\u202f%, labelled 100\u202f%, 9 pairs"
    )


def test_a_claim_that_is_wrong_more_often_than_right_is_still_on_the_chart() -> None:
    svg = ElementTree.fromstring(reliability_chart([(0.9, 0.2, 3)], name="c", title="t"))
    (dot,) = svg.iter("circle")
    assert 0 < float(dot.attrib["cy"]) < float(svg.attrib["viewBox"].split()[3])


def test_every_chart_is_well_formed_and_named() -> None:
    charts = [
        line_chart([(1, 1.0), (2, 2.0)], name="c", title='"x"'),
        histogram([0, 0], edges=("0", "1"), name="d", title="<x>", desc="y"),
        round_chart([RoundPoint(0, 1, 0, 2), RoundPoint(1, 2, 1, 3)], name="e", title="<x> & y"),
        reliability_chart([(0.7, 0.6, 3)], name="f", title="<x>"),
    ]
    for chart in charts:
        svg = ElementTree.fromstring(chart)
        names = svg.attrib["aria-labelledby"].split()
        assert [svg[0].attrib["id"], svg[1].attrib["id"]] == names
        assert svg[0].text
        assert svg[1].text


def test_spots_stand_above_or_below_zero_with_their_intervals_and_counts() -> None:
    low, high = Estimate(mean=-1, low=-1.5, high=-0.5, n=9), Estimate(mean=2, low=1, high=3, n=9)
    svg = spot_chart([Spot(0.5, low, 40), Spot(2.0, high, 41)], name="s", title="Length", unit="SD longer")
    zero = float(re.findall(r'class="half" x1="[^"]*" y1="([^"]*)"', svg)[0])
    below, above = (float(y) for y in re.findall(r'<circle[^>]* cy="([\d.]+)"', svg))
    assert above < zero < below
    assert svg.count('class="whisker after"') == 2
    assert re.findall(r'text-anchor="middle">([^<]+)<', svg) == ["40", "41"]
    assert "0.5 SD longer: \u22121.0 (40); 2.0 SD longer: +2.0 (41)" in svg
    assert ">equal</text>" in svg
    assert ">KL 0</text>" in spot_chart([Spot(2.0, high, 41)], name="s", title="t", unit="nats", origin="KL 0")


def test_no_spots_are_said_to_be_none() -> None:
    assert "No values" in spot_chart([], name="s", title="t", unit="u")
