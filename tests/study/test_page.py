"""The files of a study: what the page says, what the data hold, and a picture that any reader opens."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import LAPTOP, PHONE, chromium, width_of
from page import Page
from planted_cells import BUDGETS, make_cell, plant

from rlaif.errors import DataError
from rlaif.study.curves import Range
from rlaif.study.page import describe_range, render_study, write_study
from rlaif.study.plan import START, Prices
from rlaif.study.summary import Study, summarise

PRICES = Prices(demo_cost=10, label_cost=1, judgement_cost=0.1, label_kind="thumb", algorithm="rloo")


@pytest.fixture(scope="module")
def study() -> Study:
    clean = [cell.model_copy(update={"noise": 0.0}) for cell in plant(num_seeds=3) if cell.recipe != "rl"]
    start = make_cell("rl", 0, 0.034).model_copy(update={"recipe": START})
    return summarise([start, *plant(num_seeds=3), *clean], PRICES)


def test_the_page_tells_verdicts_means_fits_and_prices(study: Study) -> None:
    page = Page(render_study(study))
    assert [len(page.root.find("td", css)) for css in ("supported", "refuted", "undecided")] == [6, 0, 0]
    words = page.section("panel-1").text
    assert "Who imitates them perfectly succeeds in 59.0 %." in words
    assert "sft+rl@0.4 overtakes sft" in words
    assert "sigmoid, AICc" in words
    assert "The starting policy succeeds in 3.4 %." in page.section("curves").text
    assert "means over 3 whole seeds" in page.section("curves").text
    assert "A demonstration costs 10" in page.section("facts").text
    assert "script" not in page.tags
    assert page.links == []


def test_the_data_hold_every_cell_and_every_number_of_the_page(study: Study, tmp_path: Path) -> None:
    write_study(study, tmp_path)
    data = json.loads((tmp_path / "curves.json").read_text())
    assert len(data["cells"]) == 1 + 3 * 4 * (4 + 3)
    assert (data["seeds"], data["start"]) == ([0, 1, 2], 0.034)
    clean, noisy = data["panels"]
    assert (clean["demo_noise"], noisy["demo_noise"]) == (0.0, 0.1)
    assert noisy["imitation_ceiling"] == pytest.approx(0.9**5)
    assert noisy["curves"]["sft"]["budgets"] == list(BUDGETS)
    assert {fit["family"] for fit in noisy["curves"]["rl"]["fits"]} == {"power", "sigmoid"}
    assert [decision["verdict"] for decision in noisy["decisions"]] == ["supported"] * 3


def test_the_picture_has_a_panel_for_each_noise_and_a_mark_for_each_mean(study: Study, tmp_path: Path) -> None:
    write_study(study, tmp_path)
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}g")
    assert len(panels) == 2
    for panel in panels:
        marks = [one for one in panel.iter() if "mark" in one.get("class", "")]
        assert len(marks) == 4 * len(BUDGETS)
        assert len(panel.findall(f"{space}polyline")) == 4
    assert "sft 30\u202f% at 80" in root.findtext(f"{space}desc", "")


def test_a_study_of_one_seed_says_that_it_decides_nothing() -> None:
    page = Page(render_study(summarise(plant(num_seeds=1), PRICES)))
    assert len(page.root.find("td", "undecided")) == 3
    assert "needs two seeds or more" in page.section("panel-0").text
    assert "none: needs four budgets and six cells" in page.section("panel-0").text


def test_unfinished_seeds_are_named() -> None:
    cells = plant(num_seeds=3, keep=lambda cell: not (cell.recipe == "rl" and cell.seed == 2 and cell.budget > 80))
    page = Page(render_study(summarise(cells, PRICES)))
    assert "they are left out: rl 1 seed" in page.section("curves").text


@pytest.mark.parametrize(
    ("found", "percent", "said"),
    [
        (Range(0.5712, 0.56, 0.582), True, "57.1\u202f% (56.0 to 58.2)"),
        (Range(1045.1, 995.4, 1103.6), False, "1\u202f045 (995 to 1\u202f104)"),
        (Range(300.0, 200.0, 400.0, 0.5), False, "300 (200 to 400), in 50\u202f% of the resamples"),
        (Range(None), False, "none"),
    ],
)
def test_ranges_are_said_with_their_interval(found: Range, percent: bool, said: str) -> None:
    assert describe_range(found, percent=percent) == said


@pytest.mark.heavy
def test_the_page_fits_a_phone_and_a_laptop(study: Study, tmp_path: Path) -> None:
    page_path = write_study(study, tmp_path)
    with chromium() as browser:
        for size in (PHONE, LAPTOP):
            page = browser.new_page(viewport=size)  # type: ignore[arg-type]
            page.goto(page_path.as_uri())
            wide, window = width_of(page)
            assert wide <= window
            assert page.locator("svg.cv").first.is_visible()


def test_a_study_without_a_finished_training_is_told() -> None:
    with pytest.raises(DataError, match="no training of this study is finished yet"):
        summarise([make_cell("rl", 0, 0.034).model_copy(update={"recipe": START})], PRICES)
