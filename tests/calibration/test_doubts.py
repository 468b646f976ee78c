"""Pairs on which a judge contradicts itself, or judges one another."""

from __future__ import annotations

from rlaif.calibration.doubts import find_doubts
from rlaif.records import Comparison, OrderVerdict, PrincipleKey, Verdict

PAIR = ("a", "b")


def comparison(
    principle: str, *logits: float | None, judge: str = "j", verdicts: tuple[Verdict, ...] = ("first", "first")
) -> Comparison:
    orders = tuple(OrderVerdict(verdict=verdict, logit=x) for verdict, x in zip(verdicts, logits, strict=False))
    return Comparison(
        prompt_id="p", sample_ids=PAIR, principle=PrincipleKey(id=principle, text_digest="d"), judge_id=judge,
        judgement_ids=("x",), p_first=0.5, logit=0.0, orders=orders, debiased=True,
    )  # fmt: skip


def test_a_flip_under_one_principle_is_no_flip_of_the_whole_that_others_decide() -> None:
    said = [comparison("brief", 0.5, -0.4), comparison("kind", 3.0, 2.0)]
    assert find_doubts(said, weights={"brief": 1, "kind": 1}).flipped == {(PAIR, "brief")}
    assert find_doubts(said, weights={"brief": 10, "kind": 1}).flipped == {(PAIR, "brief"), (PAIR, "overall")}
    assert find_doubts(said, weights={"kind": 1}).flipped == set()


def test_judges_differ_where_their_sums_over_the_principles_do() -> None:
    said = [
        comparison("brief", 1, 1), comparison("kind", 1, 1),
        comparison("brief", -1, -1, judge="k"), comparison("kind", 2, 2, judge="k"),
    ]  # fmt: skip
    found = find_doubts(said, weights={"brief": 1, "kind": 1})
    assert found.differ == {(PAIR, "brief")}
    assert found.flipped == set()
    assert find_doubts(said, weights={"brief": 3, "kind": 1}).differ == {(PAIR, "brief"), (PAIR, "overall")}


def test_verdicts_without_probabilities_and_older_records_tell_their_flips_too() -> None:
    verdicts = comparison("kind", None, None, verdicts=("first", "second"))
    assert find_doubts([verdicts], weights={"kind": 1}).flipped == {(PAIR, "kind"), (PAIR, "overall")}
    older = comparison("kind").model_copy(update={"flipped": True})
    assert find_doubts([older], weights={"kind": 1}).flipped == {(PAIR, "kind"), (PAIR, "overall")}
    one_order = comparison("kind").model_copy(update={"logit": 1.0})
    assert find_doubts([one_order], weights={"kind": 1}).flipped == set()
