"""What principles decide, circles and repetitions, by hand values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlaif.judge_health.length_effect import PairFacts
from rlaif.judge_health.pairs import compute_duplicates, compute_influence, compute_transitivity
from rlaif.records import Comparison, Constitution, Judgement, Principle, PrincipleKey, Question

POLITE = Principle(id="polite", text="Be polite.", weight=1)
BRIEF = Principle(id="brief", text="Be brief.", weight=2)
BOTH = Constitution(name="c", principles=(POLITE, BRIEF), source="")
ONE = Constitution(name="c", principles=(POLITE,), source="")


def compare(prompt: str, pair: tuple[str, str], logit: float, principle: Principle = POLITE) -> Comparison:
    return Comparison(
        prompt_id=prompt, sample_ids=pair, judge_id="j", judgement_ids=("x", "y"), logit=logit, debiased=True,
        principle=PrincipleKey(id=principle.id, text_digest=principle.digest), p_first=0.9 if logit > 0 else 0.1,
    )  # fmt: skip


def test_influence_is_the_share_of_winners_that_a_principle_turns() -> None:
    rows = [(3.0, 1.0), (3.0, -1.0), (1.0, -1.0), (-1.0, -1.0)]  # polite + 2 brief: 5, 1, -1, -3
    comparisons = [
        compare(f"p{k}", (f"a{k}", f"b{k}"), logit, principle)
        for k, both in enumerate(rows)
        for principle, logit in zip((POLITE, BRIEF), both, strict=True)
    ]
    found = compute_influence(comparisons, constitution=BOTH)
    polite, brief = found["polite"], found["brief"]
    assert polite.flips is not None
    assert brief.flips is not None
    assert polite.agrees is not None
    assert (polite.weight_share, brief.weight_share) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert polite.flips.mean == 1 / 4, "without it the second pair goes to the second"
    assert brief.flips.mean == 1 / 4, "without it the third pair goes to the first"
    assert polite.agrees.mean == 3 / 4
    assert polite.flips.n == 4


def test_the_only_principle_has_no_influence_to_measure() -> None:
    found = compute_influence([compare("p", ("a", "b"), 1.0)], constitution=ONE)
    assert found["polite"].flips is None


def test_a_pair_that_lacks_a_principle_is_in_no_figure() -> None:
    found = compute_influence([compare("p", ("a", "b"), 1.0)], constitution=BOTH)
    assert (found["polite"].flips, found["polite"].agrees) == (None, None)


def triple(prompt: str, ab: float, bc: float, ac: float) -> list[Comparison]:
    a, b, c = (f"{prompt}{letter}" for letter in "abc")
    return [compare(prompt, (a, b), ab), compare(prompt, (b, c), bc), compare(prompt, (a, c), ac)]


@pytest.mark.parametrize(
    ("ab", "bc", "ac", "circular"),
    [(1, 1, 1, 0), (1, 1, -1, 1), (-1, -1, 1, 1), (1, -1, 1, 0), (1, -1, -1, 0), (-1, -1, -1, 0)],
)
def test_three_choices_go_in_a_circle_or_they_do_not(ab: float, bc: float, ac: float, circular: int) -> None:
    found = compute_transitivity(triple("p", ab, bc, ac), constitution=ONE)
    assert (found.num_triples, found.num_circular) == (1, circular)


def test_only_triples_with_all_pairs_decided_count_and_prompts_are_the_clusters() -> None:
    rows = [*triple("p", 1, 1, -1), *triple("q", 1, 1, 1), *triple("r", 1, 1, 0), *triple("s", 1, 1, 1)[:2]]
    found = compute_transitivity(rows, constitution=ONE)
    assert (found.num_triples, found.num_circular) == (2, 1)
    assert found.circular is not None
    assert (found.circular.mean, found.circular.n) == (0.5, 2)


def questions(digests: Sequence[str], *, draw: int = 0) -> list[Question]:
    return [
        Question(
            mode="pair", prompt_id="p", sample_ids=(f"a{k}", f"b{k}"), principles=(), template_digest=None,
            judge_id="j", rendered_digest=digest, draw=draw,
        )
        for k, digest in enumerate(digests)
    ]  # fmt: skip


def test_repeated_prompts_are_counted_and_their_verdicts_compared_and_votes_are_no_repetition() -> None:
    asked = questions(["x", "x", "x", "y"])
    verdicts = ("first", "first", "second", "first")
    answers = [
        Judgement(question_id=q.id, verdict=verdict, raw_reply="") for q, verdict in zip(asked, verdicts, strict=True)
    ]
    votes = questions(["x"], draw=1)
    found = compute_duplicates([], questions=[*asked, *votes], judgements=answers, facts=None)
    assert found.num_repeated_questions == 2
    assert found.repeated_agree is not None
    assert found.repeated_agree.mean == 0.5


def test_one_text_against_itself_and_the_same_two_texts_again_are_counted() -> None:
    pairs = [("a", "b"), ("c", "d"), ("e", "f")]
    texts = {"a": "yes", "b": "yes ", "c": "yes", "d": "no", "e": "no", "f": "yes"}
    comparisons = [compare("p", pair, 1.0, principle) for pair in pairs for principle in (POLITE, BRIEF)]
    found = compute_duplicates(comparisons, questions=[], judgements=[], facts=PairFacts(texts=texts))
    assert (found.num_identical_pairs, found.num_repeated_pairs) == (1, 1)
