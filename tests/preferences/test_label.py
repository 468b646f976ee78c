"""What a comparison counts as, and a pair's label, under every option of a recipe: by hand, and swapped."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.calibration.judged import JudgedPair
from rlaif.calibration.mix import relabel
from rlaif.config.preferences import PreferencesConfig
from rlaif.errors import ConfigError
from rlaif.preferences.label import LabelRule, find_reason_to_drop
from rlaif.preferences.pairing import Judged, Relabelling, label_pairs, pair_comparisons
from rlaif.records import (
    CalibrationMap,
    Comparison,
    Constitution,
    OrderVerdict,
    Preference,
    Principle,
    PrincipleKey,
    Verdict,
)
from rlaif.stats.logits import sigmoid

KIND, BRIEF, TRUE = (
    Principle(id=name, text=f"Be {name}.", weight=w) for name, w in (("kind", 1), ("brief", 3), ("true", 1))
)


def compare(
    principle: Principle, *logits: float, verdicts: tuple[Verdict, ...] = (), pair: tuple[str, str] = ("a", "b")
) -> Comparison:
    """By the log-odds of the pair's first sample in each order; or by verdicts alone."""
    said: list[Verdict] = list(verdicts) or ["first" if logit > 0 else "second" for logit in logits]
    orders = [OrderVerdict(verdict=verdict, logit=logits[n] if logits else None) for n, verdict in enumerate(said)]
    logit = math.fsum(logits) / len(logits) if logits else None
    p = sigmoid(logit) if logit is not None else math.fsum({"first": 1, "tie": 0.5}.get(v, 0) for v in said) / len(said)
    return Comparison(
        prompt_id=f"of {pair[0]}", sample_ids=pair, judge_id="judge", judgement_ids=("j", "k"),
        principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
        p_first=p, logit=logit, flipped=set(said) == {"first", "second"},
        orders=tuple(orders), debiased=len(said) > 1,
    )  # fmt: skip


def label(*comparisons: Comparison, **options: object) -> Preference:
    """One pair under as many principles."""
    known = {principle.id: principle for principle in (KIND, BRIEF, TRUE)}
    names = dict.fromkeys(comparison.principle.id for comparison in comparisons)
    constitution = Constitution(name="c", principles=tuple(known[name] for name in names), source="")
    config = PreferencesConfig.model_validate(options)
    [preference] = pair_comparisons(comparisons, constitution=constitution, config=config, round=0).preferences
    return preference


def test_by_default_log_odds_are_averaged_and_nothing_further_is_kept() -> None:
    made = label(compare(KIND, 2.0, 0.0), compare(BRIEF, -1.0, -1.0))
    # (1 * 1 + 3 * -1) / 4
    assert made.label == pytest.approx(sigmoid(-0.5))
    assert made.making is None


def test_probabilities_are_averaged_over_the_orders_as_lee_et_al_do() -> None:
    made = label(compare(KIND, math.log(9), 0.0), average="probabilities")
    # .9 shown first, .5 shown second: .7; log-odds averaged would be sigmoid(log 3) = .75
    assert made.label == pytest.approx(0.7)
    assert made.making is not None
    assert made.making.options == {"average": "probabilities"}
    assert made.making.counted[0].logit == pytest.approx(math.log(7 / 3))


def test_an_average_of_certain_probabilities_stays_finite() -> None:
    assert label(compare(KIND, 800.0, 900.0), average="probabilities").label == pytest.approx(1.0)


def test_orders_that_disagree_count_as_a_tie() -> None:
    made = label(compare(KIND, 3.0, -1.0), compare(TRUE, 2.0, 2.0), inconsistent="tie")
    assert made.label == pytest.approx(sigmoid((0 + 2) / 2))
    assert made.making is not None
    assert [counted.why for counted in made.making.counted] == ["orders_disagree", ""]
    assert label(compare(KIND, 3.0, -1.0), inconsistent="average").label == pytest.approx(sigmoid(1.0))


@pytest.mark.parametrize(
    ("verdicts", "p"),
    [
        (("first", "first"), 1.0), (("second", "second"), 0.0), (("tie", "tie"), 0.5),
        (("first", "second"), 0.5), (("first", "tie"), 0.5), (("tie", "second"), 0.5),
    ],
)  # fmt: skip
def test_mt_bench_wins_only_what_both_orders_say(verdicts: tuple[Verdict, ...], p: float) -> None:
    assert label(compare(KIND, verdicts=verdicts), verdicts="hard", inconsistent="tie").label == p


def test_hard_verdicts_leave_the_log_probabilities_out() -> None:
    assert label(compare(KIND, 0.1, 0.1), verdicts="hard").label == 1.0
    assert label(compare(KIND, 0.1, -5.0), verdicts="hard").label == 0.5


def test_normalised_principles_count_by_their_own_spread() -> None:
    # Under "kind" the root mean square is sqrt((9 + 1) / 2), under "true" 0.1.
    comparisons = [
        compare(KIND, 3.0, 3.0), compare(TRUE, -0.1, -0.1),
        compare(KIND, 1.0, 1.0, pair=("c", "d")), compare(TRUE, 0.1, 0.1, pair=("c", "d")),
    ]  # fmt: skip
    constitution = Constitution(name="c", principles=(KIND, TRUE), source="")
    config = PreferencesConfig(normalise="principle")
    one, other = pair_comparisons(comparisons, constitution=constitution, config=config, round=0).preferences
    assert one.label == pytest.approx(sigmoid((3 / math.sqrt(5) - 1) / 2))
    assert other.label == pytest.approx(sigmoid((1 / math.sqrt(5) + 1) / 2))


def test_the_principle_under_which_the_judge_is_surest_decides_alone() -> None:
    made = label(compare(KIND, 2.0, 2.0), compare(TRUE, -2.5, -2.5), combine="dominant")
    assert made.label == pytest.approx(sigmoid(-2.5))
    assert made.making is not None
    assert [counted.why for counted in made.making.counted] == ["not_dominant", ""]
    # Brief weighs three: 3 * 1 beats 1 * 2.5.
    assert label(compare(BRIEF, 1.0, 1.0), compare(TRUE, -2.5, -2.5), combine="dominant").label == pytest.approx(
        sigmoid(1)
    )


def test_a_drawn_subset_is_geometric_and_the_same_for_every_run_with_the_seed() -> None:
    principles = [Principle(id=f"p{n}", text=f"Text {n}.") for n in range(12)]
    rule = LabelRule(PreferencesConfig(subset_p=0.2, subset_max=8), seed=3)
    drawn = []
    for pair in range(2000):
        of_pair = [compare(principle, 1.0, 1.0, pair=(f"a{pair}", f"b{pair}")) for principle in principles]
        counted = rule.combine(of_pair, principles).counted
        drawn.append([n for n, one in enumerate(counted) if one.is_used])
        assert (
            counted
            == LabelRule(PreferencesConfig(subset_p=0.2, subset_max=8), seed=3).combine(of_pair, principles).counted
        )
    sizes = Counter(map(len, drawn))
    assert set(sizes) == set(range(1, 9))
    assert sizes[1] / 2000 == pytest.approx(0.2, abs=0.03)
    assert sizes[8] / 2000 == pytest.approx(0.8**7, abs=0.03), "all longer draws are cut to eight"
    often = Counter(n for subset in drawn for n in subset)
    assert max(often.values()) / min(often.values()) < 1.2, "every principle as often"


def test_labels_are_hardened_turned_and_clamped_after_the_filters() -> None:
    assert label(compare(KIND, 0.2, 0.2), labels="hard").label == 1.0
    assert label(compare(KIND, 3.0, 3.0), clamp=0.4).label == 0.6
    assert label(compare(KIND, -3.0, -3.0), clamp=0.4).label == 0.4
    assert label(compare(KIND, 0.1, 0.1), clamp=0.4).label == pytest.approx(sigmoid(0.1))
    # Clamped to .6 it would be nearer to one half than .2; before it is not.
    assert label(compare(KIND, 3.0, 3.0), clamp=0.4, min_margin=0.2).label == 0.6
    assert label(compare(KIND, 0.0, 0.0, verdicts=("tie", "tie")), labels="hard").label == 0.5


def test_the_noise_turns_its_share_of_the_labels_and_says_which() -> None:
    pairs = [(f"a{n}", f"b{n}") for n in range(2000)]
    constitution = Constitution(name="c", principles=(KIND,), source="")
    config = PreferencesConfig(label_noise=0.1)
    comparisons = [compare(KIND, 1.0, 1.0, pair=pair) for pair in pairs]
    made = pair_comparisons(comparisons, constitution=constitution, config=config, round=0, seed=1).preferences
    turned = [p for p in made if p.making is not None and p.making.turned]
    assert len(turned) / 2000 == pytest.approx(0.1, abs=0.02)
    assert all(p.label == pytest.approx(sigmoid(-1.0 if p in turned else 1.0)) for p in made)
    again = pair_comparisons(comparisons, constitution=constitution, config=config, round=0, seed=1).preferences
    other = pair_comparisons(comparisons, constitution=constitution, config=config, round=0, seed=2).preferences
    assert [p.id for p in again] == [p.id for p in made] != [p.id for p in other]


def test_a_calibration_reads_the_combined_label_and_what_comes_after_it_reads_the_calibrated_one() -> None:

    constitution = Constitution(name="c", principles=(KIND,), source="")
    config = PreferencesConfig(average="probabilities", clamp=0.2)
    seen = []

    def relabel(pair: tuple[str, str], judged: Judged) -> float:
        seen.append(judged)
        return 0.95

    [made] = pair_comparisons(
        [compare(KIND, math.log(9), 0.0)], constitution=constitution, config=config, round=0,
        relabelling=Relabelling("card", relabel),
    ).preferences  # fmt: skip
    assert [found.label.p_first for found in seen] == [pytest.approx(0.7)]
    assert made.label == 0.8
    assert made.making is not None
    assert (made.making.combined, made.making.calibrated) == (pytest.approx(0.7), 0.95)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "average": st.sampled_from(["logits", "probabilities"]),
        "inconsistent": st.sampled_from(["average", "tie"]),
        "normalise": st.sampled_from(["none", "principle"]),
        "combine": st.sampled_from(["weighted", "dominant"]),
        "subset_p": st.floats(0.05, 0.95),
        "labels": st.sampled_from(["soft", "hard"]),
        "label_noise": st.floats(0, 0.4),
        "clamp": st.floats(0, 0.45),
    },
)
LOGITS = st.tuples(*[st.floats(-20, 20)] * 2)


@given(OPTIONS, st.lists(LOGITS, min_size=3, max_size=3))
def test_whatever_the_options_turning_a_pair_round_turns_its_label(
    options: dict[str, object], logits: list[tuple[float, float]]
) -> None:
    principles = (KIND, BRIEF, TRUE)
    one = label(*(compare(p, *two) for p, two in zip(principles, logits, strict=True)), **options)
    other = label(
        *(compare(p, -two[0], -two[1], verdicts=_turned(two)) for p, two in zip(principles, logits, strict=True)),
        **options,
    )
    assert one.label + other.label == pytest.approx(1.0, abs=1e-9)


def _turned(logits: tuple[float, float]) -> tuple[Verdict, ...]:
    """The helper calls a logit of zero a verdict for the second: turned round it is one for the first."""
    return tuple("second" if logit > 0 else "first" for logit in logits)


def test_a_label_without_an_order_of_its_own_counts_as_its_whole() -> None:
    scored = compare(KIND, 1.5, 1.5).changed(orders=(), flipped=None)
    for options in ({"average": "probabilities"}, {"inconsistent": "tie"}):
        assert label(scored, **options).label == pytest.approx(sigmoid(1.5))
    assert label(scored, verdicts="hard").label == 1.0
    assert label(scored.changed(flipped=True), inconsistent="tie").label == 0.5
    assert label_pairs([scored], constitution=Constitution(name="c", principles=(KIND,), source=""))


@pytest.mark.parametrize("option", ["average: probabilities", "normalise: principle"])
def test_what_is_about_log_probabilities_goes_with_no_hard_verdicts(option: str) -> None:
    from rlaif.config.load import parse_config

    with pytest.raises(ConfigError, match="is about log-probabilities"):
        parse_config(f"preferences: {{verdicts: hard, {option}}}", where="x")


def test_a_margin_drops_a_pair_and_its_mirror_image_alike() -> None:
    config = PreferencesConfig(min_margin=0.05)
    # .55 - .5 rounds to more than .05, .5 - .45 to less
    for label, reason in ((0.55, None), (0.45, None), (0.549, "tie"), (0.451, "tie")):
        assert find_reason_to_drop(label, [], config=config) == reason


def exchange(comparison: Comparison) -> Comparison:
    """The comparison as it would be with the texts of the two samples exchanged."""
    other: dict[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}
    orders = tuple(
        OrderVerdict(verdict=other[order.verdict], logit=None if order.logit is None else -order.logit)
        for order in reversed(comparison.orders)
    )
    logit = None if comparison.logit is None else -comparison.logit
    return comparison.changed(orders=orders, p_first=1 - comparison.p_first, logit=logit)


SAID = st.lists(st.floats(-40, 40), min_size=2, max_size=2) | st.lists(
    st.sampled_from(["first", "second", "tie"]), min_size=2, max_size=2
)
OPTIONS = st.sampled_from(
    [
        {}, {"average": "probabilities"}, {"inconsistent": "tie"}, {"verdicts": "hard"}, {"normalise": "principle"},
        {"combine": "dominant"}, {"subset_p": 0.5}, {"labels": "hard"}, {"label_noise": 0.4}, {"clamp": 0.1},
        {"kind": "ranking"},
    ]
)  # fmt: skip


@given(st.tuples(SAID, SAID, SAID), OPTIONS, st.sampled_from([None, 0.7]))
def test_exchanging_the_responses_exchanges_the_label_to_the_last_bit(said, options, slope):
    constitution = Constitution(name="c", principles=(KIND, BRIEF, TRUE), source="")
    config = PreferencesConfig.model_validate(options)
    map = CalibrationMap(kind="temperature", slope=slope or 1.0)
    calibrated = Relabelling("c", lambda pair, judged: relabel(map, JudgedPair(*judged.label), first="a", second="b"))

    def label_of(comparisons: list[Comparison]) -> float:
        [preference] = pair_comparisons(
            comparisons, constitution=constitution, config=config, round=0, relabelling=slope and calibrated
        ).preferences
        return preference.label

    forth = [
        compare(principle, verdicts=tuple(orders)) if isinstance(orders[0], str) else compare(principle, *orders)
        for principle, orders in zip((KIND, BRIEF, TRUE), said, strict=True)
    ]
    assert label_of(forth) + label_of([exchange(comparison) for comparison in forth]) == 1
