"""A run's labels as items: canonical order on both sides, people by pair and principle, ties where people tie."""

from __future__ import annotations

from rlaif.calibration.judged import JudgedPair
from rlaif.calibration.label_items import read_labelled
from rlaif.records import HumanLabel, Verdict

TEXTS = {"a": "one two", "b": "one", "c": "x", "d": "x"}


def label(
    who: str, choice: Verdict, ids: tuple[str, str], *, of: str = "overall", pi: float | None = 0.5
) -> HumanLabel:
    return HumanLabel(
        annotator=who, prompt_id=f"p {min(ids)}", sample_ids=ids, principle_id=of, choice=choice,
        inclusion_probability=pi,
    )  # fmt: skip


def test_people_who_saw_a_pair_in_either_order_choose_on_one_item() -> None:
    labels = [label("ann", "first", ("a", "b")), label("bob", "second", ("b", "a")), label("ann", "first", ("d", "c"))]
    judged = {(("a", "b"), "overall"): JudgedPair(0.3, -0.8), (("c", "d"), "brief"): JudgedPair(0.9, 2.2)}
    people, verdicts = read_labelled(labels, judged, texts=TEXTS)
    ab, cd = people.items
    assert ab.choices == {"ann": "first", "bob": "first"}
    assert (ab.key, ab.prompt, ab.principle, ab.weight, ab.words) == (
        ("a", "b", "overall"), ("p a",), "overall", 2.0, (2, 1),
    )  # fmt: skip
    assert cd.choices == {"ann": "second"}
    assert verdicts.verdicts == {("a", "b", "overall"): "second"}, (
        "the judge compared the other under no such principle"
    )
    assert people.is_drawn


def test_one_label_without_a_probability_leaves_all_of_them_without_weight() -> None:
    labels = [label("ann", "first", ("a", "b"), pi=0.1), label("ann", "tie", ("c", "d"), pi=None)]
    people, verdicts = read_labelled(labels, {(("c", "d"), "overall"): JudgedPair(0.505, 0.02)}, texts={})
    assert not people.is_drawn
    assert [(item.weight, item.words) for item in people.items] == [(1.0, None), (1.0, None)]
    assert [*verdicts.verdicts.values()] == ["tie"], "people tie, so that a label near one half is a tie"


def test_the_same_pair_under_two_principles_is_two_items() -> None:
    labels = [label("ann", "first", ("a", "b"), of=name) for name in ("kind", "brief")]
    people, _ = read_labelled(labels, {}, texts=TEXTS)
    assert [item.principle for item in people.items] == ["kind", "brief"]
