"""Edits between two principle files, and what the file is once one of them alone is made."""

from rlaif.constitution.diff import apply_edits, find_edits
from rlaif.records import Constitution, Principle


def file(**principles: tuple[str, float]) -> Constitution:
    made = tuple(Principle(id=name, text=text, weight=weight) for name, (text, weight) in principles.items())
    return Constitution(name="c", principles=made, source="")


OLD = file(polite=("Be polite.", 1), brief=("Be brief.", 2), calm=("Be calm.", 1), idle=("Be idle.", 0))


def test_each_kind_of_edit_has_its_name_and_what_is_alike_is_none():
    new = file(polite=("Be kind.", 1), brief=("Be brief.", 3), idle=("Be idle.", 1), calm=("Be calm.", 1))
    assert [(edit.principle_id, edit.kind) for edit in find_edits(OLD, new)] == [
        ("polite", "text"), ("brief", "weight"), ("idle", "added"),
    ]  # fmt: skip


def test_a_weight_of_zero_is_a_removal_and_text_and_weight_may_change_together():
    new = file(polite=("Be kind.", 5), brief=("Be brief.", 0), calm=("Be calm.", 1))
    assert [(edit.principle_id, edit.kind) for edit in find_edits(OLD, new)] == [
        ("polite", "text and weight"), ("brief", "removed"),
    ]  # fmt: skip


def test_one_edit_alone_leaves_all_else_as_it_was():
    new = file(polite=("Be kind.", 1), sure=("Be sure.", 1))
    edits = {edit.principle_id: edit for edit in find_edits(OLD, new)}
    assert [p.text for p in apply_edits(OLD, [edits["polite"]])] == ["Be kind.", "Be brief.", "Be calm."]
    assert [p.text for p in apply_edits(OLD, [edits["brief"]])] == ["Be polite.", "Be calm."]
    assert [p.text for p in apply_edits(OLD, [edits["sure"]])] == ["Be polite.", "Be brief.", "Be calm.", "Be sure."]
    assert {p.id for p in apply_edits(OLD, list(edits.values()))} == {p.id for p in new.principles}
