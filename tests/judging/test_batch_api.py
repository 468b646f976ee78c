"""Pairs through a server's batch endpoint into the ledger: submitted once, kept through kills, read as streams are."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from batch_server import BatchServer
from chat_server import ChatServer, running
from served_pairs import CONSTITUTION, TEMPLATE, make_pairs

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import StageError
from rlaif.judging import batch_api
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.setup import find_spent
from rlaif.ledger.store import Ledger
from rlaif.ledger.verify import verify
from rlaif.models.budget import Budget
from rlaif.models.endpoint import batch as openai_batch
from rlaif.models.endpoint.engine import OpenAIEngine

PAIRS = 10
QUESTIONS = PAIRS * 2 * 2
WAITS = "questions are with the judge's server"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(openai_batch, "FIRST_WAIT_S", 0.01)


def judge(
    server: ChatServer,
    folder: Path,
    *,
    num_pairs: int = PAIRS,
    budget: Budget | None = None,
    max_attempts: int = 3,
    **endpoint,
) -> Judging:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"),
        endpoint=EndpointConfig(**{"batch_api": True, "max_retries": 2, "timeout_s": 5, **endpoint}),
        max_attempts=max_attempts,
    )
    prompts, pairs = make_pairs(num_pairs)
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        spent = find_spent(ledger, [folder])
        budget = budget or Budget()
        budget.spent = spent
        engine = OpenAIEngine(config, budget=budget, environ={"OPENAI_BASE_URL": server.url})
        try:
            return judge_pairs(
                pairs, prompts=prompts, scorer=engine, plan_path=folder / "questions_plan.json",
                asking=Asking(constitution=CONSTITUTION, template=TEMPLATE, config=config, ledger=ledger),
            )  # fmt: skip
        finally:
            assert verify(ledger).ok


def judge_to_the_end(server: ChatServer, folder: Path, **options) -> tuple[Judging, int]:
    """Resumed as often as it takes; how often it ended early."""
    for ended in range(20):
        try:
            return judge(server, folder, **options), ended
        except StageError:
            pass
    raise AssertionError("it never ends")


def test_everything_is_submitted_in_one_file_and_collected_by_the_next_call(tmp_path):
    with running(BatchServer()) as server:
        with pytest.raises(StageError, match=f"{QUESTIONS} {WAITS}.* by 2027-01-15 08:00 UTC.*--resume"):
            judge(server, tmp_path)
        assert server.requests.total() == 0
        (lines,) = ([json.loads(line) for line in file.splitlines()] for file in server.files.values())
        judging = judge(server, tmp_path)
    assert server.forms == [{"purpose": "batch", "filename": "0001.jsonl"}]
    assert len(lines) == len({line["custom_id"] for line in lines}) == QUESTIONS
    assert {line["custom_id"] for line in lines} == {question.id for question in judging.questions}
    assert lines[0]["body"]["model"] == "judge-7b"
    assert set(server.submitted.values()) == {1}
    assert server.calls["POST /v1/batches"] == 1
    assert (len(judging.judgements), judging.failed) == (QUESTIONS, [])
    served = judging.judgements[0].observed.served
    assert (served.request_id, served.calls, served.had) == ("req-9", 1, "logprobs")


def test_what_is_collected_is_what_a_stream_would_have_answered(tmp_path):
    with running(BatchServer()) as server:
        batched, _ = judge_to_the_end(server, tmp_path / "batched")
        streamed = judge(server, tmp_path / "streamed", batch_api=False)
    assert batched.comparisons == streamed.comparisons
    assert [j.id for j in batched.judgements] == [j.id for j in streamed.judgements]


def test_while_the_server_works_nothing_is_asked_twice(tmp_path):
    statuses = ("validating", "in_progress", "in_progress", "finalizing", "completed")
    with running(BatchServer(status=lambda batch, looks: statuses[looks])) as server:
        judging, ended = judge_to_the_end(server, tmp_path)
    assert ended == 5
    assert set(server.submitted.values()) == set(server.requests.values()) == {1}
    assert len(judging.judgements) == QUESTIONS


def test_a_run_that_submitted_batches_goes_on_with_them_without_the_option(tmp_path):
    with running(BatchServer(status=lambda batch, looks: "completed" if looks else "in_progress")) as server:
        for option in (True, False):
            with pytest.raises(StageError, match=WAITS):
                judge(server, tmp_path, batch_api=option)
        judging = judge(server, tmp_path, batch_api=False)
        assert server.calls["POST /v1/chat/completions"] == 0
    assert len(judging.judgements) == QUESTIONS


def test_questions_are_cut_into_files_by_number_and_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_api, "MAX_REQUESTS", 15)
    with running(BatchServer()) as server:
        judging, ended = judge_to_the_end(server, tmp_path / "a")
        sizes = [len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()]
        assert (sizes, ended) == ([15, 15, 10], 1)
        monkeypatch.setattr(batch_api, "MAX_FILE_BYTES", 9000)
        judge_to_the_end(server, tmp_path / "b")
        files = [server.files[batch["input_file_id"]] for batch in list(server.batches.values())[3:]]
    assert len(files) > 3
    assert max(map(len, files)) <= 9000
    assert len(judging.judgements) == QUESTIONS


FAULTS = {
    "good": None, "empty logprobs": "endpoint", "expired": "again", "missing": "endpoint", "unknown id": "endpoint",
    "garbage line": "endpoint", "twice": None, "429": "endpoint", "500": "endpoint", "400": "endpoint",
    "too long": "over_length", "refusal": "refused", "filter": "filtered", "truncated": "truncated",
    "empty": "empty", "no verdict": "unparsable", "nan": "non_finite", "low mass": "low_mass",
    "no choices": "endpoint", "not json": "endpoint",
}  # fmt: skip
"""Behaviour of a question at its first try -> the failure it leaves, or that it is asked again without one."""


def test_every_line_is_an_answer_a_named_failure_or_asked_again(tmp_path):
    fate: dict[str, str] = {}

    def behave(asked, prompt, tries):
        fate.setdefault(prompt, list(FAULTS)[len(fate) % len(FAULTS)])
        return fate[prompt] if server.submitted[prompt] == 1 else "good"

    with running(BatchServer(behave)) as server:
        with pytest.raises(StageError, match=f"{QUESTIONS} {WAITS}"):
            judge(server, tmp_path)
        again = sum(
            FAULTS[fate_of] is not None for fate_of in [list(FAULTS)[n % len(FAULTS)] for n in range(QUESTIONS)]
        )
        with pytest.raises(StageError, match=f"{again} {WAITS}"):
            judge(server, tmp_path)
        judging = judge(server, tmp_path)
        with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
            causes = Counter(dict(ledger.rows("SELECT cause, count(*) FROM failed_judgements GROUP BY cause")))
    expected = Counter(cause for cause in (FAULTS[fate[prompt]] for prompt in fate) if cause not in (None, "again"))
    assert causes == expected
    assert len(judging.judgements) == QUESTIONS
    assert {prompt: count for prompt, count in server.submitted.items() if count != 1} == {
        prompt: 2 for prompt in fate if FAULTS[fate[prompt]] is not None
    }


def test_a_question_that_fails_is_submitted_no_more_often_than_configured(tmp_path):
    def behave(asked, prompt, tries):
        return "no verdict" if "reply 0 to 3" in prompt and "Be kind." in prompt else "good"

    with running(BatchServer(behave)) as server:
        judging, ended = judge_to_the_end(server, tmp_path, max_attempts=2)
        assert ended == 2
        judge(server, tmp_path, max_attempts=2)
    assert sorted(Counter(server.submitted.values()).items()) == [(1, QUESTIONS - 2), (2, 2)]
    assert judging.tally.dropped == {"unparsable": 2}
    assert [failure.attempt for failure in judging.failed] == [2, 2]


@pytest.mark.parametrize("fault", ["missing", "unknown id", "garbage line"])
def test_a_question_that_never_gets_a_line_is_submitted_no_more_often_than_configured(tmp_path, fault):
    def behave(asked, prompt, tries):
        return fault if "reply 0 to 3" in prompt and "Be kind." in prompt else "good"

    with running(BatchServer(behave)) as server:
        judging, _ = judge_to_the_end(server, tmp_path, max_attempts=2)
    assert sorted(Counter(server.submitted.values()).items()) == [(1, QUESTIONS - 2), (2, 2)]
    assert judging.tally.dropped == {"endpoint": 2}
    assert {failure.observed.served.detail for failure in judging.failed} == {
        "the batch ended without a line for this question"
    }


def test_a_batch_that_the_server_refuses_ends_with_its_words_and_is_submitted_anew(tmp_path):
    with running(
        BatchServer(status=lambda batch, looks: "failed" if batch["id"] == "batch-1" else "completed")
    ) as server:
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path)
        with pytest.raises(StageError, match="batch-1 as failed .line 1 is no request.*--resume"):
            judge(server, tmp_path)
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path)
        judging = judge(server, tmp_path)
    assert len(judging.judgements) == QUESTIONS
    assert len(server.batches) == 2


def test_of_an_expired_batch_the_answers_are_kept_and_the_rest_is_asked_again(tmp_path):
    def behave(asked, prompt, tries):
        return "expired" if "Be kind." in prompt and server.submitted[prompt] == 1 else "good"

    def status(batch, looks):
        return "expired" if batch["id"] == "batch-1" else "completed"

    with running(BatchServer(behave, status=status)) as server:
        judging, ended = judge_to_the_end(server, tmp_path)
    assert ended == 2
    assert (len(judging.judgements), judging.failed) == (QUESTIONS, [])
    assert Counter(server.submitted.values()) == {1: QUESTIONS // 2, 2: QUESTIONS // 2}
    assert set(server.requests.values()) == {1}


def test_calls_that_a_server_never_worked_on_count_against_no_cap(tmp_path):
    """A batch that expired half done, and one that was refused as a whole: the cap has room for every question."""

    def behave(asked, prompt, tries):
        return "expired" if "Be kind." in prompt and server.submitted[prompt] == 1 else "good"

    def status(batch, looks):
        return {"batch-1": "expired", "batch-2": "failed"}.get(batch["id"], "completed")

    seen = []
    with running(BatchServer(behave, status=status)) as server:
        for _ in range(5):
            try:
                judging = judge(server, tmp_path, budget=Budget(max_calls=QUESTIONS))
            except StageError:
                with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
                    seen.append(find_spent(ledger, [tmp_path]).calls)
    assert len(judging.judgements) == QUESTIONS
    assert server.requests.total() == QUESTIONS
    # submitted; half of it expired, the rest submitted; refused; submitted once more
    assert seen == [QUESTIONS, QUESTIONS, QUESTIONS // 2, QUESTIONS]


def test_what_was_not_uploaded_is_no_call(tmp_path):
    with running(BatchServer(refuse=lambda at, number: 404)) as server, pytest.raises(StageError):
        judge(server, tmp_path)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert find_spent(ledger, [tmp_path]).calls == 0


def test_a_setting_that_the_server_refuses_is_left_out_of_the_next_batch(tmp_path):
    def behave(asked, prompt, tries):
        if "temperature" not in asked:
            return "good"
        return {"error": {"message": "Unsupported value: 'temperature'"}}

    class Refusing(BatchServer):
        async def reply(self, request, asked, prompt, behaviour):
            response = await super().reply(request, asked, prompt, behaviour)
            if isinstance(behaviour, dict):
                response.set_status(400)
            return response

    with running(Refusing(behave)) as server:
        judging, ended = judge_to_the_end(server, tmp_path, max_attempts=1)
    assert ended == 2
    assert len(judging.judgements) == QUESTIONS
    assert {j.observed.served.temperature for j in judging.judgements} == {None}
    assert set(server.submitted.values()) == {2}


def test_caps_hold_over_all_batches_and_prices_are_those_of_the_batch_endpoint(tmp_path):
    prices = {"prompt_price": 1000.0, "reply_price": 1000.0}
    with running(BatchServer()) as server:
        with pytest.raises(StageError, match=f"25 {WAITS}"):
            judge(server, tmp_path, budget=Budget(max_calls=25), **prices)
        with pytest.raises(StageError, match="judge.max_calls of 25 leaves no room"):
            judge(server, tmp_path, budget=Budget(max_calls=25), **prices)
        assert server.submitted.total() == 25
        judging, _ = judge_to_the_end(server, tmp_path, budget=Budget(max_calls=QUESTIONS), **prices)
        budget = Budget(max_cost=1.0)
        judge(server, tmp_path, budget=budget, **prices)
    assert server.submitted.total() == QUESTIONS
    tokens = sum(j.observed.prompt_tokens + j.observed.reply_tokens for j in judging.judgements)
    assert sum(j.observed.served.cost for j in judging.judgements) == pytest.approx(tokens * 1000 / 1e6 / 2)
    assert budget.spent.calls == QUESTIONS
    assert budget.spent.cost == pytest.approx(tokens * 1000 / 1e6 / 2)


def test_what_is_with_the_server_counts_against_a_cap_in_money_until_it_is_collected(tmp_path):
    prices = {"prompt_price": 1000.0, "reply_price": 1000.0}
    with running(BatchServer(status=lambda batch, looks: "in_progress" if looks < 1 else "completed")) as server:
        for _ in range(2):
            with pytest.raises(StageError, match=WAITS):
                judge(server, tmp_path, budget=Budget(max_cost=6.0), **prices)
        first = server.submitted.total()
        judge_to_the_end(server, tmp_path, budget=Budget(max_cost=1e6), **prices)
    assert 0 < first < QUESTIONS
    assert set(server.submitted.values()) == {1}


def test_votes_are_submitted_once_the_first_draws_came_without_log_probabilities(tmp_path):
    with running(BatchServer(lambda asked, prompt, tries: "no logprobs")) as server:
        judging, ended = judge_to_the_end(server, tmp_path, num_pairs=3, num_votes=3, temperature=0.7)
    assert ended == 2
    assert sorted(Counter(q.draw for q in judging.questions).items()) == [(0, 12), (1, 12), (2, 12)]
    assert len(judging.judgements) == 36


def test_a_judge_without_any_verdict_is_not_asked_again_unsaid(tmp_path):
    with running(BatchServer(lambda asked, prompt, tries: "no verdict")) as server:
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path)
        with pytest.raises(
            StageError, match=f'none of the judge.s {QUESTIONS} replies holds a verdict after "Verdict:"'
        ):
            judge(server, tmp_path)
        assert len(server.batches) == 1


def test_answers_of_another_model_are_refused_and_those_before_are_kept(tmp_path):
    def behave(asked, prompt, tries):
        return "wrong model" if server.requests.total() >= 20 else "good"

    with running(BatchServer(behave)) as server:
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path)
        with pytest.raises(StageError, match='the server now answers as "somebody-else"'):
            judge(server, tmp_path)
        with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
            assert ledger.rows("SELECT count(*) FROM judgements") == [(20,)]


@pytest.mark.parametrize("path", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/{id}"])
def test_a_server_that_stumbles_is_tried_again(tmp_path, path):
    with running(BatchServer(refuse=lambda at, number: 503 if at == path and number < 2 else 0)) as server:
        judging, _ = judge_to_the_end(server, tmp_path)
    assert server.calls[path] >= 3
    assert set(server.submitted.values()) == {1}
    assert len(judging.judgements) == QUESTIONS


def test_a_submission_whose_answer_was_lost_is_found_and_not_repeated(tmp_path):
    with running(
        BatchServer(refuse=lambda at, number: -1 if at == "POST /v1/batches" and number == 0 else 0)
    ) as server:
        judging, ended = judge_to_the_end(server, tmp_path)
    assert ended == 1
    assert len(server.batches) == 1
    assert len(judging.judgements) == QUESTIONS


def test_where_it_cannot_be_known_whether_a_batch_was_submitted_the_user_is_told(tmp_path):
    lost = BatchServer(
        refuse=lambda at, number: -1 if at == "POST /v1/batches" and number == 0 else 0, lists_batches=False
    )
    with running(lost) as server:
        with pytest.raises(StageError, match="not known whether the server works on file-1 already.*--resume"):
            judge(server, tmp_path)
        judging, _ = judge_to_the_end(server, tmp_path)
    assert len(judging.judgements) == QUESTIONS
    assert len(server.batches) == 2


@pytest.mark.parametrize(("status", "words"), [(401, "set OPENAI_API_KEY"), (404, "ask without --batch-api")])
def test_a_server_without_batches_or_that_refuses_the_key_says_so(tmp_path, status, words):
    with running(BatchServer(refuse=lambda at, number: status)) as server:
        with pytest.raises(StageError, match=f"did not take a batch .HTTP {status} no, {status}.*{words}"):
            judge(server, tmp_path)
        assert server.calls.total() == 1
        server.refuse = lambda at, number: 0
        judging, _ = judge_to_the_end(server, tmp_path)
    assert len(judging.judgements) == QUESTIONS


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r}); sys.path.insert(0, {judging!r})
from rlaif.judging import batch_answers, batch_journal
from rlaif.models.endpoint import batch
from chat_server import ChatServer
from test_batch_api import judge
owner, name, when = {spot!r}
owners = {{"journal": batch_journal.BatchJournal, "server": batch.BatchServer}}
owner = owners.get(owner, batch_answers.Collecting)
whole = getattr(owner, name)
def killed(*args, **kwargs):
    if when == "after":
        whole(*args, **kwargs)
    os._exit(9)
setattr(owner, name, killed)
server = ChatServer()
server.url = sys.argv[1]
judge(server, Path(sys.argv[2]))
"""


SPOTS = [
    ("journal", "prepare", "after"), ("server", "create", "after"), ("collecting", "write", "after"),
    *(
        pytest.param(spot, marks=pytest.mark.heavy)
        for spot in (
            ("journal", "prepare", "before"), ("server", "upload", "after"), ("journal", "uploaded", "after"),
            ("server", "create", "before"), ("journal", "submitted", "after"), ("server", "download", "after"),
            ("journal", "collected", "before"), ("journal", "collected", "after"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: " ".join(spot))
def test_killed_at_every_step_nothing_is_submitted_twice_nor_lost(tmp_path, spot):
    here = Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), judging=str(here), spot=spot)
    environ = {**os.environ, "PYTHONPATH": str(here.parent.parent), "OMP_NUM_THREADS": "1"}
    with running(BatchServer()) as server:
        if spot[1] in ("download", "write", "collected"):
            with pytest.raises(StageError, match=WAITS):
                judge(server, tmp_path)
        command = [sys.executable, "-c", code, server.url, str(tmp_path)]
        child = subprocess.run(command, env=environ, capture_output=True, timeout=100, check=False)
        assert child.returncode == 9, child.stderr.decode()
        judging, _ = judge_to_the_end(server, tmp_path)
    assert len(judging.judgements) == QUESTIONS
    assert len(server.batches) == 1
    assert set(server.submitted.values()) == {1}
    with Ledger.open(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.rows("SELECT count(*), count(DISTINCT question_id) FROM judgements") == [(QUESTIONS, QUESTIONS)]
    assert list((tmp_path / "batches").iterdir()) == []


def test_a_torn_line_of_the_journal_is_a_step_that_was_not_taken(tmp_path):
    with running(BatchServer()) as server:
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path)
        journal = tmp_path / "batches.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert [json.loads(line)["step"] for line in lines] == ["prepared", "uploaded", "submitted"]
        journal.write_bytes(b"".join(lines[:2]) + lines[2][:20])
        judging, ended = judge_to_the_end(server, tmp_path)
    assert ended == 0
    assert len(server.batches) == 1
    assert len(judging.judgements) == QUESTIONS


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"error": {"message": "You exceeded your current quota"}}, "no money or quota left .*current quota"),
        ("400", "refused every question of batch .*HTTP 400 no"),
    ],
)
def test_a_batch_of_refusals_ends_with_the_servers_words_and_is_not_submitted_again_at_once(tmp_path, behaviour, words):
    with running(BatchServer(lambda asked, prompt, tries: behaviour)) as server:
        with pytest.raises(StageError, match=WAITS):
            judge(server, tmp_path, num_pairs=1)
        with pytest.raises(StageError, match=words):
            judge(server, tmp_path, num_pairs=1)
        assert server.calls["POST /v1/batches"] == 1
