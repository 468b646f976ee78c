"""What a study compares: recipes, budgets, prices, seeds -> its cells, or one sentence that says what is wrong.

Reads no file and trains nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from rlaif.errors import ConfigError

Step = Literal["sft", "rl"]
LabelKind = Literal["thumb", "rating", "choice4", "judgement"]
"""What people say of responses while a policy is trained by rewards. thumb: whether one response is good. rating: the
share of the wanted qualities that it has. choice4: which of four responses is best; one label. judgement: the rating
of a simulated judge that errs as the front desk's judge does, priced as a judgement and not as a label."""
Algorithm = Literal["rloo", "grpo", "ppo"]
LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)
START = "start"
"""Stands for a recipe in the cell of the starting policy, which nothing was spent on."""
CHOICE_SIZE = 4
"""Responses that are shown for one choice, and drawn to each prompt."""
RESPONSES_PER_STEP = 64
"""Responses in a training step by rewards, about."""
MAX_BUDGET = 1_000_000.0
MAX_SEEDS = 100
Value = TypeVar("Value")
_RECIPE = re.compile(r"(sft|rl)(?:\+(sft|rl)@(-?[0-9]*\.?[0-9]+))?")


class Recipe(NamedTuple):
    """Which methods train, in which order, and what each may cost."""

    order: tuple[Step, ...]
    share: float
    """Share of the budget that buys demonstrations, whichever comes first."""

    @property
    def name(self) -> str:
        return "+".join(self.order) + (f"@{self.share:g}" if len(self.order) > 1 else "")

    @property
    def shows(self) -> bool:
        """Whether demonstrations are bought, so that their noise matters."""
        return "sft" in self.order


class Prices(BaseModel):
    """What a study pays for, and how; cells of one folder share it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    demo_cost: float
    """Price of one demonstration, in the unit of the budgets."""
    label_cost: float
    """Price of one thumb, rating or choice."""
    judgement_cost: float
    label_kind: LabelKind
    algorithm: Algorithm
    """How a policy is trained by rewards."""

    @property
    def per_response(self) -> float:
        """What the feedback on one response costs."""
        if self.label_kind == "judgement":
            return self.judgement_cost
        return self.label_cost / CHOICE_SIZE if self.label_kind == "choice4" else self.label_cost


class Cell(NamedTuple):
    """One training of a study."""

    recipe: Recipe
    budget: float
    noise: float | None
    """Of the demonstrations; None for a recipe without them, whose cell stands in every panel."""
    seed: int

    @property
    def key(self) -> tuple[str, float, float | None, int]:
        return (self.recipe.name, self.budget, self.noise, self.seed)

    def describe(self) -> str:
        noise = "" if self.noise is None else f", demo noise {self.noise:g}"
        return f"{self.recipe.name}, budget {self.budget:g}{noise}, seed {self.seed}"


class Bought(NamedTuple):
    """What a budget buys."""

    demonstrations: int
    steps: int
    """Training steps by rewards."""
    prompts_per_step: int
    """Prompts of each step, each with four responses."""
    cost: float
    """What is spent: a rest that fills no step is left."""

    @property
    def responses(self) -> int:
        """Responses that people, or a judge, say something of."""
        return self.steps * self.prompts_per_step * CHOICE_SIZE


class Plan(NamedTuple):
    """A whole study."""

    recipes: tuple[Recipe, ...]
    budgets: tuple[float, ...]
    noises: tuple[float, ...]
    num_seeds: int
    prices: Prices

    def cells(self) -> list[Cell]:
        """All trainings, seed by seed, so that a study that is stopped has whole seeds; cheap ones first."""
        return [
            Cell(recipe, budget, noise, seed)
            for seed in range(self.num_seeds)
            for budget in self.budgets
            for recipe in self.recipes
            for noise in (self.noises if recipe.shows else (None,))
        ]


def buy(recipe: Recipe, budget: float, prices: Prices) -> Bought:
    """What a recipe buys for a budget."""
    num_demos = math.floor(budget * recipe.share / prices.demo_cost + 1e-9)
    groups = math.floor(budget * (1.0 - recipe.share) / prices.per_response + 1e-9) // CHOICE_SIZE
    steps = min(groups, max(2, round(groups * CHOICE_SIZE / RESPONSES_PER_STEP)))
    bought = Bought(num_demos, steps, groups // steps if steps else 0, 0.0)
    return bought._replace(cost=num_demos * prices.demo_cost + bought.responses * prices.per_response)


def make_plan(
    *,
    recipes: str,
    budgets: str,
    noises: str,
    num_seeds: int,
    prices: Prices,
) -> Plan:
    """The study that options ask for. recipes, budgets, noises: lists as they were typed, with commas between.

    Raises ConfigError: for a recipe that does not exist, a share outside (0, 1), what is no number, a price that is
    not above zero, and a budget that does not buy one demonstration, or one group of responses, of each recipe.
    """
    for name, price in (
        ("--demo-cost", prices.demo_cost),
        ("--label-cost", prices.label_cost),
        ("--judgement-cost", prices.judgement_cost),
    ):
        if not (math.isfinite(price) and price > 0):
            raise ConfigError(f"a price of {price:g} is not above zero", where=name, fix="give a price such as 1")
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise ConfigError(f"{num_seeds} seeds are not between 1 and {MAX_SEEDS}", where="--seeds", fix="five are usual")
    plan = Plan(
        tuple(_read_list(recipes, read_recipe, where="--recipes")),
        tuple(sorted(_read_list(budgets, _read_budget, where="--budgets"))),
        tuple(sorted(_read_list(noises, _read_noise, where="--demo-noise"))),
        num_seeds,
        prices,
    )
    for recipe in plan.recipes:
        for budget in plan.budgets:
            _check_budget(recipe, budget, prices)
    return plan


def read_recipe(text: str) -> Recipe:
    """`sft`, `rl`, `sft+rl@.4` or `rl+sft@.4`: the number is the share of the budget that buys demonstrations."""
    found = _RECIPE.fullmatch(text)
    if found is None:
        if re.fullmatch(r"(sft\+rl|rl\+sft)", text):
            raise ConfigError(
                f"{text} does not say how its budget is divided",
                where="--recipes",
                fix=f"write {text}@.4 for four tenths on demonstrations",
            )
        raise ConfigError(
            f'there is no recipe "{text[:80]}"',
            where="--recipes",
            fix="recipes are sft, rl, sft+rl@SHARE and rl+sft@SHARE, where SHARE of the budget buys demonstrations",
        )
    first: Step = "sft" if found[1] == "sft" else "rl"
    second, share = found[2], found[3]
    if second is None:
        return Recipe((first,), 1.0 if first == "sft" else 0.0)
    if first == second:
        raise ConfigError(f"{text} trains by {first} twice", where="--recipes", fix=f"write {first}")
    if not 0 < float(share) < 1:
        raise ConfigError(
            f"a share of {share} is not between 0 and 1",
            where=f"--recipes {text}",
            fix="give the part of the budget that buys demonstrations, such as .4; for all or nothing write sft or rl",
        )
    return Recipe((first, "rl" if first == "sft" else "sft"), float(share))


def _read_list(text: str, read: Callable[[str], Value], *, where: str) -> list[Value]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigError(
            f'the list "{text[:80]}" has an empty place', where=where, fix="write values with commas between"
        )
    values = [read(part) for part in parts]
    for part, value in zip(parts, values, strict=True):
        if values.count(value) > 1:
            raise ConfigError(f"{part} stands twice", where=where, fix="leave one out")
    return values


def _read_number(text: str, *, where: str, fix: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f'"{text[:80]}" is no number', where=where, fix=fix)
    return value


def _read_budget(text: str) -> float:
    unit = "budgets are plain numbers in the unit of --demo-cost and --label-cost, such as 1280"
    value = _read_number(text, where="--budgets", fix=unit)
    if not 0 < value <= MAX_BUDGET:
        raise ConfigError(f"a budget of {text} is not between 0 and {MAX_BUDGET:g}", where="--budgets", fix=unit)
    return value


def _read_noise(text: str) -> float:
    fix = "give the probability with which a demonstration lacks a quality, such as 0 or .1"
    value = _read_number(text, where="--demo-noise", fix=fix)
    if not 0 <= value < 1:
        raise ConfigError(f"a noise of {text} is no probability below 1", where="--demo-noise", fix=fix)
    return value


def _check_budget(recipe: Recipe, budget: float, prices: Prices) -> None:
    bought = buy(recipe, budget, prices)
    if recipe.shows and bought.demonstrations < 1:
        raise ConfigError(
            f"a budget of {budget:g} does not buy one demonstration of {recipe.name}: {budget * recipe.share:g} is to "
            f"spend on them, and one costs {prices.demo_cost:g}",
            where="--budgets",
            fix="raise the budget or the share, or lower --demo-cost; budgets are in the unit of the prices",
        )
    if "rl" in recipe.order and bought.steps < 2:
        raise ConfigError(
            f"a budget of {budget:g} does not buy feedback on {2 * CHOICE_SIZE} responses of {recipe.name}, the least "
            f"that two prompts take: one costs {prices.per_response:g}",
            where="--budgets",
            fix="raise the budget, or lower the price; budgets are in the unit of the prices",
        )
