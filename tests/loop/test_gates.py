"""Each gate closes on its own figure, at its own option, with a sentence, and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from rlaif.config.gates import GatesConfig
from rlaif.loop.gates import RoundFigures, find_closed_gates
from rlaif.records import Estimate

GOOD = RoundFigures(
    win_rate=Estimate(mean=0.66, low=0.61, high=0.71, n=200),
    accuracy=Estimate(mean=0.9, low=0.85, high=0.94, n=50),
    num_questions=1000,
    num_failed=100,
    num_compared=500,
    num_flipped=450,
    ended_before=0.98,
    ended_after=0.79,
)


def test_a_round_at_every_bound_goes_on() -> None:
    assert find_closed_gates(GOOD, config=GatesConfig()) == []


@pytest.mark.parametrize(
    ("change", "option", "off", "words"),
    [
        ({"stopped": "the KL is 21.0"}, "alarm", False, "broke off at an alarm: the KL is 21.0"),
        (
            {"win_rate": Estimate(mean=0.55, low=0.49, high=0.61, n=200)}, "min_win_rate", None,
            "0.550 (95 % interval 0.490 to 0.610, n 200)",
        ),
        ({"win_rate": None}, "min_win_rate", None, "every comparison with the starting policy failed"),
        ({"accuracy": Estimate(mean=0.6, low=0.5, high=0.7, n=9)}, "min_accuracy", None, "not clearly above 0.5"),
        ({"num_failed": 101}, "max_failed", None, "101 of 1000 questions"),
        ({"num_flipped": 451}, "max_flipped", None, "451 of 500 comparisons"),
        ({"ended_after": 0.77}, "max_eos_drop", None, "77.0% of its responses"),
    ],
)  # fmt: skip
def test_one_bad_figure_closes_one_gate_which_its_option_turns_off(
    change: dict[str, Any], option: str, off: bool | None, words: str
) -> None:
    figures = GOOD.model_copy(update=change)
    (closed,) = find_closed_gates(figures, config=GatesConfig())
    assert closed.name == f"gates.{option}"
    assert words in closed.sentence
    assert find_closed_gates(figures, config=GatesConfig(**{option: off})) == []


def test_a_share_at_its_bound_goes_on_however_the_product_rounds() -> None:
    for hundredths in range(100):  # .29 * 100 is 28.999999999999996
        at_bound = GOOD.model_copy(update={"num_questions": 100, "num_failed": hundredths})
        assert find_closed_gates(at_bound, config=GatesConfig(max_failed=hundredths / 100)) == []
    assert len(find_closed_gates(at_bound, config=GatesConfig(max_failed=0.98))) == 1


@pytest.mark.parametrize(
    "option", [{"min_win_rate": 0.61}, {"min_accuracy": 0.85}, {"max_failed": 0.09}, {"max_flipped": 0.89},
               {"max_eos_drop": 0.18}],
)  # fmt: skip
def test_a_stricter_option_closes_its_gate(option: dict[str, float]) -> None:
    assert [gate.name for gate in find_closed_gates(GOOD, config=GatesConfig(**option))] == [
        f"gates.{next(iter(option))}"
    ]


def test_a_fall_of_endings_that_few_prompts_make_by_chance_closes_no_gate() -> None:
    few = Estimate(mean=0.66, low=0.61, high=0.71, n=8)
    fallen = GOOD.model_copy(update={"win_rate": few, "ended_before": 0.875, "ended_after": 0.625})
    assert find_closed_gates(fallen, config=GatesConfig()) == [], "two of eight responses"
    fallen = fallen.model_copy(update={"ended_after": 0.25})
    assert [gate.name for gate in find_closed_gates(fallen, config=GatesConfig())] == ["gates.max_eos_drop"]


def test_what_was_not_measured_closes_no_gate() -> None:
    unknown = GOOD.model_copy(update={"accuracy": None, "ended_before": None, "ended_after": None, "num_compared": 0})
    unknown = unknown.model_copy(update={"num_flipped": 0, "num_questions": 0, "num_failed": 0})
    assert find_closed_gates(unknown, config=GatesConfig()) == []


def test_all_that_is_wrong_is_said_in_the_order_of_the_options() -> None:
    bad = GOOD.model_copy(update={"stopped": "after 3 steps", "win_rate": None, "num_failed": 1000, "ended_after": 0.0})
    names = [gate.name.removeprefix("gates.") for gate in find_closed_gates(bad, config=GatesConfig())]
    assert names == ["alarm", "min_win_rate", "max_failed", "max_eos_drop"]
