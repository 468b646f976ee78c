"""A judge whose server lists only its likeliest tokens: labels soft, rising with its certainty, exact when turned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.evaluation.policy import PolicyPair, compute_pair_probabilities
from rlaif.judging.choices import LOWEST_LOGPROB, choice_logprobs, verdict_logprobs
from rlaif.judging.modes.pair import Debiased, combine_orders, combine_votes, compare
from rlaif.judging.modes.ranking import combine_shuffles
from rlaif.judging.modes.score import combine_scores, distribution_of
from rlaif.judging.questions import score_request
from rlaif.judging.verdict import read_answer
from rlaif.models.endpoint.reply import read_choice
from rlaif.models.interface import ScoredReply
from rlaif.preferences.pairing import label_pairs
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    Judgement,
    Observed,
    Panel,
    PanelMember,
    Principle,
    PrincipleKey,
    Sample,
    VerdictLogprob,
)

PAIR, TIE, SCORE, RANK = (load_template(name) for name in ("pair", "pair_tie", "score", "rank"))
OTHERS = [f"w{n}" for n in range(24)]
KIND, BRIEF = Principle(id="kind", text="Be kind.", weight=1), Principle(id="brief", text="Be brief.", weight=2)


def serve(template: JudgeTemplate, logits: Mapping[str, float], *, top: int) -> ScoredReply:
    """What a server answers that lists its `top` likeliest tokens: the judge writes its likeliest choice."""
    peak = max(logits.values())
    total = peak + math.log(math.fsum(math.exp(x - peak) for x in logits.values()))
    logprobs = {token: x - total for token, x in logits.items()}
    written = max((name.strip() for name in template.choices), key=lambda name: logprobs[f" {name}"])
    listed = sorted(logprobs, key=lambda token: -logprobs[token])[:top]
    rows = [{"token": token, "logprob": logprobs[token]} for token in listed]
    marker = template.verdict_marker.strip()
    content = [
        {"token": marker, "logprob": 0.0, "top_logprobs": [{"token": marker, "logprob": 0.0}]},
        {"token": f" {written}", "logprob": logprobs[f" {written}"], "top_logprobs": rows},
    ]
    body = {"choices": [{"message": {"content": f"{marker} {written}"}, "logprobs": {"content": content}}]}
    read = read_choice(body, request=score_request(template))
    return ScoredReply(
        read.raw_reply, read.reason, tuple(-math.inf if x is None else x for x in read.logprobs), 1, 1, read.failure,
        verdict=read.verdict, unknown=frozenset(n for n, x in enumerate(read.logprobs) if x is None),
        at_most=read.at_most,
    )  # fmt: skip


def ask(
    template: JudgeTemplate, logits: Mapping[str, float], *, top: int, name: str = "q", shown: int = 2
) -> Judgement:
    answer = read_answer(
        serve(template, logits, top=top), question_id=name, template=template, num_shown=shown, min_label_mass=0.0,
        attempt=1, observed=Observed(),
    )  # fmt: skip
    assert isinstance(answer, Judgement)
    return answer


LOGIT = st.floats(-30, 30)
RAISE = st.floats(0, 40)
TOP = st.sampled_from([1, 2, 3, 5, 20])


@st.composite
def judges(draw: st.DrawFn, template: JudgeTemplate) -> dict[str, float]:
    """The logits of a judge's choices, of which it writes the likeliest, and of other tokens, which are less likely."""
    choices = {f" {choice.strip()}": draw(LOGIT) for choice in template.choices}
    return choices | {token: max(choices.values()) - draw(RAISE) for token in OTHERS[: draw(st.integers(1, 24))]}


def token_of(template: JudgeTemplate, verdict: str) -> str:
    return f" {template.verdicts[verdict].strip()}"  # type: ignore[index]


TEMPLATED = st.sampled_from([PAIR, TIE]).flatmap(
    lambda template: st.tuples(st.just(template), judges(template), judges(template))
)


def assume_decided(judgement: Judgement) -> None:
    """Not a tie beside which the second is left out: while the first climbs from the list's end its bound climbs too.

    Then the two stay equal in this order and the tie shrinks beside them, so that the other order counts for more.
    """
    assume("second" not in judgement.unlisted or "tie" not in {entry.verdict for entry in judgement.logprobs})


Two = tuple[JudgeTemplate, dict[str, float], dict[str, float]]


@given(TEMPLATED, TOP, RAISE, st.sampled_from(["both", "one", "votes", "verdict alone"]))
def test_a_label_never_falls_when_the_judge_grows_surer_of_the_first(two: Two, top: int, by: float, how: str) -> None:
    template, logits, swapped = two
    token = token_of(template, "first")

    def label(logits: Mapping[str, float]) -> Debiased:
        first, second = (ask(template, x, top=top, name=n) for x, n in ((logits, "a"), (swapped, "b")))
        assume_decided(first)
        alone = second.changed(logprobs=(), unlisted=(), unlisted_at_most=None)
        if how == "votes":
            return combine_votes([first, alone.changed(question_id="c")], [alone, second])
        return combine_orders(first, None if how == "one" else second if how == "both" else alone)

    before, after = label(logits), label({**logits, token: logits[token] + by})
    assert after.p_first >= before.p_first - 1e-12
    assert (before.logit is None) == (how in ("votes", "verdict alone"))


@given(TEMPLATED, TOP, RAISE)
def test_a_label_over_principles_judges_and_policies_never_falls_either(two: Two, top: int, by: float) -> None:
    template, logits, swapped = two
    token = token_of(template, "first")
    # The pair's first sample is shown first by `logits`; all else stays as it is.
    start, trained = (Sample(prompt_id="p", policy_id="m", finish_reason="recorded", text=text) for text in "xy")
    ids = (trained.id, start.id)
    constitution = Constitution(name="c", principles=(KIND, BRIEF), source="")
    panel = Panel(members=(PanelMember(judge_id="one", weight=1), PanelMember(judge_id="two", weight=3)))

    def compared(logits: Mapping[str, float], principle: Principle, judge_id: str) -> Comparison:
        listed = ask(template, logits, top=top, name="a")
        if logits is not swapped:
            assume_decided(listed)
        return compare(
            prompt_id="p", sample_ids=ids, principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
            judge_id=judge_id, listed=listed,
            swapped=ask(template, swapped, top=top, name="b"),
        )  # fmt: skip

    def labels(logits: Mapping[str, float]) -> list[float]:
        found = [
            compared(logits, KIND, "one"), compared(swapped, BRIEF, "one"),
            compared(swapped, KIND, "two"), compared(swapped, BRIEF, "two"),
        ]  # fmt: skip
        made = label_pairs(found, constitution=constitution, panel=panel)[min(ids), max(ids)].p_first
        pair = PolicyPair(start, trained)
        won = compute_pair_probabilities(found[:2], pairs=[pair], constitution=constitution)[start.id, trained.id]
        return [made if ids == (min(ids), max(ids)) else 1 - made, won]

    before, after = labels(logits), labels({**logits, token: logits[token] + by})
    assert all(b >= a - 1e-12 for a, b in zip(before, after, strict=True))


@given(TEMPLATED, TOP)
def test_exchanging_the_responses_exchanges_the_label_exactly(two: Two, top: int) -> None:
    template, logits, other = two
    one, two_ = ask(template, logits, top=top, name="a"), ask(template, other, top=top, name="b")
    alone = two_.changed(logprobs=(), unlisted=(), unlisted_at_most=None)
    for a, b in ((one, two_), (one, alone), (alone, one)):
        assert combine_orders(a, b).p_first + combine_orders(b, a).p_first == 1.0
    votes = [one, alone], [alone, two_, one]
    assert combine_votes(*votes).p_first + combine_votes(*votes[::-1]).p_first == 1.0


@given(judges(RANK), judges(RANK), TOP, RAISE, st.booleans())
def test_a_ranking_never_falls_and_is_exact_when_turned(
    one: dict[str, float], other: dict[str, float], top: int, by: float, alone: bool
) -> None:
    token = f" {RANK.labels[0].strip()}"
    shown = len(RANK.choices)

    def shuffles(logits: Mapping[str, float]) -> list[tuple[int, int, list[Judgement]]]:
        second = ask(RANK, other, top=top, shown=shown)
        if alone:
            second = second.changed(choice_logprobs=(), unlisted_at_most=None, ranking=second.ranking[:1])  # type: ignore[index]
        return [(0, 1, [ask(RANK, logits, top=top, shown=shown)]), (1, 0, [second])]

    before, after = combine_shuffles(shuffles(one)), combine_shuffles(shuffles({**one, token: one[token] + by}))
    assert after.p_first >= before.p_first - 1e-12
    turned = combine_shuffles([(second, first, judged) for first, second, judged in shuffles(one)])
    assert before.p_first + turned.p_first == 1.0
    assert (before.logit is None) == alone


@given(judges(SCORE), judges(SCORE), TOP, RAISE)
def test_a_score_never_falls_as_the_highest_one_grows_likelier_and_is_exact_when_turned(
    one: dict[str, float], other: dict[str, float], top: int, by: float
) -> None:
    token = f" {SCORE.scores[-1].strip()}"
    one[token] = max(one.values())  # listed: of one that is not, nobody can tell that it grew
    second = ask(SCORE, other, top=top)
    first, surer = ask(SCORE, one, top=top), ask(SCORE, {**one, token: one[token] + by}, top=top)
    if bool(first.choice_logprobs) == bool(surer.choice_logprobs):
        assert combine_scores([surer], [second]).p_first >= combine_scores([first], [second]).p_first - 1e-9
    assert combine_scores([first], [second]).p_first + combine_scores([second], [first]).p_first == 1.0


def test_what_was_listed_is_stored_apart_from_what_is_a_bound() -> None:
    found = ask(TIE, {" A": 3.0, "w0": 0.0, "w1": -1.0, " B": -2.0, " C": -9.0}, top=3)
    assert [entry.verdict for entry in found.logprobs] == ["first"]
    assert set(found.unlisted) == {"second", "tie"}
    total = math.log(sum(map(math.exp, (3.0, 0.0, -1.0, -2.0, -9.0))))
    left = 1 - sum(math.exp(x - total) for x in (3.0, 0.0, -1.0))
    assert found.unlisted_at_most == pytest.approx(math.log(left), abs=1e-4), "less than the last one listed"
    assert verdict_logprobs(found) == {
        "first": found.logprobs[0].logprob, "second": found.unlisted_at_most, "tie": found.unlisted_at_most
    }  # fmt: skip
    assert ask(TIE, {" A": 3.0, " B": 0.0, " C": -1.0}, top=3).unlisted_at_most is None


def test_a_record_from_before_bounds_were_kept_is_bounded_by_what_it_holds() -> None:
    old = Judgement(
        question_id="q", verdict="first", logprobs=(VerdictLogprob(verdict="first", logprob=-0.1),), raw_reply=""
    )
    assert "unlisted" not in old.content_json, "its id is what it was"
    assert verdict_logprobs(old)["second"] == pytest.approx(math.log(1 - math.exp(-0.1)))
    other = Judgement(
        question_id="r", verdict="second", raw_reply="",
        logprobs=tuple(VerdictLogprob(verdict=v, logprob=math.log(p)) for v, p in (("second", 0.7), ("tie", 0.3))),
    )  # fmt: skip
    combined = combine_orders(old, other)
    assert combined.logit is not None
    assert 0.5 < combined.p_first < 0.95
    scored = Judgement(question_id="s", score=2.0, choice_logprobs=(None, -0.1, None), raw_reply="")
    assert choice_logprobs(scored)[0] == pytest.approx(math.log((1 - math.exp(-0.1)) / 2))
    assert sum(distribution_of([scored]).values()) == pytest.approx(1)


def test_a_certain_reply_without_any_other_choice_is_bounded_by_the_smallest_number() -> None:
    reply = ScoredReply("A", "", (0.0, -math.inf), 1, 1, verdict=0, unknown=frozenset({1}))
    found = read_answer(
        reply, question_id="q", template=PAIR, num_shown=2, min_label_mass=0.5, attempt=1, observed=Observed()
    )
    assert isinstance(found, Judgement)
    assert verdict_logprobs(found)["second"] == LOWEST_LOGPROB


@pytest.mark.parametrize(
    ("template", "logprobs", "cause"),
    [
        (PAIR, (5.0, 3.0), "impossible_logprobs"), (PAIR, (0.002, -9.0), "impossible_logprobs"),
        (PAIR, (math.log(0.6), math.log(0.6)), "impossible_logprobs"), (PAIR, (math.nan, -1.0), "non_finite"),
        (PAIR, (math.inf, -1.0), "non_finite"), (SCORE, (0.5,) * 9, "impossible_logprobs"),
        (RANK, (math.log(0.9),) * 2, "impossible_logprobs"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_log_probabilities_are_a_failure(
    template: JudgeTemplate, logprobs: tuple[float, ...], cause: str
) -> None:
    found = read_answer(
        ScoredReply("A", "", logprobs, 1, 1), question_id="q", template=template, num_shown=2, min_label_mass=0.5,
        attempt=1, observed=Observed(),
    )  # fmt: skip
    assert isinstance(found, FailedJudgement)
    assert found.cause == cause


def test_a_mass_and_a_log_probability_that_rounding_explains_are_none() -> None:
    found = read_answer(
        ScoredReply("A", "", (0.0009, math.log(0.005)), 1, 1), question_id="q", template=PAIR, num_shown=2,
        min_label_mass=0.5, attempt=1, observed=Observed(),
    )  # fmt: skip
    assert isinstance(found, Judgement)
    assert (found.logprobs[0].logprob, found.label_mass) == (0.0, 1.0)
