"""vLLM offline against the transformers engine: the same questions, the same records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from desk_questions import largest_difference_by_token, make_prompts, make_questions, make_readings, request_of

from rlaif.config.models import ModelConfig, VllmConfig
from rlaif.constitution.render import load_template
from rlaif.errors import StageError
from rlaif.frontdesk import JUDGE_DIR, POLICY_DIR
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.models.interface import LIKELIHOODS, ScoredReply
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.slot import Slot
from rlaif.models.vllm.engine import VllmEngine
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import SamplingParams

pytestmark = pytest.mark.heavy
NUM_DRAWS = 2000


SLOT = Slot()
"""One vLLM runs at a time: two would not fit into the memory."""


def in_vllm(folder: Path) -> VllmEngine:
    return VllmEngine(ModelConfig(path=str(folder)), options=VllmConfig(), slot=SLOT)


def in_transformers(folder: Path) -> TransformersEngine:
    return TransformersEngine(load_causal_lm(str(folder), device="cpu"))


@pytest.fixture(scope="module")
def judge() -> Iterator[VllmEngine]:
    yield in_vllm(JUDGE_DIR)
    SLOT.close()


@pytest.fixture(scope="module")
def policy() -> Iterator[VllmEngine]:
    yield in_vllm(POLICY_DIR)
    SLOT.close()


def largest_difference(one: list[ScoredReply], other: list[ScoredReply]) -> float:
    return max(
        abs(math.exp(x) - math.exp(y))
        for a, b in zip(one, other, strict=True)
        for x, y in zip(a.logprobs, b.logprobs, strict=True)
    )


@pytest.mark.parametrize("with_reason", [True, False], ids=["after its own reason", "verdict alone"])
def test_verdict_probabilities_are_those_of_the_transformers_engine(judge: VllmEngine, with_reason: bool) -> None:
    template = load_template(PAIR_TEMPLATE)
    questions = make_questions(60)
    request = request_of(template, with_reason=with_reason)
    found = judge.score(questions, request=request)
    expected = in_transformers(JUDGE_DIR).score(questions, request=request)
    difference = largest_difference(found, expected)
    print(f"{len(questions)} questions, largest difference of a verdict's probability {difference:.1e}")
    assert all(len(reply.logprobs) == 2 for reply in found)
    assert difference < 1e-3
    bare = [[reply._replace(logprobs=()) for reply in replies] for replies in (found, expected)]
    assert bare[0] == bare[1]


def test_a_reply_without_verdict_fails_for_the_same_cause_in_both_engines(judge: VllmEngine) -> None:
    questions = make_questions(10)
    request = request_of(load_template(PAIR_TEMPLATE))
    other = in_transformers(JUDGE_DIR)
    for odd in (request._replace(marker="\nNever:"), request._replace(max_reason_tokens=5)):
        found, expected = judge.score(questions, request=odd), other.score(questions, request=odd)
        assert found == expected
    assert {reply.failure for reply in found} == {"truncated"}


def test_a_long_prompt_is_a_failure_and_the_others_are_answered(judge: VllmEngine) -> None:
    questions = make_questions(4)
    lengths = [judge.count_tokens(chat) for chat in questions]
    longest = sorted(lengths)[3]
    request = request_of(load_template(PAIR_TEMPLATE))._replace(max_reason_tokens=judge.context_tokens - longest)
    fits = [length < longest for length in lengths]
    assert any(fits)
    assert [reply.failure for reply in judge.score(questions, request=request)] == [
        None if fit else "over_length" for fit in fits
    ]


def test_the_same_batch_gives_the_same_bytes_whatever_was_asked_before(judge: VllmEngine) -> None:
    request = request_of(load_template(PAIR_TEMPLATE))
    first, others = make_questions(40)[:40], make_questions(40)[40:]
    before = judge.score(first, request=request)
    judge.score(others, request=request)
    assert judge.score(first, request=request) == before
    judge.close()
    assert judge.score(first, request=request) == before


def test_memory_comes_back_and_a_killed_process_is_a_sentence(judge: VllmEngine) -> None:
    questions = make_questions(5)
    request = request_of(load_template(PAIR_TEMPLATE))
    before = judge.score(questions, request=request)
    assert judge.process.pid is not None
    running = psutil.Process(judge.process.pid)
    assert running.memory_info().rss > 2**28
    assert judge.process.device == "cpu"
    judge.close()
    assert not running.is_running()
    assert judge.score(questions, request=request) == before
    psutil.Process(judge.process.pid).kill()
    with pytest.raises(StageError, match="vLLM was killed"):
        judge.score(questions, request=request)


def test_greedy_responses_are_those_of_the_transformers_engine(policy: VllmEngine) -> None:
    prompts = make_prompts(60)
    keys = [(0, row) for row in range(60)]
    greedy = SamplingParams(top_p=1e-6, max_new_tokens=48)
    found = policy.generate(prompts, params=greedy, keys=keys)
    assert found == in_transformers(POLICY_DIR).generate(prompts, params=greedy, keys=keys)
    assert {generation.finish_reason for generation in found} == {"stop"}


def test_a_seed_gives_a_row_the_same_response_in_any_batch(policy: VllmEngine) -> None:
    prompts = make_prompts(1) * 40
    drawn = policy.generate(prompts, params=SamplingParams(), keys=[(7, row) for row in range(40)])
    assert len({generation.text for generation in drawn}) > 20
    again = policy.generate(prompts[:11], params=SamplingParams(), keys=[(7, row) for row in range(20, 31)])
    assert again == drawn[20:31]
    assert policy.generate(prompts[:1], params=SamplingParams(), keys=[(8, 20)]) != drawn[20:21]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8)])
def test_tokens_are_drawn_from_the_models_own_distribution(
    policy: VllmEngine, temperature: float, top_p: float
) -> None:
    prompt = make_prompts(1)[0]
    drawn = policy.generate(
        [prompt] * NUM_DRAWS,
        params=SamplingParams(temperature=temperature, top_p=top_p, max_new_tokens=1),
        keys=[(1, row) for row in range(NUM_DRAWS)],
    )
    loaded = load_causal_lm(str(POLICY_DIR), device="cpu")
    with torch.no_grad():
        logits = loaded.model(torch.tensor([loaded.encoder.encode(prompt)])).logits[0, -1]
    probs, order = torch.softmax(logits / temperature, dim=-1).sort(descending=True)
    kept = int((probs.cumsum(0) - probs < top_p).sum())
    expected = dict(zip(order[:kept].tolist(), (probs[:kept] / probs[:kept].sum()).tolist(), strict=True))
    counts = Counter(generation.token_ids[0] for generation in drawn)
    assert set(counts) <= set(expected)
    common = {token: p for token, p in expected.items() if p * NUM_DRAWS >= 10}
    assert len(common) >= 4
    chi2 = sum((counts[token] - p * NUM_DRAWS) ** 2 / (p * NUM_DRAWS) for token, p in common.items())
    assert chi2 < len(common) + 4 * math.sqrt(2 * len(common))


def test_likelihoods_of_given_responses_are_those_of_the_transformers_engine(policy: VllmEngine) -> None:
    questions = make_readings(20)
    found = policy.score(questions, request=LIKELIHOODS)
    expected = in_transformers(POLICY_DIR).score(questions, request=LIKELIHOODS)
    difference = largest_difference_by_token(found, expected)
    print(f"{len(questions)} questions, largest difference of a log-likelihood by token {difference:.1e}")
    assert all(len(reply.likelihoods) == 2 for reply in found)
    assert difference < 1e-4
    assert [reply._replace(likelihoods=()) for reply in found] == [reply._replace(likelihoods=()) for reply in expected]
    assert policy.score(questions[:3], request=LIKELIHOODS) == found[:3]


def test_the_fingerprint_differs_from_the_transformers_engine_in_the_engine_alone() -> None:
    ours, theirs = in_vllm(JUDGE_DIR).fingerprint, in_transformers(JUDGE_DIR).fingerprint
    assert ours.changed(engine="transformers") == theirs
    quantised = VllmEngine(
        ModelConfig(path=str(JUDGE_DIR)), options=VllmConfig(engine_args={"quantization": "fp8"})
    ).fingerprint
    assert quantised.id != ours.id
    cached = VllmEngine(ModelConfig(path=str(JUDGE_DIR)), options=VllmConfig(gpu_memory_utilization=0.5)).fingerprint
    assert cached.id == ours.id
