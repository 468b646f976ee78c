"""Where a test of an edit stands, by hand values: what counts how, when it is certified, and what never certifies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from rlaif.calibration.answers import Answered, Event, replay
from rlaif.calibration.edit_test import Standing, asked_items, count_longer, gain, interleave, stand
from rlaif.records import EditItem, EditTest, Verdict


def make_item(name: str, old: Verdict = "first", new: Verdict = "second", *, by: str = "brief") -> EditItem:
    return EditItem(
        item_id=name, prompt_id=f"p{name}", sample_ids=(f"a{name}", f"b{name}"), old=old, new=new, lengths=(3, 4),
        flipped_by=(by,) if old != new else (),
    )  # fmt: skip


def make_test(num_flips: int, num_rest: int = 0, *, failed_new: int = 0, budget: int | None = None) -> EditTest:
    return EditTest(
        sheet_id="s", run="001", round=0, old_constitution_id="o", new_constitution_id="n", old_digest="o" * 64,
        new_digest="n" * 64, judge_ids=("j",), template_digests=(), guideline_digest="g", seed=0, alpha=0.05,
        directions=("better", "worse"), budget=num_flips + num_rest if budget is None else budget,
        flips=tuple(make_item(f"f{n}") for n in range(num_flips)),
        rest=tuple(make_item(f"r{n}", "first", "first") for n in range(num_rest)),
        left_out={}, failed_old={}, failed_new={"refused": failed_new} if failed_new else {},
    )  # fmt: skip


WORDS = {"n": "second", "o": "first", "t": "tie", "u": "unclear"}


def answer(items: Sequence[EditItem], says: str, *, name: str = "ann", order: str = "ab") -> Answered:
    """says: a letter an item; n for the new side of a flip, o for the old one, t, u, s to skip it, z to change it."""
    events = [Event(event="begin", at="t", annotator=name)]
    for item, letter in zip(items, says, strict=False):
        about = {"at": "t", "item": item.item_id, "order": order}
        if letter == "s":
            events.append(Event(event="skip", at="t", item=item.item_id))
        for choice in {"z": "ozn", "Z": "nzo"}.get(letter, letter):
            if choice == "z":
                events.append(Event(event="undo", at="t", item=item.item_id))
            elif choice in WORDS:
                word = WORDS[choice]
                turned = {"first": "second", "second": "first"}.get(word, word) if order == "ba" else word
                events.append(Event(event="answer", choice=turned, **about))
    return replay(events)


def stand_at(says: str, *, flips: int = 400, failed_new: int = 0, order: str = "ab") -> Standing:
    test = make_test(flips, failed_new=failed_new)
    return stand(test, [answer(test.flips, says, order=order)])


def test_a_flip_counts_by_the_side_people_take_and_a_step_from_a_tie_by_half():
    assert [gain(make_item("x"), side) for side in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]
    assert [gain(make_item("x", "tie", "first"), side) for side in (1.0, 0.5, 0.0)] == [0.75, 0.25, 0.25]
    assert gain(make_item("x", "first", "first"), 0.0) == 0.5, "nothing changes outside the flips"


def test_three_flips_stand_before_each_pair_of_the_rest_and_the_budget_cuts_the_sheet():
    test = make_test(7, 4)
    assert [item.item_id for item in interleave(test.flips, test.rest)] == (
        ["f0", "f1", "f2", "r0", "f3", "f4", "f5", "r1", "f6", "r2", "r3"]
    )  # fmt: skip
    assert [item.item_id for item in asked_items(test.changed(budget=4))] == ["f0", "f1", "f2", "r0"]


def test_seven_labels_of_one_kind_certify_and_six_do_not():
    assert stand_at("nnnnnn").decision == "undecided"
    for says, decision in (("nnnnnnn", "better"), ("ooooooo", "worse")):
        for order in ("ab", "ba"):
            assert stand_at(says, order=order).decision == decision
    certified = stand_at("nnnnnnn")
    assert certified.log_better >= math.log(20) > certified.log_worse
    assert certified.num_expected is None
    assert certified.theta is not None
    assert certified.delta is not None
    assert certified.theta.mean == 1.0
    assert certified.delta.mean == 1.0, "all pairs flip"


def test_what_is_certified_once_stays_certified_whatever_comes_after():
    assert stand_at("nnnnnnn" + "o" * 6).decision == "better"


def test_a_tie_and_an_unclear_answer_cost_a_label_and_move_nothing_between_two_sides():
    plain, mixed = stand_at("nnnnnnn"), stand_at("tntnunnununn")
    assert mixed.decision == "better"
    assert (mixed.num_ties, mixed.num_unclear, mixed.num_labelled) == (2, 3, 12)
    assert mixed.log_better < plain.log_better * 1.2
    assert stand_at("t" * 40, flips=40).decision == "undecided", "a census of ties is on the border"


def test_a_skipped_item_counts_against_either_certificate_until_it_has_an_answer():
    assert stand_at("nnnsnnnn").decision == "undecided"
    assert stand_at("nnnsnnnn").num_open == 1
    assert stand_at("ooosoooo").decision == "undecided"
    assert stand_at("nnnnnnns").decision == "better", "what is not labelled yet is not in the way"


def test_a_certificate_must_hold_with_first_answers_and_with_those_that_replaced_them():
    assert stand_at("nnnnnnz").decision == "undecided", "the first answer was for the old side"
    assert stand_at("nnnnnnZ").decision == "undecided"


def test_a_new_file_that_leaves_more_pairs_without_a_label_is_not_certified():
    standing = stand_at("nnnnnnn", failed_new=1)
    assert (standing.decision, standing.is_withheld) == ("undecided", True)
    assert stand_at("ooooooo", failed_new=1).decision == "worse"


def test_a_finished_list_is_decided_by_its_majority_exactly():
    standing = stand_at("nonon", flips=5)
    assert (standing.decision, standing.is_finished, standing.is_spent) == ("better", True, True)
    assert standing.theta is not None
    assert (standing.theta.low, standing.theta.mean, standing.theta.high) == (0.6, 0.6, 0.6)
    assert stand_at("nono", flips=4).decision == "undecided"


def test_of_several_people_an_item_has_the_mean_and_is_open_until_all_answered_it():
    test = make_test(400)
    both = [answer(test.flips, "nnnnnnnnnn", name="ann"), answer(test.flips, "nnnnnnnon", name="bob")]
    standing = stand(test, both)
    assert standing.num_labelled == 9
    assert standing.decision == "better"
    assert standing.theta is not None
    assert standing.theta.mean == pytest.approx(8.5 / 9)
    assert stand(test, [both[0], answer(test.flips, "", name="bob")]).decision == "undecided"


def test_agreement_over_all_pairs_counts_flips_and_rest_by_their_shares():
    test = make_test(10, 90, budget=40)
    flips, rest = answer(test.flips, "nnnnnnnnno"), answer(test.rest, "o" * 20 + "n" * 5)
    state = flips._replace(answers={**flips.answers, **rest.answers}, firsts={**flips.firsts, **rest.firsts})
    standing = stand(test, [state])
    assert standing.agreement_old is not None
    assert standing.agreement_new is not None
    assert standing.delta is not None
    assert standing.agreement_old.mean == pytest.approx(0.1 * 0.1 + 0.9 * 0.8)
    assert standing.agreement_new.mean == pytest.approx(0.1 * 0.9 + 0.9 * 0.8)
    assert standing.delta.mean == pytest.approx(0.1 * 0.8)
    assert standing.agreement_new.low < standing.agreement_new.mean < standing.agreement_new.high
    assert stand(test, [flips]).agreement_old is None, "nothing is known of the rest"


def test_flips_are_counted_by_the_principle_that_makes_them_and_by_length():
    flips = (make_item("a", by="brief"), make_item("b", by="kind"), make_item("c", "second", "first", by="kind"))
    test = make_test(0).changed(flips=flips, budget=3)
    found = stand(test, [answer(flips, "noo")]).by_principle
    assert [(one.principle_id, one.num_flips, one.theta) for one in found] == [("brief", 1, 1.0), ("kind", 2, 0.5)]
    assert count_longer(flips) == (2, 3)
    assert count_longer([make_item("d", "first", "tie")]) == (0, 0)


def test_labels_still_to_expect_are_few_where_people_agree_and_all_where_they_do_not():
    assert stand_at("nnn").num_expected is None, "too few to say"
    sure, unsure = stand_at("nnnnn", flips=200), stand_at("nonononononon", flips=60)
    assert sure.num_expected == 2
    assert unsure.num_expected is not None
    assert unsure.num_expected > 20


def test_without_answers_nothing_is_claimed():
    standing = stand(make_test(5, 3), [])
    assert (standing.decision, standing.theta, standing.delta, standing.num_labelled) == ("undecided", None, None, 0)
