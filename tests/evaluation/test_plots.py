"""Plots: where things stand, what they say to people who do not see them, what they do with odd numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from rlaif.evaluation.plots import (
    Scale,
    average_stretches,
    dot_row,
    find_scale,
    histogram,
    line_chart,
    share_bar,
)
from rlaif.evaluation.policy import Change, compute_change
from rlaif.records import Estimate


@pytest.fixture
def change() -> Change:
    return compute_change([20.0, 30.0], [70.0, 80.0], prompt_ids=["a", "b"])


def test_a_dot_stands_where_its_number_is_and_no_whisker_leaves_the_scale(change: Change) -> None:
    svg = dot_row(change, scale=Scale(0, 100), name="x", label="calm")
    assert re.findall(r'class="dot (\w+)" cx="([\d.]+)%', svg) == [("before", "25.00"), ("after", "75.00")]
    assert 'class="whisker before" x1="0.00%"' in svg
    assert "calm: 25.0 before, 75.0 after" in svg


@pytest.mark.parametrize(
    ("before", "after", "scale"),
    [
        ([0.0, 100.0], [50.0, 60.0], (0, 100)),
        ([-5.0, -5.0], [5.0, 5.0], (-5, 5)),
        ([0.0, 0.0], [0.0, 0.0], (-1, 1)),
    ],
)
def test_the_scale_is_0_to_100_or_that_of_the_numbers(
    before: list[float], after: list[float], scale: tuple[float, float]
) -> None:
    assert find_scale([compute_change(before, after, prompt_ids=["a", "b"])]) == scale


def test_there_is_a_scale_without_numbers() -> None:
    assert find_scale([]) == (-1, 1)


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


def test_every_plot_is_well_formed_and_named(change: Change) -> None:
    plots = [
        dot_row(change, scale=Scale(0, 100), name="a", label="<x> & y"),
        share_bar(Estimate(mean=0.7, low=0.6, high=0.8, n=9), name="b", title="<x>"),
        line_chart([(1, 1.0), (2, 2.0)], name="c", title='"x"'),
        histogram([0, 0], edges=("0", "1"), name="d", title="x", desc="y"),
    ]
    for plot in plots:
        svg = ElementTree.fromstring(plot)
        names = svg.attrib["aria-labelledby"].split()
        assert [svg[0].attrib["id"], svg[1].attrib["id"]] == names
        assert svg[0].text
        assert svg[1].text
