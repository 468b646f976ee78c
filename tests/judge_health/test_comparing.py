"""Judges compared on labelled pairs: figures that a person can check by hand, and an interrupted comparison resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlaif.config.judge import JudgeConfig
from rlaif.errors import ConfigError, DataError
from rlaif.judge_health import comparing
from rlaif.judge_health.comparing import JudgeComparison, compare_judges
from rlaif.judge_health.labelled_pairs import LabelledPair, make_principle
from rlaif.judge_health.trial import Trial
from rlaif.judge_health.trial_figures import bootstrap_mean
from rlaif.judge_health.wordings import FRAMES
from rlaif.models.interface import TokenScorer
from rlaif.models.open import open_judge
from rlaif.models.scripted_engine import ScriptedAnswer, ScriptedQuestion
from rlaif.records import Constitution, Message, Principle

KIND = make_principle("Be kind.", "Be unkind.")
CALLS: list[ScriptedQuestion] = []


def kindness(text: str) -> int:
    return text.count("kind")


def by_kindness(question: ScriptedQuestion) -> ScriptedAnswer:
    """Prefers the kinder reply, less surely in other words; being shown first helps. Scores by kindness alone."""
    CALLS.append(question)
    wants = -1 if "Be unkind." in question.prompt else 1
    if len(question.choices) == 2:
        *_, first, second = question.texts
        gap = wants * (kindness(first) - kindness(second))
        p = min(0.95, max(0.05, 0.5 + 0.2 * gap + 0.05))
        return ScriptedAnswer((p, 1 - p))
    if question.choices[0] == " A":
        best = max(question.texts[1:], key=lambda text: wants * kindness(text))
        places = [text == best for text in question.texts[1:]]
        return ScriptedAnswer([0.8 if place else 0.2 for place in places] + [0.0] * (len(question.choices) - 2))
    top = 4 + wants * kindness(question.texts[-1])
    return ScriptedAnswer([0.8 if n == top else 0.2 / 8 for n in range(9)])


def only_at_first(question: ScriptedQuestion) -> ScriptedAnswer:
    """Prefers the reply shown first, whatever is in it."""
    return ScriptedAnswer((0.9, 0.1))


def dislikes_greetings(question: ScriptedQuestion) -> ScriptedAnswer:
    """Prefers the kinder reply, and the other one where the user greets."""
    p = by_kindness(question).probabilities
    return ScriptedAnswer((p[1], p[0]) if "Hello!" in question.prompt else p)


def refuses_long(question: ScriptedQuestion) -> ScriptedAnswer | str:
    return "refused" if any(len(text) > 25 for text in question.texts[1:]) else ScriptedAnswer((0.3, 0.7))


def make_pairs(num: int = 24, *, principle: Principle | None = KIND) -> list[LabelledPair]:
    """Pairs whose kind reply wins; it is the longer one in every third pair, and stands first in half of them."""
    pairs = []
    for number in range(num):
        good, bad = "so kind", "no" if number % 3 == 0 else "no, and I say no more"
        texts = (good, bad) if number % 2 else (bad, good)
        messages = (Message(role="user", content=f"question {number}"),)
        pairs.append(LabelledPair(messages, *texts, float(number % 2), principle, f"group {number % 2}"))
    return pairs


def judge_config(script: str = "by_kindness", *, template: str = "pair_verdict", **options: object) -> JudgeConfig:
    model = {"engine": "scripted", "path": f"{__name__}:{script}"}
    return JudgeConfig.model_validate({"model": model, "template": template, **options})


def compare(
    folder: Path, *judges: JudgeConfig, pairs: list[LabelledPair] | None = None, again: int = 0
) -> JudgeComparison:
    trial = Trial(make_pairs() if pairs is None else pairs, None)
    return compare_judges(trial, judges=judges or (judge_config(),), folder=folder, num_asked_again=again)


@pytest.mark.parametrize("template", ["pair_verdict", "pair", "score", "rank"])
def test_a_right_judge_is_right_in_every_mode_and_beats_length(tmp_path: Path, template: str) -> None:
    length, row = compare(tmp_path, judge_config(template=template)).rows
    assert length.right is not None
    assert length.right.mean == pytest.approx(1 / 3)
    assert row.right is not None
    assert (row.right.mean, row.num_decided, row.num_ties) == (1.0, 24, 0)
    assert row.beyond_length is not None
    assert row.beyond_length.mean == pytest.approx(2 / 3)
    assert row.beats_length
    assert row.failed_by_cause == {}
    assert (row.position_effect is None) == (template in ("score",))
    assert (row.flipped is None) == (template == "score")


def test_a_judge_that_goes_by_place_alone_is_half_right_by_ties_and_flips_always(tmp_path: Path) -> None:
    row = compare(tmp_path, judge_config("only_at_first")).rows[1]
    assert row.right is not None
    assert (row.right.mean, row.num_ties) == (0.5, 24)
    assert row.flipped is not None
    assert row.flipped.mean == 1.0
    assert row.position_effect is not None
    assert row.position_effect.mean == pytest.approx(2.197, abs=1e-3)
    assert not row.beats_length


def test_an_opposite_principle_turns_the_winner_pair_by_pair(tmp_path: Path) -> None:
    pairs = make_pairs()
    unkind = make_principle(KIND.opposite, KIND.text)
    turned = [
        pair._replace(principle=unkind, label=1 - pair.label) if n % 4 == 0 else pair for n, pair in enumerate(pairs)
    ]
    row = compare(tmp_path, pairs=turned).rows[1]
    assert row.right is not None
    assert row.right.mean == 1.0


def test_a_judge_survives_paraphrases_where_it_names_the_same_winner_in_all(tmp_path: Path) -> None:
    steady, unsteady = compare(tmp_path, judge_config(), judge_config("dislikes_greetings"), again=6).rows[1:]
    assert steady.survives is not None
    assert (steady.survives.mean, steady.survives.n) == (1.0, 6)
    assert unsteady.survives is not None
    assert unsteady.survives.mean == 0.0
    assert steady.right == unsteady.right


def test_each_paraphrase_rewords_the_principle_and_the_prompt(tmp_path: Path) -> None:
    CALLS.clear()
    compare(tmp_path, again=1)
    reworded = [question.prompt for question in CALLS[-6:]]
    for number, frame in enumerate(FRAMES):
        of_frame = reworded[2 * number : 2 * number + 2]
        assert all(frame.principle_frame.replace("{}", "Be kind.") in prompt for prompt in of_frame)
        assert all(frame.turn_frame.partition("{}")[0] in prompt for prompt in of_frame)


def test_a_few_pairs_show_nothing_beyond_length(tmp_path: Path) -> None:
    row = compare(tmp_path, pairs=make_pairs(19)).rows[1]
    assert row.beyond_length is not None
    assert row.beyond_length.low > 0
    assert row.beats_length is False


def test_failures_are_counted_by_cause_and_are_no_verdicts(tmp_path: Path) -> None:
    pairs = make_pairs()
    pairs[0] = pairs[0]._replace(first="no " * 20)
    row = compare(tmp_path, judge_config("refuses_long"), pairs=pairs).rows[1]
    assert (row.num_pairs, row.num_decided, row.failed_by_cause) == (24, 23, {"refused": 2})


def test_pairs_labelled_a_tie_are_in_no_share(tmp_path: Path) -> None:
    pairs = [*make_pairs(), make_pairs(25)[24]._replace(label=0.5)]
    comparison = compare(tmp_path, pairs=pairs)
    assert (comparison.num_pairs, comparison.num_ties) == (25, 1)
    assert [row.num_pairs for row in comparison.rows] == [24, 24]


def test_accuracy_is_given_by_group(tmp_path: Path) -> None:
    row = compare(tmp_path).rows[1]
    assert {group: (found.mean, found.n) for group, found in row.by_group.items()} == {
        "group 0": (1.0, 12), "group 1": (1.0, 12)
    }  # fmt: skip


def test_a_comparison_that_was_interrupted_asks_only_what_is_missing(tmp_path: Path) -> None:
    config = judge_config(batch_tokens=1000)
    whole = compare(tmp_path / "whole", config)
    CALLS.clear()

    def break_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "compute_row", break_off)
        with pytest.raises(KeyboardInterrupt):
            compare(tmp_path / "broken", config)
    assert len(CALLS) == 48
    again = compare(tmp_path / "broken", config)
    assert len(CALLS) == 48
    untimed = {"rows": {"__all__": {"seconds"}}}
    assert again.model_dump(exclude=untimed) == whole.model_dump(exclude=untimed)


def test_each_model_is_loaded_once_whatever_the_order_of_the_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def count(config: JudgeConfig, **options: Any) -> TokenScorer:
        opened.append(config.model.path)
        return open_judge(config, **options)

    monkeypatch.setattr(comparing, "open_judge", count)
    rows = compare(tmp_path, judge_config(), judge_config("only_at_first"), judge_config(template="pair")).rows
    assert len(opened) == 2
    assert [row.template for row in rows] == ["", "pair_verdict", "pair", "pair_verdict"]


def test_more_pairs_ask_only_about_the_new_ones(tmp_path: Path) -> None:
    compare(tmp_path, pairs=make_pairs(8))
    CALLS.clear()
    compare(tmp_path, pairs=make_pairs(12))
    assert len(CALLS) == 8


def test_pairs_without_a_principle_are_judged_by_the_constitution(tmp_path: Path) -> None:
    pairs = make_pairs(principle=None)
    with pytest.raises(DataError, match="24 of 24 pairs have no principle to be judged by"):
        compare(tmp_path, pairs=pairs)
    principles = (KIND.model_copy(update={"weight": 3.0}), Principle(id="b", text="Be unkind.", weight=1.0))
    trial = Trial(pairs, Constitution(name="c", principles=principles, source=""))
    row = compare_judges(trial, judges=[judge_config()], folder=tmp_path).rows[1]
    assert row.right is not None
    assert row.right.mean == 1.0
    assert row.tokens is not None
    assert row.tokens > 0


def test_a_judge_that_cannot_be_asked_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    CALLS.clear()
    with pytest.raises(ConfigError, match="gives no log-likelihood of a given response"):
        compare(tmp_path, judge_config(), judge_config(template="contrast"))
    assert (CALLS, list(tmp_path.iterdir())) == ([], [])


def test_the_bootstrap_of_a_mean_draws_clusters() -> None:
    apart = bootstrap_mean([1.0, 0.0] * 50, clusters=range(100))
    assert (apart.mean, apart.n) == (0.5, 100)
    assert apart.low == pytest.approx(0.40, abs=0.02)
    assert apart.high == pytest.approx(0.60, abs=0.02)
    together = bootstrap_mean([1.0, 0.0] * 50, clusters=[n // 2 for n in range(100)])
    assert (together.low, together.high) == (0.5, 0.5)
