"""The part "People and the judge": what it shows, and that it is absent where nobody labelled."""

from __future__ import annotations

from page import Page

from rlaif.records import Agreement, CalibrationCard, CalibrationMap, Estimate, TransportCheck
from rlaif.report.input import ReportInput
from rlaif.report.page import render_report
from rlaif.report.people import calibration_view


def agreement(share: float) -> Agreement:
    return Agreement(n=40, share=Estimate(mean=share, low=0.5, high=0.9, n=40), kappa=None, ac1=None, base_rates={})


def test_the_design_and_the_ties_are_said_beside_the_agreement() -> None:
    card = CalibrationCard(
        judge_id="j", constitution_id="c", labels_digest="d", num_labels=40, num_annotators=1, simulated=False,
        before=agreement(0.6), after=agreement(0.7), between_people=None, map=CalibrationMap(), log_loss={},
        human_weight=5.0,
    )  # fmt: skip
    said = calibration_view(card)
    assert said is not None
    assert said["design"] == []
    share = Estimate(mean=0.875, low=0.7, high=0.95, n=32)
    said = calibration_view(card.changed(effective_n=17.6, num_tied=8, before_decided=share, after_decided=share))
    assert said is not None
    [drawn, ties] = said["design"]
    assert "The 40 items tell as much as 18 drawn alike." in drawn
    assert ties.startswith(
        "On 8 items most people chose no side, and a label of the judge agrees with that within 0.01"
    )
    assert "87.5" in ties


def test_without_labels_the_part_is_absent(full_report: ReportInput, bare_report: ReportInput) -> None:
    for report in (bare_report, full_report.model_copy(update={"calibration": None, "people": None})):
        html = render_report(report)
        assert "People and the judge" not in html
        assert 'id="people"' not in html


def test_rates_stand_beside_those_by_people_alone_and_say_where_the_judge_is_not_used(full_report: ReportInput) -> None:
    people = Page(render_report(full_report)).section("people")
    rows = [[cell.text for cell in row.children] for row in people.find("tbody")[0].find("tr")]
    assert rows[0][:3] == [
        "The judge takes the side that people take", "75.0 % 60.0 to 86.0", "76.0 % 59.0 to 88.0",
    ]  # fmt: skip
    assert rows[0][-1] == "40 of 900"
    assert "fewer than 10 labels of the rarer answer" in rows[1][0]
    assert rows[1][1] == rows[1][2]
    assert rows[1][3], "the judge's own win rate stands beside it"


def test_agreement_its_ceiling_its_parts_and_disagreements_are_shown(full_report: ReportInput) -> None:
    people = Page(render_report(full_report)).section("people")
    assert "Two people chose the same on 87.5" in people.text
    assert "The judge as it was reaches 78.6" in people.text
    assert "people chose first 94 % and second 6 %; the judge first 75 % and second 25 %" in people.text
    assert "over half longer" in people.text
    assert "10 disagreements of judge and people, 1 of them here" in people.text
    (shown,) = people.find("article")
    assert "At nine." in shown.find(css="new")[0].text
    assert "chosen by 1 of 1 person" in shown.find(css="new")[0].text
    assert "judge 8 %, calibrated 40 %" in shown.find(css="new")[0].text
    assert "a0a0a0a0a0a0 and b0b0b0b0b0b0" in shown.text


def test_the_reliability_is_drawn_before_and_after_with_its_floor(full_report: ReportInput) -> None:
    people = Page(render_report(full_report)).section("people")
    before, after = people.find("figcaption")
    assert "13.1 points apart; chance alone makes" in before.text
    assert "1.9 points apart; chance alone makes" in after.text
    assert len(people.find("figure")) == 2


def test_labels_without_draw_probabilities_are_said_to_describe_themselves_alone(full_report: ReportInput) -> None:
    assert full_report.people is not None
    people = full_report.people.model_copy(update={"is_drawn": False, "accuracy": None, "win_rate": None})
    page = Page(render_report(full_report.model_copy(update={"people": people}))).section("people")
    assert "Every figure here describes these labels only." in page.text
    assert "What people would say" not in page.text


def test_it_is_said_whether_the_calibration_of_earlier_rounds_still_holds(full_report: ReportInput) -> None:
    assert full_report.calibration is not None
    residual = Estimate(mean=-0.12, low=-0.2, high=-0.04, n=30)
    transport = TransportCheck(outcome="does not hold", residual=residual, num_pairs=40)
    view = calibration_view(full_report.calibration.changed(transport=transport))
    assert view is not None
    assert view["design"][0].startswith(
        "By 40 fresh items the calibration of the rounds before does not hold for this round."
    )
    assert "by \N{MINUS SIGN}12.0" in view["design"][0]
