"""The `openai` engine and real servers: vLLM's gives log-probabilities, `transformers serve` the verdict alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_questions import largest_difference_by_token, make_questions, make_readings, request_of
from servers import serving

from rlaif.config.judge import EndpointConfig, JudgeConfig, JudgeModelConfig
from rlaif.constitution.render import load_template
from rlaif.errors import StageError
from rlaif.frontdesk import JUDGE_DIR
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.models.budget import Budget
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.interface import LIKELIHOODS, ScoredReply
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.tokens.prompt_tokens import choice_token_ids
from rlaif.models.weights.loading import load_causal_lm

pytestmark = pytest.mark.heavy
TEMPLATE = load_template(PAIR_TEMPLATE)


def judge_at(url: str, *, model: str, **endpoint: object) -> OpenAIEngine:
    config = JudgeConfig(
        model=JudgeModelConfig(engine="openai", path=model), endpoint=EndpointConfig.model_validate(endpoint)
    )
    return OpenAIEngine(config, budget=Budget(), environ={"OPENAI_BASE_URL": url})


def local_replies(num_pairs: int) -> list[ScoredReply]:
    local = TransformersEngine(load_causal_lm(str(JUDGE_DIR), device="cpu"))
    return local.score(make_questions(num_pairs), request=request_of(TEMPLATE))


def same_verdicts(served: list[ScoredReply], local: list[ScoredReply]) -> int:
    return sum(a.verdict == b.logprobs.index(max(b.logprobs)) for a, b in zip(served, local, strict=True))


def difference(served: list[ScoredReply], local: list[ScoredReply]) -> float:
    return max(
        abs(math.exp(x) - math.exp(y))
        for a, b in zip(served, local, strict=True)
        for x, y in zip(a.logprobs, b.logprobs, strict=True)
    )


@pytest.fixture(scope="module")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(JUDGE_DIR), "--served-model-name",
        "frontdesk-judge", "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1", "--port",
    ]  # fmt: skip
    with serving(command, log=tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield url


def test_a_vllm_server_gives_the_verdicts_and_probabilities_of_the_local_engine(vllm_url: str) -> None:
    local = local_replies(60)
    served = judge_at(vllm_url, model="frontdesk-judge").score(make_questions(60), request=request_of(TEMPLATE))
    encoder = load_causal_lm(str(JUDGE_DIR), device="cpu").encoder
    exact = judge_at(
        vllm_url,
        model="frontdesk-judge",
        extra_body={"logprob_token_ids": choice_token_ids(encoder, TEMPLATE.verdict_marker, TEMPLATE.choices)},
    ).score(make_questions(60), request=request_of(TEMPLATE))
    assert {reply.served.had for reply in served if reply.served is not None} == {"logprobs"}
    print(f"verdicts as the local engine's: {same_verdicts(served, local)} of {len(local)}")
    print(f"largest difference of a probability: {difference(served, local):.1e}, exact {difference(exact, local):.1e}")
    # a chat endpoint makes its own token ids of the prompt; the front desk's tokenizer can spell what we write
    assert same_verdicts(served, local) == len(local)
    assert difference(served, local) < 1e-3
    assert difference(exact, local) < 1e-3
    assert not any(reply.unknown for reply in exact)
    assert {reply.served_model for reply in served} == {"frontdesk-judge"}


def test_a_vllm_server_gives_the_likelihoods_of_the_local_engine(vllm_url: str) -> None:
    questions = make_readings(20)
    served = judge_at(vllm_url, model="frontdesk-judge").score(questions, request=LIKELIHOODS)
    local = TransformersEngine(load_causal_lm(str(JUDGE_DIR), device="cpu")).score(questions, request=LIKELIHOODS)
    difference = largest_difference_by_token(served, local)
    print(f"{len(questions)} questions, largest difference of a log-likelihood by token {difference:.1e}")
    assert [reply.response_tokens for reply in served] == [reply.response_tokens for reply in local]
    assert difference < 1e-4


def test_transformers_serve_gives_the_verdict_alone_and_no_likelihoods_and_says_so(tmp_path: Path) -> None:
    local = local_replies(20)
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(JUDGE_DIR), "--device", "cpu", "--dtype",
        "float32", "--host", "127.0.0.1", "--port",
    ]  # fmt: skip
    with serving(command, log=tmp_path / "server.log") as url:
        served = judge_at(url, model=str(JUDGE_DIR), concurrency=4).score(
            make_questions(20), request=request_of(TEMPLATE)
        )
        with pytest.raises(StageError, match="gave no log-probabilities of the given text"):
            judge_at(url, model=str(JUDGE_DIR)).score(make_readings(2), request=LIKELIHOODS)
    assert {reply.served.had for reply in served if reply.served is not None} == {"verdict"}
    assert not any(reply.logprobs for reply in served)
    assert [reply.reason for reply in served] == [reply.reason for reply in local]
    print(f"verdicts as the local engine's: {same_verdicts(served, local)} of {len(local)}")
    assert same_verdicts(served, local) == len(local)
