"""What options ask for becomes cells, or is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from rlaif.errors import ConfigError
from rlaif.study.plan import Prices, Recipe, buy, make_plan, read_recipe

PRICES = Prices(demo_cost=10, label_cost=1, judgement_cost=0.1, label_kind="thumb", algorithm="rloo")


def plan(**changed: Any) -> Any:
    given = {"recipes": "sft,rl,sft+rl@.4", "budgets": "320,80", "noises": "0,.1", "num_seeds": 2, "prices": PRICES}
    return make_plan(**given | changed)


def test_cells_are_ordered_seed_by_seed_and_cheap_ones_first() -> None:
    cells = plan().cells()
    assert len(cells) == 2 * 2 * (2 + 1 + 2)
    assert [cell.seed for cell in cells] == [0] * 10 + [1] * 10
    assert [cell.budget for cell in cells[:10]] == [80] * 5 + [320] * 5


def test_a_recipe_without_demonstrations_has_one_cell_for_all_noises() -> None:
    assert [cell.noise for cell in plan(recipes="rl,sft", budgets="80", num_seeds=1).cells()] == [None, 0.0, 0.1]


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("sft", Recipe(("sft",), 1.0)),
        ("rl", Recipe(("rl",), 0.0)),
        ("sft+rl@.4", Recipe(("sft", "rl"), 0.4)),
        ("rl+sft@0.25", Recipe(("rl", "sft"), 0.25)),
    ],
)
def test_recipes_are_read(text: str, recipe: Recipe) -> None:
    assert read_recipe(text) == recipe
    assert read_recipe(recipe.name) == recipe


@pytest.mark.parametrize(
    ("recipe", "budget", "bought"),
    [
        ("sft", 5120, (512, 0, 0, 5120)),
        ("rl", 5120, (0, 80, 16, 5120)),
        ("rl", 100, (0, 2, 12, 96)),
        ("sft+rl@.4", 320, (12, 3, 16, 120 + 192)),
    ],
)
def test_a_budget_buys_demonstrations_and_whole_steps(recipe: str, budget: float, bought: tuple[float, ...]) -> None:
    assert tuple(buy(read_recipe(recipe), budget, PRICES)) == bought


def test_a_choice_is_one_label_of_four_responses() -> None:
    choices = PRICES.model_copy(update={"label_kind": "choice4"})
    assert buy(read_recipe("rl"), 80, choices).responses == 320
    judgements = PRICES.model_copy(update={"label_kind": "judgement"})
    assert buy(read_recipe("rl"), 64, judgements).responses == 640


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"recipes": "sft,dpo"}, 'there is no recipe "dpo" (--recipes)'),
        ({"recipes": "sft+rl"}, "sft+rl does not say how its budget is divided (--recipes): write sft+rl@.4"),
        ({"recipes": "sft+rl@1.5"}, "a share of 1.5 is not between 0 and 1"),
        ({"recipes": "sft+rl@-.2"}, "a share of -.2 is not between 0 and 1"),
        ({"recipes": "sft+rl@1"}, "for all or nothing write sft or rl"),
        ({"recipes": "rl+rl@.4"}, "rl+rl@.4 trains by rl twice"),
        ({"recipes": "sft,sft"}, "sft stands twice (--recipes)"),
        ({"recipes": "sft,,rl"}, 'the list "sft,,rl" has an empty place (--recipes)'),
        ({"budgets": "5"}, "a budget of 5 does not buy one demonstration of sft: 5 is to spend on them"),
        ({"budgets": "20", "recipes": "sft+rl@.4"}, "8 is to spend on them, and one costs 10"),
        ({"budgets": "7", "recipes": "rl"}, "a budget of 7 does not buy feedback on 8 responses of rl"),
        ({"budgets": "320 EUR"}, '"320 EUR" is no number (--budgets): budgets are plain numbers in the unit of'),
        ({"budgets": "1e9"}, "a budget of 1e9 is not between 0 and 1e+06"),
        ({"budgets": "-80"}, "a budget of -80 is not between 0"),
        ({"budgets": "nan"}, '"nan" is no number'),
        ({"noises": "1"}, "a noise of 1 is no probability below 1 (--demo-noise)"),
        ({"num_seeds": 0}, "0 seeds are not between 1 and 100"),
        ({"prices": PRICES.model_copy(update={"demo_cost": 0.0})}, "a price of 0 is not above zero (--demo-cost)"),
        ({"prices": PRICES.model_copy(update={"label_cost": float("nan")})}, "a price of nan is not above zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_studied_is_refused_in_a_sentence(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan(**changed)
    assert sentence in str(refused.value)
