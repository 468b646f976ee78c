"""What the vLLM engine asks of vLLM and reads in its answers: the front desk's tokenizer, and a stand-in for vLLM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_questions import make_prompts, make_questions, make_readings
from pydantic import ValidationError

from rlaif.config.judge import JudgeConfig, JudgeModelConfig
from rlaif.config.models import ModelConfig, VllmConfig
from rlaif.errors import ModelError
from rlaif.frontdesk import JUDGE_DIR
from rlaif.models.interface import LIKELIHOODS, ScoreRequest
from rlaif.models.readings import split_readings
from rlaif.models.slot import Slot
from rlaif.models.tokens.prompt_tokens import PromptEncoder, choice_token_ids
from rlaif.models.vllm.engine import VllmEngine, seed_of
from rlaif.models.weights.loading import load_tokenizer
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.records import SamplingParams

FAKE = Path(__file__).parents[2] / "fake_vllm"
REQUEST = ScoreRequest("\nVerdict:", (" A", " B"), 48)
END = 2
MakeEngine = Callable[..., VllmEngine]


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(load_tokenizer(find_model_folder(str(JUDGE_DIR))), stop_token_ids=[END])


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeEngine]:
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE), os.environ.get("PYTHONPATH", "")]))

    slot = Slot()

    def make_engine(writes: list[int] | None = None, **changes: Any) -> VllmEngine:
        arguments: dict[str, Any] = {"engine_args": {"writes": writes}} if writes else {}
        return VllmEngine(ModelConfig(path=str(JUDGE_DIR)), options=VllmConfig(**arguments, **changes), slot=slot)

    yield make_engine
    slot.close()


def test_the_verdict_is_read_at_the_place_after_the_marker(make: MakeEngine, encoder: PromptEncoder) -> None:
    reason = encoder.encode_trusted("Wants courteous: A polite, fits mostly.")
    marker = encoder.encode_trusted(REQUEST.marker)
    a, b = choice_token_ids(encoder, REQUEST.marker, REQUEST.choices)
    [reply] = make([*reason, *marker, a, END]).score(make_questions(1)[:1], request=REQUEST)
    place = len(reason) + len(marker)
    assert reply.logprobs == pytest.approx((-place - a / 1000, -place - b / 1000))
    assert reply.reason == "Wants courteous: A polite, fits mostly."
    assert reply.raw_reply == "Wants courteous: A polite, fits mostly.\nVerdict:"
    assert (reply.reply_tokens, reply.failure) == (place + 1, None)


def test_a_verdict_alone_is_read_at_the_first_place(make: MakeEngine, encoder: PromptEncoder) -> None:
    a, b = choice_token_ids(encoder, REQUEST.marker, REQUEST.choices)
    question = make_questions(1)[0]
    [reply] = make([a]).score([question], request=REQUEST._replace(max_reason_tokens=0))
    assert reply.logprobs == pytest.approx((-a / 1000, -b / 1000))
    marker = encoder.encode_response_start(REQUEST.marker)
    assert (reply.reason, reply.prompt_tokens) == (None, len(encoder.encode(question)) + len(marker))


@pytest.mark.parametrize(
    ("text", "ends", "cause"),
    [
        ("A polite, fits mostly.", True, "unparsable"),
        ("A polite, " * 20, False, "truncated"),
        ("", True, "empty"),
    ],
    ids=["ended without a verdict", "ran out of tokens", "said nothing"],
)
def test_a_reply_without_a_verdict_is_a_named_failure(
    make: MakeEngine, encoder: PromptEncoder, text: str, ends: bool, cause: str
) -> None:
    engine = make([*encoder.encode_trusted(text), *([END] if ends else [])])
    [reply] = engine.score(make_questions(1)[:1], request=REQUEST)
    assert (reply.failure, reply.logprobs) == (cause, ())


def test_a_marker_after_the_end_of_the_reply_does_not_count(make: MakeEngine, encoder: PromptEncoder) -> None:
    a, _ = choice_token_ids(encoder, REQUEST.marker, REQUEST.choices)
    written = [*encoder.encode_trusted("A polite."), END, *encoder.encode_trusted(REQUEST.marker), a]
    [reply] = make(written).score(make_questions(1)[:1], request=REQUEST)
    assert (reply.failure, reply.logprobs) == ("unparsable", ())


def test_what_does_not_fit_is_not_asked_and_where_nothing_fits_vllm_is_not_started(make: MakeEngine) -> None:
    engine = make(max_model_len=64)
    assert engine.context_tokens == 64
    replies = engine.score(make_questions(2), request=REQUEST)
    assert [reply.failure for reply in replies] == ["over_length"] * 4
    assert engine.process.pid is None


def test_a_likelihood_is_the_sum_over_the_response_and_its_end_alone(make: MakeEngine, encoder: PromptEncoder) -> None:
    whole, cut = make_readings(1)
    engine = make()
    replies = engine.score([whole, cut], request=LIKELIHOODS)
    for question, reply, is_whole in ((whole, replies[0], True), (cut, replies[1], False)):
        for reading, found in zip(split_readings(question), reply.likelihoods, strict=True):
            start = len(encoder.encode(reading.chat))
            ids = encoder.encode_response(reading.response)
            ids = ids if is_whole else ids[:-1]
            assert found == pytest.approx(-sum(at + token / 1000 for at, token in enumerate(ids, start)))
        assert (reply.response_tokens, reply.failure, reply.raw_reply) == (len(ids), None, "")


def test_a_reading_that_leaves_no_room_for_a_token_is_not_asked(make: MakeEngine, encoder: PromptEncoder) -> None:
    question = make_readings(1)[0]
    longest = max(
        len(encoder.encode(one.chat) + encoder.encode_response(one.response)) for one in split_readings(question)
    )
    for room, failure in ((longest + 1, None), (longest, "over_length")):
        [reply] = make(max_model_len=room).score([question], request=LIKELIHOODS)
        assert reply.failure == failure


def test_a_response_ends_by_a_stop_token_or_by_its_length(make: MakeEngine, encoder: PromptEncoder) -> None:
    written = [*encoder.encode_trusted("A polite."), END]
    engine = make(written)
    for length, finish in ((len(written), "stop"), (len(written) - 1, "length")):
        [generation] = engine.generate(make_prompts(1), params=SamplingParams(max_new_tokens=length), keys=[(0, 0)])
        assert (generation.finish_reason, generation.text) == (finish, "A polite.")
        assert generation.token_ids == tuple(written[:length])


def test_a_seed_is_a_function_of_the_key_alone_and_fits_into_a_signed_word() -> None:
    seeds = {seed_of((0, prompt, sample)) for prompt in range(20) for sample in range(20)}
    assert len(seeds) == 400
    assert max(seeds) < 2**63
    assert seed_of((3, 1)) == seed_of((3, 1)) != seed_of((1, 3))


def test_the_device_named_is_the_only_gpu_that_vllm_sees(make: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.models.vllm.engine import read_device

    assert read_device("auto", {}) == ("", {})
    assert read_device("cuda:1", {}) == ("cuda", {"CUDA_VISIBLE_DEVICES": "1"})
    assert read_device("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,6"}) == ("cuda", {"CUDA_VISIBLE_DEVICES": "6"})
    with pytest.raises(ModelError, match='vLLM has no device "mps"'):
        read_device("mps", {})


def test_options_that_rlaif_sets_or_that_run_code_of_a_model_are_refused() -> None:
    for name in ("trust_remote_code", "model", "logprobs_mode", "gpu_memory_utilization"):
        with pytest.raises(ValidationError, match=f"engine_args may not hold {name}"):
            VllmConfig(engine_args={name: True})


def test_the_judge_may_be_the_front_desks_own_in_vllm() -> None:
    config = JudgeConfig(model=JudgeModelConfig(engine="vllm"))
    assert config.model.is_local
    with pytest.raises(ValidationError, match="needs model.path"):
        JudgeConfig(model=JudgeModelConfig(engine="openai"))
