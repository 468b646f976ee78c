"""Pairs through a served judge into the ledger: durable before counted, failures named, caps kept, resumed free."""

import itertools
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from chat_server import ChatServer, p_first, running
from served_pairs import CONSTITUTION, TEMPLATE, make_pairs

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import StageError
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.question_log import read_streamed
from rlaif.judging.questions import plan_questions, render_question, render_questions
from rlaif.judging.setup import find_spent
from rlaif.judging.unanswered import Unanswered
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.models.budget import Budget, Spending
from rlaif.models.endpoint import client as endpoint_client
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.prompt import to_plain_chat
from rlaif.models.scripted_engine import ScriptedEngine
from rlaif.records import Principle, Prompt, Sample


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.01)


def judge(
    server: ChatServer,
    folder: Path,
    *,
    num_pairs: int = 10,
    budget: Budget | None = None,
    max_attempts: int = 3,
    folder_name: str = "",
    **endpoint,
) -> Judging:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"concurrency": 8, "max_retries": 2, "timeout_s": 5, **endpoint}),
        max_attempts=max_attempts,
    )
    engine = OpenAIEngine(config, budget=budget or Budget(), environ={"OPENAI_BASE_URL": server.url})
    prompts, pairs = make_pairs(num_pairs)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        return judge_pairs(
            pairs, prompts=prompts, scorer=engine, plan_path=folder / folder_name / "questions_plan.json",
            asking=Asking(constitution=CONSTITUTION, template=TEMPLATE, config=config, ledger=ledger),
        )  # fmt: skip


def opinion(first: Sample, second: Sample, principle: Principle, *, prompts: dict[str, Prompt]) -> float:
    """What the server thinks of two replies in this order: its logit for the first."""
    chat = render_question(prompts[first.prompt_id], (first, second), principle, template=TEMPLATE)
    p = p_first("\n".join(message["content"] for message in to_plain_chat(chat).messages))
    return math.log(p / (1 - p))


def test_every_pair_gets_its_comparison_under_each_principle_in_both_orders(tmp_path):
    with running(ChatServer()) as server:
        judging = judge(server, tmp_path)
    assert server.requests.total() == len(judging.questions) == len(judging.judgements) == 10 * 2 * 2
    assert (judging.failed, judging.tally.dropped) == ([], {})
    prompts, pairs = make_pairs(10)
    found = {(c.prompt_id, c.principle.id): c for c in judging.comparisons}
    for first, second in pairs:
        for principle in CONSTITUTION.principles:
            a = opinion(first, second, principle, prompts=prompts)
            b = opinion(second, first, principle, prompts=prompts)
            comparison = found[first.prompt_id, principle.id]
            sign = 1 if comparison.sample_ids[0] == first.id else -1
            assert comparison.logit == pytest.approx(sign * (a - b) / 2)
            assert comparison.position_effect == pytest.approx((a + b) / 2)
    answer = judging.judgements[0]
    assert (answer.observed.served_model, answer.observed.served.had) == ("judge-7b", "logprobs")


def test_asking_again_asks_nothing_and_finds_the_same(tmp_path):
    with running(ChatServer()) as server:
        first = judge(server, tmp_path)
        again = judge(server, tmp_path)
    assert server.requests.total() == 40
    assert again.comparisons == first.comparisons


FAULTS = (
    "429", "500", "cut", "garbage", "not json", "no choices", "empty logprobs", "null logprobs", "nan", "wrong model",
    "low mass", "refusal", "filter", "truncated", "empty", "no verdict", "400", "too long",
)  # fmt: skip


def test_no_fault_of_a_server_becomes_a_label(tmp_path):
    """A third of the questions meet a fault for good, another third once; every label is the server's own opinion."""
    fate: dict[str, tuple[str, int]] = {}
    rng = random.Random(0)

    def behave(asked, prompt, tries):
        if prompt not in fate:  # the first shows what the server can do
            fate[prompt] = (rng.choice(FAULTS), rng.choice((0, 1, 99)) if fate else 0)
        fault, times = fate[prompt]
        return fault if tries < times else "good"

    with running(ChatServer(behave)) as server:
        judging = judge(server, tmp_path, num_pairs=60, max_retries=1, max_attempts=1)
    assert {fault for fault, times in fate.values() if times} == set(FAULTS)
    assert len(judging.judgements) + len(judging.failed) == len(judging.questions) == 240
    prompts, pairs = make_pairs(60)
    samples = {sample.id: sample for pair in pairs for sample in pair}
    texts = {principle.digest: principle for principle in CONSTITUTION.principles}
    by_id = {question.id: question for question in judging.questions}
    for judgement in judging.judgements:
        question = by_id[judgement.question_id]
        first, second = (samples[sample_id] for sample_id in question.sample_ids)
        logit = opinion(first, second, texts[question.principles[0].text_digest], prompts=prompts)
        assert judgement.verdict == ("first" if logit > 0 else "second")
        assert judgement.logprobs[0].logprob - judgement.logprobs[1].logprob == pytest.approx(logit)
        assert judgement.observed.served_model == "judge-7b"
    assert {failure.cause for failure in judging.failed} == {
        "endpoint", "non_finite", "low_mass", "refused", "filtered", "truncated", "empty", "unparsable", "over_length",
    }  # fmt: skip
    assert judging.tally.dropped == dict(Counter(failure.cause for failure in judging.failed))


def test_a_failed_question_is_asked_again_by_the_next_attempt_and_no_more_often_than_configured(tmp_path):
    def behave(asked, prompt, tries):
        return "no verdict" if "reply 0 to 3" in prompt and "Be kind." in prompt else "good"

    with running(ChatServer(behave)) as server:
        sent = [(judge(server, tmp_path, max_attempts=2), server.requests.total())[1] for _ in range(3)]
    assert sent == [40, 42, 42]


def dies_after(number: int, fault: str = "cut"):
    """A server that answers so many requests and then meets a fault, until `back` is put into the list beside it."""
    back: list[bool] = []
    count = itertools.count()
    return lambda asked, prompt, tries: "good" if next(count) < number or back else fault, back


@pytest.mark.parametrize("fault", ["cut", "503", "429", "not json"])
def test_a_server_that_dies_leaves_its_questions_to_the_next_attempt(tmp_path, fault):
    behave, back = dies_after(30, fault)
    with running(ChatServer(behave)) as server:
        with pytest.raises(Unanswered, match="10 of 40 questions got no answer .*continue with the same .*--resume"):
            judge(server, tmp_path, max_retries=1)
        back.append(True)
        judging = judge(server, tmp_path, max_retries=1)
    assert (len(judging.judgements), judging.failed) == (40, [])
    assert server.requests.total() == 30 + 10 * 2 + 10


def test_a_question_without_an_answer_is_dropped_by_name_once_its_attempts_are_used_up(tmp_path):
    def behave(asked, prompt, tries):
        return "400" if "reply 0 to 3" in prompt and "Be kind." in prompt else "good"

    with running(ChatServer(behave)) as server:
        for _ in range(2):
            with pytest.raises(Unanswered, match="2 of 40 questions got no answer .*HTTP 400 no: your key"):
                judge(server, tmp_path)
        judging = judge(server, tmp_path)
    assert judging.tally.dropped == {"endpoint": 2}
    assert server.requests.total() == 40 + 2 + 2


def test_another_run_asks_once_more_what_no_server_answered_and_not_what_was_answered_badly(tmp_path):
    """Attempts are counted over resumptions, and a new run beside an old one is none."""
    is_back = False

    def behave(asked, prompt, tries):
        if "Be kind." not in prompt or is_back:
            return "good"
        return {"reply 0 to 3": "400", "reply 0 to 4": "no verdict"}.get(
            prompt[prompt.find("reply 0 to") :][:12], "good"
        )

    def run(name: str) -> Judging:
        return judge(server, tmp_path, max_attempts=1, folder_name=name)

    with running(ChatServer(behave)) as server:
        assert run("old").tally.dropped == {"endpoint": 2, "unparsable": 2}
        assert run("new").tally.dropped == {"endpoint": 2, "unparsable": 2}
        assert server.requests.total() == 40 + 2, "the two without an answer, once more"
        assert run("new").tally.dropped == {"endpoint": 2, "unparsable": 2}
        assert server.requests.total() == 40 + 2
        is_back = True
        assert run("newer").tally.dropped == {"unparsable": 2}


@pytest.mark.parametrize("fault", ["empty", "no verdict", "refusal", "filter", "truncated", "too long", "low mass"])
def test_an_answer_that_cannot_be_used_holds_nothing_up(tmp_path, fault):
    with running(ChatServer(lambda asked, prompt, tries: fault if "reply 0 to 3" in prompt else "good")) as server:
        assert judge(server, tmp_path).tally.num_dropped == 4


def test_questions_that_reach_no_server_use_no_attempt_and_no_call(tmp_path):
    """The server's process is gone in the middle: nobody listens."""
    count = itertools.count()

    def behave(asked, prompt, tries):
        if next(count) == 24:
            ends.set()
        return "good"

    ends = threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(running(ChatServer(behave, latency_s=0.02)))
        threading.Thread(target=lambda: ends.wait(20) and stack.close(), daemon=True).start()
        with pytest.raises(Unanswered, match="of 40 questions got no answer .*Connect"):
            judge(server, tmp_path, concurrency=2)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        num_answers, num_failures = (
            ledger.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("judgements", "failed_judgements")
        )
        assert find_spent(ledger, [tmp_path]).calls <= server.requests.total() + 2
    assert num_failures <= 2, "only what was under way may have been sent"
    assert num_answers < 39
    with running(ChatServer()) as server:
        assert len(judge(server, tmp_path).judgements) == 40


def test_a_server_that_is_not_there_costs_no_calls(tmp_path):
    server = ChatServer()
    with socket.socket() as taken:  # bound, so that nobody else answers there, and not listening
        taken.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(StageError, match="cannot be reached"):
            judge(server, tmp_path)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert find_spent(ledger, [tmp_path]) == Spending()


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_every_cap_is_used_up_to_its_last_call_over_all_attempts(tmp_path, concurrency):
    """Retries count, and what is printed at the stop is what the server has seen."""

    def behave(asked, prompt, tries):
        return "503" if tries == 0 and "Be kind." in prompt else "good"

    with running(ChatServer(behave)) as server:
        for cap in (5, 16, 17, 40):
            with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
                spent = find_spent(ledger, [tmp_path])
            assert spent.calls == server.requests.total()
            with pytest.raises(StageError, match=rf"max_calls of {cap} leaves .* {cap} are spent .{cap} calls"):
                judge(server, tmp_path, budget=Budget(max_calls=cap, spent=spent), concurrency=concurrency)
            assert server.requests.total() == cap


def test_a_server_without_log_probabilities_is_asked_for_votes(tmp_path):
    with running(ChatServer(lambda asked, prompt, tries: "no logprobs")) as server:
        judging = judge(server, tmp_path, num_pairs=3, num_votes=3, temperature=0.7)
        before = server.requests.total()
        again = judge(server, tmp_path, num_pairs=3, num_votes=3, temperature=0.7)
    assert before == server.requests.total() == len(judging.questions) == 3 * 2 * 2 * 3
    assert again.comparisons == judging.comparisons
    assert sorted(Counter(q.draw for q in judging.questions).items()) == [(0, 12), (1, 12), (2, 12)]
    assert {c.logit for c in judging.comparisons} == {None}
    assert {len(c.judgement_ids) for c in judging.comparisons} == {6}
    assert {c.p_first for c in judging.comparisons} <= {0.0, 0.5, 1.0}  # this server's votes never differ


def test_votes_are_not_asked_where_there_are_log_probabilities(tmp_path):
    with running(ChatServer()) as server:
        judge(server, tmp_path, num_pairs=3, num_votes=5, temperature=0.7)
    assert server.requests.total() == 12


def test_a_cap_ends_the_run_with_everything_kept_and_a_higher_one_goes_on(tmp_path):
    with running(ChatServer()) as server:
        with pytest.raises(StageError, match="judge.max_calls of 25"):
            judge(server, tmp_path, budget=Budget(max_calls=25))
        assert server.requests.total() == 25
        assert len(read_streamed(tmp_path)) == 25, "what was drawn and not sent is on no list"
        judging = judge(server, tmp_path, budget=Budget(max_calls=100))
    assert server.requests.total() == 40
    assert max(server.requests.values()) == 1
    assert len(judging.judgements) == 40


def test_a_scripted_judge_goes_through_the_planned_batches_and_keeps_to_its_caps(tmp_path):
    scorer = ScriptedEngine("rlaif.models.scripted_engine:prefer_longer")
    prompts, pairs = make_pairs(4)

    def run(max_calls):
        with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
            return judge_pairs(
                pairs, prompts=prompts, scorer=scorer, plan_path=tmp_path / "questions_plan.json",
                asking=Asking(
                    constitution=CONSTITUTION, template=TEMPLATE, config=JudgeConfig(batch_tokens=8 * 300),
                    ledger=ledger, budget=Budget(max_calls=max_calls),
                ),
            )  # fmt: skip

    with pytest.raises(StageError, match="judge.max_calls of 12"):
        run(12)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.rows("SELECT count(*) FROM judgements") == [(8,)]
    assert len(run(100).judgements) == 16


CHILD = """
import sys
from pathlib import Path
import signal
from rlaif.cli import _terminate
signal.signal(signal.SIGTERM, _terminate)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background ignores it
sys.path.insert(0, {tests!r}); sys.path.insert(0, {judging!r})
from chat_server import ChatServer
from test_streaming import judge
server = ChatServer()
server.url = sys.argv[1]
judge(server, Path(sys.argv[2]), num_pairs={pairs}, concurrency=8)
"""
CHILD_PAIRS = 24


def start_child(server: ChatServer, folder: Path) -> subprocess.Popen:
    here = Path(__file__).parent
    code = CHILD.format(tests=str(here.parent), judging=str(here), pairs=CHILD_PAIRS)
    environ = {**os.environ, "PYTHONPATH": str(here.parent.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(folder)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def prompts_by_question(num_pairs: int) -> dict[str, str]:
    """Question id -> the text that the server sees."""
    config = JudgeConfig(model=JudgeModelConfig(engine="openai", path="judge-7b"))
    engine = OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": "http://x"})
    prompts, pairs = make_pairs(num_pairs)
    rendered = render_questions(
        plan_questions(pairs, constitution=CONSTITUTION, template=TEMPLATE, config=config), prompts=prompts,
        template=TEMPLATE, judge_id=engine.fingerprint.id, decoding=engine.decoding,
    )  # fmt: skip
    return {q.id: "\n".join(m["content"] for m in to_plain_chat(chat).messages) for q, chat in rendered}


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.heavy(minutes=0.3)),
        pytest.param(signal.SIGINT, marks=pytest.mark.heavy(minutes=0.3)),
    ],
)
def test_killed_at_any_moment_nothing_acknowledged_is_asked_again(tmp_path, how):
    """A real child process. What the ledger holds after its death was sent for the last time."""
    rng = random.Random(7)
    prompt_of = prompts_by_question(CHILD_PAIRS)
    last_count: dict[str, int] = {}
    num_kills, returncode = 0, None
    with running(ChatServer(latency_s=0.05)) as server:
        while returncode != 0:
            before = Counter(server.requests)
            child = start_child(server, tmp_path)
            while child.poll() is None and server.requests == before:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.05, 0.5))
            child.send_signal(how)
            _, errors = child.communicate(timeout=60)
            returncode = child.returncode
            num_kills += returncode != 0
            assert returncode in (-how, -signal.SIGINT, 0), errors.decode()
            for complaint in ("never retrieved", "was destroyed", "Event loop", "Unclosed", "Exception ignored"):
                assert complaint not in errors.decode(), errors.decode()
            with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
                in_ledger = [key for (key,) in ledger.rows("SELECT question_id FROM judgements")]
                assert verify(ledger).ok
                counted = find_spent(ledger, [tmp_path]).calls
                # A kill may come between the note of a request and its sending.
                assert 0 <= counted - server.requests.total() <= 8 * num_kills, "no request goes uncounted"
            for prompt in (prompt_of[key] for key in in_ledger):
                last_count.setdefault(prompt, server.requests[prompt])
            again = {prompt: server.requests[prompt] - before[prompt] for prompt in before}
            assert sum(again.values()) <= 8 + 64
        assert num_kills >= 2
        assert last_count == dict(server.requests)
        assert len(last_count) == 4 * CHILD_PAIRS
