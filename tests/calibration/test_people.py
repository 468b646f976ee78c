"""People among themselves and against a judge: hand values on a handful of items."""

from __future__ import annotations

from typing import Literal

import pytest

from rlaif.calibration.choices import Item, Key, PeopleRead, VerdictsRead
from rlaif.calibration.judge_quality import SplitVotes, find_majority
from rlaif.calibration.people import AgreementReport, report_agreement
from rlaif.errors import DataError
from rlaif.records import Tally, Verdict

CODES: dict[str, Verdict] = {"1": "first", "2": "second", "0": "tie"}
# Choices of up to three people (a dot: none), and the judge's verdict: x has failed, a dot was not asked.
ITEMS = ["111 1", "222 2", "112 2", "12. 1", "000 x", "111 x", "22. .", "1.1 0"]


def items(*, policies: bool = False) -> list[Item]:
    return [
        Item(
            key=(str(n),),
            prompt=(f"prompt {n // 2}",),
            policies=("m1", "m2") if policies else None,
            choices={f"p{i}": CODES[code] for i, code in enumerate(text[:3]) if code != "."},
        )
        for n, text in enumerate(ITEMS)
    ]


def read() -> VerdictsRead:
    verdicts: dict[Key, Verdict] = {(str(n),): CODES[t[4]] for n, t in enumerate(ITEMS) if t[4] in CODES}
    failed: dict[Key, str] = {(str(n),): "what?" for n, t in enumerate(ITEMS) if t[4] == "x"}
    return VerdictsRead(verdicts, failed, Tally(num_in=7, dropped={"failed": 2}))


def drawn(rows: list[tuple[str, str]], **common: object) -> AgreementReport:
    """Rows of people's choices and the judge's verdict; `common` holds a list of values for a field of the items."""
    found = [
        Item(
            key=(str(n),),
            prompt=(str(n),),
            policies=None,
            choices={f"p{i}": CODES[code] for i, code in enumerate(people)},
        )._replace(**{name: values[n] for name, values in common.items() if isinstance(values, list)})
        for n, (people, _) in enumerate(rows)
    ]
    verdicts: dict[Key, Verdict] = {(str(n),): CODES[judge] for n, (_, judge) in enumerate(rows)}
    read = VerdictsRead(verdicts, {}, Tally(num_in=len(rows)))
    return report_agreement(PeopleRead(found, Tally(num_in=len(rows))), read, by_prompt=False)


def report(
    *, failed_as: Literal["tie"] | None = None, split_votes: SplitVotes = "leave-out", policies: bool = False
) -> AgreementReport:
    people = PeopleRead(items(policies=policies), Tally(num_in=21))
    return report_agreement(people, read(), by_prompt=True, failed_as=failed_as, split_votes=split_votes)


def test_people_are_compared_in_pairs_on_what_both_chose_on() -> None:
    people = report().people
    assert (people.num_items, people.num_prompts, people.num_annotators) == (8, 4, 3)
    assert people.num_shared_items == 8
    assert people.any_two is not None
    # 1, 1, one pair of three, none, 1, 1, 1, 1
    assert people.any_two.mean == pytest.approx((6 + 1 / 3) / 8)
    pairs = {(pair.a, pair.b): pair.agreement for pair in people.pairs}
    assert {names: agreement.n for names, agreement in pairs.items()} == {
        ("p0", "p1"): 7, ("p0", "p2"): 6, ("p1", "p2"): 5,
    }  # fmt: skip
    assert pairs["p0", "p1"].share.mean == pytest.approx(6 / 7)
    assert people.base_rates == pytest.approx({"first": 11 / 21, "second": 7 / 21, "tie": 3 / 21})


def test_a_failed_judgement_takes_no_part_and_is_told_by_name() -> None:
    judge = report().judge
    assert judge is not None
    assert judge.failed == {"what?": 2}
    assert str(judge.items) == "in 8, kept 4, dropped 4 (failed 2, no_majority 1, no_verdict 1)"
    assert judge.majority is not None
    assert judge.majority.n == 4
    assert judge.majority.share.mean == pytest.approx(2 / 4)  # right on 111 and 222, wrong on 112 and 1.1
    assert (judge.num_neither_ties, judge.num_judged_items) == (3, 5)
    assert judge.neither_ties is not None
    assert judge.neither_ties.mean == pytest.approx(2 / 3)
    assert judge.one_person is not None
    assert judge.one_person.mean == pytest.approx((1 + 1 + 1 / 3 + 1 / 2 + 0) / 5)
    assert "tie" in judge.base_rates
    assert judge.base_rates["tie"] == pytest.approx(1 / 5)


def test_only_the_named_convention_counts_failed_judgements_as_ties() -> None:
    judge = report(failed_as="tie").judge
    assert judge is not None
    assert judge.failed_as == "tie"
    assert judge.failed == {"what?": 2}
    assert judge.majority is not None
    assert judge.majority.n == 6
    assert judge.majority.share.mean == pytest.approx(3 / 6)  # also right on 000, wrong on 111
    assert judge.base_rates["tie"] == pytest.approx(3 / 7)


@pytest.mark.parametrize(
    ("choices", "leave_out", "earliest", "tie"),
    [
        ("112", "first", "first", "first"),
        ("21", None, "second", "tie"),
        ("012", None, "tie", "tie"),
        ("0122", "second", "second", "second"),
        ("2112", None, "second", "tie"),
    ],
)
def test_the_majority_of_split_votes_is_what_the_option_says(
    choices: str, leave_out: str | None, earliest: str, tie: str
) -> None:
    votes = [CODES[code] for code in choices]
    assert find_majority(votes, split_votes="leave-out") == leave_out
    assert find_majority(votes, split_votes="earliest") == earliest
    assert find_majority(votes, split_votes="tie") == tie


def test_policies_are_scored_by_people_and_by_the_judge() -> None:
    policies = report(policies=True).policies
    assert policies is not None
    # people: 11 of 21 for m1 and 3 ties; the judge: 1 2 2 1 0
    assert policies.people.num_votes == 21
    assert policies.people.scores["m1"].mean > 0 > policies.people.scores["m2"].mean
    assert policies.judge is not None
    assert policies.judge.scores["m1"].mean == pytest.approx(0, abs=1e-12)
    assert policies.judge.num_votes == 5
    assert policies.rank_correlation is None  # two policies say nothing of a rank correlation
    assert report().policies is None


def test_with_many_people_alpha_speaks_instead_of_their_pairs() -> None:
    crowd = [
        Item((str(n),), (str(n),), None, {f"p{n + k}": "first" if k else "second" for k in range(3)}) for n in range(9)
    ]
    people = report_agreement(PeopleRead(crowd, Tally(num_in=27)), None, by_prompt=False).people
    assert (people.num_annotators, people.pairs, people.num_prompts) == (11, (), None)
    assert people.alpha is not None


def test_items_drawn_unequally_are_weighted_in_every_figure() -> None:
    weighted = [item._replace(weight=10.0 if number == 2 else 1.0) for number, item in enumerate(items(policies=True))]
    copied = [
        item._replace(key=(f"{item.key[0]} {copy}",), weight=1.0)
        for item in weighted
        for copy in range(int(item.weight))
    ]
    verdicts = read()
    by_item = {item.key: verdicts.verdicts.get((item.key[0].split()[0],)) for item in copied}
    many = VerdictsRead({key: v for key, v in by_item.items() if v}, {}, Tally(num_in=0))
    one = VerdictsRead(verdicts.verdicts, {}, Tally(num_in=0))
    a, b = (
        report_agreement(PeopleRead(given, Tally(num_in=0)), judged, by_prompt=True)
        for given, judged in ((weighted, one), (copied, many))
    )
    assert a.judge is not None
    assert b.judge is not None
    assert a.policies is not None
    assert b.policies is not None
    assert a.people.base_rates == pytest.approx(b.people.base_rates)
    assert a.judge.base_rates == pytest.approx(b.judge.base_rates)
    for ours, theirs in (
        (a.people.any_two, b.people.any_two), (a.people.pairs[0].agreement.kappa, b.people.pairs[0].agreement.kappa),
        (a.judge.f1, b.judge.f1), (a.judge.neither_ties, b.judge.neither_ties),
        (a.judge.one_person, b.judge.one_person),
        (a.policies.people.scores["m1"], b.policies.people.scores["m1"]),
    ):  # fmt: skip
        assert ours is not None
        assert theirs is not None
        assert ours.mean == pytest.approx(theirs.mean)
    assert a.judge.one_person_at_most == pytest.approx(b.judge.one_person_at_most)
    assert a.people.effective_items == pytest.approx(17**2 / (100 + 7))
    assert b.people.effective_items is None


def test_a_judge_that_never_ties_is_given_the_bound_that_peoples_ties_set() -> None:
    four = [
        Item(key=(str(n),), prompt=(str(n),), policies=None, choices=dict.fromkeys(people, choice))
        for n, (people, choice) in enumerate([("ab", "tie"), ("ab", "first"), ("ab", "second"), ("ab", "first")])
    ]
    four[3].choices["c"] = "second"
    verdicts: dict[Key, Verdict] = {("0",): "first", ("1",): "first", ("2",): "second", ("3",): "first"}
    report = report_agreement(
        PeopleRead(four, Tally(num_in=9)), VerdictsRead(verdicts, {}, Tally(num_in=4)), by_prompt=False
    )
    assert report.judge is not None
    assert report.judge.majority is not None
    assert report.judge.majority.share.mean == report.judge.majority_at_most == 0.75
    assert report.judge.one_person_at_most == pytest.approx((0 + 1 + 1 + 2 / 3) / 4)


def test_the_judge_is_compared_under_each_principle_and_by_how_much_longer_a_response_is() -> None:
    rows = [("1", "1"), ("2", "2"), ("1", "2"), ("2", "1"), ("1", "1")]
    principles = ["polite", "polite", "polite", "brief", "brief"]
    words = [(10, 11), (20, 20), (10, 15), (40, 10), (0, 3)]
    judge = drawn(rows, principle=principles, words=words).judge
    assert judge is not None
    assert [(group.by, group.name, group.majority.n, group.majority.share.mean) for group in judge.groups] == [
        ("principle", "polite", 3, pytest.approx(2 / 3)),
        ("principle", "brief", 2, 0.5),
        ("length", "as long, within 10 %", 2, 1.0),
        ("length", "up to half longer", 1, 0.0),
        ("length", "over half longer", 2, 0.5),
    ]


def test_the_disagreements_are_listed_the_clearest_first() -> None:
    judge = drawn([("112", "2"), ("11", "1"), ("22", "1"), ("12", "1")]).judge
    assert judge is not None
    assert [(one.key, one.people, one.judge) for one in judge.disagreements] == [
        (("2",), "second", "first"), (("0",), "first", "second"),
    ]  # fmt: skip
    assert judge.disagreements[1].choices == {"p0": "first", "p1": "first", "p2": "second"}


def test_the_ceiling_is_what_two_people_reach_on_the_same_items() -> None:
    rows = [("11", "1"), ("12", "1"), ("22", "1"), ("11", "1"), ("1", "2")]
    judge = drawn(rows).judge
    assert judge is not None
    assert judge.num_ceiling_items == 4
    assert judge.of_ceiling is not None
    # the judge agrees with one person on 1, 1/2, 0 and 1; two people agree on 1, 0, 1 and 1
    assert judge.of_ceiling.mean == pytest.approx(2.5 / 3)
    assert judge.of_ceiling.low < 2.5 / 3 < judge.of_ceiling.high


def test_a_stratum_of_every_item_makes_the_accuracy_that_of_the_strata() -> None:
    rows = [("1", "1")] * 20 + [("1", "2")] * 4 + [("1", "1")] * 6
    weights = [10.0] * 20 + [1.0] * 10
    strata = [("sure",)] * 20 + [("unsure",)] * 10
    plain, by_stratum = drawn(rows, weight=weights).judge, drawn(rows, weight=weights, stratum=strata).judge
    assert plain is not None
    assert by_stratum is not None
    assert plain.majority is not None
    assert by_stratum.majority is not None
    assert by_stratum.majority.share.mean == plain.majority.share.mean == pytest.approx(206 / 210)
    assert by_stratum.majority.share.low != plain.majority.share.low
    assert by_stratum.effective_items == pytest.approx(210**2 / 2010)


def test_the_likeliest_choice_of_three_people_may_be_that_of_the_one_who_never_errs() -> None:
    rows = ["111", "222"] * 20 + ["112", "221", "121", "212"] * 6  # the first person is always with somebody
    rows += ["211"] * 2
    crowd = [
        Item((str(n),), (str(n),), None, {f"p{i}": CODES[code] for i, code in enumerate(row)})
        for n, row in enumerate(rows)
    ]
    verdicts: dict[Key, Verdict] = {item.key: "first" for item in crowd}
    read = VerdictsRead(verdicts, {}, Tally(num_in=len(rows)))
    people = PeopleRead(crowd, Tally(num_in=3 * len(rows)))
    found = report_agreement(people, read, by_prompt=False, right_by="dawid-skene")
    assert found.people.reliability[0].person == "p0"
    assert found.judge is not None
    assert found.judge.right_by == "dawid-skene"
    assert [one.people for one in found.judge.disagreements if one.key[0] in ("64", "65")] == ["second", "second"]
    by_votes = report_agreement(people, read, by_prompt=False)
    assert by_votes.people.reliability == ()


def test_two_people_alone_are_not_combined_by_their_errors() -> None:
    people = PeopleRead(items()[7:], Tally(num_in=2))
    with pytest.raises(DataError, match="2 people chose, and who of them errs shows only among 3 or more"):
        report_agreement(people, None, by_prompt=False, right_by="dawid-skene")
