"""Rows of dots: where things stand, and what they say to people who do not see them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from rlaif.evaluation.policy import Change, compute_change
from rlaif.records import Estimate
from rlaif.report.plots import Scale, dot_axis, dot_row, find_own_scale, find_scale, share_row


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


@pytest.mark.parametrize(
    ("before", "after", "scale"),
    [
        ([180.0, 190.0], [200.0, 211.0], (0, 250)),
        ([-31.0, 20.0], [10.0, 20.0], (-350, 350)),
        ([0.0, 0.0], [0.0, 0.0], (0, 1)),
    ],
)
def test_a_measure_with_its_own_unit_has_a_scale_from_zero_to_a_round_number(
    before: list[float], after: list[float], scale: tuple[float, float]
) -> None:
    changed = compute_change(before, after, prompt_ids=["a", "b"])
    low, high = find_own_scale([changed])
    ends = [end for estimate in (changed.before, changed.after) if estimate for end in (estimate.low, estimate.high)]
    assert low <= min(0.0, *ends)
    assert high >= max(ends)
    assert (low, high) == pytest.approx(scale, rel=1)
    svg = dot_row(changed, scale=Scale(low, high), name="x", label="words", shows_ends=True)
    assert svg.count('class="tick"') == 2


def test_there_is_a_scale_without_numbers() -> None:
    assert find_scale([]) == (-1, 1)


def test_another_way_to_the_same_end_is_a_diamond_below(change: Change) -> None:
    other = compute_change([20.0, 30.0], [40.0, 60.0], prompt_ids=["a", "b"])
    svg = dot_row(change, scale=Scale(0, 100), name="x", label="calm", choice=("best of 4", other))
    assert re.findall(r'<svg x="([\d.]+)%" y="(\d+)"', svg) == [("50.00", "45")]
    assert "calm: 25.0 before, 75.0 after, 50.0 by best of 4" in svg
    assert 'height="62"' in svg


def test_a_share_stands_on_a_scale_with_one_half_marked() -> None:
    svg = share_row(Estimate(mean=0.7, low=0.6, high=0.8, n=9), name="b", label="win rate")
    assert re.findall(r'class="half" x1="([\d.]+)%"', svg) == ["50.00"]
    assert re.findall(r'class="dot after" cx="([\d.]+)%"', svg) == ["70.00"]
    assert 'class="whisker after" x1="60.00%" y1="22" x2="80.00%"' in svg


def test_the_axis_says_the_quarters_of_its_scale() -> None:
    assert re.findall(r">([^<>]+)</text>", dot_axis(Scale(0, 100))) == ["0", "25", "50", "75", "100"]
    assert re.findall(r">(\d+)\u202f%</text>", dot_axis(Scale(0, 1), percent=True)) == ["0", "25", "50", "75", "100"]


def test_every_plot_is_well_formed_and_named(change: Change) -> None:
    plots = [
        dot_row(change, scale=Scale(0, 100), name="a", label="<x> & y", choice=("<z>", change)),
        share_row(Estimate(mean=0.7, low=0.6, high=0.8, n=9), name="b", label="<x>"),
    ]
    for plot in plots:
        svg = ElementTree.fromstring(plot)
        names = svg.attrib["aria-labelledby"].split()
        assert [svg[0].attrib["id"], svg[1].attrib["id"]] == names
        assert svg[0].text
        assert svg[1].text
