from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.config.generate import PreferencesConfig
from rlaif.errors import ConstitutionError, StageError
from rlaif.preferences.pairing import Judged, Relabelling, label_pairs, pair_comparisons
from rlaif.records import Comparison, Constitution, Panel, PanelMember, Preference, Principle, PrincipleKey, Sample
from rlaif.stats.logits import sigmoid

Compare = Callable[..., Comparison]
KEEP_ALL = PreferencesConfig()
AB_AND_CD = (("a", "b"), ("c", "d"))


def test_a_label_is_the_sigmoid_of_the_weighted_mean_of_the_logits(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [compare("courteous", 0.8, logit=1.4), compare("brief", 0.4, logit=-0.4)]
    preference = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=2).preferences[0]
    # (3 * 1.4 + 1 * -0.4) / 4 = 0.95
    assert preference.label == pytest.approx(1 / (1 + math.exp(-0.95)))
    assert preference.sample_ids == ("a", "b")
    assert preference.evidence_ids == tuple(comparison.id for comparison in comparisons)
    assert (preference.judge_id, preference.constitution_id, preference.round) == (
        "judge",
        constitution.id,
        2,
    )


def test_verdicts_without_logit_give_the_weighted_mean_of_their_probabilities(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [compare("courteous", 1.0), compare("brief", 0.5, logit=0.0)]
    pairing = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0)
    # (3 * 1.0 + 1 * 0.5) / 4
    assert pairing.preferences[0].label == 0.875


def test_a_pair_that_lacks_a_judgement_under_a_principle_that_counts_is_dropped_not_averaged(
    constitution: Constitution, compare: Compare
) -> None:
    whole = [compare(name, 0.8, logit=1.4) for name in ("courteous", "brief")]
    partial = [compare("courteous", 0.8, logit=1.4, ids=("c", "d"))]
    pairing = pair_comparisons([*whole, *partial], constitution=constitution, config=KEEP_ALL, round=0)
    assert [preference.sample_ids for preference in pairing.preferences] == [("a", "b")]
    assert str(pairing.tally) == "in 2, kept 1, dropped 1 (failed_judgement 1)"


def test_a_pair_whose_every_question_failed_is_counted(
    constitution: Constitution, compare: Compare, samples: list[Sample]
) -> None:
    asked = [(samples[0], samples[1]), (samples[2], samples[3])]
    ids = tuple(sorted(sample.id for sample in asked[0]))
    comparisons = [
        compare(name, 0.8, logit=1.4, ids=ids, prompt_id=samples[0].prompt_id) for name in ("courteous", "brief")
    ]
    pairing = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0, pairs=asked)
    assert str(pairing.tally) == "in 2, kept 1, dropped 1 (failed_judgement 1)"


def test_a_principle_that_weighs_nothing_needs_no_judgement(compare: Compare, constitution: Constitution) -> None:
    courteous, brief = constitution.principles
    alone = constitution.changed(principles=[courteous, brief.model_copy(update={"weight": 0.0})])
    pairing = pair_comparisons([compare("courteous", 0.8, logit=1.4)], constitution=alone, config=KEEP_ALL, round=0)
    assert pairing.preferences[0].label == pytest.approx(1 / (1 + math.exp(-1.4)))


def test_a_constitution_without_weight_cannot_decide(constitution: Constitution) -> None:
    weightless = constitution.changed(
        principles=[principle.model_copy(update={"weight": 0.0}) for principle in constitution.principles]
    )
    with pytest.raises(ConstitutionError, match="weight above 0"):
        pair_comparisons([], constitution=weightless, config=KEEP_ALL, round=0)


def test_near_ties_and_pairs_flipped_under_every_principle_are_dropped_by_name(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [
        *(compare(name, 0.6, logit=0.4, ids=("a", "b")) for name in ("courteous", "brief")),
        *(compare(name, 0.9, logit=2.2, ids=("c", "d"), flipped=True) for name in ("courteous", "brief")),
        compare("courteous", 0.9, logit=2.2, ids=("e", "f"), flipped=True),
        compare("brief", 0.9, logit=2.2, ids=("e", "f"), flipped=False),
    ]
    config = PreferencesConfig(min_margin=0.2, drop_flipped=True)
    pairing = pair_comparisons(comparisons, constitution=constitution, config=config, round=0)
    assert [preference.sample_ids for preference in pairing.preferences] == [("e", "f")]
    assert str(pairing.tally) == "in 3, kept 1, dropped 2 (flipped 1, tie 1)"


def test_one_order_alone_cannot_be_flipped(constitution: Constitution, compare: Compare) -> None:
    comparisons = [compare(name, 1.0, flipped=None) for name in ("courteous", "brief")]
    config = PreferencesConfig(drop_flipped=True)
    assert pair_comparisons(comparisons, constitution=constitution, config=config, round=0).tally.kept == 1


def two_judges(compare: Compare, *, brief_of_strict: float | None = -1.4) -> list[Comparison]:
    """One is for the first by 1.4 logits, the other against it by as much; both under both principles."""
    said = [("kind", "courteous", 1.4), ("kind", "brief", 1.4), ("strict", "courteous", -1.4)]
    comparisons = [compare(name, sigmoid(s), logit=s, judge_id=judge) for judge, name, s in said]
    return [*comparisons, compare("brief", 0.0, logit=brief_of_strict, judge_id="strict")]


def test_judges_without_a_panel_count_alike_and_make_one_preference(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = two_judges(compare)
    (preference,) = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0).preferences
    assert preference.label == 0.5
    assert preference.judge_id == Panel.of("kind", "strict").id
    assert preference.evidence_ids == tuple(comparison.id for comparison in comparisons)


def test_a_judge_that_weighs_three_times_as_much_moves_the_label_three_times_as_far(
    constitution: Constitution, compare: Compare
) -> None:
    panel = Panel(members=(PanelMember(judge_id="strict", weight=1.0), PanelMember(judge_id="kind", weight=3.0)))
    comparisons = two_judges(compare)
    pairing = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0, panel=panel)
    # (3 * 1.4 - 1 * 1.4) / 4 = 0.7
    assert pairing.preferences[0].label == pytest.approx(1 / (1 + math.exp(-0.7)))
    assert pairing.preferences[0].evidence_ids == tuple(c.id for c in (*comparisons[2:], *comparisons[:2]))


def test_with_a_judge_without_log_probabilities_the_probabilities_of_all_are_averaged(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = two_judges(compare, brief_of_strict=None)
    label = label_pairs(comparisons, constitution=constitution)[("a", "b")]
    # strict: (3 * sigmoid(-1.4) + 1 * 0) / 4; kind: sigmoid(1.4); the mean of both
    assert label.p_first == pytest.approx((0.75 * sigmoid(-1.4) + sigmoid(1.4)) / 2)
    assert label.logit is None


def test_a_pair_without_the_whole_label_of_a_judge_is_dropped_unless_fewer_are_enough(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = two_judges(compare)[:-1]
    panel = Panel.of("kind", "strict")
    strict = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0, panel=panel)
    assert str(strict.tally) == "in 1, kept 0, dropped 1 (too_few_judges 1)"
    assert label_pairs(comparisons, constitution=constitution, panel=panel) == {}
    one = PreferencesConfig(min_judges=1)
    lenient = pair_comparisons(comparisons, constitution=constitution, config=one, round=0, panel=panel)
    (preference,) = lenient.preferences
    assert preference.label == pytest.approx(sigmoid(1.4))
    assert preference.judge_id == panel.id, "the panel that was asked"
    assert preference.evidence_ids == (comparisons[0].id, comparisons[1].id), "and those that answered"


def test_a_judge_that_answered_nothing_at_all_is_missed(constitution: Constitution, compare: Compare) -> None:
    panel = Panel.of("kind", "silent")
    comparisons = two_judges(compare)[:2]
    pairing = pair_comparisons(comparisons, constitution=constitution, config=KEEP_ALL, round=0, panel=panel)
    assert str(pairing.tally) == "in 1, kept 0, dropped 1 (too_few_judges 1)"


def test_another_judge_or_weight_is_another_panel_and_one_judge_is_none() -> None:
    panel = Panel.of("kind", "strict")
    assert panel.judge_id == panel.id == Panel.of("kind", "strict").judge_id
    heavier = Panel(members=(panel.members[0], PanelMember(judge_id="strict", weight=2.0)))
    elsewhere = Panel(members=(panel.members[0], PanelMember(judge_id="strict", template_digest="t")))
    assert len({panel.id, heavier.id, elsewhere.id, Panel.of("kind", "other").id}) == 4
    assert Panel.of("kind").judge_id == "kind"
    assert Panel.of().judge_id is None


def test_two_answers_to_one_question_are_an_error_and_the_same_one_twice_is_not(
    constitution: Constitution, compare: Compare
) -> None:
    once = [compare(name, 0.8, logit=1.4) for name in ("courteous", "brief")]
    assert pair_comparisons([*once, once[0]], constitution=constitution, config=KEEP_ALL, round=0).tally.kept == 1
    with pytest.raises(StageError, match="two different comparisons"):
        pair_comparisons([*once, compare("brief", 0.7, logit=0.8)], constitution=constitution, config=KEEP_ALL, round=0)


_PROBABILITIES = st.floats(0.0, 1.0)
_JUDGED = st.tuples(_PROBABILITIES, st.floats(-30, 30), st.floats(0.01, 100))


@given(_JUDGED)
def test_a_comparison_listed_the_other_way_round_gives_the_same_label(
    judged: tuple[float, float, float],
) -> None:
    p, logit, weight = judged
    principle = Principle(id="p", text="Text.", weight=weight)
    listed = Comparison(
        prompt_id="prompt",
        sample_ids=("a", "b"),
        principle=PrincipleKey(id="p", text_digest=principle.digest),
        judge_id="judge",
        judgement_ids=("first", "second"),
        p_first=p,
        logit=logit,
        debiased=True,
    )
    swapped = listed.changed(sample_ids=("b", "a"), p_first=1 - p, logit=-logit)
    constitution = Constitution(name="c", principles=(principle,), source="")
    one, other = (label_pairs([comparison], constitution=constitution) for comparison in (listed, swapped))
    assert one == other
    assert list(one) == [("a", "b")]


def human(label: float, *, ids: tuple[str, str] = ("a", "b")) -> Preference:
    return Preference(
        prompt_id="prompt", sample_ids=ids, label=label, weight=5.0, source="human", evidence_ids=("label",)
    )


def test_the_judges_label_goes_through_the_calibration_before_it_is_filtered(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [compare(name, 0.8, logit=1.0, ids=ids) for name in ("courteous", "brief") for ids in AB_AND_CD]
    seen: list[tuple[tuple[str, str], Judged]] = []

    def relabel(ids: tuple[str, str], judged: Judged) -> float:
        seen.append((ids, judged))
        return 0.51 if ids == ("a", "b") else 0.9

    pairing = pair_comparisons(
        comparisons, constitution=constitution, config=PreferencesConfig(min_margin=0.1), round=0,
        relabelling=Relabelling("card", relabel),
    )  # fmt: skip
    assert [ids for ids, _ in seen] == [("a", "b"), ("c", "d")]
    assert seen[0][1].label.logit == pytest.approx(1.0)
    assert sum(part.share for part in seen[0][1].parts) == pytest.approx(1.0)
    assert [(part.principle_id, part.judge_id, part.logit) for part in seen[0][1].parts] == [
        ("courteous", "judge", 1.0), ("brief", "judge", 1.0),
    ]  # fmt: skip
    ((preference),) = pairing.preferences
    assert (preference.sample_ids, preference.label, preference.calibration_id) == (("c", "d"), 0.9, "card")
    assert pairing.tally.dropped == {"tie": 1}


def test_peoples_preference_stands_instead_of_the_judges_whatever_the_filters_say(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [compare(name, 0.5, logit=0.0, ids=ids) for name in ("courteous", "brief") for ids in AB_AND_CD]
    given = {("a", "b"): human(0.5), ("x", "y"): human(1.0, ids=("x", "y"))}
    pairing = pair_comparisons(
        comparisons, constitution=constitution, config=PreferencesConfig(min_margin=0.1), round=0, human=given
    )
    assert pairing.preferences == [given["a", "b"], given["x", "y"]], "pairs of others come last"
    assert str(pairing.tally) == "in 3, kept 2, dropped 1 (tie 1)"


def test_people_decide_a_pair_that_the_judge_failed_on(
    constitution: Constitution, compare: Compare, samples: list[Sample]
) -> None:
    pair = (samples[0], samples[1])
    a, b = sorted(sample.id for sample in pair)
    pairing = pair_comparisons(
        [], constitution=constitution, config=KEEP_ALL, round=0, pairs=[pair], human={(a, b): human(1.0, ids=(a, b))}
    )
    assert (len(pairing.preferences), pairing.tally.kept, pairing.tally.num_dropped) == (1, 1, 0)


def test_where_two_judges_compared_a_pair_peoples_preference_stands_once(
    constitution: Constitution, compare: Compare
) -> None:
    comparisons = [compare(n, 0.8, logit=1.0, judge_id=j) for n in ("courteous", "brief") for j in ("one", "two")]
    pairing = pair_comparisons(
        comparisons, constitution=constitution, config=KEEP_ALL, round=0, human={("a", "b"): human(1.0)}
    )
    assert len(pairing.preferences) == 1
    assert str(pairing.tally) == "in 1, kept 1, dropped 0"


def test_only_pairs_compared_under_every_principle_have_a_label(constitution: Constitution, compare: Compare) -> None:
    comparisons = [
        compare("courteous", 0.8, logit=1.0), compare("brief", 0.8, logit=2.0), compare("brief", 0.8, ids=("c", "d"))
    ]  # fmt: skip
    labels = label_pairs(comparisons, constitution=constitution)
    assert list(labels) == [("a", "b")]
    assert labels["a", "b"].logit == pytest.approx((3 * 1.0 + 1 * 2.0) / 4)


@pytest.mark.parametrize("gone", ["b", "prompt"])
def test_a_pair_with_a_redacted_text_is_dropped_by_name_whoever_labelled_it(
    constitution: Constitution, compare: Compare, gone: str
) -> None:
    comparisons = [compare(name, 0.8, logit=1.4, ids=ids) for ids in AB_AND_CD for name in ("courteous", "brief")]
    prompt_id = comparisons[0].prompt_id
    human = {
        pair: Preference(prompt_id=prompt_id, sample_ids=pair, label=1.0, source="human", evidence_ids=("l",))
        for pair in (("a", "b"), ("b", "e"))
    }
    redacted = {prompt_id} if gone == "prompt" else {gone}
    pairing = pair_comparisons(
        comparisons, constitution=constitution, config=KEEP_ALL, round=0, human=human, redacted=redacted
    )
    left = [] if gone == "prompt" else [("c", "d")]
    assert [preference.sample_ids for preference in pairing.preferences] == left
    assert (pairing.tally.num_in, pairing.tally.dropped) == (3, {"redacted": 3 - len(left)})
