"""The report: every part in its order, each figure with its n, missing parts said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from page import Node, Page

from rlaif.records import CalibrationCard, Estimate, Message
from rlaif.report.input import CurvePoint, ReportInput, ShownSample
from rlaif.report.loop_plot import loop_plot_svg
from rlaif.report.page import render_report, report_data, write_report
from rlaif.report.trust import figures_view

ROOT = Path(__file__).parents[2]


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


def test_the_parts_come_in_the_order_in_which_people_ask(html: str) -> None:
    page = Page(html)
    assert [node.text for node in page.root.find("h2")] == [
        "What was asked",
        "What changed",
        "People and the judge",
        "Can it be trusted?",
        "What it cost",
        "Before and after",
        "How training went",
        "Provenance",
    ]
    assert [node.attributes["aria-labelledby"] for node in page.root.find("section")] == [
        node.attributes["id"] for node in page.root.find("h2")
    ]


def test_the_head_of_the_page_answers_the_three_questions_in_a_line_each(html: str) -> None:
    (head,) = Page(html).root.find("header")
    assert head.find("h1")[0].text == "The policy moved as asked, but helpful fell"
    answers = [(node.find("b")[0].text, node.find("span")[0].text) for node in head.find("a")]
    assert [question for question, _ in answers] == ["What changed", "Can it be trusted", "What it cost"]
    changed, trust, cost = (answer for _, answer in answers)
    assert "courteous +" in changed
    assert "n = 120 prompts" in changed
    assert "simulated labels" in trust
    assert "of 188 items" in trust
    assert "4 208 questions to the judge, 2 000 responses by the policy" in cost


def test_no_part_is_said_to_be_missing_where_all_are_given(html: str, full_report: ReportInput) -> None:
    page = Page(html)
    assert page.root.find(css="missing") == []
    assert str(full_report.provenance.ledger_head) in page.section("provenance").text
    drawn = [node.text for node in page.section("curves").find("figcaption")]
    assert [text.split()[0] for text in drawn] == ["Loss", "Accuracy", "Reward", "KL", "Response", "Ended", "Entropy"]
    assert "Unchanged throughout: KL coefficient 0.05, 40 steps" in page.section("curves").text


def test_every_figure_and_every_row_of_a_table_says_from_how_many(html: str) -> None:
    page = Page(html)
    assert len(page.root.find(css="figure")) > 20
    for figure in page.root.find(css="figure"):
        assert any(re.search(r"\d", n.text) for n in figure.find(css="n")), figure.text
    rows = [row for body in page.root.find("tbody") for row in body.find("tr")]
    assert len(rows) > 20
    for row in rows:
        assert any(re.search(r"\d", n.text) for n in row.find(css="n")), row.text


def test_who_does_not_see_the_page_is_told_what_is_on_it(html: str) -> None:
    page = Page(html)
    assert page.root.find("html")[0].attributes["lang"] == "en"
    pictures = [node for node in page.root.find("svg") if "aria-hidden" not in node.attributes]
    named = [node for node in pictures if node.attributes.get("role") == "img"]
    assert len(named) > 15
    for picture in named:
        title, description = (node for child in picture.children[:2] for node in [child])
        assert (title.tag, description.tag) == ("title", "desc")
        assert title.text
        assert description.text
        assert picture.attributes["aria-labelledby"].split() == [
            title.attributes["id"], description.attributes["id"],
        ]  # fmt: skip
    assert all("x" in node.attributes for node in pictures if node not in named), "only marks within a picture"
    for table in page.root.find("table"):
        assert all(cell.attributes["scope"] == "col" for cell in table.find("thead")[0].find("th"))
        for row in table.find("tbody")[0].find("tr"):
            assert [cell.attributes["scope"] for cell in row.find("th")] == ["row"]


def test_what_was_asked_is_told_in_the_constitutions_own_words(html: str) -> None:
    asked = Page(html).section("asked")
    principles = asked.find("ol")[0].find("li")
    assert [node.find("p", "text")[0].text for node in principles] == [
        "Prefer the reply that is polite.", "The better reply is brief.",
    ]  # fmt: skip
    assert "courteous, weight 1 of 2, measured by courteous" in principles[0].text
    facts = {node.find("dt")[0].text: node.find("dd")[0].text for node in asked.find("dl", "facts")[0].children}
    assert facts == {
        "Judge": "frontdesk", "Policy": "frontdesk", "Run": "demo, round 0, seed 0", "Prompts": "500 to learn from",
    }  # fmt: skip


def test_a_model_is_called_what_the_configuration_calls_it(full_report: ReportInput) -> None:
    config = {"judge": {"model": {"path": "org/judge"}}, "policy": {"path": "frontdesk"}}
    provenance = full_report.provenance.model_copy(update={"config": config})
    asked = Page(render_report(full_report.model_copy(update={"provenance": provenance}))).section("asked").text
    assert "Judge org/judge" in asked
    assert "Policy the front desk's small model" in asked


def test_a_long_training_is_drawn_by_means_and_says_so(full_report: ReportInput) -> None:
    curve = tuple(CurvePoint(step=step, numbers={"loss": 1.0 / step}) for step in range(1, 1001))
    html = render_report(full_report.model_copy(update={"reward_model_curve": curve}))
    assert "means of 5 steps" in html
    assert "1\u202f000 steps" in html
    assert max(len(points.split()) for points in re.findall(r'points="([^"]*)"', html)) == 200


def names_of(node: Node) -> list[str]:
    return [name.text for name in node.find(css="name")]


def test_measures_that_a_principle_names_are_apart_from_those_that_drifted(html: str) -> None:
    changed = Page(html).section("changed")
    assert changed.find(css="badge")[0].text == "simulated truth of the embedded world"
    assert names_of(changed.find(css="asked")[0]) == ["courteous", "brief"]
    drift = names_of(changed.find(css="drift")[1])
    assert drift[0] == "helpful", "what moved most stands first"
    assert sorted(drift) == ["calm", "correct", "helpful"]
    assert "curt is 100 \u2212 courteous" in changed.text


def test_the_table_of_what_changed_says_what_the_rows_show(html: str, full_report: ReportInput) -> None:
    table = Page(html).section("changed").find("table")[0]
    row = next(row for row in table.find("tr") if row.text.startswith("courteous"))
    change = full_report.measures["courteous"]
    assert change.change is not None
    cells = [cell.text.split()[0].replace("+", "") for cell in row.find("td")]
    expected = [change.mean_before, change.mean_after, change.change.mean]
    assert [float(cell) for cell in cells[:3]] == pytest.approx(expected, abs=0.5)
    assert row.find("td", "n")[0].text == "120 prompts"


def test_best_of_n_stands_beside_training_and_costs_are_named(html: str, full_report: ReportInput) -> None:
    changed = Page(html).section("changed")
    best = full_report.best_of_n
    assert best is not None
    change = best.measures["courteous"].change
    assert change is not None
    row = changed.find(css="row")[1]
    assert f"best of 4 +{change.mean:.1f}, n 120" in row.text
    assert len(row.find("path", "choice")) == 1
    assert "moves at most 0.64 nats per response" in changed.text
    assert names_of(changed.find(css="shares")[0])[-1].startswith("best of 4")
    without = render_report(full_report.model_copy(update={"best_of_n": None}))
    assert "best of" not in without.lower()


def test_rounds_are_shown_from_the_second_on(html: str, full_report: ReportInput) -> None:
    changed = Page(html).section("changed")
    table = changed.find("table")[1]
    assert [cell.text for cell in table.find("thead")[0].find("th")] == [
        "Round", "proxy reward", "KL, nats", "courteous", "brief", "win rate",
    ]  # fmt: skip
    rows = [[cell.text for cell in row.find("td")] for row in table.find("tbody")[0].find("tr")]
    assert rows[1] == [
        "1.50", "7.90", "64.0 60.0 to 68.0, n 120", "64.0 60.0 to 68.0, n 120", "69.0 % 65.0 to 73.0, n 120",
    ]  # fmt: skip
    assert [node.find("b")[0].text for node in changed.find("figcaption")] == [
        "courteous", "brief", "Win rate", "Proxy reward", "KL",
    ]  # fmt: skip
    alone = render_report(full_report.model_copy(update={"rounds": full_report.rounds[:1]}))
    assert "Round by round" not in alone


def test_peoples_agreement_is_told_before_and_after_calibration(html: str) -> None:
    trust = Page(html).section("trust")
    assert "SIMULATED labels" in trust.text
    assert "The judge chose as the simulated annotator did in 78.5 % of cases (72.5 to 83.5, 188 items)" in trust.text
    assert "after calibration in 83.5 %" in trust.text
    people = Page(html).section("people")
    assert "SIMULATED labels" in people.text
    rows = [[cell.text for cell in row.children] for row in people.find("tbody")[1].find("tr")]
    assert rows[0] == [
        "The judge as it was, with the simulated annotator", "78.5 % 72.5 to 83.5", "0.57 0.45 to 0.67",
        "not defined", "188",
    ]  # fmt: skip
    assert rows[2][0] == "Two annotators with each other"
    assert (
        "the longer response loses 0.95 log-odds for every 6.4 words that it is longer, up to 13 words" in people.text
    )


def test_labels_of_people_are_not_called_simulated(
    full_report: ReportInput, calibration_of: Callable[..., CalibrationCard]
) -> None:
    report = full_report.model_copy(update={"calibration": calibration_of(simulated=False)})
    page = Page(render_report(report))
    assert "SIMULATED" not in page.section("trust").text
    assert "SIMULATED" not in page.section("people").text
    assert "The judge chose as people did in 78.5 %" in page.section("trust").text
    assert "the judge chooses as people do in 84 % of 188 items" in page.root.find("header")[0].text


def test_without_labels_the_page_says_that_nobody_checked_and_how_to(full_report: ReportInput) -> None:
    page = Page(render_report(full_report.model_copy(update={"calibration": None})))
    said = page.section("trust").find("p", "missing")[0].text
    assert said.startswith("Nobody checked")
    assert "rlaif generate-prefs --human-labels labels.jsonl" in said
    assert "nobody checked the judge" in page.root.find("header")[0].text


def test_one_of_something_is_not_said_in_the_plural(full_report: ReportInput) -> None:
    win = full_report.win_rate
    assert win is not None
    one = win.model_copy(update={"num_identical": 1, "num_failed": 1, "num_not_debiased": 1})
    said = Page(render_report(full_report.model_copy(update={"win_rate": one}))).section("changed").text
    assert "In 1 pair both wrote the same text, which counts one half: the win rate could be 9" in said
    assert "1 pair is not in these figures" in said
    assert "1 comparison was asked in one order only" in said


def test_failed_judgements_are_counted_by_cause(html: str) -> None:
    tile = next(node for node in Page(html).section("trust").find("dd") if "of 204 answers" in node.text)
    assert tile.text.replace("\u202f", " ").startswith("42.0 % of 204 answers")
    assert "unparsable 3 (1.5 %)low mass 1 (0.5 %)" in tile.text.replace("\u202f", " ")


def test_length_is_an_association_unless_labels_or_a_measure_tell(full_report: ReportInput, html: str) -> None:
    trust = Page(html).section("trust").text
    assert "so this is called an association. Between responses of equal worth, by a measure, simulated, it is" in trust
    assert full_report.judge_health is not None
    assert full_report.judge_health.length is not None
    bare = full_report.judge_health.length.model_copy(update={"bias": None, "biases": {}, "not_separable": ()})
    health = full_report.judge_health.model_copy(update={"length": bare})
    said = Page(render_report(full_report.model_copy(update={"judge_health": health}))).section("trust").text
    assert "What of it is a bias, nothing here tells" in said
    assert "equal worth" not in said


def test_the_report_says_who_judged_the_win_rate_and_what_it_is_at_equal_length(full_report: ReportInput) -> None:
    for same, words in (
        (True, "The same judge made the labels that training learnt from"),
        (False, "Another judge than the one whose labels training learnt from."),
        (None, "Whether this judge also made the labels that training learnt from is not known."),
    ):
        section = Page(render_report(full_report.model_copy(update={"same_judge": same}))).section("changed")
        assert words in section.text
    assert full_report.win_rate is not None
    assert full_report.win_rate.length_controlled is not None
    mean = full_report.win_rate.length_controlled.win_rate.mean
    (row,) = [row for row in section.find(css="row") if row.text.startswith("at equal length")]
    assert row.find(css="change")[0].text.startswith(f"{100 * mean:.1f} %")


def test_the_reward_models_word_stands_beside_the_judges(html: str, full_report: ReportInput) -> None:
    trust = Page(html).section("trust")
    rows = trust.find(css="shares")[-1]
    proxy, win = full_report.proxy_win, full_report.win_rate
    assert proxy is not None
    assert win is not None
    assert proxy.higher is not None
    assert win.hard is not None
    shown = [node.find("b")[0].text for node in rows.find(css="change")]
    assert shown == [f"{100 * proxy.higher.mean:.1f} %", f"{100 * win.hard.mean:.1f} %"]


def test_several_judges_are_compared_and_shown_one_by_one(html: str, full_report: ReportInput) -> None:
    section = Page(html).section("trust")
    assert "Do the judges agree?" in section.text
    assert full_report.panel is not None
    [agree] = [row for row in section.find(css="row") if row.text.startswith("judge 3f3f3f3f and judge-7b 91919191")]
    winners = full_report.panel.pairs[0].winners
    assert winners is not None
    assert agree.find("b")[0].text == f"{100 * winners.mean:.1f} %"
    kappa = full_report.panel.pairs[0].agreement.kappa
    assert kappa is not None
    assert f"{kappa.mean:.2f}".replace("-", "−") in section.text
    assert "The figures below are those of judge 3f3f3f3f." in section.text
    alone = render_report(full_report.model_copy(update={"judges": full_report.judges[:1], "panel": None}))
    assert "Do the judges agree?" not in alone


def test_the_judges_of_a_panel_are_named_with_their_weights(full_report: ReportInput) -> None:
    judge = {"model": {"path": "org/a"}, "weight": 1.0, "panel": [{"model": {"path": "org/b"}, "weight": 2.0}]}
    config = {**full_report.provenance.config, "judge": judge}
    provenance = full_report.provenance.model_copy(update={"config": config})
    page = Page(render_report(full_report.model_copy(update={"provenance": provenance})))
    assert "org/a (weight 1), org/b (weight 2)" in page.section("asked").text
    assert "One of the judges that made the labels that training learnt from" in page.section("changed").text


def test_dropped_items_are_shown_with_their_reason(html: str) -> None:
    drops = [node.text for node in Page(html).section("trust").find(css="drops")[0].find("li")]
    assert "preferences kept 1 059 of 1 302 pairs: identical 198, tie 41, failed judgement 4" in drops
    assert all(not text.startswith("prompts") for text in drops), "what dropped nothing is left to the table"


def test_the_cost_is_told_part_by_part_and_together(html: str) -> None:
    cost = Page(html).section("cost")
    rows = [[cell.text for cell in row.children] for row in cost.find("tbody")[0].find("tr")]
    assert rows[1] == [
        "judging1 000 more found in the ledger",
        "4 208 questions",
        "601 422",
        "101 034",
        "37.9 s",
        "0.1014",
    ]
    assert rows[2] == ["reward model", "90 steps", "\u2013", "\u2013", "9.8 s", "\u2013"]
    assert rows[-1] == ["Together", "6 208 calls", "699 422", "241 555", "103 s", "0.1014"]
    assert "1 000 answers more from the ledger, free" in cost.text


def test_samples_stand_side_by_side_with_reward_and_the_judges_word(html: str, full_report: ReportInput) -> None:
    samples = Page(html).section("samples")
    assert "6 of 120 pairs, drawn by the run's seed: nobody chose them." in samples.text
    assert len(samples.find("article")) == 6
    assert len(samples.find("details")[0].find("article")) == 2
    first, shown = samples.find("article")[0], full_report.samples[0]
    before, after = first.find(css="old")[0], first.find(css="new")[0]
    assert before.find("div", "text")[0].text == " ".join(shown.before.split())
    assert after.find("div", "text")[0].text == " ".join(shown.after.split())
    assert before.find("h4")[0].text.startswith("Beforejudge 13 %, reward")
    assert after.find("h4")[0].text.startswith("Afterjudge 87 %, reward")


def test_provenance_is_folded_away(html: str) -> None:
    provenance = Page(html).section("provenance")
    assert len(provenance.find("details")) == 2
    assert all("open" not in node.attributes for node in provenance.find("details"))


def test_what_is_missing_is_said(bare_report: ReportInput) -> None:
    page = Page(render_report(bare_report))
    assert page.root.find("h1")[0].text == "The policies were not compared"
    assert [node.text for node in page.root.find(css="answers")[0].find("span")] == [
        "nothing was measured", "nobody checked the judge; 1 caution", "nobody recorded it",
    ]  # fmt: skip
    for part, said in (
        ("changed", "No measures were compared"),
        ("changed", "There is no win rate"),
        ("trust", "Nobody checked"),
        ("trust", "No judgements were given"),
        ("trust", "No held-out accuracy of a reward model"),
        ("trust", "No figures of the policies"),
        ("trust", "No stage left its counts"),
        ("cost", "Nobody recorded calls, tokens or seconds"),
        ("samples", "No responses were given"),
        ("curves", "No training curve of a reward model"),
        ("curves", "No training curve of a policy"),
        ("provenance", "this report proves nothing"),
    ):
        assert said in page.section(part).text, said


def test_a_picture_to_share_lies_beside_the_page_where_measures_were_compared(
    full_report: ReportInput, bare_report: ReportInput, tmp_path: Path
) -> None:
    write_report(full_report, tmp_path / "full")
    write_report(bare_report, tmp_path / "bare")
    assert (tmp_path / "full" / "what_changed.svg").read_text() == loop_plot_svg(report_data(full_report))
    assert not (tmp_path / "bare" / "what_changed.svg").exists()


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
    for file in ("report.html", "report.json", "what_changed.svg"):
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


def test_the_kl_of_the_kept_policy_has_its_interval_or_says_of_what_it_is(full_report: ReportInput) -> None:
    behaviour = full_report.behaviour
    assert behaviour is not None
    measured = Estimate(mean=1.9, low=1.6, high=2.2, n=64)
    kept = full_report.model_copy(update={"behaviour": behaviour.model_copy(update={"kl_interval": measured})})
    row = next(row for row in figures_view(kept) if row["name"].startswith("KL"))
    assert (row["after"].mean, row["after"].interval, row["n"]) == ("1.90", "1.60 to 2.20", "64 prompts")
    assert "held out" in row["note"]
    row = next(row for row in figures_view(full_report) if row["name"].startswith("KL"))
    assert "drawn before that step's update" in row["note"]
    assert (row["after"].interval, row["n"][:4]) == ("", "step")


def test_a_pair_that_lost_a_measure_is_marked_and_only_by_measures_of_the_page(full_report: ReportInput) -> None:
    page = Page(render_report(full_report)).section("samples")
    marked = [article for article in page.find("article") if article.find("p", "fell")]
    assert [mark.text for article in marked for mark in article.find("p", "fell")] == [
        "Fell in this pair: helpful from 100 to 0"
    ]


def test_both_win_rates_name_their_judge_and_the_one_by_the_likelier_side_gives_the_mean_too(
    full_report: ReportInput,
) -> None:
    config = {**full_report.provenance.config, "judge": {"model": {"path": "/models/critic-7b"}}}
    provenance = full_report.provenance.model_copy(update={"config": config})
    report = full_report.model_copy(update={"provenance": provenance, "same_judge": True})
    page = Page(render_report(report))
    assert "Asked: the judge critic-7b." in page.section("changed").text
    assert "the judge critic-7b the likelier side counts; its mean probability is" in page.section("trust").text


@pytest.mark.parametrize("path", ["frontdesk", "/models/critic-7b"])
def test_a_planted_bias_is_said_beside_the_flips_and_only_of_the_front_desks_judge(
    full_report: ReportInput, path: str
) -> None:
    config = {**full_report.provenance.config, "judge": {"model": {"path": path}}}
    provenance = full_report.provenance.model_copy(update={"config": config})
    text = Page(render_report(full_report.model_copy(update={"provenance": provenance}))).section("trust").text
    assert ("planted bias" in text) == (path == "frontdesk")
    card = (ROOT / "rlaif" / "frontdesk" / "judge" / "README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("| clear pairs whose verdict flips")]
    assert line.rstrip("| ").endswith("0.5 %"), "the page gives this number"
