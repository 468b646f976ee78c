"""Bradley-Terry scores and rank correlation: hand values, an independent computation, and refusals with a reason."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.calibration.ranking import Ranking, bradley_terry, rank_correlation, spearman
from rlaif.records import Estimate, Verdict

Vote = tuple[str, str, Verdict]


def rank(votes: Sequence[Vote]) -> Ranking:
    """Each vote is its own cluster."""
    return bradley_terry([(a, b) for a, b, _ in votes], [v for _, _, v in votes], clusters=range(len(votes)))


def means(ranking: Ranking) -> dict[str, float]:
    assert ranking.scores is not None, ranking.why_not
    return {name: score.mean for name, score in ranking.scores.items()}


def system(scores: Sequence[float]) -> dict[str, Estimate]:
    return {name: Estimate(mean=score, low=score, high=score, n=1) for name, score in zip("abcde", scores, strict=True)}


def test_three_wins_to_one_are_log_three_apart() -> None:
    votes: list[Vote] = [("a", "b", "first"), ("a", "b", "first"), ("b", "a", "second"), ("a", "b", "second")]
    assert means(rank(votes)) == pytest.approx({"a": math.log(3) / 2, "b": -math.log(3) / 2})


def test_a_tie_is_half_a_win_for_each_side() -> None:
    ties: list[Vote] = [("a", "b", "first"), ("a", "b", "tie"), ("a", "b", "tie")]  # two wins of three to one
    assert means(rank(ties)) == pytest.approx({"a": math.log(2) / 2, "b": -math.log(2) / 2})


def test_a_balanced_circle_has_no_winner_and_best_stands_first() -> None:
    circle: list[Vote] = [("a", "b", "first"), ("b", "c", "first"), ("c", "a", "first")]
    assert means(rank(circle)) == pytest.approx({"a": 0, "b": 0, "c": 0}, abs=1e-12)
    assert list(means(rank([*circle, ("c", "b", "first")]))) == ["c", "a", "b"]


def test_scores_make_expected_wins_equal_the_wins_that_were() -> None:
    generator = np.random.default_rng(0)
    names = "abcdefgh"
    votes: list[Vote] = []
    for _ in range(300):
        a, b = generator.choice(list(names), 2, replace=False)
        votes.append((str(a), str(b), ("first", "second", "tie")[generator.choice(3, p=[0.5, 0.3, 0.2])]))
    scores = means(rank(votes))
    for name in names:
        won = sum({"first": 1, "tie": 0.5, "second": 0}[v] for a, _, v in votes if a == name)
        won += sum({"first": 0, "tie": 0.5, "second": 1}[v] for _, b, v in votes if b == name)
        others = [b if a == name else a for a, b, _ in votes if name in (a, b)]
        assert won == pytest.approx(sum(1 / (1 + math.exp(scores[o] - scores[name])) for o in others), abs=1e-8)
    assert sum(scores.values()) == pytest.approx(0, abs=1e-9)


def test_scores_are_evalicas() -> None:
    evalica = pytest.importorskip("evalica", reason="evalica, of the dev extra, is not installed")
    generator = np.random.default_rng(1)
    xs, ys = zip(*[map(str, generator.choice(list("abcdef"), 2, replace=False)) for _ in range(120)], strict=True)
    verdicts: list[Verdict] = [("first", "second", "tie")[i] for i in generator.integers(0, 3, 120)]
    theirs = {"first": evalica.Winner.X, "second": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    scores = evalica.bradley_terry(xs, ys, [theirs[v] for v in verdicts], tolerance=1e-12, limit=10_000).scores
    ours = means(rank(list(zip(xs, ys, verdicts, strict=True))))
    logs = {name: math.log(score) for name, score in scores.items()}
    centre = sum(logs.values()) / len(logs)
    assert ours == pytest.approx({name: value - centre for name, value in logs.items()}, abs=1e-9)


def test_the_interval_of_a_score_is_the_normal_one_where_votes_are_independent() -> None:
    votes: list[Vote] = [("a", "b", "first")] * 60 + [("a", "b", "second")] * 40
    scores = rank(votes).scores
    assert scores is not None
    # the difference has variance 1 / (n p q), each score half of it; t(99) for 95 % is 1.984
    half = 1.984 * math.sqrt(1 / (100 * 0.6 * 0.4)) / 2
    assert scores["a"].high - scores["a"].mean == pytest.approx(half, rel=0.01)
    assert scores["a"].n == 100


@pytest.mark.parametrize(
    ("votes", "why_not"),
    [
        ([], "fewer than two systems"),
        ([("a", "a", "tie")], "fewer than two systems"),
        ([("a", "b", "first"), ("b", "c", "first"), ("c", "b", "first")], "^a won every comparison with the others"),
        ([("a", "b", "first"), ("b", "a", "first"), ("b", "c", "first")], "^c lost every comparison with the others"),
        ([("b", "a", "first"), ("b", "c", "tie"), ("c", "a", "first")], "^a lost every comparison with the others"),
        (
            [("a", "b", "tie"), ("c", "d", "tie"), ("d", "e", "tie")],
            "^no comparison joins a, b to the others",
        ),
    ],
)
def test_where_no_finite_scores_exist_the_reason_is_told(votes: list[Vote], why_not: str) -> None:
    ranking = rank(votes)
    assert ranking.scores is None
    assert re.search(why_not, ranking.why_not)


def test_votes_on_one_prompt_alone_give_no_interval_and_so_no_scores() -> None:
    ranking = bradley_terry([("a", "b")] * 2, ["first", "second"], clusters=["p", "p"])
    assert ranking == Ranking(None, "all comparisons are of one prompt")


def test_rank_correlation_matches_the_hand_computation() -> None:
    # ranks 1 2 3 4 5 against 2 1 3 5 4: 1 - 6 * 4 / (5 * 24)
    assert spearman([10, 20, 30, 40, 50], [2, 1, 3, 5, 4]) == pytest.approx(1 - 24 / 120)
    # equal values share their mean rank: 1, 2.5, 2.5, 4 against 1 2 3 4
    assert spearman([1, 2, 2, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([], []) is None


def test_scores_that_differ_by_rounding_share_their_rank_and_stand_by_name() -> None:
    # b and c win and lose alike; which of the two fits a bit higher is up to the linear algebra library.
    votes: list[Vote] = [
        *(("a", other, verdict) for other in "cb" for verdict in ("first", "first", "second")),
        *((other, "d", verdict) for other in "bc" for verdict in ("first", "first", "second")),
        ("b", "c", "tie"), ("a", "d", "tie"),
    ]  # fmt: skip
    assert list(means(rank(votes))) == ["a", "b", "c", "d"]
    people = system([4, 3, 2, 1, 0])
    alike = rank_correlation(people, system([4, 2.3, 2.3, 1, 0]))
    for bit in (math.nextafter(2.3, 0), math.nextafter(2.3, 3)):
        assert rank_correlation(people, system([4, 2.3, bit, 1, 0])) == alike
        assert rank_correlation(people, system([4, bit, 2.3, 1, 0])) == alike
    assert rank_correlation(people, system([4, 2.3, 2.2999, 1, 0])) != alike


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=20))
def test_only_ranks_count(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    value = spearman(x, y)
    assert value == pytest.approx(spearman([math.exp(v) for v in x], [v**3 for v in y]))
    turned = spearman([-v for v in x], y)
    assert (value is None) == (turned is None)
    if value is not None and turned is not None:
        assert turned == pytest.approx(-value)


def test_policies_that_only_one_side_ranks_are_left_out_and_n_counts_the_others() -> None:
    people = {name: Estimate(mean=value, low=0, high=0, n=1) for value, name in enumerate("abcdex")}
    judge = {name: Estimate(mean=value, low=0, high=0, n=1) for value, name in enumerate("ybacde")}
    correlation = rank_correlation(people, judge)
    assert correlation is not None
    assert correlation.n == 5
    assert correlation.mean == pytest.approx(1 - 6 * 2 / 120)
    # z = atanh(.9) = 1.472, half width 1.96 * sqrt(1.405 / 2) = 1.643
    assert (correlation.low, correlation.high) == pytest.approx((math.tanh(-0.171), math.tanh(3.115)), abs=1e-3)
    assert rank_correlation(people, {"a": judge["a"], "b": judge["b"]}) is None


def test_equal_and_opposite_rankings_have_an_interval_with_a_width() -> None:
    people = {name: Estimate(mean=value, low=0, high=0, n=1) for value, name in enumerate("abcdef")}
    opposite = {name: Estimate(mean=-value, low=0, high=0, n=1) for value, name in enumerate("abcdef")}
    same, other = rank_correlation(people, people), rank_correlation(people, opposite)
    assert same is not None
    assert other is not None
    assert (same.mean, same.high) == (pytest.approx(1), 1)
    assert 0 < same.low < 0.9
    assert (other.low, other.high) == (-1, pytest.approx(-same.low))
