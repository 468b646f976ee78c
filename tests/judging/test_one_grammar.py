"""The same replies through a live endpoint and a batch endpoint of a real server, and out of a file: one grammar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from chat_server import ChatServer, running
from judge_replies import REQUESTS, make_replies
from served_pairs import CONSTITUTION, TEMPLATE, make_pairs

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.errors import StageError
from rlaif.files.row import Row
from rlaif.judging.judge import Asking, judge_pairs
from rlaif.judging.recorded import records_from_rows
from rlaif.judging.recorded_columns import ColumnMap
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.endpoint import batch as openai_batch
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.interface import ScoreRequest
from rlaif.models.replies.verdict_text import find_answer_start, find_verdict
from rlaif.records import Segment, SegmentedMessage

REPLIES = list(make_replies(600, seed="one grammar"))


def body_of(text: str, *, is_cut_off: bool) -> dict[str, Any]:
    finish = "length" if is_cut_off else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"model": "judge-7b", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}


def expect(text: str, *, request: ScoreRequest, is_cut_off: bool) -> int | None:
    found = find_verdict(text[find_answer_start(text) :], request=request, is_cut_off=is_cut_off)
    return None if found is None else found.choice


def engine_for(server: ChatServer, **endpoint: Any) -> OpenAIEngine:
    return OpenAIEngine(config_for(**endpoint), budget=Budget(), environ={"OPENAI_BASE_URL": server.url})


def config_for(**endpoint: Any) -> JudgeConfig:
    return JudgeConfig(
        model=JudgeModelConfig(engine="openai", path="judge-7b"), endpoint=EndpointConfig(logprobs="no", **endpoint),
        max_attempts=1,
    )  # fmt: skip


def test_live_replies_for_every_kind_of_template_are_read_by_the_grammar() -> None:
    with running(ChatServer(lambda asked, prompt, tries: json.loads(prompt))) as server:
        for request in REQUESTS.values():
            of_kind = [reply for reply in REPLIES if reply.request == request]
            # The first one is clear: a judge that never gives a verdict is stopped.
            of_kind.sort(key=lambda reply: not reply.is_clear)
            bodies = [json.dumps(body_of(reply.text, is_cut_off=reply.is_cut_off)) for reply in of_kind]
            chats = [(SegmentedMessage("user", (Segment(body, True),)),) for body in bodies]
            for reply, read in zip(of_kind, engine_for(server).score(chats, request=request), strict=True):
                assert read.verdict in reply.allowed
                assert read.verdict == expect(reply.text, request=request, is_cut_off=reply.is_cut_off)
                assert (read.failure is None) == (read.verdict is not None)
                assert not reply.is_clear or read.verdict is not None


@pytest.mark.parametrize("through", ["live", "batch"])
def test_pairs_get_the_verdicts_that_the_replies_give(tmp_path: Path, monkeypatch, through: str) -> None:
    monkeypatch.setattr(openai_batch, "FIRST_WAIT_S", 0.01)
    request = ScoreRequest(TEMPLATE.verdict_marker, TEMPLATE.choices, TEMPLATE.reason_max_tokens)
    of_kind = [reply for reply in make_replies(3000, seed="pairs") if reply.request == REQUESTS["pair"]]
    of_kind.sort(key=lambda reply: not reply.is_clear)
    given: dict[str, Any] = {}

    def answer(asked: dict[str, Any], prompt: str, tries: int) -> dict[str, Any]:
        return given.setdefault(prompt, body_of(*of_kind[len(given)][:1], is_cut_off=of_kind[len(given)].is_cut_off))

    prompts, pairs = make_pairs(12)
    config = config_for(batch_api=through == "batch")
    with running(BatchServer(answer)) as server, Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(10):
            engine = OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": server.url})
            try:
                judged = judge_pairs(
                    pairs, prompts=prompts, scorer=engine, plan_path=tmp_path / "plan.json",
                    asking=Asking(constitution=CONSTITUTION, template=TEMPLATE, config=config, ledger=ledger),
                )  # fmt: skip
                break
            except StageError:  # the batch is with the server: not done yet
                continue
    texts = [choice["choices"][0] for choice in given.values()]
    expected = [
        expect(one["message"]["content"], request=request, is_cut_off=one["finish_reason"] == "length") for one in texts
    ]
    assert len(given) == 48
    assert judged.tally.kept == sum(verdict is not None for verdict in expected) > 10


def test_recorded_replies_are_read_by_the_grammar() -> None:
    of_kind = [reply for reply in make_replies(3000, seed="recorded") if reply.request == REQUESTS["tie in words"]]
    whole = [reply for reply in of_kind if not reply.is_cut_off]
    columns = ColumnMap.model_validate(
        {
            "key": "id", "prompt": "prompt", "responses": ["a", "b"], "judge": "j", "verdict": "reply",
            "verdict_marker": "Verdict:", "verdict_values": {name: [name] for name in ("first", "second", "tie")},
        }
    )  # fmt: skip
    rows = [
        Row(cells, "f", tuple(cells))
        for n, reply in enumerate(whole)
        for cells in [{"id": n, "prompt": f"p{n}", "a": "x", "b": "y", "reply": reply.text}]
    ]
    recorded = records_from_rows(rows, rows, columns=columns)
    read = {judgement.raw_reply: judgement.verdict for judgement in recorded.judgements}
    for reply in whole:
        verdict = read.get(reply.text.strip())
        assert (None if verdict is None else ("first", "second", "tie").index(verdict)) in reply.allowed
    assert len(recorded.judgements) >= 0.99 * sum(reply.is_clear for reply in whole) > 50
