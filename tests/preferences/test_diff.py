"""Which decisions an edited principle file flips, by hand values."""

from __future__ import annotations

import pytest

from rlaif.config.generate import PreferencesConfig
from rlaif.preferences.diff import PreferenceDiff, diff_preferences
from rlaif.records import Comparison, Constitution, Principle, PrincipleKey, Sample

POLITE, KIND = (Principle(id="polite", text=text) for text in ("Be polite.", "Be kind."))
BRIEF = Principle(id="brief", text="Be brief.")


def file(*principles: Principle) -> Constitution:
    return Constitution(name="c", principles=principles, source="")


def weigh(principle: Principle, weight: float) -> Principle:
    return principle.model_copy(update={"weight": weight})


def pair(number: int) -> tuple[Sample, Sample]:
    one, other = (
        Sample(prompt_id=f"p{number}", policy_id="x", index=k, finish_reason="stop", text=f"{number} {k}")
        for k in range(2)
    )
    return (one, other) if one.id < other.id else (other, one)


PAIRS = [pair(number) for number in range(4)]


def compare(pair: tuple[Sample, Sample], principle: Principle, logit: float) -> Comparison:
    return Comparison(
        prompt_id=pair[0].prompt_id, sample_ids=(pair[0].id, pair[1].id), judge_id="j", judgement_ids=("a", "b"),
        principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
        p_first=0.9 if logit > 0 else 0.1, logit=logit, flipped=False, debiased=True,
    )  # fmt: skip


def diff(
    logits: dict[str, list[float]], old: Constitution, new: Constitution, *, min_margin: float = 0.0
) -> PreferenceDiff:
    principles = {"polite": POLITE, "kind": KIND, "brief": BRIEF}
    comparisons = [
        compare(pair, principles[name], logit)
        for name, row in logits.items()
        for pair, logit in zip(PAIRS, row, strict=False)
    ]
    config = PreferencesConfig(min_margin=min_margin)
    return diff_preferences(comparisons, old=old, new=new, pairs=PAIRS, config=config)


def test_a_new_text_flips_the_pairs_whose_mean_logit_changes_its_sign():
    # polite + brief: 2, -1, 1, 3 by halves; kind + brief: 2, 1, -2, 3
    logits = {"polite": [3, -3, 3, 3], "brief": [1, 1, -1, 3], "kind": [3, 1, -3, 3]}
    found = diff(logits, file(POLITE, BRIEF), file(KIND, BRIEF))
    assert [flip.prompt_id for flip in found.flips] == ["p2", "p1"], "the furthest move first"
    assert all(flip.flipped_by == ("polite",) for flip in found.flips)
    assert found.flips[1].old_label == pytest.approx(1 / (1 + 2.718281828459045))
    assert found.flips[1].new_label == pytest.approx(1 / (1 + 1 / 2.718281828459045))
    assert found.flipped is not None
    assert (found.flipped.mean, found.flipped.n) == (0.5, 4)
    [effect] = found.edits
    assert (effect.edit.kind, effect.num_flips) == ("text", 2)
    assert effect.own_flips is not None
    assert effect.own_flips.mean == 0.5
    assert (found.num_only_old, found.num_only_new, found.num_flipped_kept) == (0, 0, 2)


def test_a_changed_weight_flips_what_the_other_principle_held():
    logits = {"polite": [2, 2, -2, 1], "brief": [-1, -1.5, 1.5, 1]}
    found = diff(logits, file(POLITE, BRIEF), file(POLITE, weigh(BRIEF, 1.5)))
    assert {flip.prompt_id for flip in found.flips} == {"p1", "p2"}
    assert {flip.flipped_by for flip in found.flips} == {("brief",)}
    assert found.edits[0].own_flips is None, "its text is the same"


def test_a_flip_that_no_edit_makes_alone_is_told_apart():
    # polite 1, brief 2: 5 - 2 > 0. Brief alone at weight 2: 5 - 4; polite alone at .5: 2.5 - 2; both: 2.5 - 4 < 0.
    logits = {"polite": [5, 5, 5, 5], "brief": [-2, 2, 2, 2]}
    found = diff(logits, file(POLITE, BRIEF), file(weigh(POLITE, 0.5), weigh(BRIEF, 2)))
    [flip] = found.flips
    assert (flip.prompt_id, flip.flipped_by) == ("p0", ())
    assert found.num_flipped_together == 1
    assert [effect.num_flips for effect in found.edits] == [0, 0]


def test_what_training_gets_follows_the_runs_own_filter():
    # Labels of polite alone: .73 .95 .50+ .05; of kind alone: .52 .95 .95 .05
    logits = {"polite": [1, 3, 0.1, -3], "kind": [0.1, 3, 3, -3]}
    found = diff(logits, file(POLITE), file(KIND), min_margin=0.1)
    assert found.flips == ()
    assert (found.old_tally.dropped, found.new_tally.dropped) == ({"tie": 1}, {"tie": 1})
    assert (found.num_only_old, found.num_only_new, found.num_flipped_kept) == (1, 1, 0)


def test_a_pair_without_an_answer_under_one_file_is_counted_and_in_no_figure():
    found = diff({"polite": [1, 1, 1, 1], "kind": [-1, -1, -1]}, file(POLITE), file(KIND))
    assert (found.num_failed, len(found.flips)) == (1, 3)
    assert found.new_tally.dropped == {"failed_judgement": 1}
    assert found.flipped is not None
    assert found.flipped.n == 3


def test_the_only_principle_of_a_file_cannot_be_taken_away_alone():
    found = diff({"polite": [1] * 4, "brief": [-1] * 4}, file(POLITE), file(BRIEF))
    removed, added = found.edits
    assert (removed.edit.kind, removed.flips, removed.num_flips) == ("removed", None, 0)
    assert (added.edit.kind, added.num_flips) == ("added", 4), "1 and -1 cancel, and a tie is another decision"


def test_equal_files_have_no_edit_and_no_flip():
    found = diff({"polite": [1, -1, 1, 1]}, file(POLITE), file(POLITE))
    assert (found.edits, found.flips) == ((), ())
