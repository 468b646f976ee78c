"""What goes to a worker and back is what was sent, bit for bit; a worker says in words why it cannot continue."""

import math
from functools import partial

import pyarrow as pa
import pytest
from desk_questions import make_readings

from rlaif.frontdesk import POLICY_DIR
from rlaif.models.interface import LIKELIHOODS, Generation, ScoredReply, ScoreRequest
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.ray.wire import (
    dump_chats,
    dump_draws,
    dump_generations,
    dump_replies,
    load_chats,
    load_draws,
    load_generations,
    load_replies,
)
from rlaif.models.ray.worker import Job, RayWorker
from rlaif.models.readings import CUT_OFF, WHOLE, split_readings
from rlaif.models.scripted_engine import ScriptedEngine
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import Model, Segment, SegmentedMessage, Served

LONGER = "rlaif.models.scripted_engine:prefer_longer"
REQUEST = ScoreRequest("\nVerdict:", (" A", " B"), 32)
CHAT = (
    SegmentedMessage("system", (Segment("Judge.", True),)),
    SegmentedMessage("user", tuple(Segment(t, not t.startswith("R")) for t in ("A: ", "R\udc80<s>", " B: ", "Rä\n"))),
)


def test_a_prompt_keeps_which_of_its_parts_can_be_trusted_and_every_character():
    assert load_chats(dump_chats([CHAT, ()])) == [CHAT, ()]


def test_a_question_about_likelihoods_keeps_its_responses_and_whether_they_were_cut_off():
    chat = (
        *CHAT,
        SegmentedMessage(WHOLE, (Segment("Yes.", False),)),
        SegmentedMessage(CUT_OFF, (Segment("Y", False),)),
    )
    [back] = load_chats(dump_chats([chat]))
    assert back == chat
    assert [(reading.response, reading.is_whole) for reading in split_readings(back)] == [("Yes.", True), ("Y", False)]


def test_keys_of_randomness_travel_with_their_prompts():
    assert load_draws(dump_draws([CHAT], [(0, 2**59, 3)])) == ([CHAT], [(0, 2**59, 3)])


def test_replies_come_back_bit_for_bit_also_what_is_not_finite():
    replies = [
        ScoredReply("Reason\nVerdict: A", "Reason", (-0.1 - 1e-17, -math.inf, 5e-324), 10, 3, unknown=frozenset({1})),
        ScoredReply("", None, (), 7, 0, "over_length"),
        ScoredReply("", None, (), 40, 0, likelihoods=(-30.1 - 1e-15, -math.inf), response_tokens=9),
    ]
    back = load_replies(dump_replies(replies))
    assert back == replies
    assert {(type(reply.unknown), type(reply.likelihoods)) for reply in back} == {(frozenset, tuple)}
    assert math.isnan(load_replies(dump_replies([ScoredReply("", None, (math.nan,), 1, 1)]))[0].logprobs[0])


def test_what_a_server_observed_is_not_dropped_in_silence():
    reply = ScoredReply("", None, (), 1, 1, served=Served(host="h", had="verdict"))
    with pytest.raises(TypeError):
        dump_replies([reply])


def test_responses_come_back_as_they_were():
    generations = [Generation("text\n", (1, 2**31), "stop", 5), Generation("", (), "length", 1)]
    assert load_generations(dump_generations(generations)) == generations


def table(*texts: str) -> pa.Table:
    return pa.table({"number": list(range(7, 7 + len(texts))), "text": list(texts)})


def test_a_worker_answers_each_row_of_its_table():
    engine = ScriptedEngine(LONGER)
    worker = RayWorker(Job(partial(ScriptedEngine, LONGER), REQUEST, engine.fingerprint, 10_000))
    rows = worker(table(dump_chats([CHAT, CHAT]), dump_chats([CHAT])))
    assert rows["number"] == [7, 8]
    assert [len(load_replies(answer)) for answer in rows["answer"]] == [2, 1]
    assert load_replies(rows["answer"][1]) == engine.score([CHAT], request=REQUEST)
    assert rows["failure"] == ["", ""]


def test_a_worker_reads_likelihoods_as_its_engine_does_here():
    engine = TransformersEngine(load_causal_lm(str(POLICY_DIR), device="cpu"))
    worker = RayWorker(Job(lambda: engine, LIKELIHOODS, engine.fingerprint, 10_000))
    questions = make_readings(2)
    [answer] = worker(table(dump_chats(questions)))["answer"]
    found = load_replies(answer)
    assert found == engine.score(questions, request=LIKELIHOODS)
    assert [len(reply.likelihoods) for reply in found] == [2] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": Model(engine="scripted", weights="other")}, "another model than the driver: weights differ"),
        ({"version": "0.0.1"}, "the driver 0.0.1"),
        ({"make_engine": partial(ScriptedEngine, "no_such_module:f")}, "no_such_module"),
        ({"make_engine": partial(ScriptedEngine, "ray_judges:broken")}, "another model"),
    ],
)
def test_a_worker_that_would_answer_for_another_model_answers_nothing_and_says_why(change, words):
    job = Job(partial(ScriptedEngine, LONGER), REQUEST, ScriptedEngine(LONGER).fingerprint, 10_000)
    rows = RayWorker(job._replace(**change))(table(dump_chats([CHAT])))
    assert rows["answer"] == [""]
    assert words in rows["failure"][0]


def test_an_engine_that_raises_is_told_in_one_line():
    engine = ScriptedEngine("ray_judges:broken")
    worker = RayWorker(Job(partial(ScriptedEngine, "ray_judges:broken"), REQUEST, engine.fingerprint, 10_000))
    rows = worker(table(dump_chats([CHAT])))
    said = 'the scripted judge "ray_judges:broken" raised ValueError: the third layer is upside down'
    assert rows["failure"] == [said]
    assert "--resume" in rows["fix"][0]


def test_what_an_engine_is_given_at_once_keeps_to_the_token_budget():
    """A prompt is 5 words here, with room for 32 of a reply and the verdict 38 tokens: two fit into 80."""
    engine, sizes = ScriptedEngine(LONGER), []
    score = engine.score
    engine.score = lambda chats, *, request: sizes.append(len(chats)) or score(chats, request=request)
    assert engine.count_tokens(CHAT) == 5
    RayWorker(Job(lambda: engine, REQUEST, engine.fingerprint, 80))(table(dump_chats([CHAT] * 5)))
    assert sizes == [2, 2, 1]
