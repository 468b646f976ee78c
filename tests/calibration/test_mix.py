"""The judge's labels and people's together: agreement, the map, and people's own preferences."""

from __future__ import annotations

import random

import pytest

from rlaif.calibration.human_rows import find_whole, human_preferences
from rlaif.calibration.judged import JudgedPair
from rlaif.calibration.mix import (
    calibrate_judge,
    describe_mix,
    relabel,
)
from rlaif.records import CalibrationCard, CalibrationMap, Constitution, HumanLabel, Principle, Tally, Verdict

TWO = Constitution(
    name="two", principles=(Principle(id="kind", text="x"), Principle(id="brief", text="y", weight=2.0)), source="s"
)
ONE = Constitution(
    name="one", principles=(Principle(id="kind", text="x"), Principle(id="z", text="z", weight=0)), source="s"
)
PAIR = ("a", "b")


def label(
    choice: Verdict, *, who: str = "ann", pair: tuple[str, str] = PAIR, of: str = "overall", **more: object
) -> HumanLabel:
    fields = {
        "annotator": who,
        "prompt_id": f"p {sorted(pair)}",
        "sample_ids": pair,
        "principle_id": of,
        "choice": choice,
    }
    return HumanLabel.model_validate({**fields, **more})


def calibrated(
    labels: list[HumanLabel],
    judged: dict[tuple[tuple[str, str], str], JudgedPair],
    *,
    texts: dict[str, str] | None = None,
) -> CalibrationCard | None:
    return calibrate_judge(
        labels,
        judged,
        texts=texts or {i: "word" for pair, _ in judged for i in pair},
        judge_id="judge",
        constitution=TWO,
        labels_digest="digest",
        human_weight=5.0,
    )


def test_several_people_make_a_soft_label_in_canonical_order() -> None:
    labels = [
        label("first"),
        label("second", who="bob", pair=("b", "a")),
        label("tie", who="cem"),
        label("second", who="d"),
    ]
    (preference,) = human_preferences(labels, weight=5.0, constitution=TWO, round=1).values()
    # for "a": 1, 1 (second of b, a), 1/2 and 0
    assert preference.label == pytest.approx(2.5 / 4)
    assert (preference.sample_ids, preference.weight, preference.source, preference.round) == (PAIR, 5.0, "human", 1)
    assert preference.evidence_ids == tuple(given.id for given in labels)
    assert preference.judge_id is None


def test_people_may_be_combined_by_how_often_each_of_them_errs() -> None:
    rng = random.Random(2)
    labels, truths = [], {}
    for number in range(300):
        pair = (f"{number:03}a", f"{number:03}b")
        truths[pair] = rng.random() < 0.5
        for who, right in (("ann", 0.97), ("bob", 0.75), ("cem", 0.7), ("dan", 0.6), ("eva", 0.6)):
            first = truths[pair] == (rng.random() < right)
            shown = pair if rng.random() < 0.5 else pair[::-1]
            labels.append(label("first" if first == (shown == pair) else "second", who=who, pair=shown))
    by_mean, by_errors = (
        human_preferences(labels, weight=1.0, constitution=TWO, round=0, combine=combine)  # type: ignore[arg-type]
        for combine in ("mean", "dawid_skene")
    )
    right_by_mean, right_by_errors = (
        sum((row.label > 0.5) == truths[pair] for pair, row in rows.items()) for rows in (by_mean, by_errors)
    )
    assert right_by_errors >= 280 > right_by_mean, (right_by_errors, right_by_mean)
    turned = [given.changed(choice="second" if given.choice == "first" else "first") for given in labels]
    other = human_preferences(turned, weight=1.0, constitution=TWO, round=0, combine="dawid_skene")
    for pair, row in by_errors.items():
        assert row.label + other[pair].label == pytest.approx(1.0)


def test_a_label_of_one_of_several_principles_makes_no_preference() -> None:
    assert human_preferences([label("first", of="kind")], weight=1.0, constitution=TWO, round=0) == {}
    assert len(human_preferences([label("first", of="kind")], weight=1.0, constitution=ONE, round=0)) == 1
    assert find_whole([label("first", of="brief")], TWO) == []


def test_agreement_counts_a_pair_once_by_what_most_people_chose() -> None:
    labels = [
        label("first"), label("first", who="bob"), label("second", who="cem"),
        label("first", pair=("c", "d")), label("second", who="bob", pair=("c", "d")),
    ]  # fmt: skip
    judged = {(("a", "b"), "overall"): JudgedPair(0.9, 2.2), (("c", "d"), "overall"): JudgedPair(0.5, 0.0)}
    card = calibrated(labels, judged)
    assert card is not None
    # most chose a over b as the judge did; c and d have one vote each, a tie, and so says the judge
    assert (card.before.n, card.before.share.mean) == (2, 1.0)
    assert card.before.base_rates == {"first": 0.5, "tie": 0.5}
    # ann-bob agree, ann-cem and bob-cem do not; ann-bob on the other pair do not
    assert card.between_people is not None
    assert (card.between_people.n, card.between_people.share.mean) == (4, 0.25)
    assert (card.num_labels, card.num_annotators, card.simulated) == (5, 3, False)


def test_one_person_alone_has_nobody_to_agree_with() -> None:
    card = calibrated([label("first")], {(PAIR, "overall"): JudgedPair(0.9, 2.2)})
    assert card is not None
    assert card.between_people is None


def test_labels_of_pairs_that_were_not_compared_calibrate_nothing() -> None:
    assert calibrated([label("first")], {(("c", "d"), "overall"): JudgedPair(0.9, 2.2)}) is None


def test_labels_of_a_principle_meet_the_comparison_under_it() -> None:
    judged = {(PAIR, "overall"): JudgedPair(0.9, 2.2), (PAIR, "brief"): JudgedPair(0.1, -2.2)}
    card = calibrated([label("second", of="brief")], judged)
    assert card is not None
    assert card.before.share.mean == 1.0


def simulated_world(
    n: int, *, seed: int = 0
) -> tuple[list[HumanLabel], dict[tuple[tuple[str, str], str], JudgedPair], dict[str, str]]:
    """A judge that adds a logit per standard deviation of length; people do not care for it."""
    rng = random.Random(seed)
    labels, judged, texts = [], {}, {}
    for number in range(n):
        pair = (f"{number:04d}a", f"{number:04d}b")
        words = (rng.randint(1, 40), rng.randint(1, 40))
        texts |= {i: "word " * w for i, w in zip(pair, words, strict=True)}
        truth = rng.choice((-2.0, -1.0, 1.0, 2.0))
        logit = truth + 2.0 * (words[0] - words[1]) / 11.5
        judged[pair, "overall"] = JudgedPair(1 / (1 + 2.718281828**-logit), logit)
        choice: Verdict = "first" if rng.random() < 1 / (1 + 2.718281828**-truth) else "second"
        labels.append(label(choice, pair=pair, simulated=True, inclusion_probability=0.5))
    return labels, judged, texts


def test_the_card_says_what_the_labels_did_to_a_judge_that_likes_length() -> None:
    labels, judged, texts = simulated_world(300)
    card = calibrated(labels, judged, texts=texts)
    assert card is not None
    assert card.map.kind == "temperature_length"
    assert card.map.length < -0.8
    assert card.map.length_sd == pytest.approx(11.5, abs=1.0), "of the numbers from 1 to 40"
    assert card.after.share.mean > card.before.share.mean + 0.05
    assert card.after.base_rates == card.before.base_rates, "the people are the same"
    assert card.simulated
    longer, shorter = "word " * 40, "word"
    mapped = relabel(card.map, JudgedPair(0.5, 0.0), first=longer, second=shorter)
    assert mapped < 0.3
    assert mapped + relabel(card.map, JudgedPair(0.5, 0.0), first=shorter, second=longer) == 1.0


def test_log_odds_whose_scale_means_nothing_are_fitted_whatever_their_size() -> None:
    labels, judged, texts = simulated_world(300)
    tiny = {key: pair._replace(logit=0.01 * (pair.logit or 0.0)) for key, pair in judged.items()}
    found = [
        calibrate_judge(
            labels, tiny, texts=texts, judge_id="judge", constitution=TWO, labels_digest="d", human_weight=5.0,
            is_scaled=is_scaled,
        )
        for is_scaled in (True, False)
    ]  # fmt: skip
    held_back, fitted = (0.0 if card is None else card.map.slope for card in found)
    assert held_back < 2
    assert fitted == pytest.approx(100, abs=30)


def test_identity_leaves_a_label_as_the_judge_gave_it() -> None:
    assert relabel(CalibrationMap(), JudgedPair(1.0, None), first="a", second="b") == 1.0


def test_a_verdict_without_log_probabilities_is_softened_by_the_slope() -> None:
    soft = relabel(CalibrationMap(kind="temperature", slope=0.5), JudgedPair(1.0, None), first="a", second="b")
    assert soft == pytest.approx(19**0.5 / (1 + 19**0.5))


def test_the_summary_says_simulated_and_gives_every_share_its_n() -> None:
    labels, judged, texts = simulated_world(60)
    card = calibrated(labels, judged, texts=texts)
    lines = list(describe_mix(card, labels=Tally(num_in=60), num_human=60, weight=5.0))
    assert lines[0] == "human labels, SIMULATED: in 60, kept 60, dropped 0, by 1 annotator"
    assert lines[1].count(" of 60, kappa ") == 2
    assert "identity" in lines[2]
    assert lines[3] == "people's rows: 60 pairs, weight 5"


def test_the_summary_without_a_compared_pair_says_why_there_is_no_calibration() -> None:
    lines = list(describe_mix(None, labels=Tally(num_in=3), num_human=0, weight=5.0))
    assert "nothing to calibrate by" in lines[0]
    assert "make no rows" in lines[1]


def test_labels_drawn_unequally_are_weighted_in_every_figure_of_the_card() -> None:
    labels, judged = [], {}
    for number in range(60):
        # 20 sure pairs, where the judge is right, drawn with 1/10; 40 unsure ones, half of them right, all drawn
        sure = number < 20
        pair = (f"a{number:02}", f"b{number:02}")
        judged[pair, "overall"] = JudgedPair(0.9, 2.2) if sure else JudgedPair(0.6, 0.4)
        choice: Verdict = "first" if sure or number % 2 else "second"
        for who in ("ann", "bob"):
            agrees = who == "ann" or sure
            given: Verdict = choice if agrees else "first"
            labels.append(label(given, who=who, pair=pair, inclusion_probability=0.1 if sure else 1.0))
    card = calibrated(labels, judged)
    assert card is not None
    # each item of 20 counts 10: ann and bob agree there; of the 40 others the 20 odd ones are "first" for both, and on
    # the even ones they differ, which is a tie
    assert card.before.share.mean == pytest.approx((200 + 20) / 240)
    assert card.before.base_rates["tie"] == pytest.approx(20 / 240)
    assert card.between_people is not None
    assert card.between_people.share.mean == pytest.approx(220 / 240)
    assert card.effective_n == pytest.approx(240**2 / (20 * 100 + 40))
    assert card.before_decided is not None
    assert card.before_decided.mean == 1.0
    lines = list(describe_mix(card, labels=Tally(num_in=120), num_human=60, weight=5.0))
    assert "each item counts 1 / inclusion_probability; the 60 items tell as much as 28 drawn" in lines[2]


def test_a_judge_that_repeats_peoples_ties_nearly_agrees_with_all_of_them() -> None:
    labels, judged = [], {}
    said: dict[Verdict, float] = {"first": 0.97, "second": 0.03, "tie": 0.5003}
    for number, choice in enumerate(["first", "second", "tie", "first", "tie"] * 6):
        pair = (f"a{number:02}", f"b{number:02}")
        judged[pair, "overall"] = JudgedPair(said[choice], 1.0)  # type: ignore[index]
        labels.append(label(choice, pair=pair))  # type: ignore[arg-type]
    card = calibrated(labels, judged)
    assert card is not None
    assert (card.before.share.mean, card.num_tied, card.effective_n) == (1.0, 12, None)
    lines = list(describe_mix(card, labels=Tally(num_in=30), num_human=30, weight=5.0))
    assert lines[2].startswith("ties: most people chose no side on 12 of 30 items")
    assert "within 0.01 of one half only; on the other 18 judge and people agree on 100.0%" in lines[2]


def test_where_nobody_ties_a_label_just_off_one_half_is_no_tie() -> None:
    judged = {(("a", "b"), "overall"): JudgedPair(0.501, 0.004)}
    card = calibrated([label("first")], judged)
    assert card is not None
    assert (card.before.share.mean, card.num_tied, card.before_decided) == (1.0, 0, None)
    assert '"num_tied"' not in card.content_json, "a card without ties is the one that it always was"
