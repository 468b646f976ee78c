"""Asking probes: both orders of every pair, in batches, combined as the pipeline combines them."""

import math

import pytest

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.probe import ProbeAnswer
from rlaif.constitution.probe_file import Probe
from rlaif.constitution.render import load_template
from rlaif.judging.ask_now import combine_answers, make_probe_judge
from rlaif.models.interface import ScoredReply
from rlaif.records import FailedJudgement, Judgement, Message, Principle, VerdictLogprob

LONGER = Principle(id="long", text="Prefer the longer reply.")


class LongerWins:
    """Stands for a model: the longer reply gets 2 logits, the first place 1, and a reply that says STOP no verdict."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def count_tokens(self, chat) -> int:
        return 10

    def score(self, chats, *, request):
        self.batches.append(len(chats))
        return [self._reply(chat[-1].segments) for chat in chats]

    def _reply(self, segments) -> ScoredReply:
        first, second = [segment.text for segment in segments if not segment.trusted][-2:]
        if "STOP" in first:
            return ScoredReply("", None, (), 10, 1, failure="empty")
        logit = (2 if len(first) > len(second) else -2) + 1
        p = 1 / (1 + math.exp(-logit))
        return ScoredReply("", None, (math.log(p), math.log(1 - p)), 10, 1)


def make_probe(first: str, second: str) -> Probe:
    return Probe((Message(role="user", content="When?"),), first, second)


def ask(*probes: Probe, **options) -> list:
    judge = make_probe_judge(
        options.pop("scorer", LongerWins()),
        template=load_template("pair_verdict"),
        config=JudgeConfig(batch_tokens=47),  # four prompts of 10 tokens and a verdict, not five
        **options,
    )
    return list(judge([(probe, LONGER) for probe in probes]))


def test_the_place_of_a_reply_cancels_over_both_orders_and_answers_keep_their_order():
    long_first, short_first = ask(make_probe("At nine o'clock.", "Nine."), make_probe("Nine.", "At nine o'clock."))
    assert long_first.p_first == pytest.approx(1 / (1 + math.exp(-2)))
    assert short_first.p_first == pytest.approx(1 / (1 + math.exp(2)))
    assert (long_first.flipped, long_first.tied, long_first.winner, short_first.winner) == (
        False,
        False,
        "first",
        "second",
    )


def test_a_pair_fails_with_the_cause_of_either_order():
    assert ask(make_probe("STOP", "Nine."), make_probe("Nine.", "STOP")) == ["empty", "empty"]


def test_a_verdict_with_too_little_probability_is_a_failure_and_not_an_answer():
    class Faint(LongerWins):
        def _reply(self, segments):
            return ScoredReply("", None, (math.log(0.2), math.log(0.1)), 10, 1)

    assert ask(make_probe("a", "b"), scorer=Faint()) == ["low_mass"]


def test_batches_keep_to_the_configured_size_and_are_heard_of():
    scorer, heard = LongerWins(), []
    probes = [make_probe(f"Answer {n}.", "STOP" if n == 0 else "Nine.") for n in range(5)]
    ask(*probes, scorer=scorer, on_batch=lambda asked, failed: heard.append((asked, failed)))
    assert scorer.batches == [4, 4, 2]
    assert [asked for asked, _ in heard] == [4, 4, 2]
    assert sum(failed for _, failed in heard) == 1


PAIR = load_template("pair_verdict")


def judgement(verdict: str, *logprobs: tuple[str, float]) -> Judgement:
    entries = tuple(VerdictLogprob(verdict=name, logprob=math.log(p)) for name, p in logprobs)
    return Judgement(question_id="q", verdict=verdict, logprobs=entries, raw_reply="")


def test_the_same_place_winning_in_both_orders_is_a_flip():
    first = judgement("first", ("first", 0.8), ("second", 0.2))
    assert combine_answers(first, first, template=PAIR) == ProbeAnswer(pytest.approx(0.5), flipped=True)


def test_a_tie_in_both_orders_is_told_apart_from_a_flip():
    tie = judgement("tie", ("first", 0.2), ("second", 0.2), ("tie", 0.6))
    combined = combine_answers(tie, tie, template=PAIR)
    assert (combined.flipped, combined.tied, combined.is_decided) == (False, True, False)
    first = judgement("first", ("first", 0.6), ("second", 0.2), ("tie", 0.2))
    assert combine_answers(first, tie, template=PAIR).is_decided


def test_a_pair_with_one_failed_order_is_no_answer():
    failed = FailedJudgement(question_id="q", cause="truncated")
    first = judgement("first", ("first", 0.8), ("second", 0.2))
    assert combine_answers(failed, first, template=PAIR) == "truncated"
    assert combine_answers(first, failed, template=PAIR) == "truncated"


@pytest.mark.parametrize(
    ("template", "better", "worse", "p_first"),
    [
        ("score", {"score": 9.0}, {"score": 2.0}, 1.0),
        ("contrast", {"score": 0.3, "log_likelihoods": (-3.0, -6.0), "num_response_tokens": 10}, {"score": 0.1}, 0.881),
    ],
)
def test_replies_that_are_shown_alone_are_compared_by_their_scores_and_cannot_flip(template, better, worse, p_first):
    first, second = (Judgement(question_id="q", raw_reply="", **fields) for fields in (better, worse))
    answer = combine_answers(first, second, template=load_template(template))
    assert (answer.p_first, answer.flipped, answer.winner) == (pytest.approx(p_first, abs=1e-3), False, "first")
    assert combine_answers(first, first, template=load_template(template)).tied
